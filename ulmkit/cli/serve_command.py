"""The command that serves a classifier over HTTP."""

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ulmkit.api.confidence_options import Confidence
from ulmkit.cli.confidence_options import CONFIDENCE
from ulmkit.cli.dataclass_options import field_options
from ulmkit.cli.model_commands import ClassifierArgument
from ulmkit.cli.option_groups import SERVING_MACHINE, OptionGroup, limit_threads, with_groups
from ulmkit.errors import ConfigError
from ulmkit.files import expand_user
from ulmkit.pipeline.options import RunOptions
from ulmkit.serve.options import ServeOptions

if TYPE_CHECKING:
    from ulmkit.api import TextClassifier

KEY_VARIABLE = "ULMKIT_API_KEY"

_ADDRESS = OptionGroup(
    "Address and access",
    dict,
    field_options(ServeOptions, "host", "port", "allow_public", "tls_certificate", "tls_key"),
)
_LIMITS = OptionGroup(
    "Limits",
    dict,
    field_options(
        ServeOptions,
        *("batch_milliseconds", "batch_texts", "workers", "max_texts", "max_characters", "max_bytes", "max_waiting"),
        *("max_streams", "stream_seconds", "timeout_seconds", "drift_share"),
    ),
)
_PAGE = OptionGroup(
    "Page",
    dict,
    field_options(ServeOptions, "corrections", "retrain", "retrain_data", "retrain_split_column", "retrain_minutes"),
)
_LOG = OptionGroup("Log", dict, field_options(ServeOptions, "log_requests", "log_texts"))


@with_groups(address=_ADDRESS, limits=_LIMITS, page=_PAGE, log=_LOG, confidence=CONFIDENCE, run=SERVING_MACHINE)
def serve_command(
    classifier: ClassifierArgument,
    address: dict[str, Any],
    limits: dict[str, Any],
    page: dict[str, Any],
    log: dict[str, Any],
    confidence: Confidence,
    run: RunOptions,
    api_key_file: Annotated[
        str | None,
        typer.Option(help=f"File with the API key that requests must carry (default: the variable {KEY_VARIABLE})."),
    ] = None,
) -> None:
    """Serve a classifier over HTTP.

    Programs send JSON (see /docs). People open the page to classify texts and files, see which words mattered, and
    check labels (--corrections), on which the page can train again (--retrain). The server listens at once; until the
    classifier is loaded, /health answers 503.

    Example: ulmkit serve my-classifier --port 8000
    """
    from ulmkit.serve import serve

    options = ServeOptions(api_key=_read_key(api_key_file), **address, **limits, **page, **log, confidence=confidence)

    def load(folder: str) -> "TextClassifier":
        from ulmkit.api import TextClassifier

        loaded = TextClassifier.load(folder, run)
        limit_threads(run)
        return loaded

    serve(load, classifier, options, lambda line: print(f"ulmkit: {line}", flush=True))


def _read_key(file: str | None) -> str | None:
    if file is None:
        return os.environ.get(KEY_VARIABLE) or None
    try:
        return expand_user(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"api_key_file: cannot be read, got {file!r} ({error}); write the key into it") from None
