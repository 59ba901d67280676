"""The command line: `ulmkit COMMAND`."""

import contextlib
import errno
import functools
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import typer

from ulmkit.cli import (
    completion_command,
    drift_command,
    export_command,
    fastai_command,
    info_command,
    model_commands,
    push_command,
    quickstart_command,
    report_command,
    serve_command,
    training_commands,
    tune_command,
)
from ulmkit.cli.console import (
    describe_bug,
    escape_unprintable,
    flush_output,
    is_out_of_memory,
    is_output_broken,
    plain_warnings,
    silence_downloads,
)
from ulmkit.cli.option_groups import name_flags, option_flags
from ulmkit.cli.outputs import check_outputs, check_working_folder
from ulmkit.cli.plain_help import WIDTH, PlainCommand, PlainGroup
from ulmkit.errors import UlmkitError
from ulmkit.training.interrupt import StopRequested, TrainingInterrupted, raise_on_signals
from ulmkit.training.ranks import is_first_process, is_one_of_several

_GRACE_SECONDS = 5.0

app = typer.Typer(
    help="Turn raw text into a language model, and the language model into a classifier.",
    add_completion=False,
    add_help_option=False,  # PlainGroup shows it
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    cls=PlainGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDTH},
)


def _one_line_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Guard what a command reads, print the errors of ulmkit as one line on standard error, and exit with status 2."""
    flags = option_flags(command)

    @functools.wraps(command)
    def guarded(*args: Any, **options: Any) -> Any:
        try:
            with contextlib.nullcontext() if is_one_of_several() else raise_on_signals():
                check_working_folder()
                check_outputs(options, flags)
                return command(*args, **options)
        except KeyboardInterrupt as interrupt:
            if is_first_process():
                print(f"\nulmkit: {_describe_interrupt(interrupt, flags)}", file=sys.stderr)
            number = interrupt.number if isinstance(interrupt, StopRequested) else signal.SIGINT
            raise typer.Exit(128 + number) from None
        except UlmkitError as error:
            _print_error(name_flags(error, flags))
            raise typer.Exit(2) from None
        except BrokenPipeError:
            raise
        except OSError as error:
            advice = "; free some space and run again" if error.errno == errno.ENOSPC else ""
            place = error.filename or (
                "standard output" if is_output_broken() else "a file, which the system does not name"
            )
            _print_error(f"{place}: {error.strerror or error}{advice}")
            raise typer.Exit(2) from None

    return guarded


def _describe_interrupt(interrupt: KeyboardInterrupt, flags: Mapping[str, str]) -> str:
    return name_flags(interrupt, flags) if isinstance(interrupt, TrainingInterrupted) else "stopped"


def _print_error(line: str) -> None:
    """Print on standard error why the command ends.

    Of several processes the first prints. The others wait, since `torchrun` ends all of them as soon as one ends.
    """
    if not is_first_process():
        time.sleep(_GRACE_SECONDS)
    print(f"ulmkit: {line}", file=sys.stderr)


_COMMANDS: dict[str, Callable[..., Any]] = {
    "quickstart": quickstart_command.quickstart_command,
    "prepare": training_commands.prepare_command,
    "pretrain": training_commands.pretrain_command,
    "finetune": training_commands.finetune_command,
    "train": training_commands.train_command,
    "evaluate": model_commands.evaluate_command,
    "predict": model_commands.predict_command,
    "drift": drift_command.drift_command,
    "score": model_commands.score_command,
    "embed": model_commands.embed_command,
    "generate": model_commands.generate_command,
    "export": export_command.export_command,
    "import-fastai": fastai_command.import_fastai_command,
    "push": push_command.push_command,
    "report": report_command.report_command,
    "serve": serve_command.serve_command,
    "tune": tune_command.tune_command,
    "lr-find": training_commands.lr_find_command,
    "info": info_command.info_command,
    "completion": completion_command.completion_command,
}
for _name, _command in _COMMANDS.items():
    app.command(_name, cls=PlainCommand)(_one_line_errors(_command))


def main() -> None:
    """Run the command line. Whatever ends it is printed in one line; a reader that closes the pipe ends it quietly."""
    escape_unprintable()
    silence_downloads()
    try:
        with plain_warnings():
            status = _run()
    except BrokenPipeError:
        status = 128 + getattr(signal, "SIGPIPE", 13)
    sys.exit(status if flush_output(tell=not status) or status else 2)


@functools.cache
def _command_line() -> Callable[..., Any]:
    """Build the parsers of all commands, once per process."""
    return typer.main.get_command(app)


def _run() -> int:
    if completion_command.COMPLETE_VARIABLE in os.environ:
        from typer.completion import completion_init

        completion_init()  # it registers the shells, since the options that typer would add are switched off
    try:
        status = _command_line()(sys.argv[1:] or ["--help"], prog_name="ulmkit", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception as error:
        # A usage error is click's own or that of typer's copy of it, depending on the version.
        format_message = getattr(error, "format_message", None)
        if format_message is not None:
            command = getattr(getattr(error, "ctx", None), "command_path", "ulmkit")
            message = " ".join(format_message().split()).rstrip(".")
            _print_error(f"{message}; `{command} --help` lists the options")
            return 2
        if is_out_of_memory(error):
            _print_error("the memory is not enough; take smaller batches, a smaller model or a larger machine")
            return 2
        _print_error(describe_bug(error))
        return 1
