"""The ladder: from linear models to fine-tuned networks and their blend, each rung judged on held-out labels.

A rung is one way to fit a classifier, a blend combines rungs, and a kind is their cost in use (`Kind`). What is kept:

1. The cheapest kind whose best rung or blend has a mean loss within one standard error of the best of all.
2. Of that kind, the last rung or blend within two standard errors of its best, since it learns from the most.

A standard error is that of the mean difference of two losses, document by document.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ulmkit.errors import DataError
from ulmkit.evaluation import HeldOutAnswers, compare_paired
from ulmkit.evaluation.baselines.estimators import document_weights, held_out_folds
from ulmkit.hub import LadderFacts, LadderRow, LanguageModelGain, Member
from ulmkit.members.combiner import Combiner, fit_combiner
from ulmkit.pipeline.rungs import Kind, Rung
from ulmkit.tables import text_table

_BLEND_FOLDS = 5
_KIND_ERRORS = 1.0  # standard errors by which a dearer kind must be better
# Standard errors by which a rung must be better than the later ones of its kind. In the worst of 16 draws of 20 labels
# of subjectivity, what is kept by 1 has an accuracy of 64 %, by 2 of 89 %; 3 is no better.
_RUNG_ERRORS = 2.0


@dataclass(frozen=True)
class Judging:
    """Documents that rungs are fitted to and judged on.

    Attributes:
        splits: (rows to fit to, rows to judge on) of each fold.
        is_refitted: Whether the kept rung is fitted again to all labelled documents. It is not where the documents to
            judge on are not part of those to learn from.
    """

    splits: tuple[tuple[np.ndarray, np.ndarray], ...]
    is_refitted: bool

    @property
    def held_out(self) -> np.ndarray:
        """Rows of all documents that are judged on, in the order of the splits."""
        return np.concatenate([held_out for _, held_out in self.splits])

    def describe(self) -> str:
        """Say in a few words what rungs are judged on."""
        documents = sum(len(held_out) for _, held_out in self.splits)
        if not self.is_refitted:
            return f"{documents:,} validation documents"
        if len(self.splits) == 1:
            return f"{documents:,} labelled documents, held out"
        return f"{len(self.splits)}-fold cross-validation of {documents:,} labelled documents"


@dataclass(frozen=True)
class _Judged:
    rung: Rung
    logs: np.ndarray
    seconds: float
    members: tuple[Member, ...]


class Ladder:
    """Outcome of climbing the ladder.

    Args:
        rows: The rungs and their blends, simplest first.
        logs: For each row, (n, classes) log-probabilities of the documents judged on; members and weights were fitted
            to others.
        judging: What they were judged on.
        judged: The rungs by their names.
        answers: (n,) int, classes of the documents judged on.
        labelled: (m,) all labelled documents to learn from.
        class_shares: (classes,) share of each class among them, with its weight.
        class_weights: (classes,) weight of a document of each class; None for equal ones.

    Attributes:
        rows: The rungs and their blends, simplest first.
        class_shares: See above.
        uses_names: Whether the names of the classes are documents to learn from, too.
        uses_word_vectors: Whether the document vectors are made of a language model's word vectors, too.
    """

    def __init__(
        self,
        rows: Sequence[LadderRow],
        logs: Sequence[np.ndarray],
        judging: Judging,
        judged: Mapping[str, _Judged],
        answers: np.ndarray,
        labelled: np.ndarray,
        class_shares: np.ndarray,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        self.rows = tuple(rows)
        self._logs = tuple(logs)
        self._losses = np.stack([_losses(each, answers, class_weights) for each in logs])
        self._judging = judging
        self._judged = judged
        self._answers = answers
        self._labelled = labelled
        self._class_weights = class_weights
        self.class_shares = class_shares
        self._members: dict[str, tuple[Member, ...]] = {}
        self.uses_names = False
        self.uses_word_vectors = False

    @property
    def facts(self) -> LadderFacts:
        """The ladder as a model card records it."""
        return LadderFacts(
            rows=self.rows,
            judged_on=self._judging.describe(),
            is_cross_validated=self._judging.is_refitted,
            class_names=self.uses_names,
            word_vectors=self.uses_word_vectors,
            language_model=self.language_model_gain(),
        )

    @property
    def kept(self) -> LadderRow:
        """The row that is kept."""
        return next(row for row in self.rows if row.is_kept)

    def kept_up_to(self, kind: Kind) -> LadderRow:
        """The row that would be kept if there were no rungs of a kind that costs more."""
        kinds = self._kinds()
        candidates = [number for number, each in enumerate(kinds) if each <= kind]
        return self.rows[candidates[_cheapest_good(self._losses[candidates], [kinds[each] for each in candidates])]]

    def language_model_gain(self) -> LanguageModelGain | None:
        """Compare the ladder with one whose rungs only count n-grams; None if it has no others."""
        with_it = [number for number, kind in enumerate(self._kinds()) if kind > Kind.WORDS]
        if not with_it or len(with_it) == len(self.rows):
            return None
        means = self._losses.mean(axis=1)
        kept = self.rows.index(self.kept)
        number = kept if kept in with_it else min(with_it, key=lambda each: float(means[each]))
        without = self.rows.index(self.kept_up_to(Kind.WORDS))
        before, after = (self._logs[each].argmax(axis=1) == self._answers for each in (without, number))
        return LanguageModelGain(
            row=self.rows[number].name,
            without=self.rows[without].name,
            is_kept=number == kept,
            comparison=compare_paired(before, after, "accuracy"),
        )

    def _kinds(self) -> list[Kind]:
        """The kind of each row."""
        return [_kind(self._judged[name].rung for name in row.members) for row in self.rows]

    def losses(self, row: LadderRow) -> np.ndarray:
        """Negative log-likelihood of the right class of each document judged on, (n,), as `held_out_answers` has them.

        Each counts with the weight of its class.
        """
        return np.asarray(self._losses[self.rows.index(row)])

    def held_out_answers(self, row: LadderRow) -> HeldOutAnswers:
        """Answers of a row for the documents judged on, by members and weights that were fitted to others."""
        outputs = np.exp(self._logs[self.rows.index(row)]).astype(np.float32)
        return HeldOutAnswers.of(outputs, self._answers, self._judging.describe())

    def fit(self, row: LadderRow) -> tuple[tuple[Member, ...], Combiner]:
        """Fit the members of a row to all labelled documents, and their weights to the documents judged on.

        A rung is fitted once, whatever the number of rows that it is part of.
        """
        members = [self._fit_rung(name) for name in row.members]
        logs = [self._judged[name].logs for name in row.members]
        combiner = fit_combiner(logs, self._answers, self._class_weights)
        counts = [len(each) for each in members]
        weights = np.repeat(combiner.weights / counts, counts)  # several members of a rung share its weight
        return tuple(member for each in members for member in each), Combiner(weights, combiner.bias)

    def _fit_rung(self, name: str) -> tuple[Member, ...]:
        if name not in self._members:
            judged = self._judged[name]
            is_refitted = self._judging.is_refitted and judged.rung.refits
            self._members[name] = (
                (judged.rung.fit(self._labelled, self._labelled[:0]),) if is_refitted else judged.members
            )
        return self._members[name]

    def table(self) -> str:
        """The rungs as plain text; the kept one is marked."""
        rows = [
            (
                ("-> " if row.is_kept else "   ") + row.name,
                f"{row.accuracy:.1%} ± {row.standard_error:.1%}",
                f"{row.loss:.3f}",
                f"{row.minutes:.2f}",
            )
            for row in self.rows
        ]
        return text_table(("rung", "accuracy", "log-loss", "minutes"), rows)


def choose_judging(rows: np.ndarray, labels: np.ndarray, validation: np.ndarray | None) -> Judging:
    """Judge on validation documents, or by cross-validation of the labelled documents (see `held_out_folds`).

    Args:
        rows: (n,) labelled training documents.
        labels: (n,) int, their classes.
        validation: Labelled validation documents to judge on; None for cross-validation.

    Returns:
        The folds, and whether what is kept is fitted again to all labels.

    Raises:
        DataError: If there is a single labelled document.
    """
    if validation is not None:
        return Judging(((rows, validation),), is_refitted=False)
    splits = tuple((rows[training], rows[held_out]) for training, held_out in held_out_folds(labels))
    if not splits:
        raise DataError(f"labels: expected at least 2 labelled documents to learn from, got {len(rows)}")
    return Judging(splits, is_refitted=True)


def climb(
    rungs: Sequence[Rung],
    blends: Sequence[tuple[str, Sequence[str]]],
    judging: Judging,
    labels: np.ndarray,
    rows: np.ndarray,
    say: Callable[[str], None] = lambda _: None,
    class_weights: Sequence[float] | None = None,
    begin: Callable[[str], None] = lambda _: None,
) -> Ladder:
    """Judge rungs and blends of them, and choose one.

    Args:
        rungs: The rungs, simplest first.
        blends: Name, and names of the rungs, of each blend; simplest first.
        judging: How they are judged.
        labels: (documents,) int, the class of each document of the corpus.
        rows: (n,) all labelled documents to learn from.
        say: Called with a line on each rung as it is judged.
        class_weights: (classes,) weight of a document of each class, in the losses that are compared and in the
            blends; None for equal ones.
        begin: Called with the rung that is judged next.

    Returns:
        The rungs and blends as they were judged, one of them kept; `Ladder.fit` fits it to all labels.

    Source: the rule of one standard error: Breiman et al. 1984, "Classification and regression trees", section 3.4.3.
        Deviation: kinds of members are what is simpler or not. Rungs of one kind cost about the same in use, and with
        few labels the standard error is so large that the first of them would nearly always be kept; the last ones
        learn from unlabelled text and from several members, which is what helps then. An earlier rung is kept only if
        it is better by two standard errors: the best of ten, judged on 20 labels, is often so by chance.
    """
    held_out = judging.held_out
    answers = labels[held_out]
    judged: dict[str, _Judged] = {}
    candidates: list[tuple[str, tuple[str, ...], np.ndarray, float]] = []

    def add(name: str, members: tuple[str, ...]) -> None:
        logs = _cross_fitted([judged[member].logs for member in members], answers, class_weights)
        seconds = sum(judged[member].seconds for member in members)
        candidates.append((name, members, logs, seconds))
        accuracy, loss = (logs.argmax(axis=1) == answers).mean(), _losses(logs, answers, class_weights).mean()
        say(f"   {name}: accuracy {accuracy:.1%}, log-loss {loss:.3f}")

    for number, rung in enumerate(rungs, start=1):
        begin(f"rung {number} of {len(rungs)}: {rung.name}")
        started = time.monotonic()
        logs, fitted = rung.judge(judging.splits)
        judged[rung.name] = _Judged(rung, logs, time.monotonic() - started, fitted)
        add(rung.name, (rung.name,))
        for name, members in blends:
            if rung.name == members[-1] and len(members) > 1:
                add(name, tuple(members))
    losses = np.stack([_losses(logs, answers, class_weights) for _, _, logs, _ in candidates])
    kept = _cheapest_good(losses, [_kind(judged[name].rung for name in members) for _, members, _, _ in candidates])
    ladder_rows = tuple(
        LadderRow(
            name=name,
            members=members,
            loss=float(losses[number].mean()),
            accuracy=float((logs.argmax(axis=1) == answers).mean()),
            standard_error=float((logs.argmax(axis=1) == answers).std() / np.sqrt(len(answers))),
            minutes=round(seconds / 60.0, 2),
            is_kept=number == kept,
        )
        for number, (name, members, logs, seconds) in enumerate(candidates)
    )
    all_logs = [logs for _, _, logs, _ in candidates]
    shares = _class_shares(labels[rows], all_logs[0].shape[1], class_weights)
    return Ladder(ladder_rows, all_logs, judging, judged, answers, rows, shares, class_weights)


def is_better(
    rung: Rung, other: Rung, judging: Judging, labels: np.ndarray, class_weights: Sequence[float] | None = None
) -> bool:
    """Return whether the mean loss of a rung is less than another's by more than one standard error; see `climb`."""
    answers = labels[judging.held_out]
    losses, others = (_losses(each.judge(judging.splits)[0], answers, class_weights) for each in (rung, other))
    return not _is_as_good(others, losses, _KIND_ERRORS)


def _class_shares(labels: np.ndarray, classes: int, class_weights: Sequence[float] | None) -> np.ndarray:
    """Share of each class among labelled documents, (classes,) float64, each class counted half a document more."""
    counts = np.bincount(labels, minlength=classes) + 0.5
    weighted = counts if class_weights is None else counts * np.asarray(class_weights)
    return np.asarray(weighted / weighted.sum())


def _losses(logs: np.ndarray, answers: np.ndarray, class_weights: Sequence[float] | None) -> np.ndarray:
    """Negative log-likelihood of the right class of each document, times its weight scaled to a mean of 1."""
    losses = -logs[np.arange(len(answers)), answers]
    weights = document_weights(class_weights, answers)
    return losses if weights is None else losses * weights / weights.mean()


def _cross_fitted(
    members: Sequence[np.ndarray], answers: np.ndarray, class_weights: Sequence[float] | None
) -> np.ndarray:
    """Log-probabilities of a blend whose weights were fitted to other documents than each is judged on."""
    blended = np.empty_like(members[0])
    order = np.random.default_rng(0).permutation(len(answers))
    fold_of = np.empty(len(answers), dtype=np.int64)
    # Every fold has the classes in proportion: otherwise the bias learned on the others points away from its majority.
    fold_of[order[np.argsort(answers[order], kind="stable")]] = np.arange(len(answers)) % _BLEND_FOLDS
    for fold in range(_BLEND_FOLDS):
        is_judged = fold_of == fold
        if not is_judged.any():
            continue
        combiner = fit_combiner([logs[~is_judged] for logs in members], answers[~is_judged], class_weights)
        blended[is_judged] = combiner([logs[is_judged] for logs in members])
    return blended


def _kind(rungs: Iterable[Rung]) -> Kind:
    """The most expensive kind of some rungs."""
    return max(rung.kind for rung in rungs)


def _cheapest_good(losses: np.ndarray, kinds: Sequence[Kind]) -> int:
    """Choose the row to keep: the last good one of the cheapest kind that is as good as any; see the module.

    Args:
        losses: (candidates, documents) negative log-likelihood of the right class.
        kinds: The kind of each candidate.
    """
    means = losses.mean(axis=1)
    numbers = np.arange(len(kinds))
    for kind in sorted(set(kinds)):
        of_kind = numbers[np.asarray(kinds) == kind]
        best = of_kind[means[of_kind].argmin()]
        if _is_as_good(losses[best], losses[means.argmin()], _KIND_ERRORS):
            return int(max(number for number in of_kind if _is_as_good(losses[number], losses[best], _RUNG_ERRORS)))
    raise AssertionError("the best candidate is within its own standard error")


def _is_as_good(losses: np.ndarray, best: np.ndarray, errors: float) -> bool:
    """True if the mean is within so many standard errors of the best; of the difference, document by document."""
    away = losses - best
    return bool(away.mean() <= errors * away.std() / np.sqrt(len(away)))
