"""Format version 1 of model folders, upgraded to the layout of the current version.

Training facts were a free-form JSON object. The encoder was one flat object: the vocabulary's size, the softmax's
options, and the cell's name and options stood in it, options that were added later only where they differed from their
defaults. A head had the options of the heads of all tasks, and its task's name as "kind".
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ulmkit.errors import ConfigError
from ulmkit.hub.facts import facts_from_json
from ulmkit.tasks import find_task

_SOFTMAX = ("decoder_bias", "softmax_experts", "latent_dropout")
_FACTS = (
    "description",
    "license",
    "language",
    "limits",
    "stage",
    "recipe",
    "vocabulary_transfer",
    "labelled_documents",
    "baselines",
    "int8",
)
_RUN = (
    "budget",
    "minutes",
    "steps",
    "epochs",
    "tokens_per_second",
    "stopped_because",
    "seed",
    "weights_of_step",
    "averaged_steps",
)
_METRICS = {
    "validation": "validation",
    "validation (approximate), before training": "validation_before",
    "validation (approximate), after training": "validation",
}
_MACHINE = re.compile(
    r"(?P<architecture>.*), (?P<processors>\d+) processors, (?P<threads>\d+) threads(?:, (?P<processes>\d+) processes)?"
)


def upgrade_config(old: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a config.json of format version 1 in the layout of version 2.

    Raises:
        ConfigError, KeyError, TypeError, ValueError: If it is not what version 1 wrote.
    """
    new = {**old, "format_version": 2, "facts": upgrade_facts(old["facts"])}
    if old["kind"] == "pair":
        return new
    encoder = dict(old["encoder"])
    encoder.pop("vocab_size", None)
    softmax = _take(encoder, _SOFTMAX)
    if old["kind"] == "language_model":
        new["softmax"] = softmax
    name = encoder.pop("cell", "lstm")
    mogrifier = _take(encoder, ("mogrifier_rounds", "mogrifier_rank"))
    options = {key.removeprefix("mogrifier_"): value for key, value in mogrifier.items() if name == "mogrifier"}
    new["encoder"] = {**encoder, "cell": {"name": name, **options}}
    if old["kind"] == "classifier":
        head = dict(old["head"])
        new["task"] = head.pop("kind")
        new["head"] = _take(head, [field.name for field in dataclasses.fields(find_task(new["task"]).head_type)])
    return new


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
    new = _take(rest, _FACTS) | _metrics(rest.pop("figures", {}))
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


def _take(rest: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: rest.pop(name) for name in names if name in rest}


def _metrics(figures: Mapping[str, Any]) -> dict[str, Any]:
    new: dict[str, Any] = {_METRICS[name]: dict(values) for name, values in figures.items()}
    documents = new.get("validation", {}).pop("documents", None)
    return new if documents is None else {**new, "validation_documents": documents}


def _data(rows: Sequence[Mapping[str, Any]], splits: Mapping[str, Any]) -> dict[str, Any]:
    renamed = {"split": "name", "digest": "fingerprint"}
    new: dict[str, Any] = {
        "name": rows[0]["name"],
        "splits": [{renamed.get(name, name): row[name] for name in row if name != "name"} for row in rows],
    }
    if "kind" in splits:
        new["cleanness"] = splits["kind"]
    if "policy" in splits:
        new["split_policy"] = {"kind": splits["policy"], **_take(dict(splits), ("valid_fraction", "seed", "column"))}
    if "near_duplicates" in splits:
        new["near_duplicates"] = splits["near_duplicates"]
    return new


def _run(rest: dict[str, Any]) -> dict[str, Any]:
    run = _take(rest, _RUN)
    if "tokens_read" in rest:
        run["tokens"] = rest.pop("tokens_read")
    machine = _MACHINE.fullmatch(rest.get("machine", ""))
    if machine is not None:
        del rest["machine"]
        architecture, *counts = machine.groups(default="1")
        names = ("processors", "threads", "processes")
        run["machine"] = {
            **_take(rest, ("device", "precision", "backend")),
            "architecture": architecture,
            **dict(zip(names, map(int, counts), strict=True)),
        }
    return run
