"""Figures of a running server, in the format of Prometheus."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily

if TYPE_CHECKING:
    from ulmkit.serve.drift import ServedTexts

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
        self._abstained = Counter(
            "ulmkit_abstained", "Texts for which the classifier was not sure enough.", registry=self.registry
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

    def count_answers(self, counts: dict[str, int], probabilities: Iterable[float], abstained: int = 0) -> None:
        """Count answers by label, the probabilities of those that are one label per text, and texts without one."""
        self._abstained.inc(abstained)
        for label, count in counts.items():
            if count:
                self._answers.labels(label).inc(count)
        for probability in probabilities:
            self._probability.observe(probability)

    def watch_drift(self, served: "Callable[[], ServedTexts]") -> None:
        """Add figures of the served texts beside those of the training's held-out texts, computed when asked for."""
        self.registry.register(_DriftCollector(served))

    def text(self) -> bytes:
        """All figures, as Prometheus reads them."""
        return generate_latest(self.registry)


class _DriftCollector:
    """Figures of `ulmkit drift` for the served texts.

    Args:
        served: Returns the served texts.
    """

    def __init__(self, served: "Callable[[], ServedTexts]") -> None:
        self._served = served

    def describe(self) -> list[GaugeMetricFamily]:
        """Name nothing: the registry would otherwise compute all figures when this is registered."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the figures, as far as there are any."""
        served = self._served()
        shares, held_out_shares = served.class_shares(), served.held_out_class_shares()
        yield _gauge("served_class_share", "Share of each label predicted for all served texts.", "label", shares)
        about = "Share of each label predicted for held-out texts of the training."
        yield _gauge("held_out_class_share", about, "label", held_out_shares)
        if shares and held_out_shares:
            distance = sum(abs(shares[label] - held_out_shares[label]) for label in shares) / 2
            about = "Half the sum of the differences of class shares, served and held out; 0 none, 1 largest."
            yield GaugeMetricFamily("ulmkit_class_share_distance", about, distance)
        about = "Held-out texts of the training that served texts are compared with."
        yield GaugeMetricFamily("ulmkit_drift_held_out_texts", about, served.held_out_texts)
        about = "Served texts in the newest sample; they are compared once there are 20."
        yield GaugeMetricFamily("ulmkit_drift_sampled_texts", about, served.sampled_texts)
        period = served.compare()
        if period is None or not period.comparisons:
            return
        numbers = {each.measure: each for each in period.comparisons}
        before = {name: each.before for name, each in numbers.items() if each.before is not None}
        after = {name: each.after for name, each in numbers.items() if each.after is not None}
        about = "Median of a measure in held-out texts of the training, such as bits per character."
        yield _gauge("drift_held_out_median", about, "measure", before)
        yield _gauge("drift_sampled_median", "Median of a measure in the sampled texts.", "measure", after)
        about = "Effect size of the difference of a measure, 0 none to 1, as `ulmkit drift` has it."
        yield _gauge("drift_effect", about, "measure", {name: each.effect for name, each in numbers.items()})
        about = "Probability of a difference as large without drift, adjusted for the number of measures."
        adjusted = {name: each.adjusted_p_value for name, each in numbers.items()}
        yield _gauge("drift_p_value", about, "measure", adjusted)
        about = "1 if the sampled texts differ from the held-out ones as `ulmkit drift` judges, else 0."
        yield GaugeMetricFamily("ulmkit_drift_found", about, int(period.has_drifted))


def _gauge(name: str, about: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"ulmkit_{name}", about, labels=(label,))
    for key, value in values.items():
        family.add_metric((key,), value)
    return family
