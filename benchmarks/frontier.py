"""Which classifier should one pick, by accuracy, training time, speed, start-up and size?

All learn from the same draws of labels, with the classes in proportion, and answer for the same held-out documents: a
part of the training split, or with --test the test split, for one last evaluation. No peer learns from unlabelled text;
ulmkit's methods may. Measured one after the other:

accuracy      Mean over the draws, with its standard deviation.
training      Minutes for all that the draw needs. What is made once for all draws is not counted: MiniLM and the model
              distilled from it, the language model of ulmkit and its fine-tuning on the target text.
documents/s   All held-out documents at once, read as plain text; median of the calls that fit in two seconds.
start-up      A fresh process that loads the saved model and answers for one document, imports included; median of
              three.
size          Everything that it needs on disk, apart from installed packages.

`frontier_peers.py` says how each peer is set up. ulmkit trains by each of --methods from --language-model; where that
gives a network, its int8 copy is measured too. ulmkit's figure in the rows is that of the first method; further ones
stand beside it as peers do. Each result is in the JSON as soon as it is there: with the same file, a run that was
stopped goes on, and more peers, methods, labels or draws can be added. Nothing else may run meanwhile.

    python benchmarks/frontier.py [--imdb FOLDER] [--subjectivity FOLDER] [--banking77 FOLDER]
        [--data NAME=PLACE ...] [--labels N ...] [--draws N] [--held-out N] [--test] [--peers NAME ...]
        [--methods NAME ...] [--language-model [DATA=]NAME ...] [--minutes M] [--plot FILE] [--quick] [--json FILE]
"""

import argparse
import datetime
import importlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from common import report
from frontier_data import Task, read_task
from frontier_peers import NETWORK_METHODS, PEERS, Peer, PeerOptions, Ulmkit, missing_modules
from frontier_plot import plot_frontier
from frontier_results import NAME, OURS, Models, Result, Results, panels, print_summaries, rows_of
from measurements import commit

from ulmkit import LanguageModel
from ulmkit.errors import UlmkitError
from ulmkit.kernels import int8_runs
from ulmkit.pipeline import METHODS
from ulmkit.report import check_plot_path

LABELS = {"imdb": (100, 1000, 25_000), "subjectivity": (50, 500), "banking77": (385, 770)}
OTHER_LABELS = (100, 1000)
QUICK_PEERS = ("tfidf", "nbsvm", "fasttext")
LANGUAGE_MODEL = "en-small"
HELD_OUT = 2000
SECONDS_OF_CALLS = 2.0
STARTS = 3
ANSWER = "import frontier_peers; frontier_peers.answer_once()"
NO_BYTECODE = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")
"""Variables that would have each fresh process compile the packages that it imports."""
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


@dataclass(frozen=True)
class Model:
    """A way to get a classifier.

    Attributes:
        name: Name in tables.
        make: Makes an untrained classifier for a task and a seed.
        settings: Gives the options that matter to this model alone, for data of a name.
        int8_name: Name of its copy with int8 weights, which is measured too if it has a network.
    """

    name: str
    make: Callable[[Task, int], Peer]
    settings: Callable[[str], dict[str, Any]]
    int8_name: str | None = None

    @property
    def names(self) -> list[str]:
        return [self.name] if self.int8_name is None else [self.name, self.int8_name]


def main() -> None:
    options = read_options()
    for name, value in OFFLINE.items():  # read by the peers when they are imported, here and in fresh processes
        os.environ[name] = value
    threads = torch.get_num_threads()
    results = Results(options.json, {"test": options.test, "held_out": options.held_out, "threads": threads})
    print(f"torch {torch.__version__}, threads: {threads}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(options.folder or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        models, missing = choose_models(options, folder, threads)
        for reason in missing.values():
            print(reason)
        names = Models([name for model in models for name in model.names], missing)
        all_right = True
        for data, place in options.data.items():
            task = read_task(data, place, options.held_out, test=options.test)
            print(f"\n{data}: {len(task.texts):,} labelled, {len(task.held_out_texts):,} held out", flush=True)
            for labels in label_counts(task, options.labels):
                for draw in range(options.draws):
                    for model in models:
                        if not results.has((data, labels, draw, model.name), model.settings(data)):
                            all_right &= run_one(task, labels, draw, model, results, names)
    print()
    measured = list(results.by_key.values())
    report(NAME, rows_of(measured, names), options.json, results.details())
    print_summaries(measured)
    if options.plot and measured:
        plot_frontier(panels(measured), options.plot)
    if not all_right:
        sys.exit(1)


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in ("--imdb", "--subjectivity", "--banking77"):
        counts = " ".join(map(str, LABELS[option.removeprefix("--")]))
        parser.add_argument(option, metavar="FOLDER", help=f"folder of this data (labels by default: {counts})")
    parser.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="NAME=PLACE",
        help="other data by a name for it (labels by default: " + " ".join(map(str, OTHER_LABELS)) + ")",
    )
    parser.add_argument("--labels", type=int, nargs="+", metavar="N", help="numbers of labels, for all data")
    parser.add_argument("--draws", type=int, default=3, help="draws of labels for each number (default: 3)")
    parser.add_argument(
        "--held-out",
        type=int,
        metavar="N",
        help=f"documents to score (default: {HELD_OUT} of the training split, or the whole test split)",
    )
    parser.add_argument("--test", action="store_true", help="score the test split, for one last evaluation")
    parser.add_argument(
        "--peers", nargs="*", choices=PEERS, default=list(PEERS), metavar="NAME", help="of " + ", ".join(PEERS)
    )
    parser.add_argument(
        "--methods",
        nargs="*",
        choices=METHODS,
        default=list(METHODS),
        metavar="NAME",
        help="ulmkit's, of " + ", ".join(METHODS),
    )
    parser.add_argument(
        "--language-model",
        nargs="+",
        default=[],
        metavar="[DATA=]NAME",
        help=f"model that ulmkit starts from, of all data or of one (default: {LANGUAGE_MODEL})",
    )
    parser.add_argument("--minutes", type=float, default=5.0, help="training time of ulmkit's classifiers (default: 5)")
    parser.add_argument(
        "--setfit-pairs", type=int, default=4000, metavar="N", help="pairs that SetFit learns from (default: 4000)"
    )
    parser.add_argument("--folder", help="keep the model2vec model here for later runs")
    parser.add_argument("--plot", metavar="FILE", help="draw accuracy against documents a second into this file")
    parser.add_argument(
        "--quick", action="store_true", help=f"one draw of 100 labels of the smallest data, {', '.join(QUICK_PEERS)}"
    )
    parser.add_argument("--json", metavar="FILE", help="write the results to this file, and go on from those in it")
    options = parser.parse_args(arguments)
    given = {name: place for name in LABELS if (place := getattr(options, name)) is not None}
    for item in options.data:
        name, _, place = item.partition("=")
        if not (name and place) or name in LABELS or name in given:
            parser.error(f"--data: expected NAME=PLACE, with a name of its own, got {item!r}")
        given[name] = place
    options.data = given
    if not options.data:
        parser.error("expected some data; give " + ", ".join(f"--{name}" for name in (*LABELS, "data")))
    for name in ("labels", "draws", "held_out", "minutes", "setfit_pairs"):
        value = getattr(options, name)
        if value is not None and min(value if isinstance(value, list) else [value]) <= 0:
            parser.error(f"--{name.replace('_', '-')}: expected a positive number, got {value}")
    if options.plot:
        try:
            check_plot_path(options.plot)
        except UlmkitError as error:
            parser.error(f"--plot: {error}")
    known = [*LABELS, *(name for name in options.data if name not in LABELS)]
    options.language_models = dict.fromkeys(known, LANGUAGE_MODEL)
    for item in options.language_model:
        data, separator, name = item.rpartition("=")
        if separator and data not in known:
            parser.error(f"--language-model: expected DATA of {', '.join(known)}, got {data!r}")
        options.language_models |= {data: name} if separator else dict.fromkeys(known, name)
    if options.quick:
        for option, usual in (("peers", list(PEERS)), ("methods", list(METHODS))):
            if getattr(options, option) != usual:
                parser.error(f"--quick: leave --{option} out; it measures {', '.join(QUICK_PEERS)}")
        smallest = next(name for name in ("subjectivity", "banking77", "imdb", *options.data) if name in options.data)
        options.data = {smallest: options.data[smallest]}
        options.peers = list(QUICK_PEERS)
        options.methods = []
        options.labels = [100]
        options.draws = 1
        options.held_out = 500
    if options.held_out is None and not options.test:
        options.held_out = HELD_OUT
    return options


def choose_models(options: argparse.Namespace, folder: Path, threads: int) -> tuple[list[Model], dict[str, str]]:
    """Find out what can be measured.

    Returns:
        The models, and why others are missing, by name.
    """
    models = []
    missing = {}
    loaded: dict[str, LanguageModel] = {}
    for method in options.methods:
        name = f"{OURS} {method}"
        try:
            for place in {options.language_models[data] for data in options.data} - loaded.keys():
                loaded[place] = LanguageModel.load(place)
        except UlmkitError as error:
            missing[name] = f"{name}: not measured ({error})"
            continue

        def make(task: Task, seed: int, method: str = method) -> Peer:
            language_model = loaded[options.language_models[task.name]]
            return Ulmkit(language_model, method=method, minutes=options.minutes, seed=seed)

        def settings(data: str, has_network: bool = method in NETWORK_METHODS) -> dict[str, Any]:
            minutes = {"minutes": options.minutes} if has_network else {}
            return {**minutes, "language_model": options.language_models[data]}

        has_int8 = method in NETWORK_METHODS and int8_runs(torch.device("cpu"))[0]
        models.append(Model(name, make, settings, f"{name}, int8" if has_int8 else None))
    for key in options.peers:
        adapter = PEERS[key]
        modules = missing_modules(adapter)
        if modules:
            reason = f"not installed: {', '.join(modules)}; see benchmarks/requirements.txt"
            missing[adapter.name] = f"{adapter.name}: not measured ({reason})"
            continue

        def make_peer(task: Task, seed: int, adapter: Any = adapter) -> Peer:
            for module in adapter.modules:  # not part of the training's time
                importlib.import_module(module)
            peer: Peer = adapter(
                PeerOptions(folder=folder, seed=seed, threads=threads, setfit_pairs=options.setfit_pairs)
            )
            return peer

        own = {"setfit_pairs": options.setfit_pairs} if key == "setfit" else {}
        models.append(Model(adapter.name, make_peer, lambda data, own=own: own))
    return models, missing


def label_counts(task: Task, wanted: Sequence[int] | None) -> list[int]:
    """Numbers of labels for a task, at most as many as it has."""
    return sorted({min(count, len(task.texts)) for count in wanted or LABELS.get(task.name, OTHER_LABELS)})


def run_one(task: Task, labels: int, draw: int, model: Model, results: Results, names: Models) -> bool:
    """Measure one model and its copy on one draw, and keep the results.

    Returns:
        False if it failed, which costs no other model.
    """
    print(f"{task.name}, {labels:,} labels, draw {draw}, {model.name}: ", end="", flush=True)
    try:
        found = measure(task, labels, draw, model)
        print("; int8: ".join(map(str, found)), flush=True)
        results.replace([(task.name, labels, draw, name) for name in model.names], found, names)
    except UlmkitError as error:
        print(f"failed ({error})")
        return False
    except Exception:  # a peer may raise anything; the others still have to run
        print("failed", flush=True)
        traceback.print_exc()
        return False
    return True


def measure(task: Task, labels: int, draw: int, model: Model) -> list[Result]:
    """Train a model on one draw of labels and measure it, then its copy with int8 weights if it has one."""
    texts, names, unlabelled = task.draw(labels, draw)
    classifier = model.make(task, draw)
    start = time.perf_counter()
    classifier.fit(texts, names, unlabelled)
    minutes = (time.perf_counter() - start) / 60
    classifiers = {model.name: classifier}
    if model.int8_name is not None and isinstance(classifier, Ulmkit) and classifier.has_network:
        classifiers[model.int8_name] = classifier.to_int8()
    results = []
    for name, trained in classifiers.items():
        accuracy, speed = score(trained, task)
        with tempfile.TemporaryDirectory() as folder:
            trained.save(Path(folder))
            megabytes = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 1e6
            adapter = type(trained).__name__
            startup_seconds = statistics.median(
                start_up(adapter, folder, task.held_out_texts[0]) for _ in range(STARTS)
            )
        result = Result(
            data=task.name,
            labels=labels,
            draw=draw,
            model=name,
            accuracy=accuracy,
            minutes=minutes,
            documents_per_second=speed,
            startup_seconds=startup_seconds,
            megabytes=megabytes,
            settings=model.settings(task.name),
            commit=commit(),
            date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        )
        results.append(result)
    return results


def score(classifier: Peer, task: Task) -> tuple[float, float]:
    """Accuracy in percent, and documents per second, on the held-out documents."""
    seconds: list[float] = []
    while not seconds or sum(seconds) + seconds[-1] < SECONDS_OF_CALLS:
        start = time.perf_counter()
        answers = classifier.predict(task.held_out_texts)
        seconds.append(time.perf_counter() - start)
    right = sum(answer == label for answer, label in zip(answers, task.held_out_labels, strict=True))
    return 100 * right / len(answers), len(answers) / statistics.median(seconds)


def start_up(adapter: str, folder: str, text: str) -> float:
    """Seconds from the start of a process to its first answer."""
    benchmarks = str(Path(__file__).resolve().parent)
    paths = [benchmarks, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = {name: value for name, value in os.environ.items() if name not in NO_BYTECODE}
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", ANSWER, adapter, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(text)
        process.stdin.close()
        answer = process.stdout.readline()
        seconds = time.perf_counter() - start
    if not answer or process.returncode:
        raise RuntimeError(f"{adapter}: expected an answer from a fresh process, got exit status {process.returncode}")
    return seconds


if __name__ == "__main__":
    main()
