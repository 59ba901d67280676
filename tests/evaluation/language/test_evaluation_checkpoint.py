"""Dynamic evaluation that is stopped resumes to the same result."""

from pathlib import Path

import pytest
from support.streams import CACHE, CONTEXT, SGD, ids, tiny_model

from ulmkit.errors import ConfigError, FolderError
from ulmkit.evaluation import CacheConfig, DynamicConfig, Perplexity, dynamic_perplexities
from ulmkit.evaluation.language import evaluation_checkpoint
from ulmkit.model.cells import QRNN, Mogrifier

CACHES = (None, CACHE, CacheConfig(window=3, theta=1.0, weight=0.3))


def evaluate(checkpoint: Path | None, stop_after: int | None = None, seed: int = 1, **options) -> list[Perplexity]:
    def interrupt(done: int, _: int) -> None:
        if done == stop_after:
            raise KeyboardInterrupt

    config = options.pop("config", SGD)
    return dynamic_perplexities(
        tiny_model(**options),
        ids(60, seed),
        config,
        CACHES,
        first_context=CONTEXT,
        progress=interrupt,
        checkpoint=checkpoint,
    )


@pytest.mark.parametrize("options", [{}, {"cell": QRNN()}], ids=str)
@pytest.mark.parametrize("stop_after", [10, 25])
def test_a_stopped_evaluation_resumes_to_the_same_result(options: dict, stop_after: int, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(evaluation_checkpoint, "SECONDS_BETWEEN", 0.0)
    file = tmp_path / "unfinished"
    with pytest.raises(KeyboardInterrupt):
        evaluate(file, stop_after, **options)
    seen: list[int] = []
    monkeypatch.setattr(
        evaluation_checkpoint.EvaluationCheckpoint, "write", lambda self, tensors: seen.append(int(tensors["done"]))
    )
    assert evaluate(file, **options) == evaluate(None, **options)
    assert seen[0] == stop_after  # the last checkpoint is from before the stop; the segment after it is read again
    assert not file.exists()


def test_nothing_is_written_within_a_few_minutes(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt):
        evaluate(tmp_path / "unfinished", 10)
    assert not list(tmp_path.iterdir())


def test_another_evaluation_is_refused(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(evaluation_checkpoint, "SECONDS_BETWEEN", 0.0)
    file = tmp_path / "unfinished"
    with pytest.raises(KeyboardInterrupt):
        evaluate(file, 10)
    others = ({"seed": 2}, {"config": DynamicConfig(learning_rate=0.2, decay=0.02, rule="sgd")}, {"cell": Mogrifier()})
    for other in others:
        with pytest.raises(ConfigError, match="belongs to another model, text or setting; give another file"):
            evaluate(file, **other)
    file.write_text("something else")
    with pytest.raises(FolderError, match="expected an unfinished evaluation, got .*; remove it"):
        evaluate(file)
