"""Which library has the better language model after the same minutes of training on the same words?

ulmkit trains by the recipe `MODERN_PTB`, whose settings were chosen on the validation text of Penn Treebank, and in
bf16 where that is faster. The peer, whose settings were not chosen on this text, is fastai's `language_model_learner`
with its defaults: AWD_LSTM from scratch with `drop_mult` 1.0, batches of 64 rows and 72 steps, Adam in one cycle to its
default rate, its own callbacks, fp32; and a second time with the rate of `--fastai-rate`, if one is given.

Both read the words of a corpus such as Penn Treebank under one vocabulary without special tokens. fastai gives token 1,
its padding, no gradient through the embedding: the rarest word has that id here. fastai's one cycle needs the number of
steps: its steps are timed first, outside the budget, and then as many as fit are one epoch, which repeats the text.

Each library trains in a process of its own, one after the other, with the allocator that it uses: ulmkit's trainer
keeps freed memory, fastai does not. fastai's weights are then put into ulmkit's model, which must give the same loss on
a piece of text, and both models are evaluated by exact perplexity on the validation text.

    python benchmarks/ptb_minutes.py --data FOLDER --minutes N [--threads N] [--fastai-rate R] [--out FOLDER]
        [--seed N] [--judge-tokens N] [--quick] [--json FILE]

--quick: 40 steps of a small model of each library on generated text.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from common import report, row
from fastai_peer import MISSING, load_fastai
from ptb_minutes_fastai import train_fastai

from ulmkit.evaluation import first_context, perplexity
from ulmkit.hub import LanguageModelParts, load_language_model, save_language_model
from ulmkit.pipeline import MODERN_PTB, DataOptions, RunOptions, prepare, pretrain
from ulmkit.text import EncodedCorpus
from ulmkit.training import Budget

QUICK_STEPS = 40
TOLERANCE = 0.1  # share of the minutes by which a training may be off
QUICK_SIZES = {"embedding_size": 64, "hidden_size": 96}
RESULT_FILE = "result.json"
MALLOC = "MALLOC_"


def main() -> None:
    options = read_options()
    if options.worker:
        work(options)
        return
    with tempfile.TemporaryDirectory() as temporary:
        out = options.out or Path(temporary)
        if options.quick:
            options.data = write_text(Path(temporary) / "text")
        rows = table(compare(out, options), options)
    print()
    report("ptb_minutes", rows, options.json)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="word-level corpus: train and valid files")
    parser.add_argument("--minutes", type=float, default=10.0, help="training time of each library (default: 10)")
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count(), help="threads of each library (default: all cores)"
    )
    parser.add_argument(
        "--fastai-rate", type=float, metavar="R", help="train fastai a second time, with this peak rate"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="folder to keep the models in; existing ones are not trained again"
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    parser.add_argument(
        "--judge-tokens", type=int, metavar="N", help="evaluate on the first N validation tokens (default: all)"
    )
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_STEPS} steps of a small model on generated text")
    parser.add_argument("--json", metavar="FILE", help="write the results to this file")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.quick and options.data is None:
        parser.error("--data: expected a corpus, got none; give one, or use --quick")
    return options


def compare(out: Path, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Train and evaluate each library, and return the results by name; fastai's is missing if it is not installed."""
    jobs = {"ulmkit": {"library": "ulmkit"}}
    if load_fastai() is None:
        print(f"{MISSING}: see benchmarks/requirements.txt")
    else:
        jobs["fastai"] = {"library": "fastai", "rate": None}
        if options.fastai_rate is not None:
            jobs[f"fastai at {options.fastai_rate:g}"] = {"library": "fastai", "rate": options.fastai_rate}
    results = {}
    for name, job in jobs.items():
        judged = "all" if options.judge_tokens is None else options.judge_tokens
        folder = out / f"{name.replace(' ', '-')}-{options.minutes:g}-{options.seed}-{judged}"
        if not (folder / RESULT_FILE).is_file():
            start_worker(folder, job, options)
        results[name] = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
        result = results[name]
        if not options.quick and abs(result["minutes"] / options.minutes - 1) > TOLERANCE:
            print(
                f"{name}: took {result['minutes']:.2f} minutes, not {options.minutes:g}; run again on an idle machine"
            )
        print(
            f"{name}: perplexity {result['perplexity']:.2f} after {result['minutes']:.2f} minutes, "
            f"{result['tokens']:,} tokens, {result['precision']}, {result['malloc'] or 'no MALLOC_ variables'}",
            flush=True,
        )
    return results


def start_worker(folder: Path, job: dict[str, Any], options: argparse.Namespace) -> None:
    """Train and evaluate in a process of its own."""
    command = [sys.executable, __file__, "--data", str(options.data), "--minutes", str(options.minutes)]
    command += ["--threads", str(options.threads), "--seed", str(options.seed), "--out", str(folder)]
    command += ["--worker", json.dumps(job), *(["--quick"] if options.quick else [])]
    command += [] if options.judge_tokens is None else ["--judge-tokens", str(options.judge_tokens)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(MALLOC)}
    done = subprocess.run(command, env={**environment, "OMP_NUM_THREADS": str(options.threads)})
    if done.returncode:
        sys.exit(f"{job}: the training failed: see above")


def work(options: argparse.Namespace) -> None:
    """Work of one process: a training, its model folder and its result."""
    torch.set_num_threads(options.threads)
    job = json.loads(options.worker)
    corpus = prepare(str(options.data), DataOptions(tokenizer="whitespace", workers=1, split_by="given"))
    if job["library"] == "ulmkit":
        parts, facts = train_ulmkit(corpus, options)
    else:
        sizes = QUICK_SIZES if options.quick else {}
        steps = QUICK_STEPS if options.quick else None
        parts, facts = train_fastai(corpus, options.minutes, job["rate"], options.seed, sizes, steps)
    options.out.mkdir(parents=True, exist_ok=True)
    save_language_model(options.out / "model", parts, overwrite=True)
    loaded = load_language_model(options.out / "model")
    stream = corpus.stream(corpus.rows("valid"))
    head = stream.read(0, min(len(stream), options.judge_tokens or len(stream)))
    evaluation = perplexity(loaded.model, head, first_context=first_context(corpus.vocabulary))
    malloc = {name: value for name, value in os.environ.items() if name.startswith(MALLOC)}
    result = {**facts, "perplexity": evaluation.perplexity, "predicted": evaluation.tokens, "malloc": malloc}
    (options.out / RESULT_FILE).write_text(json.dumps(result, indent=2), encoding="utf-8")


def train_ulmkit(corpus: EncodedCorpus, options: argparse.Namespace) -> tuple[LanguageModelParts, dict[str, Any]]:
    """Train by MODERN_PTB for the minutes, with one short validation at the end."""
    recipe = MODERN_PTB
    sizes = recipe.sizes
    if options.quick:
        sizes = replace(sizes, encoder=replace(sizes.encoder, **QUICK_SIZES))
    budget = Budget(steps=QUICK_STEPS) if options.quick else Budget(minutes=options.minutes)
    run = RunOptions(device="cpu", seed=options.seed, validations=1, valid_tokens=1000)
    parts = pretrain(corpus, budget=budget, sizes=sizes, recipe=recipe.main, run=run)
    trained = parts.facts.run
    assert trained is not None
    assert trained.machine is not None
    return parts, {
        "minutes": trained.minutes,
        "steps": trained.steps,
        "precision": trained.machine.precision,
        "tokens": trained.tokens,
        "rate": recipe.main.peak_rate,
    }


def table(results: dict[str, dict[str, Any]], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of ulmkit beside each run of fastai: perplexity, and tokens and minutes spent."""
    ours = results.pop("ulmkit")
    when = f"{QUICK_STEPS} steps" if options.quick else f"{options.minutes:g} minutes"
    case = f"after {when}, {options.threads} threads, {ours['precision']}, {ours['predicted']:,} validation tokens"
    rows = []
    for name, theirs in results.items() or {MISSING: None}.items():
        pairs = [
            ("perplexity", "perplexity", True),
            ("tokens", "tokens read", False),
            ("minutes", "minutes taken", True),
        ]
        for key, unit, lower in pairs:
            peer = theirs[key] if theirs else None
            rows.append(row(f"{case}: {unit}", unit, ours[key], peer, _name(name, theirs), lower_is_better=lower))
    return rows


def _name(name: str, theirs: dict[str, Any] | None) -> str:
    return f"{name}, rate {theirs['rate']:g}, {theirs['steps']} steps" if theirs else name


def write_text(folder: Path) -> Path:
    """Write generated sentences in which some words follow others, as train.txt and valid.txt."""
    draw = random.Random(0)
    folder.mkdir()
    words = [f"w{number}" for number in range(500)]
    for split, lines in (("train", 4000), ("valid", 200)):
        text = []
        for _ in range(lines):
            number = draw.randrange(500)
            line = []
            for _ in range(12):
                line.append(words[number])
                number = (number * 7 + draw.choice((1, 1, 1, 2, 3))) % 500
            text.append(" ".join(line))
        (folder / f"{split}.txt").write_text("\n".join(text) + "\n", encoding="utf-8")
    return folder


if __name__ == "__main__":
    main()
