"""Running the server: socket, TLS, signals, log."""

import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from ulmkit.errors import ConfigError, MissingPackageError, UlmkitError
from ulmkit.serve.options import ServeOptions

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from ulmkit.api import TextClassifier
    from ulmkit.serve.loading import LoadingApp

_PACKAGES = ("fastapi", "prometheus_client", "uvicorn")
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


def check_packages() -> None:
    """Raise MissingPackageError unless what the server needs is installed; imports none of it, which takes time."""
    for name in _PACKAGES:
        if find_spec(name) is None:
            raise MissingPackageError(
                f"serve: needs the package {name}, which is not installed; run: pip install 'ulmkit[serve]'"
            )


def serve(
    load: "Callable[[str], TextClassifier]", folder: str, options: ServeOptions, say: Callable[[str], None] = print
) -> None:
    """Serve a classifier until a signal arrives, then answer the open requests and return.

    The server listens at once, and says 503 until the classifier has been loaded. Whatever `load` raises ends it, and
    is raised again.

    Args:
        load: Loads a classifier from its folder; called in a thread of its own when the address was found to be free.
        folder: The classifier's folder, or its name on the hub.
        options: Address, access and limits.
        say: Receives lines for the user.

    Raises:
        ConfigError: If the address cannot be used, the certificate not be read, or no training can start from
            `retrain`.
        FolderError: If there is no model `retrain`.
        UlmkitError: If the server cannot start for another reason.
        MissingPackageError: If the extra `serve` is not installed.
    """
    check_packages()
    import uvicorn

    from ulmkit.serve.loading import LoadingApp

    _log_to_stderr()
    name = Path(folder).name or "classifier"
    with _bind(options) as listener:
        url = _url(options, listener)

        def make() -> "FastAPI":
            from ulmkit.serve.app import create_app
            from ulmkit.serve.retraining import check_start

            check_start(options)
            return create_app(load(folder), name, options, load)

        def end() -> None:
            server.should_exit = True

        app = LoadingApp(
            make,
            name,
            options,
            on_ready=lambda: say(f"{name}: serving at {url} (Ctrl-C stops)"),
            on_failure=end,
        )
        server = uvicorn.Server(_config(app, options))
        for warning in _warnings(options):
            say(warning)
        with _stopping_on_signals(server):
            _run(server, url, listener)
    if app.error is not None:
        raise app.error
    say("stopped")


def _config(app: "LoadingApp", options: ServeOptions) -> "uvicorn.Config":
    """Configure uvicorn; raise ConfigError if the certificate cannot be read."""
    import uvicorn

    config = uvicorn.Config(
        app,
        lifespan="on",
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(options.timeout_seconds)),
        ssl_certfile=options.tls_certificate,
        ssl_keyfile=options.tls_key,
    )
    try:
        config.load()
    except OSError as error:
        raise ConfigError(f"tls_certificate: cannot be read with its key ({error.strerror or error})") from None
    return config


def _run(server: "uvicorn.Server", url: str, listener: socket.socket) -> None:
    """Run the server until something sets `should_exit`.

    Raises:
        UlmkitError: If it cannot start.
    """
    reason = "the log says why"
    try:
        server.run(sockets=[listener])
    except (OSError, SystemExit) as error:  # uvicorn exits where it cannot start; older versions return
        if server.started:
            raise
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
    if not server.started:
        raise UlmkitError(f"server: cannot start at {url} ({reason})")


@contextmanager
def _stopping_on_signals(server: "uvicorn.Server") -> Iterator[None]:
    """Let signals stop the server, even before it runs, and do nothing more.

    uvicorn takes them over while it runs, and raises those that it got once more when it is done.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        server.should_exit = True

    former = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _bind(options: ServeOptions) -> socket.socket:
    """Bind a socket to the address and listen."""
    try:
        addresses = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = addresses[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(
            f"host: expected an address of this machine, got {options.host!r} ({error.strerror})"
        ) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"port: expected a free one at {options.host}, got {options.port} ({error.strerror}); "
            "give another one, or 0 for any"
        ) from None
    return listener


def _url(options: ServeOptions, listener: socket.socket) -> str:
    host = f"[{options.host}]" if ":" in options.host else options.host
    return f"{options.scheme}://{host}:{listener.getsockname()[1]}/"


def _warnings(options: ServeOptions) -> list[str]:
    warnings = []
    if not options.is_local and options.tls_certificate is None:
        warnings.append("warning: without TLS, texts and keys cross the network unencrypted")
    if not options.is_local and options.api_key is None:
        warnings.append("warning: without an API key, everyone who reaches this address can use the classifier")
    if options.log_texts:
        warnings.append("warning: the texts of requests are printed")
    return warnings


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    for name, level in (("ulmkit.serve", logging.INFO), ("uvicorn.error", logging.WARNING)):
        log = logging.getLogger(name)
        log.handlers = [handler]
        log.propagate = False
        log.setLevel(level)
