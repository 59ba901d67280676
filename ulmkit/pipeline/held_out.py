"""What a model learnt from and what was held out from it, as its facts say, and what follows for its splits."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ulmkit.pipeline.options import RunOptions
from ulmkit.text import EncodedCorpus
from ulmkit.text.corpus.fingerprints import joined_fingerprint
from ulmkit.text.corpus.splits import TRAINING_SPLITS, SplitPolicy

Facts = Mapping[str, Any]

_ROW_FACTS = ("documents", "labelled", "words", "tokens")


def data_facts(corpus: EncodedCorpus, used: Sequence[str], base_facts: Facts | None) -> dict[str, Any]:
    """What the model card says about the data: a row for each split, and how validation was chosen.

    Args: used: the splits that the model learnt from. base_facts: of the model it started from; None: of none.
    """
    splits = {"kind": cleanness(corpus, used, base_facts), **_policy(corpus.facts.split_policy)}
    if shared := corpus.facts.near_duplicates:
        splits["near_duplicates"] = {
            held_out: {name: asdict(counts) for name, counts in by_split.items()}
            for held_out, by_split in shared.items()
        }
    return {"data": _rows(corpus, used), "splits": splits}


def as_base(facts: Facts) -> dict[str, Any]:
    """What a language model's facts keep of those of the model that it started from, which have its own base's."""
    return {name: facts[name] for name in ("stage", "data", "base", "budget", "minutes") if name in facts}


def cleanness(corpus: EncodedCorpus, used: Sequence[str], base_facts: Facts | None) -> str:
    """Whether the documents held out from a training were held out from all models that it goes on from.

    Documents are compared by the digests of their texts, so that neither a file's name nor the policy of its split
    makes a split clean.

    Args: as `data_facts`.
    Returns:
        "clean": each of those models held out the same documents, or there is none.
        "mixed": one learnt from this very data under another split, so that it may have read what is held out now.
        "unknown": one does not say what it learnt from.
        "other data": one learnt from other data, of which it is not known whether it has what is held out now.
        "transductive": a split that judges was learnt from, now or before.
    """
    stages = [] if base_facts is None else list(_stages(base_facts))
    recorded = {stage.get("splits", {}).get("kind") for stage in stages}
    if any(split not in TRAINING_SPLITS for split in used) or "transductive" in recorded:
        return "transductive"
    now = _rows(corpus, used)
    found = {_beside(stage.get("data", []), now) for stage in stages}
    if "unknown" in found and "mixed" in recorded:
        return "mixed"
    return next((kind for kind in ("mixed", "unknown", "other data") if kind in found), "clean")


def warn_if_splits_overlap(
    corpus: EncodedCorpus, used: Sequence[str], base_facts: Facts | None, run: RunOptions
) -> None:
    """Say, before a training, that the model it starts from may have read what is held out, and what to do."""
    if run.progress is not None and run.world.is_first and cleanness(corpus, used, base_facts) == "mixed":
        run.progress.message(
            f"mixed splits: the language model learnt from {corpus_name(corpus)} under another split, so that it may "
            "have read what is held out now; fine-tune it with the same --task, --split-by or --split-column as here"
        )


def whole_digest(rows: Sequence[Facts]) -> str | None:
    """The digest of all documents of the splits in `rows`; None if it is not recorded."""
    digests = [int(row["digest"], 16) for row in rows if "digest" in row]
    return joined_fingerprint(digests) if rows and len(digests) == len(rows) else None


def _stages(facts: Facts) -> Iterator[Facts]:
    """The facts of a language model, and of each that it started from in turn; empty where they are not recorded."""
    yield facts
    while facts and facts.get("stage") != "pretraining":
        facts = facts.get("base", {})
        yield facts


def _beside(before: Sequence[Facts], now: Sequence[Facts]) -> str:
    """How the rows of an earlier training go with those of this one: "clean", "mixed", "unknown" or "other data"."""
    if whole_digest(before) is None or whole_digest(now) is None:
        return "unknown"
    held_out = {row["digest"] for row in before if row["use"] == "held out"}
    if held_out.issuperset(row["digest"] for row in now if row["split"] not in TRAINING_SPLITS):
        return "clean"
    return "mixed" if whole_digest(before) == whole_digest(now) else "other data"


def _rows(corpus: EncodedCorpus, used: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "name": corpus_name(corpus),
            "split": split,
            "use": "training" if split in used else "held out",
            **{key: getattr(counts, key) for key in _ROW_FACTS},
            "digest": counts.fingerprint,
            "unknown_rate": round(counts.unknown_rate, 5),
        }
        for split, counts in corpus.facts.splits.items()
    ]


def corpus_name(corpus: EncodedCorpus) -> str:
    """What a corpus was made from, or the name of its folder."""
    return ", ".join(corpus.facts.sources) or corpus.folder.name


def _policy(recorded: SplitPolicy) -> dict[str, Any]:
    """How validation was chosen, by the names of the model card; what a given split does not go by is left out."""
    names = ("column",) if recorded.kind == "given" else ("valid_fraction", "seed", "column")
    values = {name: getattr(recorded, name) for name in names}
    return {"policy": recorded.kind} | {name: value for name, value in values.items() if value is not None}
