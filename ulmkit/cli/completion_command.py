"""The command that prints what a shell needs to complete commands and options."""

from typing import Annotated

import typer

from ulmkit.config import check_choice

SHELLS = ("bash", "zsh", "fish")
COMPLETE_VARIABLE = "_ULMKIT_COMPLETE"
"""Environment variable by which the shell asks for completions."""


def completion_command(
    shell: Annotated[str, typer.Argument(metavar="SHELL", help="Shell: bash, zsh or fish.")],
) -> None:
    """Print a script that lets a shell complete commands.

    Let the shell read it when it starts: put eval "$(ulmkit completion bash)" into ~/.bashrc, or
    the same with zsh into ~/.zshrc after compinit; for fish, write the script to
    ~/.config/fish/completions/ulmkit.fish.

    Example: ulmkit completion bash
    """
    from typer.completion import get_completion_script

    check_choice("shell", shell, SHELLS)
    print(get_completion_script(prog_name="ulmkit", complete_var=COMPLETE_VARIABLE, shell=shell))
