"""The recurrent state that a language model's training carries from batch to batch."""

import torch

from ulmkit.model.config import AWDLSTMConfig
from ulmkit.model.language_model import AWDLSTMLanguageModel, LanguageModelConfig
from ulmkit.pipeline.language_model_task import LanguageModelTask
from ulmkit.text.batches import LanguageModelBatch

V = 31
ROWS = 200


def _task(reset_probability: float) -> LanguageModelTask:
    torch.manual_seed(0)
    sizes = AWDLSTMConfig(embedding_size=6, hidden_size=8, layers=2)
    model = AWDLSTMLanguageModel(LanguageModelConfig(encoder=sizes), V).eval()  # without dropout
    return LanguageModelTask(model, [], dict, ar=0.0, tar=0.0, reset_probability=reset_probability)  # type: ignore[arg-type]


def _batch(seed: int) -> LanguageModelBatch:
    ids = torch.randint(V, (5, ROWS), generator=torch.Generator().manual_seed(seed))
    return LanguageModelBatch(ids[:-1], ids[1:], 1.0, is_first=seed == 0)


def _states_after_two_batches(reset_probability: float) -> torch.Tensor:
    """Cell states of the second layer, (ROWS, E)."""
    task = _task(reset_probability)
    for seed in (0, 1):
        task.loss(_batch(seed))
    return task.state_dict()["c"][1]


def test_so_many_rows_begin_from_zeros() -> None:
    task = _task(0.0)
    task.loss(_batch(1))
    from_zeros = task.state_dict()["c"][1]
    carried = _states_after_two_batches(0.0)
    mixed = _states_after_two_batches(0.3)
    is_reset = torch.isclose(mixed, from_zeros, atol=1e-6).all(dim=1)
    is_carried = torch.isclose(mixed, carried, atol=1e-6).all(dim=1)
    assert (is_reset ^ is_carried).all()
    assert 0.2 < is_reset.float().mean() < 0.4


def test_no_random_number_is_drawn_without_resets() -> None:
    task = _task(0.0)
    task.loss(_batch(0))
    before = torch.get_rng_state()
    task.loss(_batch(1))
    assert torch.equal(torch.get_rng_state(), before)
