"""Application that listens at once, and answers with another one when that has been loaded in the background."""

import json
import threading
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

from ulmkit.errors import UlmkitError
from ulmkit.serve.guard import Guard, Receive, Scope, Send
from ulmkit.serve.metrics import ServerMetrics
from ulmkit.serve.options import ServeOptions
from ulmkit.serve.paths import NEEDS_KEY, STATIC, STATIC_FILES

if TYPE_CHECKING:
    from fastapi import FastAPI

_RETRY_SECONDS = 1
_STYLE = "style.css"
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="{seconds}">
<title>{name}: ulmkit</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/style.css">
</head>
<body>
<header>
<h1>{name}</h1>
</header>
<main>
<p role="status">The classifier is being loaded. This page opens by itself when it is there.</p>
</main>
</body>
</html>
"""


class LoadingApp:
    """ASGI application that stands in for another one until that is made.

    Until then `/health` says 503 and that the classifier is being loaded, `/` the same to people, and every other
    path answers 503 with `Retry-After`. Access is checked as it is later.

    Args:
        make: Makes the application; called once, in a thread of its own, when the server begins to listen.
        name: Name of the classifier.
        options: Access and limits.
        on_ready: Called in that thread when the application is there.
        on_failure: Called if it cannot be made, in that thread unless there is none.

    Attributes:
        error: Why it could not be made; None if it was, or may be yet.
    """

    def __init__(
        self,
        make: "Callable[[], FastAPI]",
        name: str,
        options: ServeOptions,
        *,
        on_ready: Callable[[], None] = lambda: None,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self._make = make
        self._name = name
        self._on_ready = on_ready
        self._on_failure = on_failure
        self._app: FastAPI | None = None
        self._is_ended = False
        self.error: BaseException | None = None
        metrics = ServerMetrics(lambda: 0, lambda: 0)  # nobody reads them: the application has its own
        self._waiting_app = Guard(self._answer_meanwhile, options, metrics, NEEDS_KEY)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or live through the server's start and end."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await (self._app or self._waiting_app)(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Begin to load when the server starts, and close the application, if it is there, when the server ends."""
        await receive()
        # A signal ends the server at once, however long the loading still takes: nobody waits for this thread.
        thread = threading.Thread(target=self._load, name="ulmkit-load", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self._fail(UlmkitError(f"server: cannot load the classifier ({error}); end other processes"))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._is_ended = True
        if self._app is not None:
            self._app.state.service.close()
        await send({"type": "lifespan.shutdown.complete"})

    def _load(self) -> None:
        try:
            self._app = self._make()
        except BaseException as error:
            self._fail(error)
        else:
            if not self._is_ended:
                self._on_ready()

    def _fail(self, error: BaseException) -> None:
        self.error = error
        self._on_failure()

    async def _answer_meanwhile(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, kind = 503, "application/json"
        message = "the classifier is still being loaded; try again"
        body = json.dumps({"error": message})
        if scope["path"] == "/health":
            body = json.dumps({"status": "loading", "error": message})
        elif scope["path"] == "/":
            kind, body = "text/html; charset=utf-8", _PAGE.format(name=escape(self._name), seconds=_RETRY_SECONDS)
        elif scope["path"] == f"/{_STYLE}":
            status, kind, body = 200, STATIC_FILES[_STYLE], (STATIC / _STYLE).read_text(encoding="utf-8")
        content = body.encode()
        headers = {"content-type": kind, "content-length": str(len(content)), "retry-after": str(_RETRY_SECONDS)}
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": encoded})
        await send({"type": "http.response.body", "body": content})
