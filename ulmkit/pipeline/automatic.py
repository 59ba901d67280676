"""Training of a classifier by the ladder: several kinds of members, judged on held-out labels, and their blend."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from ulmkit.config import check_choice
from ulmkit.errors import ConfigError
from ulmkit.hub import (
    ClassifierParts,
    EnsembleParts,
    HeldOut,
    LadderRow,
    LanguageModelParts,
    RunFacts,
    TrainingFacts,
)
from ulmkit.hub.held_out import MOST_ANSWERS
from ulmkit.hub.shipped import shipped_text_parts
from ulmkit.members.co_training import NO_ROWS
from ulmkit.members.fitting import DocumentWords
from ulmkit.pipeline.baselines import record_baselines, texts_of
from ulmkit.pipeline.classifiers import train_network
from ulmkit.pipeline.data import DocumentCallback, is_corpus_folder, prepare
from ulmkit.pipeline.data_options import DataOptions
from ulmkit.pipeline.ensembles import evaluate_classifier, make_ensemble
from ulmkit.pipeline.held_out import data_facts, warn_of_data
from ulmkit.pipeline.ladder import Judging, Ladder, choose_judging, climb, is_better
from ulmkit.pipeline.ladder_advice import ladder_advice
from ulmkit.pipeline.ladder_text import LadderText
from ulmkit.pipeline.methods import LADDERS
from ulmkit.pipeline.options import DEFAULT_MODEL, RunOptions
from ulmkit.pipeline.recipes import ALL_LAYERS, ClassifierRecipe
from ulmkit.pipeline.rungs import (
    FeatureRung,
    LabelledVectors,
    LinearRung,
    NetworkRung,
    Rung,
    StudentRung,
    Teacher,
    co_trained_rungs,
    linear_rungs,
)
from ulmkit.pipeline.stage import machine_facts
from ulmkit.pipeline.text_measures import measure_held_out
from ulmkit.pipeline.training_part import training_rows, validation_rows
from ulmkit.tasks import find_task
from ulmkit.text import EncodedCorpus
from ulmkit.text.read.documents import Data
from ulmkit.text.tokens.tokenizer import Tokenizer
from ulmkit.text.tokens.vocabulary import Vocabulary
from ulmkit.training import Budget, latest_checkpoint

ENOUGH_VALIDATION = 1000
"""Labelled validation documents from which on rungs are judged on them; with fewer, by cross-validation."""

# With more, labels that members give each other are worse than those given. Up to as many, `held_out_folds` holds out
# every label once, of which a `StudentRung` takes halves.
_CO_TRAINING_LABELS = 2000
_NAMED_LABELS = 20  # for each class; with more, a class's name adds little to what its documents say
_CO_TRAINING_RATIO = 5  # documents, labelled or not, for each given label
_STUDENTS = 2  # trainings of a `StudentRung`
_NETWORK_SHARE = 0.8  # of a budget in minutes, that of the networks; the rest is for all that is linear


def train_automatically(
    data: Data | EncodedCorpus,
    language_models: Sequence[LanguageModelParts],
    *,
    task: str = "single",
    method: str = "auto",
    budget: Budget,
    recipe: ClassifierRecipe = ALL_LAYERS,
    data_options: DataOptions | None = None,
    run: RunOptions | None = None,
    labels: int | None = None,
    valid_documents: int | None = None,
    baselines: bool = False,
    transductive: bool = False,
    on_ladder: Callable[[Ladder], None] | None = None,
    progress: DocumentCallback | None = None,
) -> EnsembleParts:
    """Train a classifier of one label per text by the ladder; see `ulmkit.pipeline.ladder`.

    Rungs: TF-IDF of words and of characters, NB-SVM, document vectors of words and of characters; with few labels the
    last three once more, co-trained; the features of the language models; fine-tuned networks, and with few labels
    self-trained ones; and blends. They are judged on the validation documents if there are at least `ENOUGH_VALIDATION`
    of them and all labels are used, and otherwise by cross-validation of the labels, so that no further label is looked
    at.

    Args:
        data: Labelled and unlabelled documents; see `prepare`.
        language_models: A forward and a backward language model, or one of them, of the same vocabulary; none leaves
            the linear rungs. Word vectors are those of the first.
        task: Name of a task that has a ladder.
        method: How far to climb, one of `LADDERS`.
        budget: Length of the training of each network; minutes are those of all networks together and the rest. With
            epochs there are no self-trained networks, which would read all text so often.
        recipe: Settings of the networks. Class weights are those of all rungs.
        data_options: How documents are read, split and tokenized.
        run: Device, precision, seed, checkpoints and progress.
        labels: Learn from this many labelled documents, drawn with the classes in proportion; None takes all.
        valid_documents: Validate on this many documents; None takes all.
        baselines: Fit the linear baselines too, and record their validation metrics in the facts.
        transductive: Treat the text of the test split as unlabelled text, too.
        on_ladder: Called with the ladder, which can also fit what it did not keep.
        progress: Called with the number of documents prepared so far.

    Returns:
        The classifier; its facts have the ladder.

    Raises:
        DataError: If labels are missing or do not fit the task.
        ConfigError: If the language models have different vocabularies, or several processes run.
    """
    check_choice("method", method, LADDERS)
    if not find_task(task).has_ladder:
        raise ConfigError(f"task: expected one that has a ladder, got {task!r}; use method='finetune'")
    run = run or RunOptions()
    if run.world.size > 1:
        raise ConfigError(f"method: {method!r} runs in one process, got {run.world.size}; use method='finetune'")
    for name, is_set in (("restore_best", run.restore_best), ("patience", recipe.patience is not None)):
        if is_set and language_models and method == "auto":
            raise ConfigError(
                f"{name}: the ladder judges networks on the documents that would choose their best weights; leave it "
                "out, or use method='finetune'"
            )
    first = language_models[0] if language_models else None
    if any(parts.vocabulary != language_models[0].vocabulary for parts in language_models):
        raise ConfigError("language_models: expected one vocabulary, got several; train both from the same corpus")
    started = time.monotonic()
    data_options = data_options or DataOptions()
    vocabulary, tokenizer = ladder_text_parts(data, data_options, first)
    counts_words = not data_options.tokenizer_settings().has_own_vocabulary
    if first is None and data_options.min_freq is None and counts_words:
        data_options = replace(data_options, min_freq=1)  # with few labels, rare words are what tells classes apart
    corpus = prepare(data, data_options, task=task, tokenizer=tokenizer, vocabulary=vocabulary, progress=progress)
    if run.on_corpus is not None:
        run.on_corpus(corpus)
    rows = training_rows(corpus, labels, run.seed)
    held_out = validation_rows(corpus, valid_documents, run.seed)
    text = LadderText(
        corpus,
        held_out,
        transductive=transductive,
        seed=run.seed,
        word_vectors=None if first is None else first.word_vectors,
    )
    is_enough = labels is None and len(held_out) >= ENOUGH_VALIDATION
    judging = choose_judging(rows, text.answers[rows], held_out if is_enough else None)
    base = None if first is None else first.facts.as_base()
    warn_of_data(corpus, text.splits, base, run)
    ladder = climb_corpus(text, language_models, rows, judging, method=method, budget=budget, recipe=recipe, run=run)
    if run.progress is not None:
        for line in ladder_advice(ladder, corpus.label_names, is_weighted=recipe.class_weights != "none"):
            run.progress.message(line)
    if on_ladder is not None:
        on_ladder(ladder)
    parts = ensemble_of(ladder, ladder.kept, corpus)
    report = evaluate_classifier(parts, corpus, held_out)
    facts = TrainingFacts(
        stage="classification",
        base=base,
        labelled_documents=len(rows),
        validation_documents=len(held_out),
        data=data_facts(corpus, text.splits, base),
        run=RunFacts(
            budget=budget,
            minutes=round((time.monotonic() - started) / 60.0, 2),
            seed=run.seed,
            machine=machine_facts(run),
        ),
        recipe=asdict(recipe),
        validation=report.validation_metrics(),
        limits=()
        if judging.is_refitted
        else ("The members' weights were fitted on the validation documents, whose metrics flatter it a little.",),
        ladder=ladder.facts,
        notes={"method": method},
    )
    answers = ladder.held_out_answers(ladder.kept).sample(MOST_ANSWERS)
    parts = replace(parts, facts=facts, held_out=HeldOut(answers, measure_held_out(parts, corpus)))
    if not baselines:
        return parts
    return record_baselines(parts, corpus, texts_of(data, corpus, data_options), rows, held_out)


def ladder_text_parts(
    data: Data | EncodedCorpus, options: DataOptions, language_model: LanguageModelParts | None
) -> tuple[Vocabulary | None, Tokenizer | None]:
    """Vocabulary and tokenizer that a ladder reads text with; both are None where `data` or `options` choose them.

    They are the language model's. Linear models without one take those of the shipped language model: its pieces and
    bytes spell every text of any language, so that new words can be read by their characters.
    """
    if language_model is not None:
        return language_model.vocabulary, language_model.tokenizer
    chosen = (options.tokenizer, options.min_freq, options.max_vocab)
    is_open = options.language == DataOptions.language and all(each is None for each in chosen)
    if not is_open or isinstance(data, EncodedCorpus) or is_corpus_folder(data):
        return None, None
    return shipped_text_parts(DEFAULT_MODEL) or (None, None)


def climb_corpus(
    text: LadderText,
    language_models: Sequence[LanguageModelParts],
    rows: np.ndarray,
    judging: Judging,
    *,
    method: str,
    budget: Budget,
    recipe: ClassifierRecipe,
    run: RunOptions,
) -> Ladder:
    """Climb the ladder on labelled documents of a corpus; see `train_automatically` for the rest.

    Args:
        text: The corpus, and what is learned from it without labels.
        language_models: Language models of the corpus's vocabulary; may be none.
        rows: (n,) labelled documents to learn from.
        judging: How rungs are judged.
        method: How far to climb, one of `LADDERS`.
        budget: Length of the training of each network; minutes are those of all.
        recipe: Settings of the networks.
        run: Device, precision, seed, checkpoints and progress.

    Source: class names as text that tells what a class is: Chang et al. 2008, "Importance of semantic representation:
        dataless classification". Deviation: they are documents to learn from, beside the labelled ones.
    """
    say = (lambda _: None) if run.progress is None else run.progress.message
    weights = find_task(text.corpus.task).class_weights(text.corpus, rows, recipe)
    if weights is not None:  # the same for each training, whatever documents it takes
        recipe = replace(recipe, class_weights=dict(zip(text.corpus.label_names, weights, strict=True)))
    read = [text.documents] if text.characters is None else [text.documents, text.characters]
    names = text.names if len(rows) <= _NAMED_LABELS * text.classes else NO_ROWS
    vectors = [
        LabelledVectors(view, without, rows, text.answers, text.classes, weights, names)
        for view, without in zip(text.views, text.views_without, strict=True)
    ]
    if len(names) and not _names_help(names, vectors[0], read[0], judging, text.answers, weights):
        names = NO_ROWS
    rungs: list[Rung] = linear_rungs(read, vectors, text.answers, text.classes, rows, weights, names)
    blends = [("linear blend", [rung.name for rung in rungs])]
    teacher = None
    if judging.is_refitted and len(rows) <= _CO_TRAINING_LABELS and len(text.rows) >= _CO_TRAINING_RATIO * len(rows):
        teacher = Teacher(text.co_training, vectors, text.answers, weights, names)
        taught = co_trained_rungs(read, teacher)
        rungs += taught
        blends.append(("co-trained blend", [rung.name for rung in taught]))
    if language_models and method != "linear":
        judged = judging.held_out
        rungs.append(
            FeatureRung(language_models, text.document, text.answers, rows, judged, text.classes, weights, names)
        )
        blends.append(("linear and features", [rung.name for rung in rungs]))
    if language_models and method == "auto":
        if teacher is not None and budget.epochs is not None:
            teacher = None  # a pass over all text, twice, is not what so many passes over a few labels asks for
            say("self-trained networks: left out, since they read the unlabelled text too; give minutes or steps")
        rungs += _network_rungs(text.corpus, language_models, judging, teacher, budget, recipe, run)
        blends.append(("blend of all", [rung.name for rung in rungs]))
    if len(names):
        say("class names: learned from, each as a document of its class")
    say(f"the ladder, judged by {judging.describe()}:")
    begin = (lambda _: None) if run.progress is None else run.progress.working
    ladder = climb(rungs, blends, judging, text.answers, rows, say, weights, begin)
    ladder.uses_names = len(names) > 0
    ladder.uses_word_vectors = vectors[0].setting.scales[1] > 0
    if ladder.uses_word_vectors:
        say("document vectors: of this text, and of the language model's word vectors")
    say(ladder.table())
    return ladder


def _names_help(
    names: np.ndarray,
    vectors: LabelledVectors,
    read: DocumentWords,
    judging: Judging,
    labels: np.ndarray,
    class_weights: Sequence[float] | None,
) -> bool:
    """Return whether class names make document vectors better on held-out labels, by more than one standard error."""
    named, plain = (LinearRung("document vectors", vectors.fit, read, each) for each in (names, NO_ROWS))
    return is_better(named, plain, judging, labels, class_weights)


def ensemble_of(ladder: Ladder, row: LadderRow, corpus: EncodedCorpus) -> EnsembleParts:
    """Fit a row of a ladder to all its labelled documents, as a classifier in the corpus's vocabulary."""
    return make_ensemble(corpus, *ladder.fit(row), class_shares=ladder.class_shares)


def _network_rungs(
    corpus: EncodedCorpus,
    language_models: Sequence[LanguageModelParts],
    judging: Judging,
    teacher: Teacher | None,
    budget: Budget,
    recipe: ClassifierRecipe,
    run: RunOptions,
) -> list[Rung]:
    """A rung for each language model, and one that is taught by co-training; all share a budget of minutes."""
    refits = judging.is_refitted and len(judging.splits) > 1
    trainings = len(language_models) * (len(judging.splits) + refits) + (0 if teacher is None else _STUDENTS)
    if budget.minutes is not None:
        budget = Budget(minutes=budget.minutes * _NETWORK_SHARE / trainings)

    def train(
        parts: LanguageModelParts,
        rows: np.ndarray,
        held_out: np.ndarray,
        name: str,
        soft_targets: np.ndarray | None = None,
    ) -> ClassifierParts:
        folder = None if run.folder is None else Path(run.folder) / name
        resume = run.resume and folder is not None and latest_checkpoint(folder) is not None
        own = replace(run, folder=folder, resume=resume, on_corpus=None, warn=False, tensorboard=run.events_of(name))
        return train_network(
            corpus, parts, rows, held_out, budget=budget, recipe=recipe, run=own, soft_targets=soft_targets
        )

    rungs: list[Rung] = [NetworkRung(parts, train, corpus, refits) for parts in language_models]
    if teacher is not None:
        rungs.append(StudentRung(language_models, train, corpus, teacher, len(corpus.label_names)))
    return rungs
