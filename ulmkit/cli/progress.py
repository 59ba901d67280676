"""How many documents are done, while they are read and tokenized."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def document_progress(shown: bool = True) -> Iterator[Callable[[int], None]]:
    """A counter of documents on the terminal, if it is to be shown, from the first document to the end."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} documents"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not (shown and console.is_terminal)) as progress:
        task = progress.add_task("documents", total=None, visible=False)
        yield lambda done: progress.update(task, completed=done, visible=True)
