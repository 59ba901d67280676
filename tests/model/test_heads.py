"""Heads: their layers, losses against formulas, predictions, gradients, and errors."""

import math
from typing import Any

import pytest
import torch
from support.heads import head_config
from torch import Tensor, nn
from torch.nn import functional

from ulmkit.config import from_dict, to_dict
from ulmkit.errors import ConfigError, DataError
from ulmkit.model.document_norm import DocumentNorm, shared_documents
from ulmkit.model.heads import Head, SingleLabelConfig

E = 4
CASES = [
    ("single", (5, 3 * E), (5, 3)),
    ("multi", (5, 3 * E), (5, 3)),
    ("number", (5, 3 * E), (5,)),
    ("tokens", (7, 5, E), (7, 5, 3)),
    ("pair", (5, 12 * E), (5, 3)),
]


def head(kind: str, classes: int | None = None, **options: Any) -> Head:
    return head_config(kind, classes, **options).make(E)


def targets_of(kind: str, outputs: Tensor) -> Tensor:
    if kind == "multi":
        return torch.rand(outputs.shape) < 0.5
    if kind == "number":
        return torch.randn(outputs.shape)
    return torch.randint(0, outputs.shape[-1], outputs.shape[:-1])


@pytest.mark.parametrize(("kind", "features", "outputs"), CASES)
def test_one_interface(kind: str, features: tuple[int, ...], outputs: tuple[int, ...]) -> None:
    made = head(kind)
    given = torch.randn(features)
    found = made(given)
    assert (made.reads_pairs, made.per_token) == (kind == "pair", kind == "tokens")
    assert found.shape == outputs
    assert made.output_shape == outputs[found.dim() - len(made.output_shape) :]
    loss = made.loss(found, targets_of(kind, found))
    assert loss.shape == ()
    assert loss.isfinite()
    predicted = made.predict(found)
    assert predicted.shape == outputs
    if kind in ("single", "tokens", "pair"):
        torch.testing.assert_close(predicted.sum(dim=-1), torch.ones(outputs[:-1]))


@pytest.mark.parametrize(("kind", "features", "outputs"), CASES)
def test_gradients(kind: str, features: tuple[int, ...], outputs: tuple[int, ...]) -> None:
    """Of the loss, towards the features and every parameter, batch norm in training mode."""
    made = head(kind, input_dropout=0.0, hidden_dropout=0.0).double()
    targets = targets_of(kind, torch.zeros(outputs))
    names = [name for name, _ in made.named_parameters()]
    parameters = [p.detach().clone().requires_grad_() for p in made.parameters()]
    given = torch.randn(features, dtype=torch.float64, requires_grad=True)

    def loss(x: Tensor, *values: Tensor) -> Tensor:
        found = torch.func.functional_call(made, dict(zip(names, values, strict=True)), (x,))
        return made.loss(found, targets)

    assert torch.autograd.gradcheck(loss, (given, *parameters))


@pytest.mark.parametrize("kind", ["single", "multi", "number", "pair"])
def test_layers_of_the_paper(kind: str) -> None:
    """Batch norm → dropout → linear → ReLU → batch norm → dropout → linear, written out."""
    made = head(kind).eval()
    size = (12 if kind == "pair" else 3) * E
    weights = made.state_dict()
    for name in weights:
        if "running_var" in name:
            weights[name].uniform_(0.5, 2.0)
        elif weights[name].is_floating_point():
            weights[name].normal_()

    def norm(x: Tensor, layer: str) -> Tensor:
        mean, var = weights[f"layers.{layer}.running_mean"], weights[f"layers.{layer}.running_var"]
        scaled = (x - mean) / (var + 1e-5).sqrt()
        return scaled * weights[f"layers.{layer}.weight"] + weights[f"layers.{layer}.bias"]

    given = torch.randn(5, size)
    hidden = (norm(given, "0") @ weights["layers.2.weight"].T + weights["layers.2.bias"]).clamp(min=0.0)
    expected = norm(hidden, "4") @ weights["layers.6.weight"].T + weights["layers.6.bias"]
    torch.testing.assert_close(made(given), expected.squeeze(-1) if kind == "number" else expected)


def test_the_dropouts_of_the_paper_by_default() -> None:
    made = SingleLabelConfig(classes=2).make(400)
    dropouts = [layer.p for layer in made.modules() if isinstance(layer, nn.Dropout)]
    linears = [(layer.in_features, layer.out_features) for layer in made.modules() if isinstance(layer, nn.Linear)]
    assert dropouts == [0.4, 0.1]
    assert linears == [(1200, 50), (50, 2)]


def test_cross_entropy_by_hand() -> None:
    """Smoothing s, C = 2: target 1 - s/2 and s/2. Weighted: sum of w_y nll / sum of w_y."""
    outputs, targets = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]]), torch.tensor([0, 1])
    plain = head("single", 2).loss(outputs, targets)
    assert plain.item() == pytest.approx((-math.log(0.75) - math.log(0.5)) / 2)
    smooth = head("single", 2, label_smoothing=0.2).loss(outputs, targets)
    assert smooth.item() == pytest.approx((-0.9 * math.log(0.75) - 0.1 * math.log(0.25) - math.log(0.5)) / 2)
    weighted = head("single", 2, class_weights=(1.0, 3.0)).loss(outputs, targets)
    assert weighted.item() == pytest.approx((-math.log(0.75) - 3 * math.log(0.5)) / 4)


def test_soft_targets_by_hand() -> None:
    head = SingleLabelConfig(classes=3).make(4)
    logits = torch.tensor([[2.0, 0.5, -1.0], [0.0, 1.0, 0.0]])
    labels = torch.tensor([0, 2])
    torch.testing.assert_close(head.loss(logits, torch.eye(3)[labels]), head.loss(logits, labels))
    soft = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.5, 0.5]])
    torch.testing.assert_close(head.loss(logits, soft), -(soft * logits.log_softmax(dim=1)).sum(dim=1).mean())
    assert head.loss_denominator(soft) == 2.0
    with pytest.raises(DataError, match=r"targets: expected shape \(2, 3\), got \(2, 2\)"):
        head.loss(logits, soft[:, :2])


def test_binary_cross_entropy_by_hand() -> None:
    outputs, targets = torch.tensor([[math.log(3.0), 0.0]]), torch.tensor([[True, False]])
    assert head("multi", 2).loss(outputs, targets).item() == pytest.approx((-math.log(0.75) - math.log(0.5)) / 2)
    weighted = head("multi", 2, positive_weights=(4.0, 1.0)).loss(outputs, targets)
    assert weighted.item() == pytest.approx((-4 * math.log(0.75) - math.log(0.5)) / 2)
    torch.testing.assert_close(head("multi", 2).predict(outputs), torch.tensor([[0.75, 0.5]]))


def test_number_losses_and_range_by_hand() -> None:
    outputs, targets = torch.tensor([1.0, 2.0]), torch.tensor([1.5, 5.0])
    assert head("number", 1).loss(outputs, targets).item() == pytest.approx((0.25 + 9.0) / 2)
    assert head("number", 1, number_loss="huber").loss(outputs, targets).item() == pytest.approx((0.125 + 2.5) / 2)
    made = head("number", 1, value_range=(-1.0, 3.0)).eval()
    unscaled = head("number", 1).eval()
    unscaled.load_state_dict(made.state_dict())
    given = torch.randn(6, 3 * E) * 50
    torch.testing.assert_close(made(given), -1.0 + 4.0 * unscaled(given).sigmoid())
    assert torch.equal(made.predict(outputs), outputs)
    errors = torch.tensor([0.5, 3.0]) / 4.0
    assert made.loss(outputs, targets).item() == pytest.approx(errors.pow(2).mean().item())


def test_numbers_are_learnt_in_units_of_their_deviation() -> None:
    made, plain = head("number", 1, number_mean=2e5, number_deviation=5e4).eval(), head("number", 1).eval()
    plain.load_state_dict(made.state_dict())
    given, targets = torch.randn(6, 3 * E), torch.linspace(1e5, 3e5, 6)
    torch.testing.assert_close(made(given), 2e5 + 5e4 * plain(given))
    torch.testing.assert_close(made.loss(made(given), targets), plain.loss(plain(given), (targets - 2e5) / 5e4))


def test_tokens_without_a_label_do_not_count() -> None:
    outputs = torch.randn(4, 2, 3, requires_grad=True)
    targets = torch.tensor([[0, 1], [2, -1], [-1, -1], [1, -1]])
    made = head("tokens", 3, label_smoothing=0.1, class_weights=(1.0, 2.0, 3.0))
    loss = made.loss(outputs, targets)
    rows = torch.stack([outputs[0, 0], outputs[0, 1], outputs[1, 0], outputs[3, 0]])
    expected = functional.cross_entropy(
        rows, torch.tensor([0, 1, 2, 1]), torch.tensor([1.0, 2.0, 3.0]), label_smoothing=0.1
    )
    torch.testing.assert_close(loss, expected)
    (found,) = torch.autograd.grad(loss, outputs)
    assert torch.equal(found.abs().sum(dim=2) > 0, targets != -1)


def test_no_labelled_token_costs_nothing() -> None:
    outputs = torch.randn(4, 2, 3, requires_grad=True)
    loss = head("tokens").loss(outputs, torch.full((4, 2), -1))
    assert loss.item() == 0.0
    assert torch.equal(torch.autograd.grad(loss, outputs)[0], torch.zeros(4, 2, 3))


@pytest.mark.parametrize("kind", ["single", "multi", "number", "pair"])
def test_a_batch_of_one_document_trains(kind: str) -> None:
    made = head(kind)
    given = torch.randn(1, (12 if kind == "pair" else 3) * E, requires_grad=True)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    outputs = made(given)
    made.loss(outputs, targets_of(kind, outputs)).backward()
    assert all(p.grad is not None for p in made.parameters())
    for name, value in made.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_one_document_is_normalised_by_the_running_statistics() -> None:
    norm = DocumentNorm(3)
    norm(torch.randn(8, 3) * 4 + 2)
    one = torch.randn(1, 3)
    trained = norm(one)
    torch.testing.assert_close(trained, norm.eval()(one))
    norm.train()
    two = torch.randn(2, 3)
    torch.testing.assert_close(norm(two), (two - two.mean(0)) / (two.var(0, unbiased=False) + 1e-5).sqrt())


def test_batch_norm_of_a_share_is_batch_norm_where_it_is_the_whole() -> None:
    given = (torch.randn(6, 4, dtype=torch.float64) * 3 + 1).requires_grad_()
    norms = [DocumentNorm(4).double() for _ in range(2)]
    found = []
    for norm, total in zip(norms, (None, torch.clone), strict=True):
        with shared_documents(norm, total):
            outputs = norm(given)
        (outputs**3).sum().backward()
        found.append([outputs, given.grad, norm.weight.grad, norm.bias.grad, *norm.buffers()])
        given.grad = None
        assert norm.sum_over_processes is None
    torch.testing.assert_close(*found)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("single", {}),
        ("single", {"class_weights": (1.0, 0.2, 3.0), "label_smoothing": 0.1}),
        ("pair", {"class_weights": (1.0, 0.2, 3.0)}),
        ("multi", {"positive_weights": (1.0, 0.2, 3.0)}),
        ("number", {}),
        ("tokens", {"class_weights": (1.0, 0.2, 3.0), "label_smoothing": 0.1}),
    ],
)
def test_losses_of_parts_average_to_that_of_the_whole_by_their_weights(kind: str, options: dict[str, Any]) -> None:
    made = head(kind, **options)
    outputs = torch.randn(7) if kind == "number" else torch.randn(5, 7, 3) if kind == "tokens" else torch.randn(7, 3)
    targets = targets_of(kind, outputs)
    if kind == "tokens":
        targets[2:, 1:4] = -1
    along = 1 if kind == "tokens" else 0
    parts = list(zip(outputs.split([2, 5], along), targets.split([2, 5], along), strict=True))
    weights = [made.loss_denominator(part) for _, part in parts]
    mean = sum(made.loss(*part) * weight for part, weight in zip(parts, weights, strict=True)) / sum(weights)
    torch.testing.assert_close(mean, made.loss(outputs, targets))


def test_weight_by_hand() -> None:
    assert head("single").loss_denominator(torch.tensor([0, 2, 2])) == 3.0
    assert head("single", class_weights=(1.0, 5.0, 0.25)).loss_denominator(torch.tensor([0, 2, 2])) == 1.5
    assert head("tokens").loss_denominator(torch.tensor([[-1, 0], [1, 1]])) == 3.0
    assert head("tokens").loss_denominator(torch.tensor([[-1, -1]])) == 1.0  # the loss is 0, and counts


def test_weights_follow_the_config_not_the_saved_state() -> None:
    assert "class_weights" not in head("single", 3, class_weights=(1.0, 2.0, 3.0)).state_dict()


def test_config_through_json() -> None:
    config = SingleLabelConfig(classes=2, class_weights=(1.0, 2.0))
    values = {**to_dict(config), "class_weights": [1.0, 2.0]}
    assert from_dict(SingleLabelConfig, values, "head") == config


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("single", {"classes": 1}, "classes: expected a whole number of at least 2, got 1"),
        ("multi", {"classes": -1}, "classes: expected a whole number of at least 1, got -1"),
        ("number", {"classes": 2}, "classes: expected 1 for a number, got 2"),
        ("single", {"hidden_size": 0}, "hidden_size: expected a whole number of at least 1, got 0"),
        ("single", {"hidden_size": 1.5}, "hidden_size: expected a whole number of at least 1, got 1.5"),
        ("single", {"classes": 2.0}, "classes: expected a whole number of at least 2, got 2.0"),
        ("single", {"input_dropout": 1.0}, "input_dropout: expected 0 <= p < 1, got 1.0"),
        ("single", {"hidden_dropout": -0.1}, "hidden_dropout: expected 0 <= p < 1, got -0.1"),
        ("single", {"label_smoothing": 2}, "label_smoothing: expected 0 <= p < 1, got 2"),
        ("single", {"class_weights": (1.0,)}, "class_weights: expected 3 numbers, .* got 1"),
        ("single", {"class_weights": (1.0, 1.0, -2.0)}, "class_weights: .* got -2.0"),
        ("multi", {"positive_weights": (1.0, 1.0, 0.0)}, "positive_weights: .* got 0.0"),
        ("number", {"number_loss": "mae"}, "number_loss: got 'mae'"),
        ("number", {"number_deviation": 0.0}, "number_deviation: expected .* above 0, got 0.0"),
        ("number", {"value_range": (2.0, 1.0)}, r"value_range: .* got \(2.0, 1.0\)"),
        ("number", {"value_range": (0.0, math.inf)}, r"value_range: .* got \(0.0, inf\)"),
        ("number", {"value_range": (0.0,)}, r"value_range: .* got \(0.0,\)"),
    ],
)
def test_bad_options(kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        head_config(kind, **options)


@pytest.mark.parametrize(
    ("kind", "option"),
    [("single", "number_mean"), ("multi", "class_weights"), ("multi", "label_smoothing"), ("pair", "value_range")],
)
def test_a_head_has_the_options_of_its_kind_alone(kind: str, option: str) -> None:
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{option}'"):
        head_config(kind, **{option: 1.0})


def test_bad_encoder_size() -> None:
    with pytest.raises(ConfigError, match="encoder_size: expected a whole number of at least 1, got 0"):
        SingleLabelConfig(classes=2).make(0)


@pytest.mark.parametrize(
    ("kind", "outputs", "targets"),
    [
        ("single", (5, 3), (4,)),
        ("pair", (5, 3), (5, 3)),
        ("multi", (5, 3), (5,)),
        ("number", (5,), (5, 1)),
        ("tokens", (7, 5, 3), (7, 4)),
    ],
)
def test_targets_of_another_shape(kind: str, outputs: tuple[int, ...], targets: tuple[int, ...]) -> None:
    made = head(kind)
    with pytest.raises(DataError, match=r"targets: expected shape .* got \(" + str(targets)[1:-1].split(",")[0]):
        made.loss(torch.zeros(outputs), torch.zeros(targets, dtype=torch.int64))
