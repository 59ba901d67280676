"""Guard around every request: access, size, time, errors, metrics and the log."""

import asyncio
import hmac
import json
import logging
import secrets
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from ulmkit.serve.metrics import ServerMetrics
from ulmkit.serve.options import LOOPBACK_NAMES, ServeOptions
from ulmkit.serve.refusals import RefusalError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOG = logging.getLogger("ulmkit.serve")

_HELD_REQUESTS = 16  # as many of the largest size are held in memory at once
_CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": _CONTENT_POLICY,
}
_SAFE_METHODS = ("GET", "HEAD")


class Guard:
    """ASGI middleware around the whole application.

    A browser lets any web page send requests to this machine. Those from other origins are refused by their `Origin`
    header, and names that lead here without being this machine's, by the `Host` header.

    Args:
        app: The application.
        options: Access and limits.
        metrics: Counts the requests.
        needs_key: The application's paths, and whether each needs the API key, if there is one.
    """

    def __init__(self, app: App, options: ServeOptions, metrics: ServerMetrics, needs_key: Mapping[str, bool]) -> None:
        self._app = app
        self._options = options
        self._metrics = metrics
        self._needs_key = needs_key
        self._held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        status = 500
        is_begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, is_begun
            if message["type"] == "http.response.start":
                status, is_begun = message["status"], True
                added = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        body = bytearray()
        try:
            self._check_access(scope)
            await self._read_body(scope, receive, body)
            await self._app(scope, _replay(bytes(body), receive), send_with_headers)
        except RefusalError as refusal:
            await _send_json(send_with_headers, refusal.status, refusal.body, refusal.headers)
        except Exception as error:
            number = log_error(error)
            if is_begun:
                raise
            await _send_json(send_with_headers, 500, {"error": f"this is a bug in ulmkit; see its log, entry {number}"})
        finally:
            self._held_bytes -= len(body)
            seconds = time.perf_counter() - start
            path = scope["path"] if scope["path"] in self._needs_key else "other"
            self._metrics.count_request(path, status, seconds)
            if self._options.log_requests:
                LOG.info("%s %s %d %.1f ms", scope["method"], path, status, 1000 * seconds)

    def _check_access(self, scope: Scope) -> None:
        """Refuse requests from other origins, and those without the key."""
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if self._options.is_local and _host_name(f"//{host}") not in (*LOOPBACK_NAMES, self._options.host):
            raise RefusalError(403, f"Host: expected {' or '.join(LOOPBACK_NAMES)}, got {host[:100]!r}")
        origin = headers.get(b"origin")
        if origin is not None and scope["method"] not in _SAFE_METHODS and origin.partition("://")[2] != host:
            raise RefusalError(403, f"Origin: expected the server's own page, got {origin[:100]!r}")
        key = self._options.api_key
        if key is None or not self._needs_key.get(scope["path"], True):
            return
        scheme, _, token = headers.get(b"authorization", "").partition(" ")
        sent_key = token.strip() if scheme.lower() == "bearer" else headers.get(b"x-api-key", "")
        if not hmac.compare_digest(sent_key.encode(), key.encode()):
            raise RefusalError(
                401, "API key: expected `Authorization: Bearer KEY` or `X-API-Key: KEY`, got another or none"
            )

    async def _read_body(self, scope: Scope, receive: Receive, body: bytearray) -> None:
        """Read a request whole, within its size and time, and count the bytes held in memory."""
        limit = self._options.max_bytes
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > limit:
            raise RefusalError(413, f"request: expected at most {limit:,} bytes, got {int(length):,}")
        try:
            async with asyncio.timeout(self._options.timeout_seconds):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise RefusalError(408, "request: ended before all of it had come")
                    chunk = message.get("body", b"")
                    body.extend(chunk)
                    self._held_bytes += len(chunk)
                    more = message.get("more_body", False)
                    if len(body) > limit:
                        raise RefusalError(413, f"request: expected at most {limit:,} bytes, got more")
                    if self._held_bytes > _HELD_REQUESTS * limit:
                        raise RefusalError(429, "too much at once: other large requests are being read; try again", 1)
        except TimeoutError:
            raise RefusalError(
                408, f"request: expected all of it within {self._options.timeout_seconds:g} seconds"
            ) from None


def _replay(body: bytes, receive: Receive) -> Receive:
    """Let the application receive a body that was read already."""
    is_sent = False

    async def replay() -> Message:
        nonlocal is_sent
        if is_sent:
            return await receive()
        is_sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _send_json(send: Send, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
    body = json.dumps(value).encode()
    named = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
    encoded = [(name.lower().encode(), text.encode()) for name, text in named.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


def _host_name(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def log_error(error: Exception) -> str:
    """Log where an error that nobody expected came from, without its message, which may quote a text."""
    number = secrets.token_hex(4)
    place = "".join(traceback.format_tb(error.__traceback__))
    LOG.error("entry %s: %s\n%s", number, type(error).__name__, place)
    return number
