"""Progress of predictions: a watcher is told of each batch of documents that a network has read.

The watcher is set around a call instead of being passed down, since a prediction goes through many functions of several
kinds of members. It holds for the thread that sets it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

DocumentWatcher = Callable[[int], None]
"""Called with the number of documents that a network has read since the last call."""

_WATCHER: ContextVar[DocumentWatcher | None] = ContextVar("ulmkit_document_watcher", default=None)


@contextmanager
def watch_documents(watcher: DocumentWatcher) -> Iterator[None]:
    """Tell a watcher, inside this block, of the documents that networks read."""
    token = _WATCHER.set(watcher)
    try:
        yield
    finally:
        _WATCHER.reset(token)


def documents_read(count: int) -> None:
    """Tell the watcher, if there is one, that a network has read some documents."""
    watcher = _WATCHER.get()
    if watcher is not None:
        watcher(count)
