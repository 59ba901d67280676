"""A classifier that answers requests: checks them, queues them for the model, and counts the answers."""

import asyncio
import json
import logging
from collections.abc import Callable, Sequence

import numpy as np

from ulmkit.api import TextClassifier
from ulmkit.config import check_choice
from ulmkit.errors import ConfigError, DataError, FolderError
from ulmkit.pipeline import networks
from ulmkit.serve.batching import ModelQueue
from ulmkit.serve.corrections import Corrections
from ulmkit.serve.metrics import ServerMetrics
from ulmkit.serve.options import ServeOptions
from ulmkit.serve.promises import Promises
from ulmkit.serve.refusals import RefusalError
from ulmkit.serve.retraining import Retraining
from ulmkit.serve.schemas import (
    CorrectionRequest,
    CorrectionsAnswer,
    ExplainAnswer,
    ExplainRequest,
    InfoAnswer,
    PredictAnswer,
    Prediction,
    PredictRequest,
    RunningAnswer,
    RunningRequest,
    StreamAnswer,
    StreamRequest,
    TrainingAnswer,
)
from ulmkit.serve.served import Served
from ulmkit.serve.streams import Streams
from ulmkit.tasks import Outputs
from ulmkit.text import Text
from ulmkit.text.workers import available_processors

LOG = logging.getLogger("ulmkit.serve")


class ClassifierService:
    """A classifier behind a queue.

    Args:
        classifier: The classifier.
        name: Its name, for `info`.
        options: Limits of requests, and what the page may do.
        load: Loads a classifier that was trained again.

    Attributes:
        metrics: Figures of the requests.

    Raises:
        ConfigError: If the options ask for something that the classifier cannot do.
        FolderError: If it shall abstain, but keeps no held-out answers.
    """

    def __init__(
        self,
        classifier: TextClassifier,
        name: str,
        options: ServeOptions,
        load: Callable[[str], TextClassifier] = TextClassifier.load,
    ) -> None:
        self._served = Served.of(classifier, name, options)
        for promise in self._served.promises.describe():
            LOG.info("%s: %s", name, promise)
        self._load = load
        self._options = options
        self.metrics = ServerMetrics(lambda: self.waiting, lambda: len(self._streams))
        self.metrics.watch_drift(lambda: self._served.texts)
        workers = options.workers or _workers(classifier)
        self._queue = ModelQueue(options, self.metrics.count_batch, workers)
        self._streams = Streams(lambda: self._served, options)
        if options.corrections is not None and not classifier.parts.task.has_ladder:
            raise ConfigError(f"corrections: only for one label per text, got task {classifier.task!r}")
        self._corrections = None if options.corrections is None else Corrections(options.corrections)
        self._retraining: Retraining | None = None
        if self._corrections is not None and options.retrain is not None:
            self._retraining = Retraining(self._corrections, options)

    @property
    def waiting(self) -> int:
        """Number of requests that wait for the model."""
        return self._queue.waiting

    def close(self) -> None:
        """Finish what the model is doing, and stop a training."""
        self._queue.close()
        self._served.texts.close()
        if self._retraining is not None:
            self._retraining.close()

    def info(self) -> InfoAnswer:
        """Describe the classifier and the limits of requests."""
        return self._served.info(self._options)

    async def predict(self, request: PredictRequest) -> PredictAnswer:
        """Predict for the texts of a request.

        Raises:
            RefusalError: If there are too many texts, one is too long, or the error cannot be promised.
            DataError: If they do not fit the task.
            ConfigError: If no threshold reaches the error.
        """
        if (request.text is None) == (request.texts is None):
            raise DataError("request: expected `text` or `texts`, got both or neither")
        served = self._served
        texts = [self._checked("text", request.text)] if request.texts is None else self._checked_texts(request.texts)
        self._log(texts)
        if not texts:
            return PredictAnswer(predictions=[])
        promises = await _promises_for(served, request)
        outputs = await self._queue.predict(served.classifier.predict_proba, texts)
        served.texts.add(texts, outputs)
        predictions = served.answers(outputs, texts, request.threshold, promises)
        self._count(served, outputs, predictions)
        return PredictAnswer(predictions=predictions)

    async def stream(self, request: StreamRequest) -> StreamAnswer:
        """Read a piece of a text, and predict for the text so far.

        Raises:
            RefusalError: If there is no such stream, a limit is reached, or the error cannot be promised.
            ConfigError: If the classifier cannot read in pieces, or no threshold reaches the error.
        """
        stream = self._streams.take(request.stream, request.piece)
        self._log([request.piece])
        is_answered = False
        try:
            promises = await _promises_for(stream.served, request)
            output = await self._queue.call(lambda: stream.read(request.piece, request.finish))
            # The text itself is not needed: tasks that read in pieces decide without it.
            (prediction,) = stream.served.answers(output[None], [""], request.threshold, promises)
            is_answered = True
        finally:
            self._streams.release(stream)
            if request.finish or not is_answered:  # the client cannot know whether a refused piece was read
                self._streams.close(stream.name)
        return StreamAnswer(
            **dict(prediction),
            stream=stream.name,
            characters=stream.characters,
            finished=request.finish,
        )

    async def explain(self, request: ExplainRequest) -> ExplainAnswer:
        """Predict for a text, and weigh its words.

        Raises:
            RefusalError: If the text is too long.
            ConfigError: If the classifier does not predict one label per text, or there is no such label or method.
        """
        served = self._served
        text = self._checked("text", request.text)
        self._log([text])
        return await self._queue.call(lambda: served.explain(text, request.label, request.method))

    async def running(self, request: RunningRequest) -> RunningAnswer:
        """Predict for a text after each of its words.

        Raises:
            RefusalError: If the text is too long.
            ConfigError: If the classifier cannot read in pieces.
        """
        served = self._served
        text = self._checked("text", request.text)
        self._log([text])
        return await self._queue.call(lambda: served.running(text, request.points))

    def correct(self, request: CorrectionRequest) -> CorrectionsAnswer:
        """Keep a checked label in the file.

        Raises:
            RefusalError: If the server keeps none, or the text is too long.
            ConfigError: If there is no such label.
        """
        if self._corrections is None:
            raise RefusalError(404, "corrections: the server keeps none; start it with --corrections FILE.csv")
        self._log([self._checked("text", request.text)])
        if request.label is not None:
            check_choice("label", request.label, self._served.classifier.labels)
        self._corrections.set(request.text, request.label)
        return self.corrections()

    def corrections(self) -> CorrectionsAnswer:
        """Tell how many labels were checked."""
        corrections = self._corrections
        return CorrectionsAnswer(
            saves=corrections is not None,
            file=None if corrections is None else corrections.file.name,
            checked=0 if corrections is None else len(corrections),
            trains=self._retraining is not None,
        )

    def train(self) -> TrainingAnswer:
        """Start to train a new classifier."""
        self._training.start(self._served.classifier.labels)
        return self._training.state()

    def training(self) -> TrainingAnswer:
        """Tell how far the training is."""
        return self._training.state()

    async def use_new(self) -> InfoAnswer:
        """Serve the new classifier from now on.

        Raises:
            RefusalError: If there is none, it has other labels, or it cannot promise what the former one did.
        """
        folder = self._training.folder
        if folder is None:
            raise RefusalError(409, "training: expected one that is done, got none")
        new = await asyncio.to_thread(self._load, str(folder))
        if (new.task, new.labels) != (self._served.classifier.task, self._served.classifier.labels):
            raise RefusalError(409, f"the new classifier has other labels; stop the server and serve {folder.name}")
        try:
            served = await asyncio.to_thread(Served.of, new, folder.name, self._options)
        except (ConfigError, FolderError) as error:
            LOG.warning("%s: %s", folder.name, error)
            raise RefusalError(
                409,
                "the new classifier cannot promise as few errors as this one: it was tested on too few texts, or errs "
                "too often; check more texts and train again (the server's log says more)",
            ) from None
        former, self._served = self._served, served
        await asyncio.to_thread(former.texts.close)
        return self.info()

    @property
    def _training(self) -> Retraining:
        if self._retraining is None:
            raise RefusalError(404, "training: the server does none; start it with --corrections and --retrain")
        return self._retraining

    def _checked_texts(self, texts: Sequence[object]) -> list[Text]:
        """Check number, type and length of texts; an error names the text by its place, counted from 0 as in JSON."""
        most = self._options.max_texts
        if len(texts) > most:
            raise RefusalError(413, f"texts: expected at most {most:,}, got {len(texts):,}; send several requests")
        return [self._checked(f"texts[{place}]", text) for place, text in enumerate(texts)]

    def _checked(self, name: str, text: object) -> Text:
        """Check type and length of a text."""
        checked = self._served.classifier.parts.task.as_text(text, name)
        longest = self._options.max_characters
        length = len(checked) if isinstance(checked, str) else sum(map(len, checked))
        if length > longest:
            raise RefusalError(413, f"{name}: expected at most {longest:,} characters, got {length:,}")
        return checked

    def _log(self, texts: Sequence[Text]) -> None:
        if self._options.log_texts:
            for text in texts:
                LOG.info("text %s", json.dumps(text, ensure_ascii=False))

    def _count(self, served: Served, outputs: Outputs, predictions: Sequence[Prediction]) -> None:
        """Count the answers to a request."""
        task = served.classifier.parts.task
        counts = task.count_answers([prediction.label for prediction in predictions], served.classifier.labels)
        sure = [float(np.max(output)) for output in outputs] if task.is_one_class else []
        self.metrics.count_answers(counts, sure, sum(prediction.abstained for prediction in predictions))


async def _promises_for(served: Served, request: PredictRequest | StreamRequest) -> Promises:
    """Choose what is promised to a request; a threshold of its own takes a moment, so a thread computes it."""
    if request.max_error is None:
        return served.promises
    return await asyncio.to_thread(served.promises_with_error, request.max_error)


def _workers(classifier: TextClassifier) -> int:
    """Number of batches to predict at once: as many networks as have processors of their own; one on a GPU.

    Linear members take one at a time, since most of their work holds Python's lock.
    """
    devices = {network.model.encoder.device.type for network in networks(classifier.members)}
    if devices != {"cpu"}:
        return 1
    import torch

    return max(1, available_processors() // torch.get_num_threads())
