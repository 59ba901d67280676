"""Notice of the commands that one direction of a pair is enough for."""

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from ulmkit.api import LanguageModel


def say_forward_member(model: "LanguageModel") -> None:
    """Print, for a pair, that a command takes its forward member."""
    if model.backward is not None:
        typer.echo("language model: a pair, of which this command takes the forward member", err=True)
