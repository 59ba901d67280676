"""Options of the server: where it listens, who may ask, and how much."""

import ipaddress
from dataclasses import dataclass, field

from ulmkit.api.confidence_options import Confidence
from ulmkit.config import check_not_negative, check_positive, check_probability, check_whole
from ulmkit.errors import ConfigError

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
"""Names by which this machine calls itself."""

_LARGEST_PORT = 65535
_SHORTEST_KEY = 16
_MOST_WORKERS = 1024


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Address, access and limits of a server.

    Attributes:
        host: Address to listen on; any but this machine's own needs an API key.
        port: Port to listen on; 0 takes a free one.
        api_key: Key that each request must bring, as `Authorization: Bearer KEY` or `X-API-Key: KEY`.
        allow_public: Serve other machines without an API key.
        tls_certificate: Certificate chain, a PEM file, to serve HTTPS.
        tls_key: Private key of the certificate, a PEM file.
        batch_milliseconds: Time in which requests are collected into one batch. A request that comes alone does not
            wait.
        batch_texts: Maximum number of texts in a batch of several requests.
        workers: Number of batches predicted at once (default: processors divided by the model's threads; 1 on a GPU).
        max_texts: Maximum number of texts in a request.
        max_characters: Maximum length of a text, streamed ones included.
        max_bytes: Maximum size of a request.
        max_waiting: Maximum number of requests that wait for the model; more are refused with 429.
        max_streams: Maximum number of streams that are open at once.
        stream_seconds: Seconds after which a stream without a new piece is closed.
        timeout_seconds: Seconds within which a request must arrive, and within which it is answered.
        log_requests: Print a line for each request, without its texts.
        log_texts: Print the texts of requests.
        corrections: File, .csv, for labels that people check on the page; one that exists is appended to.
        retrain: Language model, or fine-tuned classifier, from which the page can train again; 'none' for linear
            models alone.
        retrain_data: Data to train on besides the checked labels.
        retrain_split_column: Column of that data that says train, valid or test.
        retrain_minutes: Minutes of each training of networks on the page.
        drift_share: Share of the time for measuring the drift of a sample of the served texts, for /metrics; 0 measures
            none.
        confidence: Whether the classifier abstains where it is not sure, and what that rests on. Where it abstains,
            answers also have sets of labels, of which at most `max_error` lack the right one unless `miscoverage` says
            otherwise.

    Raises:
        ConfigError: If a value is outside its range, or a public address has no key.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str | None = field(default=None, repr=False)
    allow_public: bool = False
    tls_certificate: str | None = None
    tls_key: str | None = None
    batch_milliseconds: float = 3.0
    batch_texts: int = 64
    workers: int | None = None
    max_texts: int = 1000
    max_characters: int = 1_000_000
    max_bytes: int = 8_000_000
    max_waiting: int = 256
    max_streams: int = 64
    stream_seconds: float = 600.0
    timeout_seconds: float = 60.0
    log_requests: bool = False
    log_texts: bool = False
    corrections: str | None = None
    retrain: str | None = None
    retrain_data: str | None = None
    retrain_split_column: str | None = None
    retrain_minutes: float = 5.0
    drift_share: float = 0.05
    confidence: Confidence = field(default_factory=Confidence)

    def __post_init__(self) -> None:
        check_whole("port", self.port, at_least=0, at_most=_LARGEST_PORT)
        check_not_negative("batch_milliseconds", self.batch_milliseconds)
        for name in ("batch_texts", "max_texts", "max_characters", "max_bytes", "max_waiting", "max_streams"):
            check_whole(name, getattr(self, name))
        if self.workers is not None:
            check_whole("workers", self.workers, at_most=_MOST_WORKERS)
        check_positive("stream_seconds", self.stream_seconds)
        check_positive("timeout_seconds", self.timeout_seconds)
        check_probability("drift_share", self.drift_share)
        check_positive("retrain_minutes", self.retrain_minutes)
        if self.corrections is not None and not self.corrections.endswith(".csv"):
            raise ConfigError(f"corrections: expected a file name that ends in .csv, got {self.corrections!r}")
        if self.retrain is not None and self.corrections is None:
            raise ConfigError("retrain: needs the file of the checked labels; add `corrections`")
        if self.retrain_data is not None and self.retrain is None:
            raise ConfigError("retrain_data: has no effect without `retrain`; add it or drop this")
        if self.retrain_split_column is not None and self.retrain_data is None:
            raise ConfigError("retrain_split_column: has no effect without `retrain_data`; add it or drop this")
        if self.api_key is not None and not (len(self.api_key) >= _SHORTEST_KEY and self.api_key.isascii()):
            raise ConfigError(
                f"API key: expected at least {_SHORTEST_KEY} ASCII characters, got {len(self.api_key)} characters; "
                "make one with: python -c 'import secrets; print(secrets.token_urlsafe())'"
            )
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ConfigError("tls_certificate: expected it with tls_key, got one of them; give both")
        if not (self.is_local or self.api_key or self.allow_public):
            raise ConfigError(
                f"host: expected an API key for {self.host!r}, which other machines reach, got none; set one, listen "
                "on 127.0.0.1, or give allow_public=True"
            )

    @property
    def is_local(self) -> bool:
        """True if this machine alone reaches the server."""
        if self.host in LOOPBACK_NAMES:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def scheme(self) -> str:
        """Scheme of the server's URLs: "http" or "https"."""
        return "https" if self.tls_certificate else "http"
