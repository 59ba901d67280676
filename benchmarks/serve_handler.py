"""Plain FastAPI handlers, as one would write them around a classifier: no queue, no batches, no limits."""

from collections.abc import Callable, Sequence
from pathlib import Path

PLAIN = "plain"
"""Handler around ulmkit's own classifier, which shows what the server adds and costs."""

FASTAI = "fastai"
"""Handler around fastai's classifier."""


def load(name: str, folder: str) -> Callable[[Sequence[str]], list[str]]:
    """Load a classifier; returns the function that labels texts.

    Args:
        name: `PLAIN`, `FASTAI`, or a name of `frontier_peers.PEERS`.
        folder: Folder of the classifier.
    """
    if name == PLAIN:
        from ulmkit import TextClassifier

        return TextClassifier.load(folder).predict
    if name == FASTAI:
        from fastai_classifier import FastaiClassifier

        return FastaiClassifier.load(Path(folder)).predict
    from frontier_peers import PEERS

    return PEERS[name].load(Path(folder)).predict


def run(name: str, folder: str, port: int) -> None:
    """Serve a classifier until the process is ended."""
    import uvicorn
    from fastapi import FastAPI

    predict = load(name, folder)
    app = FastAPI()

    @app.post("/predict")
    def answer(body: dict[str, list[str]]) -> dict[str, list[dict[str, str]]]:
        return {"predictions": [{"label": label} for label in predict(body["texts"])]}

    uvicorn.run(app, port=port, log_level="warning")
