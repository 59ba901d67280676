"""The ASGI application and its routes."""

import functools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

import ulmkit
from ulmkit.api import TextClassifier
from ulmkit.errors import TrainingError, UlmkitError
from ulmkit.serve.docs_page import docs_page
from ulmkit.serve.guard import Guard
from ulmkit.serve.options import ServeOptions
from ulmkit.serve.paths import NEEDS_KEY, STATIC, STATIC_FILES
from ulmkit.serve.refusals import RefusalError
from ulmkit.serve.schemas import (
    CorrectionRequest,
    CorrectionsAnswer,
    ErrorAnswer,
    ExplainAnswer,
    ExplainRequest,
    HealthAnswer,
    InfoAnswer,
    LoadingAnswer,
    PredictAnswer,
    PredictRequest,
    RunningAnswer,
    RunningRequest,
    StreamAnswer,
    StreamRequest,
    TrainingAnswer,
)
from ulmkit.serve.service import ClassifierService

_REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": ErrorAnswer, "description": "The API key is missing or another one."},
    403: {"model": ErrorAnswer, "description": "The request comes from a page of another origin."},
    408: {"model": ErrorAnswer, "description": "The request did not arrive in time."},
    413: {"model": ErrorAnswer, "description": "The request is too large, or has too many texts or too long ones."},
    422: {"model": ErrorAnswer, "description": "The request is not what the classifier expects."},
    429: {"model": ErrorAnswer, "description": "Too many requests wait; Retry-After says when to try again."},
    503: {"model": ErrorAnswer, "description": "There was no answer in time, or the classifier is being loaded."},
}
_LOADING: dict[int | str, dict[str, Any]] = {
    503: {"model": LoadingAnswer, "description": "The classifier is being loaded; all other paths answer 503, too."},
}
_STREAM_REFUSALS: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorAnswer, "description": "There is no such stream, or not any more."},
    409: {"model": ErrorAnswer, "description": "The stream is reading another piece."},
}
_KEEPING_REFUSALS: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorAnswer, "description": "The server was started without the option for this."},
}
_TRAINING_REFUSALS: dict[int | str, dict[str, Any]] = _KEEPING_REFUSALS | {
    409: {"model": ErrorAnswer, "description": "A training runs, or there is no new classifier that fits."},
}


def create_app(
    classifier: TextClassifier,
    name: str = "classifier",
    options: ServeOptions | None = None,
    load: Callable[[str], TextClassifier] = TextClassifier.load,
) -> FastAPI:
    """Make the ASGI application of a classifier.

    Args:
        classifier: The classifier.
        name: Its name, which `/info` shows.
        options: Access and limits; the defaults if None. Address, port and TLS are the business of whatever runs the
            application.
        load: Loads a classifier from a folder, after it was trained again on the page.

    Returns:
        The application, for `serve` or any ASGI server.

    Raises:
        ConfigError: If the options ask for something that the classifier cannot do.
        FolderError: If it shall abstain, but keeps no held-out answers.
    """
    options = options or ServeOptions()
    service = ClassifierService(classifier, name, options, load)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title=f"ulmkit: {name}",
        summary="A text classifier.",
        version=ulmkit.__version__,
        docs_url=None,  # FastAPI's own pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        separate_input_output_schemas=False,
    )
    app.add_middleware(Guard, options=options, metrics=service.metrics, needs_key=NEEDS_KEY)
    _add_error_answers(app)
    app.state.service = service
    _add_routes(app, service)
    _add_page_routes(app, service)
    return app


def _add_routes(app: FastAPI, service: ClassifierService) -> None:
    @app.post("/predict", responses=_REFUSALS)
    async def predict(request: PredictRequest) -> PredictAnswer:
        """Predict the labels of one text or of several, in order."""
        return await service.predict(request)

    @app.post("/stream", responses=_REFUSALS | _STREAM_REFUSALS)
    async def stream(request: StreamRequest) -> StreamAnswer:
        """Send a text in pieces, and get the probabilities of what was read so far.

        The last answer is that of `/predict` for the whole text, however it was cut.
        """
        return await service.stream(request)

    @app.post("/explain", responses=_REFUSALS)
    async def explain(request: ExplainRequest) -> ExplainAnswer:
        """Predict for a text, and weigh each of its words for or against a label."""
        return await service.explain(request)

    @app.post("/running", responses=_REFUSALS)
    async def running(request: RunningRequest) -> RunningAnswer:
        """Predict for a text after each of its words, reading it once."""
        return await service.running(request)

    @app.get("/info")
    async def info() -> InfoAnswer:
        """Describe the classifier, and the limits of requests."""
        return service.info()

    @app.get("/health", responses=_LOADING)
    async def health() -> HealthAnswer:
        """Tell whether the classifier answers."""
        return HealthAnswer(status="ok", waiting=service.waiting)

    @app.get("/metrics", response_class=Response)
    def metrics() -> Response:
        """Write figures in the format of Prometheus: requests, answers, and the drift of the texts."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/docs", response_class=HTMLResponse, include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        return HTMLResponse(docs_page(app.openapi(), str(request.base_url)))


def _add_page_routes(app: FastAPI, service: ClassifierService) -> None:
    """Add the page for people, and what it needs besides predictions."""

    @app.get("/corrections")
    async def corrections() -> CorrectionsAnswer:
        """Tell how many labels were checked on the page."""
        return service.corrections()

    @app.post("/corrections", responses=_REFUSALS | _KEEPING_REFUSALS)
    def correct(request: CorrectionRequest) -> CorrectionsAnswer:
        """Keep a label that a person has checked, in a file that `ulmkit train` takes."""
        return service.correct(request)

    @app.get("/training", responses=_KEEPING_REFUSALS)
    def training() -> TrainingAnswer:
        """Tell how far the training of a new classifier is."""
        return service.training()

    @app.post("/training", responses=_REFUSALS | _TRAINING_REFUSALS)
    def train() -> TrainingAnswer:
        """Train a new classifier on the checked labels and the data given to the server."""
        return service.train()

    @app.post("/training/use", responses=_REFUSALS | _TRAINING_REFUSALS)
    async def use_new() -> InfoAnswer:
        """Serve the new classifier from now on."""
        return await service.use_new()

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    for name in STATIC_FILES:
        app.add_route(f"/{name}", functools.partial(_send_file, name), include_in_schema=False)


async def _send_file(name: str, request: Request) -> FileResponse:
    return FileResponse(STATIC / name, media_type=STATIC_FILES[name])


def _add_error_answers(app: FastAPI) -> None:
    """Give every error one form, which never quotes the request."""

    def answer(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
        return JSONResponse({"error": message}, status, headers)

    @app.exception_handler(RefusalError)
    async def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RefusalError)
        return answer(error.status, str(error), error.headers)

    @app.exception_handler(UlmkitError)
    async def failed(_: Request, error: Exception) -> JSONResponse:
        return answer(500 if isinstance(error, TrainingError) else 422, str(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return answer(422, f"{_what_is_wrong(error.errors()[0])}; /docs shows the form of requests")

    @app.exception_handler(HTTPException)
    async def unknown(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        if error.status_code == 400:  # FastAPI's answer to a body that is not UTF-8
            return answer(422, "request: expected JSON in UTF-8, got other bytes; /docs shows the form of requests")
        return answer(error.status_code, str(error.detail), dict(error.headers or {}))


def _what_is_wrong(found: Mapping[str, Any]) -> str:
    """Say what is wrong with a request, from an error that pydantic found."""
    location = found["loc"][1:]
    if found["type"] == "json_invalid":
        return f"request: expected JSON, got none from character {location[0]} on"
    if not location:
        return "request: expected a JSON object, sent with the header `Content-Type: application/json`"
    if found["type"] == "extra_forbidden":
        return f"{_name_field(location)}: there is no such field"
    return f"{_name_field(location)}: {found['msg']}"


def _name_field(location: Sequence[str | int]) -> str:
    """Name a field by pydantic's location of an error, as in `texts[1]`, without the types that were tried."""
    if not location:
        return "request"
    return str(location[0]) + "".join(f"[{part}]" for part in location[1:] if isinstance(part, int))
