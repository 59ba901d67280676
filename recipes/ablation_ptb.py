"""The contribution of each part of AWD-LSTM: the ablation table of Merity et al. 2017 on Penn Treebank.

    python recipes/ablation_ptb.py --data PLACE [--out FOLDER] [--scale reduced|full|tiny] [--epochs N] [--seeds N]
        [--jobs N] [--threads N] [--rows NAME ...] [--test] [--device NAME] [--precision NAME] [--json FILE]

Each row is the full model without one part, trained `--seeds` times, each time in a folder of its own. Finished runs
are kept, and the same command continues with the others, `--jobs` at a time as processes of `--threads` threads each.

The scales:

full      The paper's sizes and epochs on all of the text, for a GPU.
reduced   Embedding 200, hidden 400, the first tenth of the training text, whose words are the vocabulary; `REDUCED` in
          ablation_rows.py says what else differs, and why.
tiny      A quick check that everything works.

Perplexities of different scales are not comparable: the table is about the order of its rows.

Source: Merity, Keskar & Socher 2017, arXiv:1708.02182, table 4.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from ablation_rows import ROWS, SCALES, AblationRow, Scale
from ablation_table import measured_rows, print_table
from published_corpora import PTB, open_corpus
from recipe_command import make_parser, run_main, set_threads, write_measurements
from run_evaluation import EvaluationPlan, RunEvaluation
from stages import begin_run, run_settings, stage_run, train_stages

from ulmkit.config import check_choice, check_whole, to_dict
from ulmkit.errors import TrainingError
from ulmkit.evaluation import CACHE_PTB_PAPER, DYNAMIC_PTB
from ulmkit.files import read_json
from ulmkit.pipeline import RunOptions
from ulmkit.safe_writes import atomic_write, write_json
from ulmkit.text import EncodedCorpus
from ulmkit.training import Budget, make_progress

RESULT_FILE = "result.json"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command.

    Raises:
        UlmkitError: For bad arguments or data.
        TrainingError: If a run fails; names the file that holds its output.
    """
    options = _read_options(arguments)
    scale = SCALES[options.scale] if options.epochs is None else replace(SCALES[options.scale], epochs=options.epochs)
    if options.worker:
        name, seed = options.worker
        set_threads(options.threads)
        corpus = open_corpus(str(options.out / "text"), PTB)
        run_one(options.out, corpus, scale, ROWS[name], int(seed), options)
        return
    corpus = open_corpus(options.data, PTB)
    settings = {"corpus": corpus.facts.fingerprint, "scale": to_dict(scale), "precision": options.precision}
    begin_run(options.out, settings)
    _write_text(options.out / "text", corpus, scale.text_fraction)
    names = list(dict.fromkeys(ROWS[name].run for name in options.rows))
    _run_all([(name, seed) for seed in range(options.seeds) for name in names], options)
    results = {
        name: [read_json(seed_folder(options.out, ROWS[name].run, seed) / RESULT_FILE) for seed in range(options.seeds)]
        for name in options.rows
    }
    print_table(results, scale)
    if options.json:
        details = {"scale": options.scale, "epochs": scale.epochs, "seeds": options.seeds, "runs": results}
        write_measurements(options.json, "ablation_ptb", measured_rows(results), details)


def seed_folder(out: Path, name: str, seed: int) -> Path:
    """Folder of a row's run with a seed."""
    return out / f"{name.replace(' ', '-').replace('/', '-')}-{seed}"


def run_one(
    out: Path, corpus: EncodedCorpus, scale: Scale, row: AblationRow, seed: int, options: argparse.Namespace
) -> None:
    """Train and evaluate a row's model, and write its result."""
    folder = seed_folder(out, row.name, seed)
    run = RunOptions(
        device=options.device,
        precision=options.precision,
        seed=seed,
        progress=make_progress(),  # its warnings go to the run's output file
        validations=Budget(epochs=1),
        restore_best=True,
    )
    sizes, stages = row.plan(scale)
    begin_run(folder, run_settings(corpus, sizes, stages, run))
    folders = train_stages(folder, corpus, sizes, stages, run)
    evaluation = RunEvaluation(folder, corpus, run)
    plan = EvaluationPlan(methods=["plain"], cache=CACHE_PTB_PAPER, dynamic=DYNAMIC_PTB)
    splits = ("valid", "test") if options.test else ("valid",)
    trained = {name: stage_run(model_folder) for name, model_folder in folders.items()}
    write_json(
        folder / RESULT_FILE,
        {
            "row": row.name,
            "seed": seed,
            "perplexity": {
                stage: {split: evaluation.evaluate(stage, split, plan)[0]["perplexity"] for split in splits}
                for stage in dict.fromkeys((stages[0].name, stages[-1].name))
            },
            "minutes": {name: stage.minutes for name, stage in trained.items()},
            "epochs": {name: stage.epochs for name, stage in trained.items()},
            "stopped_because": {name: stage.stopped_because for name, stage in trained.items()},
        },
    )


def _read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, threads=1)
    parser.add_argument(
        "--data", required=True, metavar="PLACE", help="folder of text files, prepared corpus, or 'download'"
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder of all runs (default: ablation-SCALE)")
    parser.add_argument("--scale", default="reduced", help=", ".join(SCALES))
    parser.add_argument("--epochs", type=int, help="epochs of each stage, at most (default: the scale's)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each row (default: 3)")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (default: 1)")
    names = ", ".join(ROWS)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), metavar="NAME", help=f"default: all of {names}")
    parser.add_argument("--test", action="store_true", help="also evaluate on the test set: once, at the end")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    check_choice("scale", options.scale, SCALES)
    for name in options.rows:
        check_choice("rows", name, ROWS)
    for name in ("seeds", "jobs", "threads", "epochs"):
        if getattr(options, name) is not None:
            check_whole(name, getattr(options, name))
    options.out = options.out or Path(f"ablation-{options.scale}")
    return options


def _write_text(folder: Path, corpus: EncodedCorpus, fraction: float) -> None:
    """Write the corpus as text files, of the training text only the first `fraction` in whole lines."""
    end_of_line = corpus.vocabulary.eos_id
    for split in ("train", "valid", "test"):
        stream = corpus.stream(corpus.rows(split))
        ids = stream.read(0, len(stream))
        if split == "train":
            ends = (ids == end_of_line).nonzero()[0] + 1
            ids = ids[: ends[min(len(ends) - 1, ends.searchsorted(fraction * len(ids)))]]
        with atomic_write(folder / f"{split}.txt") as file:
            file.write(corpus.tokenizer.detokenize(corpus.vocabulary.decode(ids)) + "\n")


def _run_all(runs: Sequence[tuple[str, int]], options: argparse.Namespace) -> None:
    """Run what is not done yet, each run in a process of its own.

    Raises:
        TrainingError: If a run fails; names the file that holds its output.
    """
    missing = [run for run in runs if not _is_done(seed_folder(options.out, *run), options.test)]
    print(f"{len(runs) - len(missing)} of {len(runs)} runs are done", flush=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        failed = [path for path in pool.map(lambda run: _start(*run, options), missing) if path is not None]
    if failed:
        raise TrainingError(
            f"{failed[0].stem}: expected the run to succeed, but it failed; its output is in {failed[0]}"
        )


def _is_done(folder: Path, with_test: bool) -> bool:
    path = folder / RESULT_FILE
    return path.is_file() and (
        not with_test or all("test" in stage for stage in read_json(path)["perplexity"].values())
    )


def _start(name: str, seed: int, options: argparse.Namespace) -> Path | None:
    """Run a worker process.

    Returns:
        The file of its output if it failed.
    """
    folder = seed_folder(options.out, name, seed)
    log = options.out / "output" / f"{folder.name}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, "--data", options.data, "--out", str(options.out), "--scale", options.scale]
    command += ["--device", options.device, "--precision", options.precision, "--threads", str(options.threads)]
    command += ["--worker", name, str(seed)]
    if options.epochs is not None:
        command += ["--epochs", str(options.epochs)]
    if options.test:
        command.append("--test")
    with open(log, "w", encoding="utf-8") as file:
        status = subprocess.run(
            command,
            stdout=file,
            stderr=file,
            env={**os.environ, "OMP_NUM_THREADS": str(options.threads)},
        ).returncode
    print(f"{name}, seed {seed}: {'done' if status == 0 else f'ended with status {status}'}", flush=True)
    return log if status else None


if __name__ == "__main__":
    run_main(main)
