"""The contribution of each part of ULMFiT: the paper's tables 4 to 7 on few documents, and the rungs of our ladder.

    python recipes/ablation_imdb.py --data PLACE --language-model LM [--backward-language-model LM] [--out FOLDER]
        [--draws N] [--labels N] [--documents N] [--valid-documents N] [--minutes-per-run N | --epochs LM CLASSIFIER]
        [--dropout FACTOR] [--only NAME ...] [--threads N] [--device NAME] [--precision NAME] [--json FILE]

PLACE is any data with one label per text, a folder or a name on the hub; text without labels helps, and so does a split
"unsupervised". LM is a forward language model or a pair. Rows that read backward need a backward one.

Each classifier trains for the same time, and each language model for three times as long: it serves all draws, each of
which takes other labels and another seed. So the range of a row shows what labels and seed do to a classifier, not what
chance does to its language model. By default 10,000 documents of text are read, of which each of three draws takes
1,000 labels, with half of the paper's dropouts and 5 minutes a classifier. That makes 51 classifiers and 6 language
models in 5.8 hours, validation at the end of each run not counted. Finished runs are kept, and the same command
continues with the others; more draws may be asked for later.

The last table has the rungs of the ladder up to features (the guide's section "Methods"), which learn from the same
draws and text, start from ULMFiT's language models, and are judged on the same documents. Their time is not limited:
they take some minutes a draw.

The validation documents, which also decide where training stops early, are held out from the training part if the data
has no validation part. The test part is not used.

Source: Howard & Ruder 2018, arXiv:1801.06146, section 5.
Deviation: Less of everything, and budgets in minutes. The vanilla language model has the same pretrained weights as the
    others and no dropout from then on; the paper pretrains it without dropout.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from ablation_imdb_rows import CLASSIFIERS, LANGUAGE_MODELS, ROWS, RUNGS, ULMFIT, ClassifierRun, needs_backward
from ablation_imdb_table import measured_rows, measured_rungs, print_rungs, print_tables
from ablation_imdb_text import choose_documents, write_documents
from few_labels import Draw, Draws, read_options
from recipe_command import given_command, make_parser, run_main, set_threads, write_measurements
from stages import begin_run, complete_stage
from ulmfit import (
    ULMFIT_DROPOUTS,
    Prediction,
    kept_prediction,
    model_fingerprint,
    open_language_models,
    predict,
    with_dropouts,
)

from ulmkit.config import check_choice, check_not_negative, check_whole, to_dict
from ulmkit.errors import ConfigError
from ulmkit.files import fingerprint
from ulmkit.hub import LanguageModelParts, load_language_model, read_facts, save_language_model
from ulmkit.pipeline import RunOptions, finetune, prepare, pretrain, train
from ulmkit.training import Budget, make_progress

LANGUAGE_MODEL_FACTOR = 3
"""Minutes of a language model over those of a classifier: it is trained once for all draws."""

MONITORED_DOCUMENTS = 500
"""Validation documents that a training is watched on; all of them are judged at its end."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command.

    Raises:
        UlmkitError: For bad arguments or data, and for a training that fails.
    """
    options = _read_options(arguments)
    set_threads(options.threads)
    bases = open_language_models(options.language_model, options.backward_language_model)
    names = _choose_rows(options.only, "backward" in bases)
    rows = [name for name in names if name != RUNGS]
    documents = choose_documents(options.data, options.documents, options.valid_documents, options.labels)
    language_model, classifier = _budgets(options)
    settings = {
        "documents": fingerprint([[each.text, each.label, each.split] for each in documents]),
        "labels": options.labels,
        "language_models": {direction: model_fingerprint(base) for direction, base in bases.items()},
        "budgets": {"language model": to_dict(language_model), "classifier": to_dict(classifier)},
        "dropout": options.dropout,
        "precision": options.precision,
    }
    begin_run(options.out, settings)
    write_documents(options.out / "text", documents)
    ablation = Ablation(options, bases, language_model, classifier)
    runs = dict.fromkeys(run for name in rows for run in ROWS[name].runs)
    predictions: dict[ClassifierRun, list[Prediction]] = {run: [] for run in runs}
    for draw in range(options.draws):
        for run in runs:
            predictions[run].append(ablation.predict(run, draw))
    ladders = ablation.climb_ladders() if RUNGS in names else []
    print_tables(rows, predictions)
    if ladders:
        print_rungs(ladders)
    print(f"\n{options.command}\n{ablation.describe()}")
    if options.json:
        details = {
            "run": {
                "command": options.command,
                "draws": options.draws,
                "device": options.device,
                "threads": torch.get_num_threads(),
                **settings,
            },
            "language_models": ablation.language_model_facts(),
        }
        measured = [*measured_rows(rows, predictions), *measured_rungs(ladders)]
        write_measurements(options.json, "ablation_imdb", measured, details)


class Ablation:
    """Language models and classifiers of an ablation, trained where they are not there yet.

    Args:
        options: Options of the command.
        bases: Language models to start from, by direction.
        language_model: Length of a language model's training.
        classifier: Length of a classifier's training.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        bases: Mapping[str, LanguageModelParts],
        language_model: Budget,
        classifier: Budget,
    ) -> None:
        self._options = options
        self._bases = bases
        self._budgets = (language_model, classifier)
        self._text = str(options.out / "text")

    def predict(self, run: ClassifierRun, draw: int) -> Prediction:
        """Predictions of a classifier for the validation documents."""
        name = _file_name(f"{run.language_model}, {run.classifier}, {draw}")
        path = self._options.out / "classifiers" / f"{name}.json"
        if not path.is_file():
            print(f"language model {run.language_model}, classifier {run.classifier}, draw {draw + 1}", flush=True)
        return kept_prediction(path, lambda: self._train_classifier(run, draw))

    def climb_ladders(self) -> list[Draw]:
        """Climb the ladder for each draw as `few_labels.py` does, and predict with every rung."""
        options = self._options
        names = [name for name in (ULMFIT, "backward") if LANGUAGE_MODELS[name].direction in self._bases]
        models = [self._language_model(name) for name in names]
        command = ["--data", self._text, "--out", str(options.out / "rungs"), "--method", "features"]
        command += ["--device", options.device, "--precision", options.precision]
        corpus = prepare(self._text, task="single", tokenizer=models[0].tokenizer, vocabulary=models[0].vocabulary)
        draws = Draws(read_options(command), corpus, models)
        return [draws.predict(options.labels, draw) for draw in range(options.draws)]

    def language_model_facts(self) -> dict[str, Any]:
        """Minutes, epochs and validation perplexity of each language model that was trained."""
        facts = {}
        for name in LANGUAGE_MODELS:
            if self._language_model_folder(name).exists():
                trained = read_facts(self._language_model_folder(name))
                assert trained.run is not None
                facts[name] = {
                    "minutes": trained.run.minutes,
                    "epochs": trained.run.epochs,
                    "perplexity": trained.validation["perplexity"],
                }
        return facts

    def describe(self) -> str:
        """Data, budgets and language models in a few lines."""
        options = self._options
        budgets = ", ".join(
            f"{budget.minutes or budget.epochs:g} {'minutes' if budget.minutes else 'epochs'} a {kind}"
            for kind, budget in zip(("language model", "classifier"), self._budgets, strict=True)
        )
        lines = [
            f"{options.documents:,} documents, {options.labels:,} labels, {options.draws} draws, at most {budgets}; "
            f"the paper's dropouts times {options.dropout:g}"
        ]
        lines += [
            f"language model {name}: {facts['epochs']:.2f} epochs, {facts['minutes']:.1f} minutes, validation "
            f"perplexity {facts['perplexity']:.1f}"
            for name, facts in self.language_model_facts().items()
        ]
        return "\n".join(lines)

    def _run_options(self, seed: int) -> RunOptions:
        options = self._options
        return RunOptions(
            device=options.device,
            precision=options.precision,
            seed=seed,
            progress=make_progress(),
            warn=False,
            validations=10,
        )

    def _train_classifier(self, run: ClassifierRun, draw: int) -> Prediction:
        start = self._language_model(run.language_model)
        corpus = prepare(self._text, task="single", tokenizer=start.tokenizer, vocabulary=start.vocabulary)
        variant = CLASSIFIERS[run.classifier]
        encoder = start.model.config.encoder
        has_dropouts = LANGUAGE_MODELS[run.language_model].has_dropouts
        options = self._run_options(draw)
        budget = self._budgets[1]
        parts = train(
            corpus,
            None if variant.is_from_scratch else start,
            budget=budget,
            recipe=variant.plan(encoder.layers, budget, self._options.dropout if has_dropouts else 0.0),
            sizes=encoder,
            run=options,
            labels=self._options.labels,
            valid_documents=MONITORED_DOCUMENTS,
        )
        trained = parts.facts.run
        assert trained is not None
        prediction = predict(parts, corpus, "valid", options)
        facts = {
            "minutes": trained.minutes,
            "epochs": trained.epochs,
            "stopped_because": trained.stopped_because,
            "evaluation_minutes": prediction.facts["seconds"] / 60,
        }
        return replace(prediction, facts=facts)

    def _language_model(self, name: str) -> LanguageModelParts:
        """The language model that a classifier starts from, trained on the text if it is to be and was not yet."""
        variant = LANGUAGE_MODELS[name]
        base = self._bases[variant.direction]
        recipe = variant.recipe
        if recipe is None:
            return base
        recipe = replace(recipe, dropout_multiplier=self._options.dropout)
        dropouts = ULMFIT_DROPOUTS if variant.has_dropouts else dict.fromkeys(ULMFIT_DROPOUTS, 0.0)
        start = with_dropouts(base, dropouts)
        budget = self._budgets[0]

        def tune(run: RunOptions) -> LanguageModelParts:
            corpus = prepare(self._text, tokenizer=base.tokenizer, vocabulary=base.tokenizer.closed_vocabulary())
            if variant.is_pretrained:
                return finetune(start, corpus, budget=budget, recipe=recipe, run=run)
            return pretrain(corpus, budget=budget, sizes=start.model.config, recipe=recipe, run=run)

        folder = self._language_model_folder(name)
        if not folder.exists():
            print(f"language model {name}", flush=True)
        complete_stage(folder, self._run_options(0), tune, save_language_model)
        return load_language_model(folder)

    def _language_model_folder(self, name: str) -> Path:
        return self._options.out / f"language-model-{_file_name(name)}"


def _read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--data", required=True, metavar="PLACE", help="labelled texts: a folder, or a name on the hub")
    parser.add_argument("--language-model", required=True, metavar="LM", help="forward language model, or a pair")
    parser.add_argument("--backward-language-model", metavar="LM", help="backward language model")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder of all runs (default: ablation-ulmfit)")
    parser.add_argument("--draws", type=int, default=3, help="draws of labels (default: 3)")
    parser.add_argument("--labels", type=int, default=1000, help="labels of a draw (default: 1000)")
    parser.add_argument("--documents", type=int, default=10_000, help="documents of text (default: 10000)")
    parser.add_argument("--valid-documents", type=int, default=2000, help="documents to judge on (default: 2000)")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes-per-run", type=float, default=5.0, help="minutes of a classifier (default: 5)")
    budget.add_argument("--epochs", nargs=2, type=float, metavar=("LM", "CLASSIFIER"), help="epochs, not minutes")
    parser.add_argument("--dropout", type=float, default=0.5, metavar="FACTOR", help="of the paper's dropouts (0.5)")
    names = "; ".join([*ROWS, RUNGS])
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"rows to run (default: all of {names})")
    options = parser.parse_args(arguments)
    for name in ("draws", "labels", "documents", "valid_documents"):
        check_whole(name, getattr(options, name))
    check_not_negative("dropout", options.dropout)
    options.command = given_command(parser, arguments)
    options.out = options.out or Path("ablation-ulmfit")
    return options


def _choose_rows(names: Sequence[str] | None, has_backward: bool) -> list[str]:
    """Names of the rows to run, in the paper's order: those asked for, else all that the language models allow."""
    possible = [*(name for name, row in ROWS.items() if has_backward or not needs_backward(row)), RUNGS]
    for name in names or ():
        check_choice("only", name, [*ROWS, RUNGS])
        if name not in possible:
            raise ConfigError(f"only: {name!r} needs a backward language model; give --backward-language-model")
    return [name for name in possible if not names or name in names]


def _budgets(options: argparse.Namespace) -> tuple[Budget, Budget]:
    """Length of the training of a language model, and of a classifier."""
    if options.epochs is not None:
        return Budget(epochs=options.epochs[0]), Budget(epochs=options.epochs[1])
    minutes = options.minutes_per_run
    return Budget(minutes=LANGUAGE_MODEL_FACTOR * minutes), Budget(minutes=minutes)


def _file_name(name: str) -> str:
    return name.replace(", ", "_").replace(" + ", "-").replace(" ", "-")


if __name__ == "__main__":
    run_main(main)
