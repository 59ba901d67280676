"""The command that uploads a model to the Hugging Face hub."""

from typing import Annotated

import typer

from ulmkit.cli.model_commands import ModelArgument
from ulmkit.cli.option_groups import JsonFile, Overwrite
from ulmkit.cli.summary import summarise
from ulmkit.tables import text_table


def push_command(
    model: ModelArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name on the hub: owner/name, or owner/name@branch.")],
    private: Annotated[
        bool, typer.Option("--private", help="Make a new repository private; refuse a public one.")
    ] = False,
    message: Annotated[str | None, typer.Option(help="Message of the commit.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be uploaded and stop.")] = False,
    json_file: JsonFile = None,
    overwrite: Overwrite = False,
) -> None:
    """Upload a model to the Hugging Face hub.

    The files and their sizes are printed first. The token is read from HF_TOKEN, or is that of `hf auth login`.

    Example: ulmkit push my-classifier owner/my-classifier --private
    """
    from ulmkit.hub import model_files, parse_target, push_folder, resolve_model

    target = parse_target(name)
    folder = resolve_model(model)
    files = model_files(folder)
    print(text_table(("file", "bytes"), [(file, f"{size:,}") for file, size in files.items()]) + "\n", flush=True)
    pushed = None
    if not dry_run:
        pushed = push_folder(folder, name, private=private, message=message)
    total = sum(files.values())
    printed = {"model": model, "files": len(files), "megabytes": total / 1e6}
    printed |= {"would be uploaded to": str(target)} if pushed is None else {"uploaded to": pushed}
    values = {"model": model, "name": pushed or str(target), "uploaded": pushed is not None, "bytes": total}
    summarise(printed, json_file, values | {"files": files})
