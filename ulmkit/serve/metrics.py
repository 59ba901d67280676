"""Figures of a running server, in the format of Prometheus."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_PROBABILITIES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)


class ServerMetrics:
    """Counters of requests, batches and answers; no texts are in them.

    Args:
        waiting: Returns the number of requests that wait for the model.
        streams: Returns the number of open streams.
    """

    def __init__(self, waiting: Callable[[], int], streams: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "ulmkit_requests", "Requests that were answered.", ("path", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "ulmkit_request_seconds",
            "Seconds from a request's headers to the end of its answer.",
            ("path",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._batch_texts = Histogram(
            "ulmkit_batch_texts", "Texts predicted together.", buckets=_TEXTS, registry=self.registry
        )
        self._answers = Counter("ulmkit_answers", "Texts by predicted label.", ("label",), registry=self.registry)
        self._probability = Histogram(
            "ulmkit_answer_probability",
            "Probability of the predicted label.",
            buckets=_PROBABILITIES,
            registry=self.registry,
        )
        waiting_gauge = Gauge("ulmkit_waiting_requests", "Requests that wait for the model.", registry=self.registry)
        waiting_gauge.set_function(waiting)
        Gauge("ulmkit_open_streams", "Texts that arrive in pieces.", registry=self.registry).set_function(streams)

    def count_request(self, path: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def count_batch(self, texts: int) -> None:
        """Count a batch."""
        self._batch_texts.observe(texts)

    def count_answers(self, counts: dict[str, int], probabilities: Iterable[float]) -> None:
        """Count answers by label, and the probabilities of those that are one label per text."""
        for label, count in counts.items():
            if count:
                self._answers.labels(label).inc(count)
        for probability in probabilities:
            self._probability.observe(probability)

    def text(self) -> bytes:
        """All figures, as Prometheus reads them."""
        return generate_latest(self.registry)
