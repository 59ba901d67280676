"""`TextClassifier`: load, train, evaluate, predict, stream, compare and save a classifier."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from ulmkit import hub, pipeline
from ulmkit.api.classifier_stream import Reading, TextStream, check_stream
from ulmkit.api.common import as_texts, check_finite_answers, place_parts, refuse_selection
from ulmkit.api.confidence import ConformalClassifier, SelectiveClassifier
from ulmkit.api.push import push_model
from ulmkit.config import check_choice, check_probability, check_whole
from ulmkit.errors import ConfigError, DataError, FolderError
from ulmkit.evaluation import HeldOutAnswers, PairedComparison, compare_paired
from ulmkit.explain import (
    EXPLANATION_METHODS,
    Explanation,
    RunningPrediction,
    explain_by_gradients,
    explain_prediction,
    find_words,
    running_prediction,
    tokens_in_words,
)
from ulmkit.hub import (
    ClassifierParts,
    EnsembleParts,
    HeldOut,
    Member,
    Pair,
    load_model,
    member_name,
    resolve_model,
    save_ensemble,
)
from ulmkit.model.config import AWDLSTMConfig
from ulmkit.pipeline import (
    GO_ON,
    ClassifierRecipe,
    DataOptions,
    EnsemblePredictor,
    EnsembleReading,
    EvaluationData,
    RunOptions,
    networks,
)
from ulmkit.pipeline.held_out import corpus_name
from ulmkit.tasks import Outputs, Report
from ulmkit.text import EncodedCorpus, Text
from ulmkit.text.read.documents import Data
from ulmkit.training import Budget

if TYPE_CHECKING:
    from ulmkit.api.language_model import LanguageModel
    from ulmkit.pipeline import NetworkPredictor

Answer = str | float | list[str] | list[tuple[str, str]]
"""A label, a number, the labels of a text, or (word, label) for each of its words."""


class TextClassifier:
    """A trained classifier with its tokenizer, vocabulary and labels.

    A forward and backward pair averages its two predictions; an ensemble weights those of its members.

    Make one with `load` or `train`.

    Attributes:
        parts: Everything a model folder holds: network or members, vocabulary, tokenizer, labels, training facts.
        backward: The backward member of a pair, else None.
    """

    def __init__(self, parts: ClassifierParts | EnsembleParts, backward: ClassifierParts | None = None) -> None:
        if backward is not None and backward.label_names != parts.label_names:
            raise ConfigError(
                f"backward: expected the labels {', '.join(parts.label_names)}, got {', '.join(backward.label_names)}"
            )
        self.parts = parts
        self.backward = backward

    def __repr__(self) -> str:
        made_of = ", forward and backward" if self.backward else ""
        if isinstance(self.parts, EnsembleParts):
            made_of = "; " + ", ".join(member_name(member) for member in self.parts.members)
        return f"TextClassifier({self.task}: {', '.join(self.labels) or self.parts.task.summary}{made_of})"

    @property
    def members(self) -> tuple[Member, ...]:
        """The members of an ensemble, the two models of a pair, or the one network."""
        return self.parts.members if isinstance(self.parts, EnsembleParts) else self._networks

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels in the order of the probabilities; empty for a number."""
        return self.parts.label_names

    @property
    def task(self) -> str:
        """Name of the task, one of `ulmkit.tasks.TASKS`."""
        return self.parts.task.name

    @classmethod
    def load(cls, name: str | os.PathLike[str], run: RunOptions | None = None) -> TextClassifier:
        """Load a classifier, or a pair of them, from a folder or from the hub.

        Args:
            name: Folder, name of a shipped model or hub name; see `ulmkit.hub.resolve_model`.
            run: Device, precision and backend to run with, which the folder does not keep; the CPU, its fastest
                precision and its fastest backend if None.

        Returns:
            The classifier, ready for inference.

        Raises:
            FolderError: If the folder holds no classifier, or is incomplete, truncated or altered.
        """
        loaded = load_model(resolve_model(name))
        if isinstance(loaded, EnsembleParts):
            for network in networks(loaded.members):
                place_parts(network, run)
            return cls(loaded)
        members = [loaded.forward, loaded.backward] if isinstance(loaded, Pair) else [loaded]
        parts = [place_parts(member, run) for member in members if isinstance(member, ClassifierParts)]
        if not parts:
            raise FolderError(f"{name}: expected a classifier, got a language model; train a classifier from it")
        return cls(*parts)

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str],
        *,
        revision: str | None = None,
        token: str | None = None,
        run: RunOptions | None = None,
    ) -> TextClassifier:
        """Load a classifier, or a pair of them, from the Hugging Face hub; like `load`, with a revision and a token.

        Args:
            name: Folder, name of a shipped model or hub name; see `ulmkit.hub.resolve_model`.
            revision: Branch, tag or commit on the hub; only a commit is sure to stay the same model.
            token: Token for private models; by default the one in the environment (`HF_TOKEN`) or of `hf auth login`.
            run: Device, precision and backend to run with, which the folder does not keep; the CPU, its fastest
                precision and its fastest backend if None.

        Returns:
            The classifier, ready for inference.

        Raises:
            FolderError: If it cannot be downloaded, or is no classifier, incomplete, truncated or altered.
        """
        return cls.load(resolve_model(name, revision=revision, token=token), run)

    @classmethod
    def train(
        cls,
        data: Data | EncodedCorpus,
        language_model: LanguageModel | TextClassifier | None,
        *,
        method: str = "auto",
        epochs: float | None = None,
        steps: int | None = None,
        minutes: float | None = None,
        task: str | None = None,
        recipe: ClassifierRecipe | None = None,
        sizes: AWDLSTMConfig | None = None,
        data_options: DataOptions | None = None,
        run: RunOptions | None = None,
        labels: int | None = None,
        valid_documents: int | None = None,
        baselines: bool = False,
        transductive: bool = False,
        drop_classes: Sequence[str] = (),
        old_data: Data | EncodedCorpus | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> TextClassifier:
        """Train a classifier from a language model, or train a classifier further.

        Give exactly one of `epochs`, `steps` and `minutes`. Where no networks are trained, give none: with the methods
        "features" and "linear", or without a language model.

        Args:
            data: Labelled documents as a path, a hub name or a list, or an encoded corpus.
            language_model: The model to start from, or a pair, of which "finetune" takes the forward member; features
                are computed on the device and in the precision that it was loaded with. None: the linear rungs of the
                ladder alone; with "finetune", a network that starts from random weights, for comparison. A fine-tuned
                classifier is trained further: it keeps its encoder, its head and its classes, and gets the new classes
                of the documents; see `pipeline.continue_classifier`.
            method: "finetune" is gradual unfreezing of the language model (Howard & Ruder 2018). "auto" climbs a
                ladder of linear models, features of the language model, fine-tuned networks and their blend, judges
                each on held-out labels and keeps one of the cheapest kind that is as good as any; "features" and
                "linear" climb it in part. For tasks other than "single", and for a classifier to train further, "auto"
                is "finetune", and the others are refused.
            epochs: Passes over the training documents; with "auto", each network takes so many, and under
                cross-validation six networks are trained from each language model.
            steps: Optimizer steps; with "auto", of each network.
            minutes: Wall-clock time, validation included; with "auto", of the whole ladder.
            task: Name of the task, one of `ulmkit.tasks.TASKS`; None: that of the classifier to start from, or
                "single".
            recipe: Batch size, unfreezing, learning rates, optimizer and options of the head; None takes
                `pipeline.ALL_LAYERS` for networks of the ladder, `pipeline.CLASSIFY` for fine-tuning alone, and
                `pipeline.GO_ON` from a classifier. Where no networks are trained, the class weights alone have an
                effect, and other settings are refused.
            sizes: Layer sizes and dropouts of a classifier without a language model; those of ULMFiT if None.
            data_options: How the documents are read, split and tokenized.
            run: Device, precision, seed, checkpoints and progress of the training.
            labels: Train on this many labelled documents, drawn with the classes in proportion; None takes all.
            valid_documents: Validate on this many documents; None takes all.
            baselines: Fit the linear baselines on the same documents too; their validation metrics are in
                `parts.facts.baselines`.
            transductive: Let the ladder learn from the text of the test split too; the model card says so.
            drop_classes: Classes of the classifier to start from that are removed.
            old_data: Documents on which the classifier to start from is scored before and after; None looks for those
                that it was validated on, beside `data`.
            progress: Called with the number of documents prepared so far.

        Returns:
            The trained classifier.

        Raises:
            ConfigError: If not exactly one budget is given where networks are trained, or epochs, steps or settings
                of networks where none are, or an option is outside its range.
            DataError: If documents cannot be read, labels are missing, or they do not fit the task.
            TrainingError: If the loss is no longer finite.
        """
        if isinstance(language_model, str):
            raise ConfigError(
                f"language_model: expected a LanguageModel, a TextClassifier or None, got {language_model!r}; give "
                f"{'None' if language_model == 'none' else f'LanguageModel.load({language_model!r})'}"
            )
        if isinstance(language_model, TextClassifier):
            _refuse(
                {"sizes": sizes is not None, "transductive": transductive},
                "has no effect on a classifier that is trained further; leave it out",
            )
            earlier = language_model._to_continue(method, task)
            earlier.task.check_options(recipe or GO_ON)
            budget = Budget(epochs=epochs, steps=steps, minutes=minutes)
            continued = pipeline.continue_classifier(
                data,
                earlier,
                budget=budget,
                recipe=recipe or GO_ON,
                data_options=data_options,
                run=run,
                labels=labels,
                valid_documents=valid_documents,
                drop_classes=drop_classes,
                old_data=old_data,
                baselines=baselines,
                progress=progress,
            )
            return cls(continued)
        _refuse(
            {"drop_classes": bool(drop_classes), "old_data": old_data is not None},
            "expected a classifier to start from, got none; leave it out, or give the classifier to train further",
        )
        task = task or "single"
        has_language_model = language_model is not None
        recipe = recipe or pipeline.usual_recipe(method, task, has_language_model=has_language_model)
        pipeline.check_recipe(recipe, method, task, has_language_model=has_language_model)
        if pipeline.trains_networks(method, task, has_language_model=has_language_model):
            budget = Budget(epochs=epochs, steps=steps, minutes=minutes)
        else:
            why = pipeline.why_no_networks(method)
            _refuse({"epochs": epochs is not None, "steps": steps is not None}, f"has no effect: {why}")
            if minutes is not None:
                warnings.warn(f"minutes: limits nothing: {why}", stacklevel=2)
            budget = Budget(epochs=1.0) if minutes is None else Budget(minutes=minutes)
        if pipeline.climbs_ladder(method, task):
            if sizes is not None:
                raise ConfigError(f"sizes: only for method='finetune', got {method!r}; leave it out")
            ensemble = pipeline.train_automatically(
                data,
                () if language_model is None else language_model.members,
                task=task,
                method=method,
                budget=budget,
                recipe=recipe,
                data_options=data_options,
                run=run,
                labels=labels,
                valid_documents=valid_documents,
                baselines=baselines,
                transductive=transductive,
                progress=progress,
            )
            return cls(ensemble)
        if transductive:
            raise ConfigError("transductive: fine-tuning a classifier reads no text without labels; leave it out")
        if language_model is not None and language_model.backward is not None and run is not None and run.progress:
            run.progress.message("language model: a pair, of which fine-tuning a classifier takes the forward member")
        parts = pipeline.train(
            data,
            None if language_model is None else language_model.parts,
            budget=budget,
            task=task,
            recipe=recipe,
            sizes=sizes,
            data_options=data_options,
            run=run,
            labels=labels,
            valid_documents=valid_documents,
            baselines=baselines,
            progress=progress,
        )
        return cls(parts)

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write a complete model folder, whole or not at all.

        Args:
            folder: Folder to write.
            overwrite: Replace a folder that exists.

        Raises:
            FolderError: If the folder exists or cannot be written.
        """
        if isinstance(self.parts, EnsembleParts):
            save_ensemble(folder, self.parts, overwrite=overwrite)
        elif self.backward is not None:
            hub.save_classifier_pair(folder, self.parts, self.backward, overwrite=overwrite)
        else:
            hub.save_classifier(folder, self.parts, overwrite=overwrite)

    def save_pretrained(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write a complete model folder: another name of `save`, as Hugging Face's libraries have it.

        Args:
            folder: Folder to write.
            overwrite: Replace a folder that exists.
        """
        self.save(folder, overwrite=overwrite)

    def push_to_hub(
        self,
        name: str,
        *,
        private: bool = False,
        revision: str | None = None,
        token: str | None = None,
        message: str | None = None,
    ) -> str:
        """Upload the classifier to the Hugging Face hub, in one commit.

        Args:
            name: "owner/name", or "owner/name@branch".
            private: Make the repository private; one that exists has to be private already.
            revision: Branch to upload to, if the name has none; it is made if it does not exist.
            token: Token that may write; by default the one in the environment (`HF_TOKEN`) or of `hf auth login`.
            message: Message of the commit.

        Returns:
            The name with the commit, "owner/name@commit", which `from_pretrained` takes.

        Raises:
            ConfigError: If the name is not one of a model on the hub, or `private` is asked for a public repository.
            FolderError: If the hub refuses the upload or cannot be reached.
        """
        return push_model(self.save, name, private=private, revision=revision, token=token, message=message)

    def predict_proba(self, texts: Iterable[Text | Sequence[str]]) -> Outputs:
        """Predict probabilities, or numbers.

        Where linear members alone know no word of a text, these are the shares of the classes in training.

        Args:
            texts: A list, or a column of a table, of a str each; for pairs a tuple of two; for a label per word a list
                of words, or a str, which is split at white space. None may be missing.

        Returns:
            (n, C) probabilities in the order of `labels`; (n,) numbers; or (words, C) probabilities for each text.

        Raises:
            DataError: If a table is given, or an item is not a text; the message gives its index.
        """
        outputs = self._predictor.predict_texts(as_texts(texts, self.parts.task))
        check_finite_answers(outputs)
        return outputs

    def unknown_words(self, documents: Sequence[np.ndarray]) -> np.ndarray | None:
        """Compute the share of the words of each document that no linear member knows.

        Args:
            documents: (T,) token ids of each document in the classifier's vocabulary, in the order of the text.

        Returns:
            (n,) float64; None without linear members.
        """
        return self._predictor.unknown_words(documents) if isinstance(self._predictor, EnsemblePredictor) else None

    def predict(self, texts: Iterable[Text | Sequence[str]], *, threshold: float = 0.5) -> list[Answer]:
        """Predict the labels of texts.

        Args:
            texts: Texts; see `predict_proba`.
            threshold: Minimum probability of a label in multi-label tasks; ignored otherwise.

        Returns:
            For each text its label, the list of its labels, its number, or a (word, label) for each of its words.

        Raises:
            ConfigError: Unless 0 <= threshold < 1.
            DataError: If a table is given, or an item is not a text; the message gives its index.
        """
        listed = as_texts(texts, self.parts.task)
        return self.decide(self.predict_proba(listed), listed, threshold=threshold)

    def decide(
        self, outputs: Outputs, texts: Iterable[Text | Sequence[str]], *, threshold: float = 0.5
    ) -> list[Answer]:
        """Turn the output of `predict_proba` into predictions.

        Args:
            outputs: Result of `predict_proba` for `texts`.
            texts: The texts.
            threshold: Minimum probability of a label in multi-label tasks; ignored otherwise.

        Returns:
            A prediction for each text; see `predict`.

        Raises:
            ConfigError: Unless 0 <= threshold < 1.
        """
        check_probability("threshold", threshold)
        task = self.parts.task
        return task.decide(outputs, as_texts(texts, task), self.labels, threshold)

    def explain(
        self,
        texts: Iterable[Text | Sequence[str]],
        *,
        labels: Sequence[str] | None = None,
        method: str = "occlusion",
    ) -> list[Explanation]:
        """Weigh the words of texts: how much each moved the prediction.

        By occlusion, the weight of a word is the log-odds of the label with it, minus those without its tokens; long
        texts take at most 256 predictions each, and not all of their words get a weight, see
        `ulmkit.explain.explain_prediction`. By integrated gradients, every word has a weight, and they sum to the
        log-odds minus those of a text without words, see `ulmkit.explain.explain_by_gradients`. All members of an
        ensemble are explained together.

        Args:
            texts: Texts; see `predict_proba`.
            labels: The label of each text to explain; None explains the predicted ones.
            method: "occlusion" or "integrated-gradients".

        Returns:
            The explanation of each text, which does not depend on the other texts.

        Raises:
            ConfigError: If the classifier does not predict one label per text, is a pair of different tokenizers, or
                has no such label, or if there is no such method.
            DataError: If a table is given, an item is not a text (the message gives its index), or there are fewer or
                more labels than texts.
        """
        check_choice("method", method, EXPLANATION_METHODS)
        if not self.parts.task.has_ladder:
            raise ConfigError(f"explain: expected a classifier of one label per text, got one of task {self.task!r}")
        tokenizer = self.parts.tokenizer
        listed = as_texts(texts, self.parts.task)
        if labels is not None and len(labels) != len(listed):
            raise DataError(f"labels: expected one for each of {len(listed)} texts, got {len(labels)}")
        chosen: Sequence[str | None] = [None] * len(listed) if labels is None else labels
        explanations = []
        for text, label in zip(listed, chosen, strict=True):
            (tokens,) = self.parts.task.tokenize(tokenizer, [text]).tokens
            words = find_words(text, tokens, tokenizer)
            if method == "occlusion":
                predict = self._predictor.predict_kept(tokens)
                explanation = explain_prediction(words, len(tokens), predict, self.labels, label)
            else:
                path = self._predictor.path(tokens, tokens_in_words(words, len(tokens)))
                explanation = explain_by_gradients(words, path, self.labels, label)
            explanations.append(explanation)
        return explanations

    @property
    def can_stream(self) -> bool:
        """True if texts can be classified in pieces; see `stream`."""
        try:
            self.stream()
        except ConfigError:
            return False
        return True

    def stream(self) -> TextStream:
        """Start to classify a text that arrives in pieces; see `TextStream`."""
        return TextStream(self.parts, self._begin_reading())

    def running_probabilities(
        self, texts: Iterable[Text | Sequence[str]], *, points: int | None = None
    ) -> list[RunningPrediction]:
        """Predict for texts after each of their words, as the classifier reads on.

        Each token is read once, as by `stream`; only members that read backward begin anew for each answer, since the
        end of the text so far moves. The last answer is that of `predict_proba` for the whole text.

        Args:
            texts: Texts; see `predict_proba`.
            points: Most answers for a text, after words that are evenly spaced; None for one after each word.

        Returns:
            For each text its words, and the answers.

        Raises:
            ConfigError: If the classifier cannot read in pieces, see `stream`, or `points` is below 1.
            DataError: If a table is given, or an item is not a text; the message gives its index.
            TrainingError: If an answer is NaN or infinite.
        """
        if points is not None:
            check_whole("points", points)
        check_stream(self.parts)
        begin = self._begin_reading()
        tokenizer = self.parts.tokenizer
        predictions = []
        for text in as_texts(texts, self.parts.task):
            (tokens,) = self.parts.task.tokenize(tokenizer, [text]).tokens
            ids = self.parts.vocabulary.encode(tokens).astype(np.int64)
            reading = begin()
            words = find_words(text, tokens, tokenizer)
            predictions.append(running_prediction(self.labels, words, ids, reading.read, reading.predict, points))
            check_finite_answers(predictions[-1].outputs)
        return predictions

    def _begin_reading(self) -> Callable[[], Reading]:
        """Return a function that starts reading a text in pieces.

        Raises:
            ConfigError: If the classifier reads backward, or is a pair.
        """
        if self.backward is not None:
            raise ConfigError("stream: expected a forward classifier, got a pair; load the pair's forward folder")
        if isinstance(self._predictor, EnsemblePredictor):
            return partial(EnsembleReading, self._predictor)
        (parts,) = self._networks
        if parts.direction == "backward":
            raise ConfigError("stream: expected a forward classifier, got a backward one, which reads from the end")
        return partial(pipeline.NetworkReading, parts)

    def evaluation_data(
        self,
        data: Data | EncodedCorpus,
        *,
        split: str | None = None,
        by: Sequence[str] = (),
        data_options: DataOptions | None = None,
    ) -> EvaluationData:
        """Select the documents that `evaluate` scores.

        Args:
            data: Labelled documents as a path, a hub name or a list, or an encoded corpus.
            split: Split to evaluate on, or "all". None takes the test split, else the validation split, else all
                documents. The classifier's own training data is split as in training, so that only held-out documents
                are scored.
            by: Columns to keep, for errors broken down by them.
            data_options: How the documents are read and split.

        Returns:
            The encoded documents; `describe()` says which they are.

        Raises:
            DataError: If the split does not exist, or the split of the training cannot be drawn again; see
                `pipeline.select_evaluation_data`.
        """
        options = (data_options or DataOptions()).keeping(by)
        return pipeline.select_evaluation_data(self.parts, data, split, options, task=self.task)

    def evaluate(
        self,
        data: Data | EncodedCorpus | EvaluationData,
        *,
        split: str | None = None,
        by: Sequence[str] = (),
        data_options: DataOptions | None = None,
    ) -> Report:
        """Evaluate on labelled documents.

        Args:
            data: Labelled documents as a path, a hub name or a list, an encoded corpus, or the result of
                `evaluation_data`.
            split: Split to evaluate on; see `evaluation_data`.
            by: Columns to break the error rate down by.
            data_options: How the documents are read and split.

        Returns:
            The task's report, for example a `SingleLabelReport`.

        Raises:
            DataError: If documents or labels are missing, or the split of the training cannot be drawn again.
        """
        if isinstance(data, EvaluationData):
            refuse_selection(split, data_options)
        else:
            data = self.evaluation_data(data, split=split, by=by, data_options=data_options)
        return self.parts.task.report(self.predict_labelled(data), data.corpus, data.rows(labelled=True), by)

    def selective(
        self,
        max_error: float,
        *,
        certainty: float = 0.95,
        held_out: Data | EncodedCorpus | HeldOutAnswers | None = None,
        split: str | None = None,
        data_options: DataOptions | None = None,
    ) -> SelectiveClassifier:
        """Make a classifier that abstains where it is not sure, so that few of its answers are wrong.

        The threshold of confidence is chosen on labelled documents that the classifier did not learn from.

        Args:
            max_error: Largest error among answered documents, for example 0.05.
            certainty: Probability, over draws of the held-out documents, that the error is at most that.
            held_out: Labelled documents to choose on; None takes the answers that the model folder keeps from the
                training. See `held_out_answers`.
            split: Split of `held_out`.
            data_options: How `held_out` is read and split.

        Returns:
            The classifier; its `selection` tells threshold, coverage and bound.

        Raises:
            ConfigError: If no threshold reaches the error on the held-out documents.
            FolderError: If the model folder keeps no answers, and no documents are given.
        """
        answers = self.held_out_answers(held_out, split=split, data_options=data_options)
        return SelectiveClassifier(self, answers, max_error, certainty)

    def conformal(
        self,
        miscoverage: float,
        *,
        held_out: Data | EncodedCorpus | HeldOutAnswers | None = None,
        split: str | None = None,
        data_options: DataOptions | None = None,
    ) -> ConformalClassifier:
        """Make a classifier that answers with sets of labels, few of which lack the right one.

        Args:
            miscoverage: Share of texts whose set may lack the right label, for example 0.1.
            held_out: Labelled documents to choose on; see `selective`.
            split: Split of `held_out`.
            data_options: How `held_out` is read and split.

        Returns:
            The classifier, whose sets lack the right label of at most that share of new texts, on average.

        Raises:
            ConfigError: Unless 0 < miscoverage < 1.
            FolderError: If the model folder keeps no answers, and no documents are given.
        """
        answers = self.held_out_answers(held_out, split=split, data_options=data_options)
        return ConformalClassifier(self, answers, miscoverage)

    def held_out_answers(
        self,
        held_out: Data | EncodedCorpus | HeldOutAnswers | None = None,
        *,
        split: str | None = None,
        data_options: DataOptions | None = None,
    ) -> HeldOutAnswers:
        """Return answers for labelled documents that the classifier did not learn from.

        Args:
            held_out: Labelled documents, or answers; None takes those of the training: of a ladder the answers for the
                documents that its rungs were judged on, each by models that were fitted to others, else those for the
                validation documents.
            split: Split of `held_out`; None takes the validation split, else the test split, else all documents.
            data_options: How `held_out` is read and split.

        Returns:
            Right and predicted class of each document, with its probability.

        Raises:
            ConfigError: If the classifier does not predict one label per document.
            FolderError: If the model folder keeps no answers, and no documents are given.
        """
        if not self.parts.task.is_one_class:
            raise ConfigError(f"confidence: expected a classifier of one label per document, got task {self.task!r}")
        if isinstance(held_out, HeldOutAnswers):
            refuse_selection(split, data_options)
            return held_out
        if held_out is not None:
            order = ("valid", "test")
            options = data_options or DataOptions()
            return self.answers_for(
                pipeline.select_evaluation_data(self.parts, held_out, split, options, task=self.task, order=order)
            )
        if split is not None or data_options is not None:
            raise ConfigError("split, data_options: have no effect without `held_out`; leave them out")
        kept = self.parts.held_out
        if self.backward is not None or kept is None or kept.answers is None:
            kind = "pair" if self.backward is not None else "classifier"
            raise FolderError(
                f"held-out answers: expected those that training keeps in the model folder, but this {kind} has none; "
                "give labelled documents that it did not learn from (`held_out`), or train it again"
            )
        return kept.answers

    def answers_for(self, selected: EvaluationData) -> HeldOutAnswers:
        """Answer the labelled documents of evaluation data, for a task with one label per document.

        Args:
            selected: Result of `evaluation_data`.

        Returns:
            See `held_out_answers`; in the order of `selected.rows(labelled=True)`.
        """
        outputs = np.asarray(self.predict_labelled(selected))
        rows = selected.rows(labelled=True)
        source = f"{len(rows):,} documents, {selected.part} of {corpus_name(selected.corpus)}"
        return HeldOutAnswers.of(outputs, selected.corpus.labels(rows), source)

    def to_int8(self) -> TextClassifier:
        """Copy the classifier with int8 encoder weights, for serving: a quarter of the size, and faster.

        Use `compare` to measure the loss in accuracy.
        """
        if not isinstance(self.parts, EnsembleParts):
            return TextClassifier(
                *(
                    replace(parts, model=parts.model.to_int8(), held_out=_without_answers(parts))
                    for parts in self._networks
                )
            )
        if not any(isinstance(member, ClassifierParts) for member in self.members):
            names = ", ".join(member_name(member) for member in self.members)
            raise ConfigError(f"to_int8: expected a fine-tuned network, got a classifier of {names}; use it as it is")
        members = tuple(
            replace(member, model=member.model.to_int8()) if isinstance(member, ClassifierParts) else member
            for member in self.members
        )
        return TextClassifier(replace(self.parts, members=members, held_out=_without_answers(self.parts)))

    def compare(
        self,
        other: TextClassifier,
        data: Data | EncodedCorpus,
        *,
        split: str | None = None,
        data_options: DataOptions | None = None,
    ) -> PairedComparison:
        """Compare this classifier ("before") with another one made from it ("after") on the same labelled documents.

        Args:
            other: The other classifier.
            data: Labelled documents as a path, a hub name or a list, or an encoded corpus.
            split: Split to compare on, or "all". None takes the validation split, else the test split, else all
                documents.
            data_options: How the documents are read and split.

        Returns:
            Mean scores, their difference and its significance.

        Raises:
            ConfigError: If the other classifier has another task or other labels.
            DataError: If the data lack labels, or do not fit the task.
        """
        if other.task != self.task or other.labels != self.labels:
            raise ConfigError("other: expected a classifier of the same task and labels, got another one")
        order = ("valid", "test")
        selected = pipeline.select_evaluation_data(self.parts, data, split, data_options, task=self.task, order=order)
        rows = selected.rows(labelled=True)
        task = self.parts.task
        measure, before = task.document_scores(self.predict_labelled(selected), selected.corpus, rows)
        _, after = task.document_scores(other.predict_labelled(selected), selected.corpus, rows)
        return compare_paired(before, after, measure, bounded=task.has_bounded_scores)

    def predict_labelled(self, selected: EvaluationData) -> Outputs:
        """Predict for the labelled documents of evaluation data, the mean of the members of a pair.

        Args:
            selected: Result of `evaluation_data`.

        Returns:
            Predictions in the order of `selected.rows(labelled=True)`; see `predict_proba`.

        Raises:
            DataError: If there are no labelled documents.
        """
        rows = selected.rows(labelled=True)
        if not len(rows):
            split = selected.split or pipeline.ALL
            raise DataError(f"evaluation: expected labelled documents in split {split!r}, got none")
        outputs = self._predictor.predict_labelled(selected)
        check_finite_answers(outputs)
        return outputs

    def _to_continue(self, method: str, task: str | None) -> ClassifierParts:
        """Return the network to train further.

        Raises:
            ConfigError: If the classifier is a pair or an ensemble, the method is a ladder's, or the task is another.
        """
        check_choice("method", method, pipeline.METHODS)
        if method not in ("auto", "finetune"):
            raise ConfigError(f"method: expected finetune from a classifier, got {method!r}; leave it out")
        if task not in (None, self.task):
            raise ConfigError(f"task: expected {self.task!r}, that of the classifier, got {task!r}; leave it out")
        if isinstance(self.parts, EnsembleParts):
            has_network = any(isinstance(member, ClassifierParts) for member in self.members)
            network = (
                ", or train its network alone further, a folder in 'members' of the classifier's" if has_network else ""
            )
            raise ConfigError(
                f"start: expected a fine-tuned classifier, got {', '.join(map(member_name, self.members))}, which "
                "cannot be trained further on new documents alone; give the old and the new documents together, and a "
                f"language model to start from{network}"
            )
        if self.backward is not None:
            raise ConfigError(
                "start: expected one classifier, got a pair; train its 'forward' and 'backward' folder further one "
                "after the other, then join them again with ulmkit.hub.save_pair"
            )
        return self.parts

    @property
    def _networks(self) -> tuple[ClassifierParts, ...]:
        """The one network, or the two of a pair; none of an ensemble."""
        if isinstance(self.parts, EnsembleParts):
            return ()
        return (self.parts,) if self.backward is None else (self.parts, self.backward)

    @cached_property
    def _predictor(self) -> EnsemblePredictor | NetworkPredictor:
        if isinstance(self.parts, EnsembleParts):
            return EnsemblePredictor(self.parts)
        return pipeline.NetworkPredictor(self._networks)


def _refuse(options: Mapping[str, bool], reason: str) -> None:
    """Raise ConfigError for the first option that is given."""
    for name, is_given in options.items():
        if is_given:
            raise ConfigError(f"{name}: {reason}")


def _without_answers(parts: ClassifierParts | EnsembleParts) -> HeldOut | None:
    return None if parts.held_out is None else parts.held_out.without_answers()
