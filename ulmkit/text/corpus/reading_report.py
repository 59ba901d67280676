"""Report of what was read from DATA, for people and as JSON."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from ulmkit.text.corpus.facts import CorpusFacts
from ulmkit.text.read.columns import spellings_of
from ulmkit.text.read.labels import look_alikes
from ulmkit.text.read.layout import Layout, Reading

_NAMED_CLASSES = 10
_SHOWN_CHARACTERS = 60
_SPLIT_COLUMN = re.compile(r"split|subset|partition|is_?(train|valid|val|dev|test)", re.IGNORECASE)
_USUAL_TEXT_COLUMNS = ((), ("text",), ("tokens",))
_SHOWN_SEPARATORS = {"\t": "tabs", ",": "commas"}


class ReportLine(NamedTuple):
    """One line of the report.

    Attributes:
        name: Name of what is reported.
        text: The rest of the line.
        is_brief: Whether the short report has it.
    """

    name: str
    text: str
    is_brief: bool


def corpus_report(facts: CorpusFacts) -> list[ReportLine]:
    """Report what a corpus was made from: files, format, columns, documents, classes, and what may be a mistake."""
    lines = [] if facts.reading is None else source_report(facts.reading)
    splits = facts.splits
    lines.append(ReportLine("documents", _by_split({name: split.documents for name, split in splits.items()}), True))
    classes = _classes(facts)
    if classes:
        listing = ", ".join(f"{_short(name)} {count:,}" for name, count in list(classes.items())[:_NAMED_CLASSES])
        more = ", ..." if len(classes) > _NAMED_CLASSES else ""
        lines.append(ReportLine("classes", f"{len(classes):,}: {listing}{more}", True))
    unlabelled = _by_split({name: split.documents - split.labelled for name, split in splits.items()})
    has_labels = any(split.labelled for split in splits.values())
    if unlabelled and has_labels:
        lines.append(ReportLine("without a label", unlabelled, True))
    if empty := _by_split({name: split.empty for name, split in splits.items()}):
        lines.append(ReportLine("without text", empty, True))
    if alike := look_alikes(facts.label_names):
        listing = "; ".join(" and ".join(map(repr, group)) for group in alike)
        lines.append(ReportLine("labels that look alike", f"{listing}; correct them if they are one", True))
    return lines


def source_report(reading: Reading) -> list[ReportLine]:
    """Report the files that were read, how they were understood, and what was passed over."""
    described = "; ".join(map(_describe, reading.layouts))
    lines = [ReportLine("read", f"{reading.data}{f': {described}' if described else ''}", True)]
    if reading.files > 1:
        lines.append(ReportLine("files", _listing(reading.file_names, reading.files), False))
    if reading.passed_over_count:
        names = [f"{name} ({reason})" for name, reason in reading.passed_over.items()]
        lines.append(ReportLine("skipped", _listing(names, reading.passed_over_count), True))
    if unread := list(dict.fromkeys(name for layout in reading.layouts for name in layout.unread_columns)):
        lines.append(ReportLine("columns not read", ", ".join(map(repr, unread)), False))
    if splits := [name for name in unread if _SPLIT_COLUMN.fullmatch(name)]:
        advice = "it seems to say the split; name it with --split-column (split_column) if so"
        lines.append(ReportLine("column not read", f"{splits[0]!r}: {advice}", True))
    for layout in reading.layouts:
        for used in (*layout.text_columns, *layout.label_columns):
            if alike := spellings_of(used, layout.unread_columns):
                advice = f"{used!r} is read; make them one column if rows have the one or the other"
                lines.append(ReportLine("column not read", f"{alike[0]!r}: {advice}", True))
    return lines


def is_surprising(reading: Reading) -> bool:
    """Tell whether something was read otherwise than its names say, or passed over."""
    return bool(reading.passed_over_count) or len(reading.layouts) > 1 or any(map(_is_guessed, reading.layouts))


def reading_to_json(facts: CorpusFacts) -> dict[str, Any]:
    """Return the report on a corpus as JSON values by stable keys."""
    splits = facts.splits
    return {
        **({"data": ", ".join(facts.sources)} if facts.reading is None else asdict(facts.reading)),
        "documents": {name: split.documents for name, split in splits.items()},
        "unlabelled": {name: split.documents - split.labelled for name, split in splits.items()},
        "empty": {name: split.empty for name, split in splits.items()},
        "classes": _classes(facts),
        "look_alikes": look_alikes(facts.label_names),
        "shared_documents": facts.to_json()["near_duplicates"] or {},
    }


def _classes(facts: CorpusFacts) -> dict[str, int]:
    """Count the documents of each class over all splits."""
    counts = dict.fromkeys(facts.label_names, 0)
    for split in facts.splits.values():
        for name, count in split.labels.items():
            counts[name] = counts.get(name, 0) + count
    return counts if any(counts.values()) else {}


def _by_split(counts: Mapping[str, int]) -> str:
    """Write a count with its parts by split, or alone if the data has no split but "train"; "" for none."""
    total = sum(counts.values())
    if not total or list(counts) == ["train"]:
        return f"{total:,}" if total else ""
    listing = ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)
    return f"{total:,} ({listing})"


def _listing(names: Sequence[str], count: int) -> str:
    return f"{count:,}: {', '.join(names)}{', ...' if count > len(names) else ''}"


def _short(name: str) -> str:
    """Return a name for a list in one line."""
    is_clear = name.isprintable() and len(name) <= _SHOWN_CHARACTERS and ", " not in name
    return name if is_clear else repr(name[:_SHOWN_CHARACTERS])


def _describe(layout: Layout) -> str:
    parts = [layout.format]
    if layout.lines is not None:
        parts[0] += ", a document per line" if layout.lines else ", a document per file"
    if layout.separator is not None and _usual_separator(layout) != layout.separator:
        parts.append(f"separated by {_SHOWN_SEPARATORS.get(layout.separator, repr(layout.separator))}")
    if layout.header is False:
        parts.append("without header")
    if layout.unnamed_columns:
        parts.append(f"{layout.unnamed_columns} columns without a name skipped")
    if layout.text_columns:
        parts.append(f"text {' and '.join(map(repr, layout.text_columns))}")
    if layout.label_columns:
        parts.append(f"label {' and '.join(map(repr, layout.label_columns))}")
    return ", ".join(parts)


def _usual_separator(layout: Layout) -> str:
    return "\t" if layout.format == "tsv" else ","


def _is_guessed(layout: Layout) -> bool:
    is_usual = layout.separator in (None, _usual_separator(layout)) and layout.header is not False
    return not is_usual or layout.unnamed_columns > 0 or layout.text_columns not in _USUAL_TEXT_COLUMNS
