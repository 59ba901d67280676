"""A new classifier takes the place of the served one while requests are on their way."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.hesitation import TEXTS

from ulmkit import TextClassifier
from ulmkit.api import Confidence
from ulmkit.evaluation import HeldOutAnswers
from ulmkit.hub import HeldOut
from ulmkit.serve import ServeOptions, create_app
from ulmkit.serve.retraining import Retraining
from ulmkit.serve.schemas import ExplainRequest, Prediction, PredictRequest, RunningRequest, StreamRequest
from ulmkit.serve.service import ClassifierService

CONFIDENCE = Confidence(max_error=0.05)


def decided(classifier: TextClassifier) -> TextClassifier:
    """A copy of a classifier that made no mistake on held-out documents, so that it never abstains."""
    ones = np.ones(400, dtype=np.int64)
    answers = HeldOutAnswers("made up", ones, ones, np.linspace(0.01, 1.0, 400), np.zeros(400))
    return TextClassifier(replace(classifier.parts, held_out=HeldOut(answers, None)))


def labels(predictions: Sequence[Prediction]) -> list[Any]:
    return [prediction.label for prediction in predictions]


def serve_two(
    first: TextClassifier, second: TextClassifier, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> ClassifierService:
    """A service of the first classifier, which can be told to use the second one."""
    monkeypatch.setattr(Retraining, "folder", Path("second"))
    options = ServeOptions(corrections=str(folder / "labels.csv"), retrain="lm", confidence=CONFIDENCE, workers=1)
    app = create_app(first, "first", options, load=lambda _: second)
    service: ClassifierService = app.state.service
    return service


def test_answers_are_of_the_classifier_that_was_asked(
    hesitant: TextClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = decided(hesitant)
    of_first, of_second = (each.selective(0.05).predict(TEXTS) for each in (hesitant, second))
    assert (of_first.count(None), of_second.count(None)) == (15, 0)
    unsure = TEXTS[of_first.index(None)]
    begun, may_end = threading.Event(), threading.Event()
    predict = hesitant.predict_proba

    def predict_slowly(texts: Sequence[str]) -> Any:
        begun.set()
        may_end.wait(30)
        return predict(texts)

    async def main() -> None:
        service = serve_two(hesitant, second, tmp_path, monkeypatch)
        stream = (await service.stream(StreamRequest(piece=unsure[:9]))).stream
        monkeypatch.setattr(hesitant, "predict_proba", predict_slowly)
        asked = asyncio.create_task(service.predict(PredictRequest(texts=TEXTS)))
        await asyncio.to_thread(begun.wait, 30)
        assert (await service.use_new()).name == "second"
        later = asyncio.create_task(service.predict(PredictRequest(texts=TEXTS)))
        may_end.set()
        assert labels((await asked).predictions) == of_first
        assert labels((await later).predictions) == of_second
        end = await service.stream(StreamRequest(piece=unsure[9:], stream=stream, finish=True))
        assert (end.label, end.abstained) == (None, True)
        whole = await service.stream(StreamRequest(piece=unsure, finish=True))
        assert (whole.label, whole.abstained) == (of_second[TEXTS.index(unsure)], False)
        await asyncio.to_thread(service.close)

    asyncio.run(main())


def test_an_explanation_on_its_way_is_of_one_classifier(
    hesitant: TextClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsure = TEXTS[hesitant.selective(0.05).predict(TEXTS).index(None)]
    may_begin = threading.Event()

    async def main() -> None:
        service = serve_two(hesitant, decided(hesitant), tmp_path, monkeypatch)
        held_up = asyncio.create_task(service._queue.call(lambda: may_begin.wait(30)))
        explained = asyncio.create_task(service.explain(ExplainRequest(text=unsure)))
        running = asyncio.create_task(service.running(RunningRequest(text=unsure)))
        await asyncio.sleep(0)
        await service.use_new()
        may_begin.set()
        await held_up
        assert (await explained).abstained
        assert (await running).points[-1].abstained
        assert not (await service.explain(ExplainRequest(text=unsure))).abstained
        await asyncio.to_thread(service.close)

    asyncio.run(main())
