"""Drift of served texts: measures of a sample of them beside those of held-out texts of the training."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ulmkit.api import TextClassifier
from ulmkit.api.drift import measure_texts
from ulmkit.evaluation import TextMeasures, find_periods
from ulmkit.evaluation.drift import PeriodDrift
from ulmkit.serve.guard import log_error
from ulmkit.tasks import Outputs
from ulmkit.text import Text

LEVEL = 0.01
MIN_EFFECT = 0.1
"""Smallest effect that counts as drift; both as `ulmkit drift` has them unless told otherwise."""

_WINDOW = 1000  # texts, as many as a model folder keeps measures of
_MOST_CHARACTERS = 50_000  # the measuring of a longer text would delay the end of the server


class ServedTexts:
    """Predicted labels of all served texts, and measures of a sample of them.

    A language model reads each text that is measured, which takes longer than most answers. So one text at a time is
    measured, drawn from a request, in a thread that then rests until it was busy for the given share of the time. The
    newest 1,000 measures are kept, and none of the texts.

    Args:
        classifier: The classifier.
        share: Part of the time in which texts are measured; 0 measures none.
        clock: Returns the time in seconds.
    """

    def __init__(self, classifier: TextClassifier, share: float, clock: Callable[[], float] = time.monotonic) -> None:
        kept = classifier.parts.held_out
        self._classifier = classifier
        self._held_out = None if kept is None else kept.texts
        self._share = share
        self._clock = clock
        self._counts = np.zeros(len(classifier.labels), dtype=np.int64)
        self._sample: deque[TextMeasures] = deque(maxlen=_WINDOW)
        self._draw = np.random.default_rng()
        self._lock = threading.Lock()
        self._is_busy = False
        self._is_closed = False
        self._next = -np.inf
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ulmkit-drift")

    def add(self, texts: Sequence[Text], outputs: Outputs) -> None:
        """Count the predicted labels of served texts, and measure one of them if it is time to.

        Args:
            texts: The texts of a request, at least one.
            outputs: What the classifier's `predict_proba` says of each.
        """
        if self._classifier.parts.task.is_one_class:
            predicted = np.asarray(outputs).argmax(axis=1)
            self._counts += np.bincount(predicted, minlength=len(self._counts))
        if self._held_out is None or not self._share or self._is_busy or self._clock() < self._next:
            return
        drawn = int(self._draw.integers(len(texts)))
        text = texts[drawn]
        if (len(text) if isinstance(text, str) else sum(map(len, text))) <= _MOST_CHARACTERS:
            with self._lock:
                if not self._is_closed:  # else a new classifier has come, and this is for a request to the former one
                    self._is_busy = True
                    self._thread.submit(self._measure, text, outputs[drawn : drawn + 1])

    def close(self) -> None:
        """Measure no more texts, and let the thread end."""
        with self._lock:
            self._is_closed = True
        self._thread.shutdown(cancel_futures=True)

    @property
    def held_out_texts(self) -> int:
        """Number of held-out texts that the classifier keeps measures of."""
        return 0 if self._held_out is None else len(self._held_out)

    @property
    def sampled_texts(self) -> int:
        """Number of measured texts."""
        return len(self._sample)

    def class_shares(self) -> dict[str, float]:
        """Share of each label among the most probable labels of all served texts; {} without any."""
        return _shares(self._classifier.labels, self._counts)

    def held_out_class_shares(self) -> dict[str, float]:
        """Share of each label among the most probable labels of the held-out texts; {} if they are not kept."""
        if self._held_out is None or self._held_out.predicted is None or self._classifier.backward is not None:
            return {}
        labels = self._classifier.labels
        return _shares(labels, np.bincount(self._held_out.predicted, minlength=len(labels)))

    def compare(self) -> PeriodDrift | None:
        """Compare the measured texts with the held-out ones, as `ulmkit drift` does; None without any."""
        with self._lock:
            sample = list(self._sample)
        if self._held_out is None or not sample:
            return None
        (period,) = find_periods(
            self._held_out,
            TextMeasures.join(sample),
            None,
            self._classifier.labels,
            level=LEVEL,
            min_effect=MIN_EFFECT,
        )
        return period

    def _measure(self, text: Text, output: Outputs) -> None:
        begin = self._clock()
        try:
            measures = measure_texts(self._classifier, [text], output)
            assert self._held_out is not None
            # A measure that is not finite is missing: the text cannot stand beside the others then.
            if set(self._held_out.values) <= set(measures.values):
                with self._lock:
                    self._sample.append(measures)
        except Exception as error:
            log_error(error)
        finally:
            now = self._clock()
            self._next = now + (now - begin) * (1.0 / self._share - 1.0)
            self._is_busy = False


def _shares(labels: Sequence[str], counts: np.ndarray) -> dict[str, float]:
    total = counts.sum()
    return dict(zip(labels, (counts / total).tolist(), strict=True)) if total else {}
