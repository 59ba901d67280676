"""Progress on the terminal of commands that do not train; nothing is shown where standard error is no terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ulmkit.training.progress import format_seconds

if TYPE_CHECKING:
    from rich.progress import Progress, Task, TaskID

    from ulmkit.api import LanguageModel, TextClassifier


@contextmanager
def step_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar on the terminal for each pass of an evaluation, with its rate in tokens per second."""
    with _bars("tokens") as progress:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done)

        yield tell


class DocumentCounter:
    """Counts documents on a bar, batch by batch where networks read them, else chunk by chunk.

    Args:
        progress: Bars on the terminal.
        total: Number of documents, None if it is not known.
        networks: Networks that read each document; 0 counts chunks alone.
    """

    def __init__(self, progress: "Progress", total: int | None, networks: int) -> None:
        self._progress = progress
        self._task = progress.add_task("documents", total=total)
        self._networks = networks
        self._read = 0
        self._finished = 0

    def read(self, count: int) -> None:
        """Count documents that one of the networks has read."""
        if self._networks:
            self._read += count
            self._show(self._finished + self._read / self._networks)

    def finish(self, count: int) -> None:
        """Count documents that are done."""
        self._finished += count
        self._read = 0
        self._show(self._finished)

    def _show(self, done: float) -> None:
        self._progress.update(self._task, completed=done)


@contextmanager
def document_progress(
    networks: int, count: Callable[[], int | None], *, prints_rows: bool = False
) -> Iterator[DocumentCounter]:
    """Show a bar on the terminal while a model reads documents.

    Args:
        networks: Networks that read each document; 0 counts documents chunk by chunk.
        count: Counts the documents; called only if there is a terminal.
        prints_rows: Whether results are printed meanwhile; on the terminal they show the progress themselves.
    """
    from ulmkit.pipeline import watch_documents

    with _bars("documents", shown=not (prints_rows and sys.stdout is not None and sys.stdout.isatty())) as progress:
        counter = DocumentCounter(progress, None if progress.disable else count(), networks)
        with watch_documents(counter.read):
            yield counter


@contextmanager
def status(what: str) -> Iterator[Callable[[str], None]]:
    """Show on the terminal what is being done, for how long already, and how many documents networks have read.

    Args:
        what: What is being done at first.

    Yields:
        A function that is called with what is being done next.
    """
    from ulmkit.pipeline import watch_documents

    with _bars("documents") as progress:
        task = progress.add_task(what, total=None)
        with watch_documents(lambda count: progress.advance(task, count)):
            yield lambda text: progress.reset(task, description=text)


def count_networks(model: "TextClassifier | LanguageModel") -> int:
    """Count the networks that read each document for a model."""
    from ulmkit.hub import FeatureParts
    from ulmkit.members.linear import LinearMember

    return sum(
        len(member.language_models) if isinstance(member, FeatureParts) else not isinstance(member, LinearMember)
        for member in model.members
    )


class _Hidden:
    """Bars where there is no terminal, without the time that importing rich takes."""

    disable = True

    def add_task(self, *_: object, **__: object) -> int:
        return 0

    def update(self, *_: object, **__: object) -> None: ...

    def advance(self, *_: object) -> None: ...

    def reset(self, *_: object, **__: object) -> None: ...


@contextmanager
def _bars(unit: str, *, shown: bool = True) -> Iterator[Any]:
    """Bars that vanish at the end, with rate and time left."""
    if not (shown and sys.stderr is not None and sys.stderr.isatty()):
        yield _Hidden()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
    from rich.text import Text

    class Numbers(ProgressColumn):
        def render(self, task: "Task") -> Text:
            return Text(describe_task(task, unit))

    console = Console(stderr=True)
    columns: tuple[Any, ...] = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=20), Numbers())
    # Standard output is left alone: it may be a file, into which rows are written meanwhile.
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as progress:
        yield progress


def describe_task(task: "Task", unit: str) -> str:
    """Describe how far a task is: "120 of 2,000  40 documents/s  47 s left"."""
    parts = []
    if task.completed or task.total is not None:
        parts.append(f"{task.completed:,.0f}" + ("" if task.total is None else f" of {task.total:,.0f}"))
        if task.finished_speed or task.speed:
            parts.append(f"{task.finished_speed or task.speed:,.0f} {unit}/s")
    if task.time_remaining is not None:
        parts.append(f"{format_seconds(task.time_remaining)} left")
    elif task.elapsed is not None:
        parts.append(format_seconds(task.elapsed))
    return "  ".join(parts)
