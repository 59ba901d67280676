"""Inputs for `fuzz.py`: one small folder or file of every kind that ulmkit loads, and how it is loaded and used."""

import csv
import json
import random
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fuzz_mutations import write_data

from ulmkit import LanguageModel, TextClassifier
from ulmkit.hub import (
    ClassifierParts,
    EnsembleParts,
    FeatureParts,
    LanguageModelParts,
    TrainingFacts,
    load_model,
    save_classifier,
    save_ensemble,
    save_language_model,
    save_pair,
)
from ulmkit.members.combiner import Combiner
from ulmkit.members.linear import LinearMember
from ulmkit.members.ngrams import NGrams
from ulmkit.model.awd_lstm import AWDLSTMConfig
from ulmkit.model.cells import QRNN, Mogrifier
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.config import LanguageModelConfig, feature_count
from ulmkit.model.language_model import AWDLSTMLanguageModel
from ulmkit.pipeline.language_model_task import LanguageModelTask
from ulmkit.tasks import TASKS, find_label_kind
from ulmkit.text import (
    ByteTokenizer,
    DocumentSource,
    EncodedCorpus,
    SpacyTokenizer,
    SplitPolicy,
    Tokenizer,
    Vocabulary,
    WhitespaceTokenizer,
    build_corpus,
    load_tokenizer,
    read_documents,
    train_sentencepiece,
)
from ulmkit.text.batches import LanguageModelBatches
from ulmkit.text.corpus.reading_report import source_report
from ulmkit.text.read.text_files import data_suffix, uncompressed_name
from ulmkit.training import Budget, OptimizerConfig, Schedule, StepResult, Trainer, TrainerConfig, full

WORDS = ["<unk>", "<eos>", "the", "film", "was", "fine", "poor", "and", "a", "story"]
TEXTS = [f"the film was {word} and a story" for word in ("fine", "poor", "fine and fine", "poor poor poor")]
_ENCODER = AWDLSTMConfig(embedding_size=6, hidden_size=8, layers=2)


class NotFiniteAnswerError(Exception):
    """A model that loaded without complaint answers with NaN or infinity."""


@dataclass(frozen=True)
class Target:
    """One kind of input.

    Attributes:
        make: Writes a valid input into a folder.
        use: Loads the input and uses it; `draw` chooses among options of loading.
    """

    make: Callable[[Path], None]
    use: Callable[[Path, random.Random], None]


def _language_model(config: LanguageModelConfig, tokenizer: Tokenizer) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        torch.manual_seed(0)
        vocabulary = tokenizer.closed_vocabulary() or Vocabulary(["xxunk", "xxbos", *WORDS])
        parts = LanguageModelParts(
            AWDLSTMLanguageModel(config, len(vocabulary)),
            vocabulary,
            tokenizer,
            "forward",
            TrainingFacts(stage="pretraining", validation={"perplexity": 9.0}, limits=("none",)),
        )
        save_language_model(folder / "model", parts)

    return make


def _classifier_parts(task: str, direction: Any = "forward", int8: bool = False) -> ClassifierParts:
    torch.manual_seed(1)
    classes = 1 if task == "number" else 3
    options: dict[str, Any] = {"number_mean": 2.0, "value_range": (0.0, 5.0)} if task == "number" else {}
    head = TASKS[task].head_type(classes=classes, hidden_size=4, **options)
    model = AWDLSTMClassifier(_ENCODER, len(WORDS), head, chunk_steps=5, gradient_steps=20)
    labels = () if task == "number" else ("a", "b", "c")
    model = model.to_int8() if int8 else model
    facts = TrainingFacts(stage="classification", validation={"accuracy": 0.5})
    tokenizer = SpacyTokenizer("en") if task == "pair" else WhitespaceTokenizer()
    return ClassifierParts(TASKS[task], model, Vocabulary(WORDS), tokenizer, labels, direction, facts)


def _classifier(task: str, int8: bool = False) -> Callable[[Path], None]:
    return lambda folder: _discard(save_classifier(folder / "model", _classifier_parts(task, int8=int8)))


def _make_pair(folder: Path) -> None:
    for direction in ("forward", "backward"):
        save_classifier(folder / direction, _classifier_parts("single", direction))
    save_pair(folder / "model", folder / "forward", folder / "backward")


def _make_ensemble(folder: Path) -> None:
    """An ensemble with a member of every kind."""
    network = _classifier_parts("single")
    draw = np.random.default_rng(0)
    language_model = LanguageModelParts(
        AWDLSTMLanguageModel(LanguageModelConfig(encoder=_ENCODER), len(WORDS)),
        network.vocabulary,
        network.tokenizer,
        "forward",
        TrainingFacts(stage="pretraining"),
    )
    ngrams = NGrams(5, (np.array([1, 7, 13]), np.array([39, 101])))
    linear = LinearMember(
        name="counts",
        words=tuple(WORDS[2:7]),
        joins_tokens=True,
        ngrams=ngrams,
        weighting="mean",
        feature_weights=np.full(len(ngrams), 0.1, dtype=np.float32),
        coefficients=draw.normal(size=(len(ngrams), 3)).astype(np.float32),
        intercept=np.zeros(3, dtype=np.float32),
        one_against_rest=False,
    )
    tokens = replace(linear, joins_tokens=False, weighting="binary", feature_weights=None, one_against_rest=True)
    features = FeatureParts(
        (language_model,),
        draw.normal(size=(feature_count(_ENCODER), 3)).astype(np.float32),
        np.zeros(3, dtype=np.float32),
    )
    members = (linear, tokens, features, network)
    combiner = Combiner(np.full(len(members), 0.25), np.zeros(3))
    parts = EnsembleParts(
        network.task, network.vocabulary, network.tokenizer, network.label_names, members, combiner, network.facts
    )
    save_ensemble(folder / "model", parts)


def _discard(_: object) -> None:
    """Return nothing."""


def _use_model(folder: Path, draw: random.Random) -> None:
    loaded = load_model(folder / "model")
    if isinstance(loaded, LanguageModelParts):
        model = LanguageModel(loaded)
        scores = [score.log_probability for score in model.score(TEXTS[:2])]
        _check_finite(np.array(scores))
        model.generate("the film", max_tokens=3)
        return
    classifier = TextClassifier.load(folder / "model")
    text: Any = {"pair": ("the film", "was fine"), "tokens": ["the", "film"]}.get(classifier.task, TEXTS[0])
    for output in classifier.predict_proba([text, text]):
        _check_finite(np.asarray(output))
    classifier.predict([text])
    if isinstance(loaded, EnsembleParts):
        stream = classifier.stream()
        stream.feed(TEXTS[0])
        _check_finite(stream.finish())


def _check_finite(values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise NotFiniteAnswerError(str(values.tolist()))


def _documents(folder: Path, task: str) -> Path:
    labels = {"single": ["a", "b"], "multi": ["a|b", "b"], "number": ["1.5", "2"]}[task]
    path = folder / "data.csv"
    rows = [(text, labels[number % 2], f"g{number}") for number, text in enumerate(TEXTS * 5)]
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label", "group"), *rows])
    return path


def _corpus(task: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        path = _documents(folder, task)
        kind = find_label_kind(task)
        build_corpus(
            read_documents(path, label_kind=kind, columns=["group"]),
            folder / "corpus",
            tokenizer=WhitespaceTokenizer(),
            split_policy=SplitPolicy(kind="random", valid_fraction=0.3),
            label_kind=kind,
            workers=1,
        )
        path.unlink()

    return make


def _use_corpus(folder: Path, draw: random.Random) -> None:
    corpus = EncodedCorpus.open(folder / "corpus", verify=draw.random() < 0.5)
    corpus.tokenizer.tokenize(TEXTS[0])
    for split in corpus.split_names:
        rows = corpus.rows(split)
        stream = corpus.stream(rows, reverse=draw.random() < 0.5)
        ids = stream.read(0, len(stream))
        corpus.vocabulary.decode(ids.tolist())
        if corpus.task != "none":
            corpus.labels(rows)
        corpus.column("group", rows)
        for row in rows:
            corpus.document(int(row))


class _FailingTask(LanguageModelTask):
    """A language model's task that fails after some batches, as a lost session does."""

    batches_left = 10**9

    def loss(self, batch: Any) -> StepResult:
        self.batches_left -= 1
        if self.batches_left < 0:
            raise ZeroDivisionError
        return super().loss(batch)


def _trainer(folder: Path) -> tuple[Trainer, _FailingTask]:
    torch.manual_seed(2)
    model = AWDLSTMLanguageModel(LanguageModelConfig(encoder=_ENCODER), len(WORDS))
    corpus = EncodedCorpus.open(folder / "corpus")
    batches = LanguageModelBatches(corpus.stream(corpus.rows("train")), batch_size=2, bptt=5)
    count = iter(range(1000))
    task = _FailingTask(model, batches, lambda: {"score": 5.0 - next(count)}, ar=0.0, tar=0.0)
    config = TrainerConfig(
        optimizer=OptimizerConfig(name="nt_asgd", window=0),
        validate_every=Budget(steps=2),
        checkpoint_every=Budget(steps=3),
        restore_best=True,
        log_every_steps=2,
    )
    phases = full(len(task.groups), budget=Budget(steps=8), peak_rate=0.01, schedule=Schedule("constant"))
    return Trainer(task, config, phases, folder / "run"), task


def _make_run(folder: Path) -> None:
    _corpus("single")(folder)
    trainer, task = _trainer(folder)
    task.batches_left = 5
    try:
        trainer.fit()
    except ZeroDivisionError:
        return
    raise AssertionError("the run was not cut short")


def _use_run(folder: Path, draw: random.Random) -> None:
    trainer, task = _trainer(folder)
    trainer.fit(resume=True)
    _check_finite(np.array([parameter.sum().item() for parameter in task.model.parameters()]))


def _tokenizer(tokenizer: Tokenizer) -> Callable[[Path], None]:
    return lambda folder: tokenizer.save(folder)


def _use_tokenizer(folder: Path, draw: random.Random) -> None:
    tokenizer = load_tokenizer(folder)
    tokenizer.detokenize(tokenizer.tokenize(TEXTS[0]))
    tokenizer.closed_vocabulary()


def _data_file(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        rows = [{"text": text, "label": "ab"[number % 2], "time": number} for number, text in enumerate(TEXTS * 2)]
        path = folder / name
        if name.endswith(".parquet"):
            import pyarrow
            import pyarrow.parquet

            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
            return
        separator = {"a.tsv": "\t", "semicolons.csv": ";"}.get(name, ",")
        page = (
            "<page><title>{0}</title><ns>0</ns><id>{1}</id><revision><text>'''{0}''' [[a|b]]</text></revision></page>"
        )
        lines = {
            "table": [
                *([] if name == HEADERLESS else [separator.join(rows[0])]),
                *(separator.join(map(str, row.values())) for row in rows),
            ],
            "json": [json.dumps(rows)],
            "conllu": [line for row in rows for line in ("# text", *_conllu_lines(str(row["text"])), "")],
            "jsonl": list(map(json.dumps, rows)),
            "conll": [line for row in rows for line in (*(f"{word} X O" for word in str(row["text"]).split()), "")],
            "txt": [str(row["text"]) for row in rows],
            "xml": [
                '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" xml:lang="en"><siteinfo><namespaces>',
                '<namespace key="6">File</namespace><namespace key="14">Category</namespace></namespaces></siteinfo>',
                *(page.format(row["text"], row["time"]) for row in rows),
                "</mediawiki>",
            ],
            "wiki_00": [
                line
                for row in rows
                for line in (f'<doc id="{row["time"]}" url="" title="{row["label"]}">', str(row["text"]), "</doc>")
            ],
        }
        suffix = Path(uncompressed_name(path)).suffix
        content = "\n".join([*lines["table" if suffix in (".csv", ".tsv") else name.split(".")[-1]], ""])
        write_data(path, content.encode())

    return make


def _conllu_lines(text: str) -> Iterator[str]:
    for number, word in enumerate(text.split(), start=1):
        yield "\t".join((str(number), word, word.lower(), "NOUN", "_", "Number=Sing", "0", "root", "_", "_"))
        if number == 2:
            yield f"2-3\t{word}" + "\t_" * 8


def _use_data(folder: Path, draw: random.Random) -> None:
    path = next(path for path in folder.iterdir() if path.name in DATA_FILES)
    kind = draw.choice(("single", "single", "none", "none", "multi", "number", "tokens", "pair"))
    options: dict[str, Any] = {"lines": draw.random() < 0.5, "labels": draw.random() < 0.7}
    if path.name == HEADERLESS:
        options |= {"header": False, "text_column": "1", "label_column": "2" if draw.random() < 0.7 else None}
    elif data_suffix(path) in (".csv", ".tsv", ".json", ".jsonl", ".parquet") and draw.random() < 0.3:
        options["time_column"] = "time"
    source = DocumentSource(path, label_kind=find_label_kind(kind), workers=1, **options)
    source_report(source.reading())
    for document in source:
        ByteTokenizer().tokenize(document.text)


HEADERLESS = "headerless.csv"
TEXT_FILES = ("a.csv", "a.tsv", "a.jsonl", "a.json", "a.conll", "a.conllu", "a.txt", "a.xml", "wiki_00")
COMPRESSED_FILES = ("a.csv.gz", "a.csv.zst", "a.csv.bz2", "a.csv.xz")
DATA_FILES = (*TEXT_FILES, *COMPRESSED_FILES, "a.parquet", "semicolons.csv", HEADERLESS)


def targets() -> Iterator[tuple[str, Target]]:
    """Every kind of input with its name."""
    plain = LanguageModelConfig(encoder=_ENCODER)
    mogrifier = AWDLSTMConfig(embedding_size=6, hidden_size=8, layers=2, last_hidden_size=7, cell=Mogrifier())
    mixture = LanguageModelConfig(encoder=mogrifier, softmax_experts=2)
    qrnn = LanguageModelConfig(encoder=AWDLSTMConfig(embedding_size=6, hidden_size=8, layers=2, cell=QRNN()))
    pieces = train_sentencepiece(TEXTS * 3, 40)
    models = {
        "language model": _language_model(plain, WhitespaceTokenizer()),
        "language model of bytes": _language_model(qrnn, ByteTokenizer()),
        "language model of spaCy words": _language_model(plain, SpacyTokenizer("en")),
        "language model of subwords": _language_model(plain, pieces),
        "mixture of softmaxes": _language_model(mixture, WhitespaceTokenizer()),
        "classifier": _classifier("single"),
        "classifier of numbers": _classifier("number"),
        "classifier of pairs": _classifier("pair"),
        "classifier of words": _classifier("tokens"),
        "int8 classifier": _classifier("multi", int8=True),
        "forward and backward": _make_pair,
        "ensemble": _make_ensemble,
    }
    yield from ((name, Target(make, _use_model)) for name, make in models.items())
    for task in ("single", "multi", "number"):
        yield f"corpus ({task})", Target(_corpus(task), _use_corpus)
    yield "checkpoint", Target(_make_run, _use_run)
    for tokenizer in (WhitespaceTokenizer(), SpacyTokenizer("en"), pieces):
        yield f"tokenizer ({tokenizer.name})", Target(_tokenizer(tokenizer), _use_tokenizer)
    yield from ((name, Target(_data_file(name), _use_data)) for name in DATA_FILES)


def use(target: Target, folder: Path, draw: random.Random) -> None:
    """Load and use an input, without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        target.use(folder, draw)
