"""Generation against exhaustive search and hand-worked supports."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.models import make_language_model
from torch import Tensor

from ulmkit.errors import ConfigError, DataError, UlmkitError
from ulmkit.model.generation import Continuation, beam_search, next_token_probabilities, sample
from ulmkit.model.language_model import AWDLSTMLanguageModel

V = 4


def tiny(seed: int = 0, **options: int) -> AWDLSTMLanguageModel:
    """In float64, with weights large enough that continuations differ in probability."""
    torch.manual_seed(seed)
    model = make_language_model(V, embedding_size=5, hidden_size=6, layers=2, **options).double()
    state = model.state_dict()
    for value in state.values():
        value.normal_()
    model.load_state_dict(state)
    return model.eval()


def log_probability(model: AWDLSTMLanguageModel, prompt: list[int], ids: tuple[int, ...]) -> float:
    """By one pass over the whole sequence."""
    sequence = torch.tensor([*prompt, *ids]).unsqueeze(1)
    nll, _ = model.token_nll(sequence[:-1], sequence[1:])
    return -float(nll[len(prompt) - 1 :].sum())


def every_continuation(steps: int, stop: tuple[int, ...], forbidden: tuple[int, ...] = ()) -> set[tuple[int, ...]]:
    found = set()
    for ids in itertools.product([i for i in range(V) if i not in forbidden], repeat=steps):
        ends = [place + 1 for place, token in enumerate(ids) if token in stop]
        found.add(ids[: ends[0] if ends else steps])
    return found


# probabilities --------------------------------------------------------------------------------------------------------

P = torch.tensor([[0.1, 0.5, 0.15, 0.25]])


def probabilities(**options: object) -> list[float]:
    return next_token_probabilities(P.log(), **options)[0].tolist()  # type: ignore[arg-type]


def test_no_options_is_the_softmax() -> None:
    logits = torch.randn(3, 50)
    torch.testing.assert_close(next_token_probabilities(logits), logits.softmax(dim=-1))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"top_k": 1}, [0, 1, 0, 0]),
        ({"top_k": 2}, [0, 2 / 3, 0, 1 / 3]),
        ({"top_k": 99}, [0.1, 0.5, 0.15, 0.25]),
        ({"top_p": 0.01}, [0, 1, 0, 0]),
        ({"top_p": 0.49}, [0, 1, 0, 0]),
        ({"top_p": 0.51}, [0, 2 / 3, 0, 1 / 3]),
        ({"top_p": 0.76}, [0, 0.5 / 0.9, 0.15 / 0.9, 0.25 / 0.9]),
        ({"top_p": 1.0}, [0.1, 0.5, 0.15, 0.25]),
        ({"top_k": 3, "top_p": 0.6}, [0, 2 / 3, 0, 1 / 3]),  # of the three, 0.5 / 0.9 is still short of 0.6
        ({"top_k": 3, "top_p": 0.55}, [0, 1, 0, 0]),  # but not of 0.55
        ({"forbidden": (1,)}, [0.2, 0, 0.3, 0.5]),
        ({"forbidden": (1, 3), "top_k": 1}, [0, 0, 1, 0]),
        ({"temperature": 0.5}, [0.01 / 0.345, 0.25 / 0.345, 0.0225 / 0.345, 0.0625 / 0.345]),  # squares
        ({"temperature": 0.0}, [0, 1, 0, 0]),
        ({"temperature": 0.0, "forbidden": (1,)}, [0, 0, 0, 1]),
        ({"temperature": 1e-5}, [0, 1, 0, 0]),
        ({"temperature": 1e-320}, [0, 1, 0, 0]),
        ({"temperature": 1e6}, [0.25, 0.25, 0.25, 0.25]),
        ({"temperature": 1e6, "top_k": 2}, [0, 0.5, 0, 0.5]),
        ({"temperature": 1e6, "forbidden": (0,)}, [0, 1 / 3, 1 / 3, 1 / 3]),
    ],
)
def test_probabilities_by_hand(options: dict[str, object], expected: list[float]) -> None:
    assert probabilities(**options) == pytest.approx(expected, abs=1e-4)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 12), st.floats(0.01, 0.999) | st.just(1.0), st.floats(0.05, 20.0))
def test_support_is_the_fewest_most_probable_that_reach_top_p(
    seed: int, top_k: int, top_p: float, temperature: float
) -> None:
    logits = torch.randn(2, 9, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2
    found = next_token_probabilities(logits, temperature=temperature, top_k=top_k, top_p=top_p)
    torch.testing.assert_close(found.sum(dim=-1), torch.ones(2, dtype=torch.float64))
    for row, full in zip(found, (logits / temperature).softmax(dim=-1), strict=True):
        ranked = full.sort(descending=True).indices.tolist()[:top_k]
        mass = [float(full[i]) / float(full[ranked].sum()) for i in ranked]
        fewest = len(ranked) if top_p == 1.0 else next(n for n in range(1, 10) if sum(mass[:n]) >= top_p)
        support = sorted(ranked[:fewest])
        assert row.nonzero().flatten().tolist() == support
        torch.testing.assert_close(row[support], full[support] / full[support].sum())


# sampling -------------------------------------------------------------------------------------------------------------


def test_sampling_follows_the_model() -> None:
    """Frequencies of the first token and of pairs of tokens; tolerance: five standard deviations."""
    model, prompt, draws = tiny(), [1, 2], 4000
    torch.manual_seed(0)
    found = sample(model, torch.tensor(prompt).unsqueeze(1).expand(-1, draws), 2)
    for ids in itertools.product(range(V), repeat=2):
        expected = math.exp(log_probability(model, prompt, ids))
        frequency = sum(continuation.ids == ids for continuation in found) / draws
        assert frequency == pytest.approx(expected, abs=5 * math.sqrt(expected / draws) + 1e-3)


def test_log_probability_is_the_models_own() -> None:
    model = tiny()
    prompts = torch.tensor([[0, 3], [1, 1], [2, 0]])
    found = sample(model, prompts, 6, temperature=3.0, top_k=3, forbidden=(2,), stop=(3,))
    for document, continuation in enumerate(found):
        expected = log_probability(model, prompts[:, document].tolist(), continuation.ids)
        assert continuation.log_probability == pytest.approx(expected)


def test_a_mixture_of_softmaxes_resumes_like_any_model() -> None:
    model, prompts = tiny(softmax_experts=3, last_hidden_size=7), torch.tensor([[0, 3], [1, 1]])
    for continuation, prompt in zip(sample(model, prompts, 4), prompts.T.tolist(), strict=True):
        expected = log_probability(model, prompt, continuation.ids)
        assert continuation.log_probability == pytest.approx(expected)
    best = beam_search(model, torch.tensor([2, 0]), 2, width=V**2)
    every = {ids: log_probability(model, [2, 0], ids) for ids in every_continuation(2, ())}
    assert [found.ids for found in best] == sorted(every, key=every.__getitem__, reverse=True)


def test_the_same_generator_gives_the_same_text() -> None:
    model, prompt = tiny(), torch.zeros(1, 3, dtype=torch.int64)

    def draw(seed: int) -> list[Continuation]:
        return sample(model, prompt, 20, generator=torch.Generator().manual_seed(seed))

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def greedy(model: AWDLSTMLanguageModel, prompt: list[int], steps: int) -> tuple[int, ...]:
    ids: list[int] = []
    for _ in range(steps):
        logits, _ = model(torch.tensor([*prompt, *ids]).unsqueeze(1))
        ids.append(int(logits[-1, 0].argmax()))
    return tuple(ids)


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"temperature": 1e-4}, {"top_k": 1}, {"top_p": 1e-6}])
def test_cold_sampling_is_greedy(options: dict[str, float]) -> None:
    model = tiny()
    (found,) = sample(model, torch.tensor([[1], [2]]), 8, **options)  # type: ignore[arg-type]
    assert found.ids == greedy(model, [1, 2], 8)


def test_forbidden_ids_never_come_and_stops_end() -> None:
    found = sample(tiny(), torch.zeros(1, 200, dtype=torch.int64), 30, temperature=2.0, forbidden=(2,), stop=(3, 1))
    assert {len(continuation.ids) for continuation in found} != {30}
    for continuation in found:
        assert 2 not in continuation.ids
        assert not set(continuation.ids[:-1]) & {1, 3}
        assert len(continuation.ids) == 30 or continuation.ids[-1] in (1, 3)


def test_prompts_go_on_independently() -> None:
    model = tiny()
    prompts = torch.tensor([[0, 1, 2, 3], [3, 2, 1, 0]])
    together = sample(model, prompts, 7, temperature=0.0, stop=(2,))
    alone = [sample(model, prompts[:, i : i + 1], 7, temperature=0.0, stop=(2,))[0] for i in range(4)]
    assert [continuation.ids for continuation in together] == [continuation.ids for continuation in alone]


# beam search ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [(), (3,), (0, 2)])
@pytest.mark.parametrize("length_power", [0.0, 1.0])
def test_a_beam_of_all_continuations_is_exhaustive_search(stop: tuple[int, ...], length_power: float) -> None:
    model, prompt, steps = tiny(), [2, 0, 1], 3
    found = beam_search(
        model, torch.tensor(prompt), steps, width=V**steps, stop=stop, length_power=length_power, forbidden=(1,)
    )
    everything = {ids: log_probability(model, prompt, ids) for ids in every_continuation(steps, stop, (1,))}
    assert {continuation.ids for continuation in found} == everything.keys()
    assert len(found) == len(everything)
    for continuation in found:
        assert continuation.log_probability == pytest.approx(everything[continuation.ids])
    ranking = [c.log_probability / len(c.ids) ** length_power for c in found]
    assert ranking == sorted(ranking, reverse=True)


def naive_beam(model: AWDLSTMLanguageModel, prompt: list[int], steps: int, width: int, stop: tuple[int, ...]) -> list:
    """Every candidate scored by a pass over the whole sequence."""
    beams: list[tuple[int, ...]] = [()]
    for _ in range(steps):
        ended = [ids for ids in beams if ids and ids[-1] in stop]
        grown = [(*ids, token) for ids in beams if ids not in ended for token in range(V)]
        beams = sorted(ended + grown, key=lambda ids: -log_probability(model, prompt, ids))[:width]
    return beams


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 5), st.sampled_from([(), (3,)]))
def test_a_narrow_beam_against_a_naive_one(seed: int, width: int, stop: tuple[int, ...]) -> None:
    model = tiny(seed)
    found = beam_search(model, torch.tensor([1]), 4, width=width, stop=stop)
    assert [continuation.ids for continuation in found] == naive_beam(model, [1], 4, width, stop)


def test_a_beam_of_one_is_greedy() -> None:
    model = tiny()
    (found,) = beam_search(model, torch.tensor([1, 2]), 8, width=1)
    assert found.ids == greedy(model, [1, 2], 8)


# errors ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"temperature": -1.0}, ConfigError, "temperature: expected a number of at least 0, got -1.0"),
        ({"temperature": math.nan}, ConfigError, "temperature: .* got nan"),
        ({"top_k": 0}, ConfigError, "top_k: expected a whole number of at least 1, got 0"),
        ({"top_p": 0.0}, ConfigError, "top_p: expected 0 < p <= 1, got 0.0"),
        ({"top_p": 1.1}, ConfigError, "top_p: expected 0 < p <= 1, got 1.1"),
        ({"forbidden": (0, 1, 2, 3)}, DataError, "forbidden: expected to leave at least one token, got all 4"),
        ({"forbidden": (4,)}, DataError, r"forbidden: expected ids of 0\.\.3, got 4"),
        ({"stop": (-1,)}, DataError, r"stop: expected ids of 0\.\.3, got -1"),
        ({"steps": 0}, ConfigError, "steps: expected a whole number of at least 1, got 0"),
        ({"prompt": torch.tensor([[4]])}, DataError, r"prompt: expected ids of 0\.\.3, got 4"),
        ({"prompt": torch.tensor([1])}, DataError, r"prompt: expected shape \(P, B\) .* got \(1,\)"),
        ({"prompt": torch.zeros(0, 1, dtype=torch.int64)}, DataError, r"prompt: .* at least one token, got \(0, 1\)"),
    ],
)
def test_bad_requests_to_sample(options: dict[str, object], error: type[UlmkitError], message: str) -> None:
    values = {"prompt": torch.tensor([[1]]), "steps": 2, **options}
    with pytest.raises(error, match=message):
        sample(tiny(), **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"width": 0}, ConfigError, "width: expected a whole number of at least 1, got 0"),
        ({"length_power": -1.0}, ConfigError, "length_power: expected a number of at least 0, got -1.0"),
        ({"prompt": torch.tensor([[1]])}, DataError, r"prompt: expected shape \(P,\) .* got \(1, 1\)"),
        ({"forbidden": (7,)}, DataError, r"forbidden: expected ids of 0\.\.3, got 7"),
    ],
)
def test_bad_requests_to_beam_search(options: dict[str, object], error: type[UlmkitError], message: str) -> None:
    values = {"prompt": torch.tensor([1]), "steps": 2, "width": 2, **options}
    with pytest.raises(error, match=message):
        beam_search(tiny(), **values)  # type: ignore[arg-type]


def test_a_model_in_training_mode() -> None:
    prompt: Tensor = torch.tensor([[1]])
    with pytest.raises(ConfigError, match="model: expected evaluation mode, got training mode"):
        sample(tiny().train(), prompt, 2)
    with pytest.raises(ConfigError, match="model: expected evaluation mode, got training mode"):
        beam_search(tiny().train(), prompt[0], 2, width=2)
