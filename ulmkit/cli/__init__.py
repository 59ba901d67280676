"""The command line: `ulmkit COMMAND`."""

import errno
import functools
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import typer

from ulmkit.cli import export_command, info_command, model_commands, quickstart_command, training_commands
from ulmkit.errors import UlmkitError
from ulmkit.training import TrainingInterrupted, is_first_process

_GRACE_SECONDS = 5.0

app = typer.Typer(
    help="Turn raw text into a language model, and the language model into a classifier.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _one_line_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Errors that ulmkit raises on purpose become one line on standard error, and exit status 2."""

    @functools.wraps(command)
    def guarded(*args: Any, **options: Any) -> Any:
        try:
            return command(*args, **options)
        except KeyboardInterrupt as stopped:
            if is_first_process():
                print(f"\nulmkit: {_where_stopped(stopped, options)}", file=sys.stderr)
            raise typer.Exit(130) from None
        except UlmkitError as error:
            _tell(str(error))
            raise typer.Exit(2) from None
        except BrokenPipeError:
            raise
        except OSError as error:
            full = "; free some space and run again" if error.errno == errno.ENOSPC else ""
            _tell(f"{error.filename or 'file'}: {error.strerror or error}{full}")
            raise typer.Exit(2) from None

    return guarded


def _where_stopped(stopped: KeyboardInterrupt, options: Mapping[str, Any]) -> str:
    if not isinstance(stopped, TrainingInterrupted):
        return "stopped"
    saved = stopped.checkpoint is not None and "resume" in options
    return f"{stopped}{'; the same command with --resume goes on' if saved else ''}"


def _tell(line: str) -> None:
    """Say on standard error why the command ends. Of several processes the first does; another gives it the time to,
    after which `torchrun` has ended it too."""
    if not is_first_process():
        time.sleep(_GRACE_SECONDS)
    print(f"ulmkit: {line}", file=sys.stderr)


for _name, _command in {
    "quickstart": quickstart_command.quickstart_command,
    "prepare": training_commands.prepare_command,
    "pretrain": training_commands.pretrain_command,
    "finetune": training_commands.finetune_command,
    "train": training_commands.train_command,
    "evaluate": model_commands.evaluate_command,
    "predict": model_commands.predict_command,
    "score": model_commands.score_command,
    "generate": model_commands.generate_command,
    "export": export_command.export_command,
    "lr-find": training_commands.lr_find_command,
    "info": info_command.info_command,
}.items():
    app.command(_name)(_one_line_errors(_command))


def main() -> None:
    """Run the command line. A mistake in the options is told in one line, as every other is."""
    try:
        status = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except Exception as error:  # typer brings click along or imports it, by version: known by what it offers
        tell = getattr(error, "format_message", None)
        if tell is None:
            raise
        command = getattr(getattr(error, "ctx", None), "command_path", "ulmkit")
        message = " ".join(tell().split()).rstrip(".")
        _tell(f"{message}; `{command} --help` shows what there is")
        sys.exit(2)
    sys.exit(status if isinstance(status, int) else 0)
