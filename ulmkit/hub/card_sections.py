"""Sections of a model card that are written from training facts alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from ulmkit.hub.facts import (
    ContinuationFacts,
    DataFacts,
    LadderFacts,
    MachineFacts,
    RunFacts,
    Stage,
    TrainingFacts,
)
from ulmkit.text import SplitPolicy
from ulmkit.training import Budget

_CLEAN = "Clean: every model in its ancestry held out the same documents."
_NOT_CLEAN = "Not known to be clean: see the limits below."
_STAGES: dict[Stage | None, str] = {
    None: "a language model",
    "pretraining": "a language model pretrained",
    "fine-tuning": "a language model fine-tuned",
    "classification": "a classifier trained",
}


def data_section(facts: TrainingFacts) -> str:
    """Section about the training data, its split and whether the split is clean; empty if not recorded."""
    data = facts.data
    if data is None:
        return ""
    rows = [
        (
            split.name,
            split.use,
            f"{split.documents:,}",
            _cell(split.labelled, ","),
            _cell(split.tokens, ","),
            _cell(split.unknown_rate, ".2%"),
        )
        for split in data.splits
    ]
    table = markdown_table(("split", "used for", "documents", "labelled", "tokens", "unknown tokens"), rows)
    sentences: list[str] = []
    if facts.labelled_documents is not None:
        sentences.append(f"It learned from the labels of {facts.labelled_documents:,} documents.")
    if data.split_policy is not None:
        sentences.append(_policy(data.split_policy))
    if data.cleanness is not None:
        sentences.append(_CLEAN if data.cleanness == "clean" else _NOT_CLEAN)
    sentences += _near_duplicates(data)
    return _paragraphs(f"Trained on {data.name}.", table, " ".join(sentences))


def evaluation_section(facts: TrainingFacts) -> str:
    """The ladder, validation metrics beside those of the baselines, and the cost of int8 weights."""
    ladder = "" if facts.ladder is None else _ladder(facts.ladder)
    models = {"before this training": facts.validation_before, "this model": facts.validation, **facts.baselines}
    models = {model: metrics for model, metrics in models.items() if metrics}
    if not models:
        return _paragraphs(ladder, _int8(facts)) or "Not evaluated."
    names = list(dict.fromkeys(name for metrics in models.values() for name in metrics))
    rows = [(model, *(_cell(metrics.get(name), ",.4g") for name in names)) for model, metrics in models.items()]
    part = "" if facts.validation_documents is None else f"{facts.validation_documents:,} documents of "
    scored = f"On {part}the validation split."
    if facts.stage in ("pretraining", "fine-tuning"):
        scored += (
            " Perplexity is an estimate, from parallel streams and the first part of a long split; `ulmkit evaluate` "
            "gives the exact one, over the whole split."
        )
    table = markdown_table(("model", *(name.replace("_", " ") for name in names)), rows)
    return _paragraphs(ladder, scored, table, _int8(facts))


def _ladder(ladder: LadderFacts) -> str:
    rows = [
        (
            f"{row.name} (kept)" if row.is_kept else row.name,
            f"{row.loss:.4g}",
            f"{row.accuracy:.4f} ± {row.standard_error:.4f}",
        )
        for row in ladder.rows
    ]
    table = markdown_table(("rung", "loss", "accuracy"), rows)
    judged = f"Rungs of the ladder, as they were judged ({ladder.judged_on}); accuracy ± its standard error:"
    gain = "" if ladder.language_model is None else ladder.language_model.describe()
    return _paragraphs(judged, table, gain)


def training_section(facts: TrainingFacts, has_networks: bool = True) -> str:
    """The training run: budget, what was spent, the machine, and the models that came before.

    Args:
        facts: Facts of the model.
        has_networks: Whether networks are in the model; linear members have no precision, backend or random weights.
    """
    sentences: list[str] = []
    if facts.run is not None:
        sentences += _run(facts.run, has_networks)
    elif facts.stage is None and facts.base is None:
        return ""
    if facts.stage == "classification" and facts.base is None and has_networks:
        sentences.append("It started from random weights, not from a language model.")
    if facts.base is not None:
        ancestors = "; ".join(map(_ancestor, facts.base.lineage()))
        has_vectors = facts.ladder is not None and facts.ladder.word_vectors
        if has_networks:
            also = " Its document vectors are made of that model's word vectors, too." if has_vectors else ""
            sentences.append(f"It started from {ancestors}.{also}")
        else:
            used = "tokens and the word vectors" if has_vectors else "tokens"
            sentences.append(f"Its linear models use the {used} of {ancestors}, and nothing else of that model.")
    if facts.ladder is not None and facts.ladder.class_names:
        sentences.append("The name of each class was a document of that class to learn from.")
    if facts.continuation is not None:
        sentences += _continuation(facts.continuation)
    if facts.vocabulary_transfer is not None:
        transfer = facts.vocabulary_transfer
        known = f"{transfer.matched:,} of its {transfer.vocabulary_size:,} tokens were known to the base model"
        share = "" if transfer.corpus_share is None else f" ({transfer.corpus_share:.1%} of the text)"
        sentences.append(f"{known}{share}.")
    if facts.recipe:
        sentences.append("All settings are in `config.json` under `facts.recipe`.")
    return " ".join(sentences)


def notes_section(facts: TrainingFacts) -> str:
    """Notes that are a text or a number, or a group of such; empty without any."""
    lines = []
    for name, value in facts.notes.items():
        group = value if isinstance(value, Mapping) else {"": value}
        known = {key: item for key, item in group.items() if isinstance(item, str | int | float)}
        text = "; ".join(f"{_words(key)} {_note(item)}".strip() for key, item in known.items())
        lines += [f"- {_words(name)}: {text}"] if known else []
    return "\n".join(lines)


def _words(name: object) -> str:
    return str(name).replace("_", " ")


def _note(value: str | float) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else f"{value:,.6g}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; bars and line breaks in cells are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
    )


def _paragraphs(*paragraphs: str) -> str:
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _cell(value: float | None, form: str) -> str:
    """Format a number; empty if it is not recorded."""
    return "" if value is None else format(value, form)


def _policy(policy: SplitPolicy) -> str:
    if policy.kind == "given":
        return "The data names its splits" + ("." if policy.column is None else f", in the column `{policy.column}`.")
    chosen = {
        "random": f"a random part (seed {policy.seed}) of each class",
        "time": "the latest documents",
        "group": f"whole groups (seed {policy.seed})",
    }[policy.kind]
    column = "" if policy.column is None else f" by the column `{policy.column}`"
    return f"The validation split is {policy.valid_fraction:.0%} of the documents: {chosen}{column}."


def _near_duplicates(data: DataFacts) -> Iterator[str]:
    for held_out, by_split in data.near_duplicates.items():
        for trained_on, counts in by_split.items():
            yield (
                f"{counts.near:,} of the {counts.documents:,} documents in {held_out} have a near-duplicate in "
                f"{trained_on}; {counts.exact:,} of these are exact."
            )


def _int8(facts: TrainingFacts) -> str:
    comparison = facts.int8
    if comparison is None:
        return ""
    low, high = comparison.interval
    return (
        f"The encoder's int8 weights were compared with the float32 weights on {comparison.documents:,} documents: "
        f"{comparison.measure} {comparison.before:.4f} before, {comparison.after:.4f} after (difference "
        f"{comparison.difference:+.4f}, 95% interval {low:+.4f} to {high:+.4f})."
    )


def _run(run: RunFacts, has_networks: bool) -> Iterator[str]:
    if run.steps is not None and run.epochs is not None:
        reason = " (stopped early by patience)" if run.stopped_because == "patience" else ""
        yield (
            f"Budget: {_budget(run.budget)}. It took {run.minutes:,.1f} minutes for {run.steps:,} steps, "
            f"{run.epochs:.3g} epochs{reason}"
            + ("." if run.tokens_per_second is None else f", at {run.tokens_per_second:,} tokens per second.")
        )
    if run.weights_of_step is not None:
        yield f"The weights are those of step {run.weights_of_step:,}."
    if run.averaged_steps is not None:
        yield f"The weights are the mean of {run.averaged_steps:,} steps."
    if run.machine is not None:
        yield f"Machine: {_machine(run.machine, has_networks)}."
    if run.seed is not None:
        yield f"Seed: {run.seed}."


def _budget(budget: Budget) -> str:
    return next(f"{value:,g} {unit}" for unit, value in asdict(budget).items() if value is not None)


def _machine(machine: MachineFacts, has_networks: bool) -> str:
    kernels = [machine.device, machine.precision, f"{machine.backend} backend"] if has_networks else []
    counts = [_count(machine.processors, "processor"), _count(machine.threads, "thread")]
    if machine.processes > 1:
        counts.append(_count(machine.processes, "process"))
    return ", ".join([*kernels, machine.architecture, *counts])


def _count(number: int, name: str) -> str:
    plural = "es" if name.endswith("s") else "s"
    return f"{number} {name}{plural if number != 1 else ''}"


def _continuation(continuation: ContinuationFacts) -> Iterator[str]:
    changes = {"kept": continuation.kept, "added": continuation.added, "removed": continuation.removed}
    if any(changes.values()):
        named = "; ".join(f"{change} {', '.join(names)}" for change, names in changes.items() if names)
        yield f"It also has the head of that classifier; classes: {named}."
    if continuation.without_documents:
        yield f"It learned from no documents of {', '.join(continuation.without_documents)}."
    if continuation.old_documents is not None:
        scores = continuation.old_documents
        yield (
            f"On {scores.documents:,} earlier documents ({continuation.old_data}), {scores.measure} was "
            f"{scores.before:.4f} before this training and is {scores.after:.4f} after it."
        )
    if continuation.kept_held_out or continuation.seen_before:
        yield (
            f"Left out were {continuation.kept_held_out:,} training documents that the earlier classifier was "
            f"validated on, and {continuation.seen_before:,} validation documents that it learned from."
        )


def _ancestor(facts: TrainingFacts) -> str:
    source = "" if facts.data is None else f" on {facts.data.name}"
    spent = "" if facts.run is None else f" for {_budget(facts.run.budget)}"
    perplexity = facts.validation.get("perplexity")
    reached = "" if perplexity is None else f" (validation perplexity {perplexity:,.1f})"
    return f"{_STAGES[facts.stage]}{source}{spent}{reached}"
