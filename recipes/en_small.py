"""The small language models that the package ships: a forward and a backward one, pretrained on a Wikipedia.

    python recipes/en_small.py --data WIKI --out FOLDER [--direction forward|backward|both] [--steps N]
        [--decay-steps M] [--name NAME] [--language CODE] [--corpus FOLDER] [--max-megabytes N] [--seed N]
        [--threads N] [--device NAME] [--precision NAME] [--json FILE] [--quick]

WIKI is the text of a Wikipedia in any form that `ulmkit prepare` reads. Each direction is trained in two stages:

constant   N steps (6,572, as for the shipped forward model, which read 14.7 million pieces) at a constant rate of 2e-3.
decay      M further steps (2,000) on the same text, the rate falling to zero in a half cosine. Now and then a stream's
           state is set to zero: within one long epoch it is otherwise carried on, and the model comes to depend on it.

A stopped run continues when the same command is given again; more steps of the second stage need another FOLDER. The
directions may be trained by two commands at a time; with `--direction both`, the default, those that are complete are
not trained again. The result, FOLDER/NAME, has weights in bfloat16. It is kept if rounding the weights changes no
log-probability by much and if it is small enough, and its card says how it was made and how well it does.

`--language de --name de-small` makes a German model of a German Wikipedia in the same way.
"""

import argparse
import math
import os
import tempfile
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from recipe_command import given_command, machine, make_parser, row, run_main, set_threads, write_measurements
from stages import Stage, begin_run, run_settings, stage_run, train_stages

from ulmkit import DataOptions, LanguageModel, RunOptions
from ulmkit.config import check_choice, check_positive, check_whole
from ulmkit.errors import ConfigError, DataError, FolderError
from ulmkit.files import read_json, sha256_file
from ulmkit.hub import Direction, LanguageModelParts, TrainingFacts, load_language_model
from ulmkit.hub.folder_config import DIRECTIONS
from ulmkit.model.config import AWDLSTMConfig, LanguageModelConfig
from ulmkit.pipeline import PRETRAIN, LanguageModelRecipe, prepare
from ulmkit.safe_writes import write_json
from ulmkit.tables import rounded, text_table
from ulmkit.text import EncodedCorpus
from ulmkit.training import Budget, PrefixedProgress, Schedule, make_progress

EVALUATION_FILE = "evaluation.json"
LARGEST_DIFFERENCE = 0.1
"""Largest difference, in nats, that rounding to bfloat16 may make to the log-probability of a token."""

_RESET_PROBABILITY = 0.05
_ROUNDING_ROWS = 32
_ROUNDING_STEPS = 512
_LANGUAGES = {"en": "English", "de": "German"}


@dataclass(frozen=True, kw_only=True)
class SmallModel:
    """Sizes and settings of a small model.

    Attributes:
        pieces: SentencePiece pieces, 256 of them for bytes.
        sizes: Layer sizes; the recipe's `dropout_multiplier` sets their dropouts to 0.
        recipe: Settings of the first stage.
    """

    pieces: int
    sizes: LanguageModelConfig
    recipe: LanguageModelRecipe

    def stages(self, steps: int, decay_steps: int) -> list[Stage]:
        """The stages of one direction, of so many optimizer steps."""
        schedule = Schedule("flat_cosine", {"flat_fraction": 0.0})
        decay = replace(self.recipe, schedule=schedule, reset_probability=_RESET_PROBABILITY)
        return [
            Stage(name="constant", recipe=self.recipe, budget=Budget(steps=steps)),
            Stage(name="decay", recipe=decay, budget=Budget(steps=decay_steps)),
        ]


SMALL = SmallModel(
    pieces=8000,
    sizes=LanguageModelConfig(encoder=AWDLSTMConfig(embedding_size=256, hidden_size=512, layers=2)),
    recipe=replace(
        PRETRAIN,
        batch_size=32,
        bptt=70,
        peak_rate=2e-3,
        schedule=Schedule("constant"),
        ar=0.0,
        tar=0.0,
        dropout_multiplier=0.0,
    ),
)
"""Two layers without regularization, since the text is read about once."""

QUICK = SmallModel(
    pieces=320,
    sizes=LanguageModelConfig(encoder=AWDLSTMConfig(embedding_size=16, hidden_size=24, layers=2)),
    recipe=replace(SMALL.recipe, batch_size=8, bptt=16, peak_rate=2e-2),
)
"""A tiny model, to see that everything works."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command.

    Raises:
        UlmkitError: For bad arguments or data, a training that fails, or a model that may not be kept.
    """
    options = _read_options(arguments)
    set_threads(options.threads)
    small = QUICK if options.quick else SMALL
    data_options = DataOptions(tokenizer="sentencepiece", pieces=small.pieces, byte_fallback=True)
    corpus = open_text(options.data, options.corpus, data_options)
    run = RunOptions(
        device=options.device,
        precision=options.precision,
        seed=options.seed,
        validations=10,
    )
    stages = small.stages(options.steps, options.decay_steps)
    directions: tuple[Direction, ...] = DIRECTIONS if options.direction == "both" else (options.direction,)
    members, results = [], {}
    for direction in directions:
        out = options.out / direction
        begin_run(out, run_settings(corpus, small.sizes, stages, run) | {"direction": direction})
        display = PrefixedProgress(make_progress(), direction)
        folders = train_stages(out, corpus, small.sizes, stages, replace(run, progress=display), direction)
        last = load_language_model(folders["decay"])
        results[direction] = evaluate(last, corpus, options.data, data_options, folders["decay"], out)
        check_rounding(direction, results[direction])
        members.append(replace(last, facts=_describe(last, results[direction], list(folders.values()), options)))
    name = options.name if options.direction == "both" else f"{options.name}-{options.direction}"
    megabytes = save(LanguageModel(*members), options.out / name, options.max_megabytes)
    _report(results, options, name, megabytes)


def open_text(data: str, folder: Path, options: DataOptions) -> EncodedCorpus:
    """Prepare the corpus of a text in `folder`, or open the one that is there."""
    if folder.exists():
        return EncodedCorpus.open(folder)
    return prepare(data, options, folder=folder)


def evaluate(
    parts: LanguageModelParts,
    corpus: EncodedCorpus,
    data: str,
    options: DataOptions,
    model_folder: Path,
    out: Path,
) -> dict[str, float]:
    """Evaluate a model with its weights in bfloat16 on the whole validation split, once.

    Args:
        parts: The model, with its weights in float32.
        corpus: The corpus that it was trained on.
        data: The text that the corpus was prepared from, whose bytes are counted.
        options: How the text is read.
        model_folder: The model's folder.
        out: Folder of the results; they are read from it if they are those of the model's weights.

    Returns:
        Perplexity per piece and per word and bits per byte, exact; and the differences that rounding makes.
    """
    path, weights = out / EVALUATION_FILE, sha256_file(model_folder / "model.safetensors")
    known = read_json(path) if path.is_file() else {}
    if known.get("weights") == weights:
        return dict(known["results"])
    rounded_parts = replace(parts, model=deepcopy(parts.model))
    rounded_parts.model.load_state_dict({name: t.bfloat16() for name, t in parts.model.state_dict().items()})
    size = bytes_of_split(corpus, "valid", data, options)
    exact = LanguageModel(rounded_parts).evaluate(corpus, split="valid")
    results = {
        "perplexity_per_piece": exact.perplexity,
        "perplexity_per_word": exact.perplexity_per_word or math.nan,
        "bits_per_byte": exact.nll / (size * math.log(2.0)),
        **rounding_differences(parts, rounded_parts, corpus),
    }
    write_json(path, {"weights": weights, "results": results})
    return results


def bytes_of_split(corpus: EncodedCorpus, split: str, data: str, options: DataOptions) -> int:
    """UTF-8 bytes of a split's texts as they were written, which a corpus does not record.

    Raises:
        DataError: If the corpus was prepared from another text.
    """
    rows = set(corpus.rows(split).tolist())
    texts = (str(document.text) for number, document in enumerate(options.source(data, "none")) if number in rows)
    sizes = np.array([(len(text), len(text.encode("utf-8", "surrogatepass"))) for text in texts]).reshape(-1, 2)
    characters, size = sizes.sum(axis=0).tolist()
    expected = int(corpus.table["characters"][corpus.rows(split)].sum())
    if characters != expected:
        raise DataError(
            f"{data}: expected the text that {corpus.folder} was prepared from, with {expected:,} characters in split "
            f"{split!r}, got {characters:,}; give that text, or another --corpus"
        )
    return int(size)


@torch.no_grad()
def rounding_differences(
    parts: LanguageModelParts, rounded_parts: LanguageModelParts, corpus: EncodedCorpus
) -> dict[str, float]:
    """Compare the log-probabilities of two models on the beginning of the validation split, in fp32.

    Returns:
        The largest difference of a token's log-probability, and the difference of the mean loss.
    """
    stream = corpus.stream(corpus.rows("valid"), reverse=parts.direction == "backward")
    steps = min(_ROUNDING_STEPS, (len(stream) - 1) // _ROUNDING_ROWS)
    ids = torch.from_numpy(stream.read(0, steps * _ROUNDING_ROWS + 1).astype(np.int64))
    inputs, targets = (ids[start : len(ids) - 1 + start].view(_ROUNDING_ROWS, steps).T for start in (0, 1))  # (T, B)
    losses = []
    for member in (parts, rounded_parts):
        member.model.encoder.precision = "fp32"
        nll, _ = member.model.token_nll(inputs.contiguous(), targets.contiguous())
        losses.append(nll.double())
    difference = losses[1] - losses[0]
    return {
        "rounding_largest_difference": float(difference.abs().max()),
        "rounding_loss_difference": float(difference.mean()),
    }


def check_rounding(direction: str, results: dict[str, float]) -> None:
    """Raise DataError if weights in bfloat16 change the log-probability of a token by too much."""
    largest = results["rounding_largest_difference"]
    if not largest <= LARGEST_DIFFERENCE:
        raise DataError(
            f"{direction}: weights in bfloat16 change a log-probability by {largest:.3g}, more than "
            f"{LARGEST_DIFFERENCE}; nothing was written, the stages have the weights in float32"
        )


def save(model: LanguageModel, folder: Path, max_megabytes: float) -> float:
    """Write a model in bfloat16 in place of an earlier one.

    Returns:
        Its size in megabytes.

    Raises:
        FolderError: If it is too large; an earlier one stays.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        staged = Path(temporary) / folder.name
        model.save(staged, weights="bfloat16")
        megabytes = sum(file.stat().st_size for file in staged.rglob("*") if file.is_file()) / 1e6
        if megabytes > max_megabytes:
            raise FolderError(
                f"{folder}: expected at most {max_megabytes:g} MB, got {megabytes:.1f}; nothing was written, allow "
                "more with --max-megabytes"
            )
        model.save(folder, weights="bfloat16", overwrite=True)
    return megabytes


def _describe(
    parts: LanguageModelParts, results: dict[str, float], stages: Sequence[Path], options: argparse.Namespace
) -> TrainingFacts:
    """Facts of a finished model: how it was made, how well it does, and what it is not good for."""
    runs = [stage_run(folder) for folder in stages]
    threads = "" if runs[-1].machine is None else f", threads: {runs[-1].machine.threads}"
    language = _LANGUAGES.get(options.language, options.language)
    return replace(
        parts.facts,
        description=f"A small {language} language model to fine-tune on your own text, pretrained on Wikipedia.",
        license="cc-by-sa-3.0",
        language=options.language,
        limits=(
            "Not good for facts or for text to be published: it has learned how sentences are built, not what is true.",
            "Not good for text unlike an encyclopedia, such as reviews or chats, before it is fine-tuned on such text.",
            f"Not good for languages other than {language}: what its pieces do not cover is spelled in bytes.",
        ),
        # Validation begins at states of zero, which the first stage has hardly seen: its metrics would mislead.
        base=None if parts.facts.base is None else replace(parts.facts.base, validation={}),
        validation_before={},
        notes={
            "attribution": "the training text is by the contributors of Wikipedia (https://wikipedia.org), licensed "
            "under CC BY-SA 3.0 (https://creativecommons.org/licenses/by-sa/3.0/)",
            "command": options.command,
            "processor": f"{machine()['processor']}{threads}",
            "hours": round(sum(run.minutes for run in runs) / 60, 2),
            "steps": sum(run.steps or 0 for run in runs),
            "figures": "perplexities in these notes are exact, over the whole validation split as one stream, with "
            "weights rounded to bfloat16; quote these rather than the estimate under Evaluation",
            **results,
        },
    )


def _report(results: dict[str, dict[str, float]], options: argparse.Namespace, name: str, megabytes: float) -> None:
    """Print the results, and write them as a benchmark does."""
    names = list(next(iter(results.values())))
    rows = [(each.replace("_", " "), *(rounded(result[each]) for result in results.values())) for each in names]
    print(text_table(("validation split", *results), rows))
    print(f"\n{options.out / name}: {megabytes:.1f} MB")
    if options.json:
        measured = [
            row(f"{direction}, {each.replace('_', ' ')}", each, result[each], None, "none", lower_is_better=True)
            for direction, result in results.items()
            for each in ("bits_per_byte", "perplexity_per_word")
        ]
        details = {"results": results, "megabytes": round(megabytes, 2), "command": options.command}
        write_measurements(options.json, name, measured, details)


def _read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--data", required=True, metavar="WIKI", help="text of a Wikipedia")
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="folder of the run")
    parser.add_argument("--direction", default="both", help="forward, backward or both (default)")
    parser.add_argument("--steps", type=int, default=6572, help="steps at the constant rate (default: 6572)")
    parser.add_argument("--decay-steps", type=int, default=2000, help="steps of the falling rate (default: 2000)")
    parser.add_argument("--name", default="en-small", help="name of the model (default: en-small)")
    parser.add_argument("--language", default="en", help="code of its language (default: en)")
    parser.add_argument(
        "--corpus", type=Path, metavar="FOLDER", help="prepared corpus of WIKI, made if it is not there (FOLDER/corpus)"
    )
    parser.add_argument("--max-megabytes", type=float, default=25.0, help="largest model to write (default: 25)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    parser.add_argument("--quick", action="store_true", help="train a tiny model, to see that everything works")
    options = parser.parse_args(arguments)
    check_choice("direction", options.direction, (*DIRECTIONS, "both"))
    for name in ("steps", "decay_steps"):
        check_whole(name, getattr(options, name))
    check_positive("max_megabytes", options.max_megabytes)
    if not options.name or os.sep in options.name or options.name in (*DIRECTIONS, "corpus"):
        raise ConfigError(f"--name: expected a name for a folder in FOLDER, got {options.name!r}; choose another")
    options.command = given_command(parser, arguments)
    options.corpus = options.corpus or options.out / "corpus"
    return options


if __name__ == "__main__":
    run_main(main)
