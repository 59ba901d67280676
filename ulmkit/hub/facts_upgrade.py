"""Upgrade of training facts from format version 1, where they were a free-form JSON object."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ulmkit.errors import ConfigError
from ulmkit.hub.facts import facts_from_json

_DESCRIPTION = ("description", "license", "language", "limits")
_TRAINING = ("stage", "recipe", "vocabulary_transfer", "labelled_documents", "baselines", "int8")
_RUN = ("budget", "minutes", "steps", "epochs", "tokens_per_second", "stopped_because", "seed")
_KEPT_WEIGHTS = ("weights_of_step", "averaged_steps")
_PLACEMENT = ("device", "precision", "backend")
_METRICS = {
    "validation": "validation",
    "validation (approximate), before training": "validation_before",
    "validation (approximate), after training": "validation",
}
_MACHINE = re.compile(r"(.*), (\d+) processors, (\d+) threads(?:, (\d+) processes)?")


def upgrade_facts(old: Mapping[str, object]) -> dict[str, object]:
    """Facts of format version 1 in the form that `facts_from_json` reads.

    Args:
        old: The object under "facts" in config.json.

    Returns:
        The facts. Names that no training wrote stand under "notes"; so does everything if a value is not what a
        training wrote.
    """
    try:
        new = _upgrade(dict(old))
        facts_from_json(new)
    except (ConfigError, AttributeError, KeyError, TypeError, ValueError):
        return {"notes": dict(old)}
    return new


def _upgrade(rest: dict[str, Any]) -> dict[str, Any]:
    """The new facts; takes what it uses out of `rest`."""
    new = _take(rest, _DESCRIPTION + _TRAINING)
    new |= _metrics(rest.pop("figures", {}))
    splits = rest.pop("splits", {})
    if "data" in rest:
        new["data"] = _data(rest.pop("data"), splits)
    if "budget" in rest:
        new["run"] = _run(rest)
    base = rest.pop("base", {})
    if rest.pop("pretrained", False):
        new["base"] = _metrics(base)  # a classifier recorded its language model's metrics alone
    elif new.get("stage") == "fine-tuning":
        new["base"] = _upgrade(dict(base))
    return {**new, "notes": rest} if rest else new


def _take(rest: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: rest.pop(name) for name in names if name in rest}


def _metrics(figures: Mapping[str, Any]) -> dict[str, Any]:
    new: dict[str, Any] = {_METRICS[name]: dict(values) for name, values in figures.items()}
    documents = new.get("validation", {}).pop("documents", None)
    return new if documents is None else {**new, "validation_documents": documents}


def _data(rows: Sequence[Mapping[str, Any]], splits: Mapping[str, Any]) -> dict[str, Any]:
    new: dict[str, Any] = {"name": rows[0]["name"], "splits": []}
    for row in rows:
        split = {name: value for name, value in row.items() if name not in ("name", "split", "digest")}
        split["name"] = row["split"]
        if "digest" in row:
            split["fingerprint"] = row["digest"]
        new["splits"].append(split)
    if "kind" in splits:
        new["cleanness"] = splits["kind"]
    if "policy" in splits:
        policy = {name: splits[name] for name in ("valid_fraction", "seed", "column") if name in splits}
        new["split_policy"] = {"kind": splits["policy"], **policy}
    if "near_duplicates" in splits:
        new["near_duplicates"] = splits["near_duplicates"]
    return new


def _run(rest: dict[str, Any]) -> dict[str, Any]:
    run = _take(rest, _RUN + _KEPT_WEIGHTS)
    if "tokens_read" in rest:
        run["tokens"] = rest.pop("tokens_read")
    machine = _MACHINE.fullmatch(rest.get("machine", ""))
    if machine is not None:
        architecture, processors, threads, processes = machine.groups()
        del rest["machine"]
        run["machine"] = {
            **_take(rest, _PLACEMENT),
            "architecture": architecture,
            "processors": int(processors),
            "threads": int(threads),
            "processes": int(processes or 1),
        }
    return run
