"""A classifier that answers requests: checks them, queues them for the model, and counts the answers."""

import asyncio
import json
import logging
import os
from collections.abc import Callable, Sequence

import numpy as np

import ulmkit
from ulmkit.api import TextClassifier
from ulmkit.api.common import as_texts
from ulmkit.config import check_choice
from ulmkit.errors import ConfigError, DataError, FolderError
from ulmkit.hub import member_name
from ulmkit.pipeline import networks
from ulmkit.serve.batching import ModelQueue
from ulmkit.serve.corrections import Corrections
from ulmkit.serve.metrics import ServerMetrics
from ulmkit.serve.options import ServeOptions
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
    RunningPoint,
    RunningRequest,
    StreamAnswer,
    StreamRequest,
    TrainingAnswer,
    WeighedWord,
)
from ulmkit.serve.served import Served
from ulmkit.serve.streams import Streams
from ulmkit.tasks import Outputs
from ulmkit.text import Text

LOG = logging.getLogger("ulmkit.serve")

_LIMITS = ("max_texts", "max_characters", "max_bytes", "max_streams", "stream_seconds", "timeout_seconds")


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
        self._queue = ModelQueue(self._predict_batch, options, self.metrics.count_batch, workers)
        self._streams = Streams(lambda: self._classifier.stream(), options)
        if options.corrections is not None and not classifier.parts.task.has_ladder:
            raise ConfigError(f"corrections: only for one label per text, got task {classifier.task!r}")
        self._corrections = None if options.corrections is None else Corrections(options.corrections)
        self._retraining: Retraining | None = None
        if self._corrections is not None and options.retrain is not None:
            self._retraining = Retraining(self._corrections, options)

    @property
    def _classifier(self) -> TextClassifier:
        return self._served.classifier

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
        classifier = self._classifier
        return InfoAnswer(
            name=self._served.name,
            task=classifier.task,
            labels=list(classifier.labels),
            members=[member_name(member) for member in classifier.members],
            streams=classifier.can_stream,
            explains=classifier.parts.task.has_ladder,
            validation=dict(classifier.parts.facts.validation),
            abstains=self._served.promises.abstains,
            miscoverage=self._served.promises.miscoverage,
            limits={name: getattr(self._options, name) for name in _LIMITS},
            ulmkit=ulmkit.__version__,
        )

    async def predict(self, request: PredictRequest) -> PredictAnswer:
        """Predict for the texts of a request.

        Raises:
            RefusalError: If there are too many texts, or one is too long.
            DataError: If they do not fit the task.
        """
        if (request.text is None) == (request.texts is None):
            raise DataError("request: expected `text` or `texts`, got both or neither")
        texts = self._checked([request.text] if request.texts is None else request.texts)
        outputs = await self._queue.predict(texts) if texts else []
        return PredictAnswer(predictions=self._answers(outputs, texts, request.threshold))

    async def stream(self, request: StreamRequest) -> StreamAnswer:
        """Read a piece of a text, and predict for the text so far.

        Raises:
            RefusalError: If there is no such stream, or a limit is reached.
            ConfigError: If the classifier cannot read in pieces.
        """
        stream = self._streams.take(request.stream, request.piece)
        self._log([request.piece])
        is_answered = False
        try:
            output = await self._queue.call(lambda: stream.read(request.piece, request.finish))
            # The text itself is not needed: tasks that read in pieces decide without it.
            (prediction,) = self._predictions(output[None], [""], request.threshold)
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
        if not self._classifier.parts.task.has_ladder:
            raise ConfigError(
                f"explain: only for one label per text, got a classifier of task {self._classifier.task!r}"
            )
        texts = self._checked([request.text])
        labels = None if request.label is None else [request.label]

        def run() -> ExplainAnswer:
            outputs = self._classifier.predict_proba(texts)
            (prediction,) = self._predictions(outputs, texts)
            (explanation,) = self._classifier.explain(texts, labels=labels, method=request.method)
            words = []
            for word in explanation.words:
                start, end = word.span or (None, None)
                words.append(WeighedWord(word=word.word, start=start, end=end, weight=word.weight))
            return ExplainAnswer(
                **dict(prediction),
                explained_label=explanation.label,
                log_odds=explanation.log_odds,
                words=words,
                baseline=explanation.baseline,
            )

        return await self._queue.call(run)

    async def running(self, request: RunningRequest) -> RunningAnswer:
        """Predict for a text after each of its words.

        Raises:
            RefusalError: If the text is too long.
            ConfigError: If the classifier cannot read in pieces.
        """
        texts = self._checked([request.text])

        def run() -> RunningAnswer:
            (running,) = self._classifier.running_probabilities(texts, points=request.points)
            # As in `stream`: tasks that read in pieces decide without the text.
            predictions = self._predictions(running.outputs, [""] * len(running.read))
            points = []
            for read, prediction in zip(running.read.tolist(), predictions, strict=True):
                span = running.words[read - 1].span if read else None
                points.append(RunningPoint(**dict(prediction), read=read, end=None if span is None else span[1]))
            return RunningAnswer(words=len(running.words), points=points)

        return await self._queue.call(run)

    def correct(self, request: CorrectionRequest) -> CorrectionsAnswer:
        """Keep a checked label in the file.

        Raises:
            RefusalError: If the server keeps none, or the text is too long.
            ConfigError: If there is no such label.
        """
        if self._corrections is None:
            raise RefusalError(404, "corrections: the server keeps none; start it with --corrections FILE.csv")
        self._checked([request.text])
        if request.label is not None:
            check_choice("label", request.label, self._classifier.labels)
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
        self._training.start(self._classifier.labels)
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
        if (new.task, new.labels) != (self._classifier.task, self._classifier.labels):
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

    def _predict_batch(self, texts: Sequence[Text]) -> Outputs:
        return self._classifier.predict_proba(texts)

    def _checked(self, texts: Sequence[object]) -> list[Text]:
        """Check number, type and length of texts."""
        most = self._options.max_texts
        if len(texts) > most:
            raise RefusalError(413, f"texts: expected at most {most:,}, got {len(texts):,}; send several requests")
        checked = as_texts(texts, self._classifier.parts.task)  # type: ignore[arg-type]
        longest = self._options.max_characters
        for number, text in enumerate(checked):
            length = len(text) if isinstance(text, str) else sum(map(len, text))
            if length > longest:
                raise RefusalError(413, f"text {number}: expected at most {longest:,} characters, got {length:,}")
        self._log(checked)
        return checked

    def _log(self, texts: Sequence[Text]) -> None:
        if self._options.log_texts:
            for text in texts:
                LOG.info("text %s", json.dumps(text, ensure_ascii=False))

    def _predictions(self, outputs: Outputs, texts: Sequence[Text], threshold: float = 0.5) -> list[Prediction]:
        labels = self._classifier.decide(outputs, texts, threshold=threshold)
        promised = self._served.promises.fields(outputs)
        return [
            Prediction(**{"label": label, "probabilities": self._named(output), **fields})
            for label, output, fields in zip(labels, outputs, promised, strict=True)
        ]

    def _answers(self, outputs: Outputs, texts: Sequence[Text], threshold: float) -> list[Prediction]:
        """Make predictions and count them."""
        if not texts:
            return []
        self._served.texts.add(texts, outputs)
        predictions = self._predictions(outputs, texts, threshold)
        task = self._classifier.parts.task
        counts = task.count_answers([prediction.label for prediction in predictions], self._classifier.labels)
        sure = [float(np.max(output)) for output in outputs] if task.is_one_class else []
        self.metrics.count_answers(counts, sure, sum(prediction.abstained for prediction in predictions))
        return predictions

    def _named(self, output: np.ndarray) -> dict[str, float] | list[dict[str, float]] | None:
        """Probabilities by label, with all their digits."""
        labels = self._classifier.labels
        values = np.asarray(output).tolist()
        if np.ndim(output) == 0:
            return None
        if np.ndim(output) == 1:
            return dict(zip(labels, values, strict=True))
        return [dict(zip(labels, row, strict=True)) for row in values]


def _workers(classifier: TextClassifier) -> int:
    """Number of batches to predict at once: as many networks as have processors of their own; one on a GPU.

    Linear members take one at a time, since most of their work holds Python's lock.
    """
    devices = {network.model.encoder.device.type for network in networks(classifier.members)}
    if devices != {"cpu"}:
        return 1
    import torch

    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, processors // torch.get_num_threads())
