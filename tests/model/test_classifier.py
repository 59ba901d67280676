"""The classifier: no effect of batch mates, padding or chunks on outputs and gradients; BPT3C; every head learns."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.heads import head_config
from torch import Tensor

from ulmkit.errors import ConfigError, DataError
from ulmkit.model.awd_lstm import AWDLSTMConfig
from ulmkit.model.classifier import AWDLSTMClassifier, Chunk, plan_chunks
from ulmkit.model.heads import Head

V = 11
KINDS = ["single", "multi", "number", "tokens", "pair"]
NO_DROPOUT = dict.fromkeys([f"{name}_dropout" for name in ("embedding", "input", "hidden", "output", "weight")], 0.0)


def tiny(
    kind: str = "single", *, dtype: torch.dtype = torch.float32, dropouts: dict[str, float] | None = None, **sizes: int
) -> AWDLSTMClassifier:
    """In training mode, with a head that is in evaluation mode (batch norm depends on batch mates otherwise)."""
    torch.manual_seed(0)
    config = AWDLSTMConfig(embedding_size=5, hidden_size=7, layers=2, **NO_DROPOUT | (dropouts or {}))
    head = head_config(kind)
    model = AWDLSTMClassifier(config, V, head, **sizes).to(dtype)
    model.encoder.precision = "fp32"
    with torch.no_grad():
        for parameter in model.encoder.layers.parameters():
            parameter.mul_(2.0)  # a memory long enough to see what is cut off
    model.head.eval()
    return model


@st.composite
def documents(draw: st.DrawFn, at_least: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """ids (T, B) with random ids as padding, lengths (B,), boundaries (B,)."""
    lengths = draw(st.lists(st.integers(at_least, 14), min_size=1, max_size=4))
    padding = draw(st.integers(0, 5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    ids = torch.randint(0, V, (max(lengths) + padding, len(lengths)), generator=generator)
    return ids, torch.tensor(lengths), torch.tensor([draw(st.integers(0, length)) for length in lengths])


def run(model: AWDLSTMClassifier, ids: Tensor, lengths: Tensor, boundaries: Tensor) -> Tensor:
    return model(ids, lengths, boundaries if model.head.reads_pairs else None)


def of_document(outputs: Tensor, document: int, length: int) -> Tensor:
    """What the outputs say of one document."""
    return outputs[:length, document] if outputs.dim() == 3 else outputs[document]


def naive(model: AWDLSTMClassifier, ids: Tensor, lengths: Tensor, boundaries: Tensor) -> Tensor:
    """One document at a time, in one piece, no padding; the history before the gradient's window as a constant."""
    features = []
    for document, length in enumerate(lengths.tolist()):
        cut = max(0, length - model.gradient_steps) // model.chunk_steps * model.chunk_steps
        column = ids[:length, document : document + 1]
        with torch.no_grad():
            before = model.encoder(column[:cut])
        raw = torch.cat([before.raw, model.encoder(column[cut:], before.state).raw])[:, 0]
        features.append(naive_features(model.head, raw, int(boundaries[document]), len(ids)))
    return model.head(torch.stack(features, dim=-2))


def naive_features(head: Head, raw: Tensor, boundary: int, steps: int) -> Tensor:
    def pool(part: Tensor) -> Tensor:
        if len(part) == 0:
            return part.new_zeros(3 * part.shape[1])
        return torch.cat([part[-1], part.amax(0), part.mean(0)])

    if head.per_token:
        return torch.cat([raw, raw.new_zeros(steps - len(raw), raw.shape[1])])
    if not head.reads_pairs:
        return pool(raw)
    a, b = pool(raw[:boundary]), pool(raw[boundary:])
    return torch.cat([a, b, (a - b).abs(), a * b])


def gradients(model: AWDLSTMClassifier, value: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(value, parameters, allow_unused=True)
    zeros = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
    return dict(zip(names, zeros, strict=True))


def mixed(outputs: Tensor) -> Tensor:
    """A scalar in which every output counts differently."""
    return (outputs * torch.linspace(0.5, 2.0, outputs.numel(), dtype=outputs.dtype).view(outputs.shape)).sum()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8, deadline=None)
@given(case=documents(), chunk_steps=st.integers(1, 16), more_padding=st.integers(0, 4))
def test_outputs_do_not_depend_on_batch_mates_padding_or_chunks(
    kind: str, case: tuple[Tensor, Tensor, Tensor], chunk_steps: int, more_padding: int
) -> None:
    ids, lengths, boundaries = case
    model = tiny(kind).eval()
    with torch.no_grad():
        together = run(model, ids, lengths, boundaries)
        model.chunk_steps = chunk_steps
        for document, length in enumerate(lengths.tolist()):
            part = slice(document, document + 1)
            alone = torch.cat([ids[:length, part], torch.randint(0, V, (more_padding, 1))])
            outputs = run(model, alone, lengths[part], boundaries[part])
            torch.testing.assert_close(
                of_document(outputs, 0, length), of_document(together, document, length), atol=1e-5, rtol=0.0
            )


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8, deadline=None)
@given(case=documents(), data=st.data())
def test_streaming_in_pieces_equals_the_whole(
    kind: str, case: tuple[Tensor, Tensor, Tensor], data: st.DataObject
) -> None:
    ids, lengths, boundaries = case
    model = tiny(kind).eval()
    state = model.begin(len(lengths), boundaries if kind == "pair" else None)
    done = [0] * len(lengths)
    with torch.no_grad():
        whole = run(model, ids, lengths, boundaries)
        while done != lengths.tolist():
            left = [int(length) - steps for length, steps in zip(lengths, done, strict=True)]
            piece = [data.draw(st.integers(0, steps)) for steps in left] if max(left) > 4 else left
            piece = piece if any(piece) else left
            columns = [ids[start : start + steps, i] for i, (start, steps) in enumerate(zip(done, piece, strict=True))]
            padded = torch.nn.utils.rnn.pad_sequence(columns, padding_value=3)
            state = model.step(padded, torch.tensor(piece), state)
            done = [start + steps for start, steps in zip(done, piece, strict=True)]
        streamed = model.finish(state)
    for document, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(
            of_document(streamed, document, length), of_document(whole, document, length), atol=1e-5, rtol=0.0
        )


def test_lengths_may_be_on_the_cpu_wherever_the_ids_are() -> None:
    model, device = tiny("single").to("meta").eval(), torch.device("meta")
    model.encoder.backend = "reference"
    with torch.no_grad():
        state = model.step(torch.zeros(3, 2, dtype=torch.int64, device=device), torch.tensor([3, 1]), model.begin(2))
        assert model.finish(state).shape == (2, 3)
    assert {state.pooling.last.device, state.encoder[0][0].device} == {device}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=6, deadline=None)
@given(case=documents(), chunk_steps=st.integers(1, 16), gradient_steps=st.integers(1, 16))
def test_outputs_and_every_gradient_equal_the_naive_version(
    kind: str, case: tuple[Tensor, Tensor, Tensor], chunk_steps: int, gradient_steps: int
) -> None:
    """With gradient_steps >= T among the examples: plain back-propagation."""
    ids, lengths, boundaries = case
    model = tiny(kind, dtype=torch.float64, chunk_steps=chunk_steps, gradient_steps=gradient_steps)
    outputs, expected = run(model, ids, lengths, boundaries), naive(model, ids, lengths, boundaries)
    torch.testing.assert_close(outputs, expected)
    found, wanted = gradients(model, mixed(outputs)), gradients(model, mixed(expected))
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, msg=lambda text, name=name: f"{name}: {text}")


def test_full_back_propagation_also_in_training_mode_throughout() -> None:
    model = tiny(dtype=torch.float64, chunk_steps=4, gradient_steps=14)
    model.head.train()
    for layer in model.head.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
    ids, lengths = torch.randint(0, V, (14, 4)), torch.tensor([3, 14, 9, 8])
    found = gradients(model, mixed(model(ids, lengths)))
    for name, value in gradients(model, mixed(naive(model, ids, lengths, lengths))).items():
        torch.testing.assert_close(found[name], value, msg=lambda text, name=name: f"{name}: {text}")
        assert value.abs().max() > 0 or name == "head.layers.2.bias", name  # batch norm takes a shift away


@settings(max_examples=20, deadline=None)
@given(case=documents(), chunk_steps=st.integers(1, 16), gradient_steps=st.integers(1, 16))
def test_gradients_do_not_depend_on_batch_mates_or_padding(
    case: tuple[Tensor, Tensor, Tensor], chunk_steps: int, gradient_steps: int
) -> None:
    ids, lengths, _ = case
    model = tiny(dtype=torch.float64, chunk_steps=chunk_steps, gradient_steps=gradient_steps)
    for document, length in enumerate(lengths.tolist()):
        together = gradients(model, mixed(model(ids, lengths)[document]))
        alone = model(ids[:length, document : document + 1], lengths[document : document + 1])
        for name, value in gradients(model, mixed(alone[0])).items():
            torch.testing.assert_close(together[name], value, msg=lambda text, name=name: f"{name}: {text}")


def test_only_the_last_chunks_give_the_encoder_a_gradient() -> None:
    """13 steps, chunks of 4, gradients from floor((13 - 6) / 4) = 1 on: steps 4 to 12."""
    model = tiny(dtype=torch.float64, chunk_steps=4, gradient_steps=6)
    ids = torch.arange(V).repeat(2)[:13].remainder(V).unsqueeze(1)
    ids[9:] = torch.tensor([[4], [5], [6], [7]])
    mixed(model(ids, torch.tensor([13]))).backward()
    rows = model.encoder.embedding.weight.grad
    assert rows is not None
    assert (rows.abs().sum(dim=1) > 0).nonzero().flatten().tolist() == [4, 5, 6, 7, 8]


def test_plan_by_hand() -> None:
    assert list(plan_chunks([10, 7, 7, 3, 0], 4, 3)) == [
        Chunk(0, 4, 4, False, 3),  # 10, 7 and 7 take gradients from chunk 1 on, 3 from chunk 0 on
        Chunk(4, 8, 3, False, 0),
        Chunk(8, 10, 1, True, 0),
    ]
    assert list(plan_chunks([8, 8], 4, 100)) == [Chunk(0, 4, 2, True, 0), Chunk(4, 8, 2, True, 0)]
    assert list(plan_chunks([9], 4, 1)) == [Chunk(0, 4, 1, True, 1), Chunk(4, 8, 1, True, 1), Chunk(8, 9, 1, True, 0)]
    assert list(plan_chunks([0, 0], 4, 3)) == []


@given(st.lists(st.integers(0, 40), min_size=1, max_size=5), st.integers(1, 12), st.integers(1, 50))
def test_plan_covers_every_step_once_and_cuts_each_document_by_its_own_length(
    lengths: list[int], chunk_steps: int, gradient_steps: int
) -> None:
    lengths = sorted(lengths, reverse=True)
    seen, with_gradient = [0] * len(lengths), [0] * len(lengths)
    for chunk in plan_chunks(lengths, chunk_steps, gradient_steps):
        steps = [max(0, min(chunk.stop, length) - chunk.start) for length in lengths]
        assert chunk.active_documents == sum(step > 0 for step in steps)
        assert chunk.full == all(step in (0, chunk.stop - chunk.start) for step in steps)
        seen = [a + b for a, b in zip(seen, steps, strict=True)]
        with_gradient = [
            n + s * (i >= chunk.detached_documents) for i, (n, s) in enumerate(zip(with_gradient, steps, strict=True))
        ]
    assert seen == lengths
    for length, steps in zip(lengths, with_gradient, strict=True):
        assert min(length, gradient_steps) <= steps < min(length, gradient_steps) + chunk_steps
        assert (length - steps) % chunk_steps == 0


def test_ended_documents_are_not_read_on_and_the_past_keeps_no_graph() -> None:
    model = tiny(chunk_steps=4, gradient_steps=3)
    calls: list[tuple[tuple[int, ...], bool]] = []
    model.encoder.register_forward_hook(
        lambda _module, inputs, output: calls.append((tuple(inputs[0].shape), output.raw.requires_grad))
    )
    model(torch.randint(0, V, (30, 3)), torch.tensor([3, 18, 0]))
    assert calls == [((4, 2), True), ((4, 1), False), ((4, 1), False), ((4, 1), True), ((2, 1), True)]


def test_documents_without_a_step_have_gradients_too() -> None:
    model = tiny()
    outputs = model(torch.randint(0, V, (1, 2)), torch.tensor([0, 0]))
    torch.testing.assert_close(outputs, model.head(torch.zeros(2, 15)))
    outputs.sum().backward()
    assert all(torch.equal(p.grad, torch.zeros_like(p)) for p in model.encoder.parameters() if p.grad is not None)
    assert all(p.grad is not None for p in model.parameters())


def test_a_short_document_keeps_its_gradient_while_a_long_one_is_read_without() -> None:
    model = tiny(dtype=torch.float64, chunk_steps=2, gradient_steps=2)
    ids = torch.randint(0, V, (14, 2))
    together = gradients(model, mixed(model(ids, torch.tensor([14, 3]))[1]))
    assert together["encoder.layers.0.weight_hh"].abs().sum() > 0


def test_masks_are_drawn_once_for_all_chunks() -> None:
    dropouts = dict.fromkeys(NO_DROPOUT, 0.4)
    ids, lengths = torch.randint(0, V, (14, 4)), torch.tensor([3, 14, 9, 8])
    outputs = []
    for chunk_steps in (14, 3, 1):
        model = tiny(dropouts=dropouts, chunk_steps=chunk_steps)
        torch.manual_seed(1)
        outputs.append(model(ids, lengths))
    torch.testing.assert_close(outputs[0], outputs[1], atol=1e-5, rtol=0.0)
    torch.testing.assert_close(outputs[0], outputs[2], atol=1e-5, rtol=0.0)
    assert not torch.allclose(outputs[0], tiny(dropouts=dropouts).eval()(ids, lengths), atol=1e-3)


def test_output_dropout_is_the_language_models_alone() -> None:
    """The head has its own input dropout; as in fastai, its features come from undropped outputs."""
    ids, lengths = torch.randint(0, V, (9, 2)), torch.tensor([9, 4])
    dropped = tiny(dropouts={"output_dropout": 0.9})(ids, lengths)
    torch.testing.assert_close(dropped, tiny()(ids, lengths))


def test_bf16_stays_within_its_tolerance() -> None:
    model = tiny().eval()
    ids, lengths = torch.randint(0, V, (40, 3)), torch.tensor([40, 13, 27])
    exact = model(ids, lengths)
    model.encoder.precision = "bf16"
    together = model(ids, lengths)
    assert together.dtype == torch.float32
    torch.testing.assert_close(together, exact, atol=2e-2, rtol=0.0)
    model.chunk_steps = 7
    torch.testing.assert_close(model(ids[:27, 2:], lengths[2:]), together[2:], atol=2e-2, rtol=0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_documents_of_no_tokens(kind: str) -> None:
    model = tiny(kind)
    boundaries = torch.zeros(3, dtype=torch.int64)
    outputs = run(model, torch.randint(0, V, (6, 3)), torch.tensor([0, 6, 0]), boundaries)
    assert all(g.isfinite().all() for g in gradients(model, mixed(outputs)).values())
    empty = run(model, torch.zeros(0, 3, dtype=torch.int64), torch.zeros(3, dtype=torch.int64), boundaries)
    if kind != "tokens":
        torch.testing.assert_close(empty[0], outputs[0])


def test_a_state_can_be_continued_twice() -> None:
    model = tiny().eval()
    first, rest, lengths = torch.randint(0, V, (5, 2)), torch.randint(0, V, (3, 2)), torch.tensor([3, 2])
    state = model.step(first, torch.tensor([5, 4]), model.begin(2))
    early = model.finish(state)
    once = model.finish(model.step(rest, lengths, state))
    torch.testing.assert_close(model.finish(model.step(rest, lengths, state)), once)
    torch.testing.assert_close(model.finish(state), early)


def test_weights_prepared_once_serve_any_batch() -> None:
    model = tiny().eval()
    prepared = model.encoder.prepare(1)
    ids, lengths = torch.randint(0, V, (9, 3)), torch.tensor([4, 9, 1])
    torch.testing.assert_close(model(ids, lengths, prepared=prepared), model(ids, lengths))
    streamed = model.finish(model.step(ids, lengths, model.begin(3, prepared=prepared)))
    torch.testing.assert_close(streamed, model(ids, lengths), atol=1e-5, rtol=0.0)


def test_a_frozen_encoder_trains_the_head_alone() -> None:
    model = tiny()
    model.encoder.requires_grad_(False)
    model(torch.randint(0, V, (6, 3)), torch.tensor([6, 2, 5])).sum().backward()
    assert all(p.grad is not None for p in model.head.parameters())
    assert all(p.grad is None for p in model.encoder.parameters())


# every head learns ----------------------------------------------------------------------------------------------------


def has(ids: Tensor, token: int) -> Tensor:
    return (ids == token).any(dim=0)


def previous_token_is_low(ids: Tensor) -> Tensor:
    return torch.cat([torch.full_like(ids[:1], -1), (ids[:-1] < V // 2).long()])


TASKS: dict[str, tuple[dict[str, Any], Callable[[Tensor], Tensor]]] = {
    "single": ({"classes": 2}, lambda ids: has(ids, 3).long()),
    "multi": ({"classes": 2}, lambda ids: torch.stack([has(ids, 3), has(ids, 7)], dim=1)),
    "number": ({"classes": 1, "value_range": (-0.1, 1.1)}, lambda ids: (ids < V // 2).float().mean(dim=0)),
    "tokens": ({"classes": 2}, previous_token_is_low),
    "pair": ({"classes": 2}, lambda ids: (has(ids[:5], 3) == has(ids[5:], 3)).long()),
}


def error_of(kind: str, predicted: Tensor, targets: Tensor) -> float:
    """Share of wrong labels; for a number, of the variance not explained."""
    if kind == "number":
        return float((predicted - targets).pow(2).mean() / targets.var())
    if kind == "multi":
        return float(((predicted > 0.5) != targets).float().mean())
    labelled = targets != -1
    return float((predicted.argmax(dim=-1) != targets)[labelled].float().mean())


@pytest.mark.parametrize("kind", KINDS)
def test_every_head_learns(kind: str) -> None:
    options, label = TASKS[kind]
    torch.manual_seed(0)
    config = AWDLSTMConfig(embedding_size=16, hidden_size=16, layers=1, **NO_DROPOUT)
    head = head_config(kind, hidden_size=16, input_dropout=0.0, hidden_dropout=0.0, **options)
    model = AWDLSTMClassifier(config, V, head)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)

    def batch(size: int) -> tuple[Tensor, Tensor, Tensor | None]:
        boundaries = torch.full((size,), 5) if kind == "pair" else None
        return torch.randint(0, V, (10, size)), torch.full((size,), 10), boundaries

    for _ in range(120 if kind in ("pair", "number") else 60):
        ids, lengths, boundaries = batch(48)
        loss = model.head.loss(model(ids, lengths, boundaries), label(ids))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    ids, lengths, boundaries = batch(500)
    predicted = model.head.predict(model(ids, lengths, boundaries)).detach()
    assert error_of(kind, predicted, label(ids)) < 0.1


# errors ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "lengths", "message"),
    [
        ((5,), (5,), r"ids: expected shape \(T, B\) .* got \(5,\)"),
        ((5, 0), (), r"ids: .* at least one document, got \(5, 0\)"),
        ((5, 2), (5,), r"lengths: expected shape \(2,\), got \(1,\)"),
        ((5, 2), (5, 6), r"lengths: expected 0\.\.5 steps, got 6"),
        ((5, 2), (-1, 3), r"lengths: expected 0\.\.5 steps, got -1"),
    ],
)
def test_batches_that_do_not_fit(ids: tuple[int, ...], lengths: tuple[int, ...], message: str) -> None:
    model = tiny()
    given_ids, given_lengths = torch.zeros(ids, dtype=torch.int64), torch.tensor(lengths, dtype=torch.int64)
    with pytest.raises(DataError, match=message):
        model(given_ids, given_lengths)
    with pytest.raises(DataError, match=message):
        model.step(given_ids, given_lengths, model.begin(2))


def test_boundaries_where_they_belong() -> None:
    ids, lengths = torch.zeros(5, 2, dtype=torch.int64), torch.tensor([5, 5])
    with pytest.raises(DataError, match=r"boundaries: expected shape \(2,\) for pairs of texts, got None"):
        tiny("pair")(ids, lengths)
    with pytest.raises(DataError, match=r"boundaries: expected shape \(2,\) for pairs of texts, got shape \(3,\)"):
        tiny("pair").begin(2, torch.tensor([1, 2, 3]))
    with pytest.raises(DataError, match="boundaries: only for heads of pairs of texts, got them for a SingleLabelHead"):
        tiny()(ids, lengths, torch.tensor([1, 1]))


def test_bad_options() -> None:
    with pytest.raises(ConfigError, match="chunk_steps: expected a whole number of at least 1, got 0"):
        tiny(chunk_steps=0)
    with pytest.raises(ConfigError, match="gradient_steps: expected a whole number of at least 1, got -3"):
        tiny(gradient_steps=-3)
    with pytest.raises(ConfigError, match="batch_size: expected a whole number of at least 1, got 0"):
        tiny().begin(0)
