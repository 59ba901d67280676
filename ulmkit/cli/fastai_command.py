"""The command that imports models of fastai."""

from typing import Annotated

import typer

from ulmkit.cli.option_groups import JsonFile, Overwrite
from ulmkit.cli.summary import summarise
from ulmkit.cli.training_commands import OutOption
from ulmkit.safe_writes import check_writable


def import_fastai_command(
    weights: Annotated[
        str, typer.Argument(metavar="WEIGHTS", help="File that learn.save or learn.save_encoder wrote (.pth).")
    ],
    vocabulary: Annotated[
        str, typer.Argument(metavar="VOCAB", help="Pickle of data.vocab.itos (fastai 1) or dls.vocab (fastai 2).")
    ],
    out: OutOption,
    backward: Annotated[bool, typer.Option("--backward", help="The language model reads text from its end.")] = False,
    language: Annotated[str | None, typer.Option(help="Language of the spaCy tokenizer (default: en).")] = None,
    sentencepiece: Annotated[
        str | None, typer.Option(help="The spm.model of fastai's SentencePieceTokenizer, in place of spaCy.")
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option("--label", help="Label of a classifier, in order; repeat it (default: those in VOCAB)."),
    ] = None,
    task: Annotated[str, typer.Option(help="Label type of a classifier: single or multi.")] = "single",
    json_file: JsonFile = None,
    overwrite: Overwrite = False,
) -> None:
    """Import a language model or a classifier from fastai.

    Nothing in the files is run, whoever made them. Learners that learn.export wrote are refused.

    Example: ulmkit import-fastai lm.pth vocab.pkl --out my-lm
    """
    from ulmkit.api import import_fastai
    from ulmkit.hub import read_config

    check_writable(out, overwrite)
    model = import_fastai(
        weights,
        vocabulary,
        direction="backward" if backward else "forward",
        language=language,
        sentencepiece=sentencepiece,
        labels=tuple(labels or ()),
        task=task,
    )
    model.save(out, overwrite=overwrite)
    config = read_config(out)
    values = {
        "model": out,
        "kind": config["kind"],
        "cell": config["encoder"]["cell"]["name"],
        **{name: config["encoder"][name] for name in ("layers", "hidden_size", "embedding_size")},
        "tokens": config["vocabulary"]["size"],
        "parameters": config["parameters"],
    }
    summarise({name.replace("_", " "): value for name, value in values.items()}, json_file, values)
