"""The model card, README.md of a model folder: what the model is, was trained on, reaches, and does not.

It is written from config.json alone. Facts that are not there are named as unknown, not made up. These names in
`facts` have a section of their own; any other becomes a row of "Training":

    description: str                    one sentence on what the model is for
    license, language: str              for the hub's search
    data: [{"name", "use", "documents", "tokens", ...}]     one row per corpus or split
    splits: {"policy", "valid_fraction", "kind": one of `ulmkit.pipeline.held_out.cleanness`, "near_duplicates", ...}
    figures: {name: number} or {split: {name: number}}
    baselines: the same for other models on the same data
    limits: [str]
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ulmkit.model.cells import Cell, cell_from_dict

CARD_FILE = "README.md"

_OWN_SECTIONS = ("description", "license", "language", "data", "splits", "figures", "baselines", "limits")
_KIND_NAMES = {"language_model": "language model", "classifier": "classifier", "pair": "pair of models"}
_TASKS = {
    "single": "gives one label to a text",
    "multi": "gives any number of labels to a text",
    "number": "gives a number to a text",
    "tokens": "gives a label to each word of a text",
    "pair": "gives one label to a pair of texts",
}

_SPLIT_LIMITS = {
    "transductive": "Transductive: the text of the evaluated documents, not their labels, was used in training.",
    "mixed": "Mixed splits: a language model that this one started from learnt from the same data under another split, "
    "so that it may have read the text, not the labels, of documents held out here.",
    "other data": "Other data: a language model that this one started from learnt from other data too; whether the "
    "text of documents held out here is in it is not known.",
    "unknown": "Splits not compared: what a language model that this one started from learnt from is not recorded; "
    "whether it read the text of documents held out here is not known.",
}


def model_card(name: str, config: Mapping[str, Any]) -> str:
    """The card as Markdown.

    Args: name: of the model. config: the content of config.json.
    """
    facts: Mapping[str, Any] = config["facts"]
    training = {key: value for key, value in facts.items() if key not in _OWN_SECTIONS}
    sections = [
        _front_matter(config),
        f"# {name}",
        _introduction(config),
        _section("Model", _table(_model_rows(config))),
        _section("Data", _records(facts.get("data")), "Not recorded."),
        _section("Splits", _table(_rows(facts.get("splits", {}))), "Not recorded."),
        _section("Training", _table(_rows(training)), "Not recorded."),
        _section("Figures", _table(_rows(facts.get("figures", {}))), "None recorded: this model was not evaluated."),
        _section("Other models on the same data", _table(_rows(facts.get("baselines", {})))),
        _section("Limits", "\n".join(f"- {limit}" for limit in _limits(config))),
        _section("Use", _use(config)),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _front_matter(config: Mapping[str, Any]) -> str:
    facts = config["facts"]
    tag = "text-generation" if _is_language_model(config) else "text-classification"
    lines = ["library_name: ulmkit", f"pipeline_tag: {tag}", "tags: [ulmkit, awd-lstm, ulmfit]"]
    lines += [f"{key}: {facts[key]}" for key in ("license", "language") if key in facts]
    return "\n".join(["---", *lines, "---"])


def _introduction(config: Mapping[str, Any]) -> str:
    if config["kind"] == "language_model":
        what = f"A language model ({_cell_name(config)}) that reads {config['direction']} and predicts the next token."
    elif config["kind"] == "classifier":
        task = _TASKS[_task(config)]
        what = f"A text classifier ({_cell_name(config)} encoder, reads {config['direction']}) that {task}."
    elif _is_language_model(config):
        what = "A forward and a backward language model, each complete."
    else:
        what = f"A forward and a backward text classifier that {_TASKS[_task(config)]}: the mean of both."
    description = config["facts"].get("description")
    return f"{description}\n\n{what}" if description else what


def _cell_name(config: Mapping[str, Any]) -> str:
    return _cell(config).title


def _cell(config: Mapping[str, Any]) -> Cell:
    return cell_from_dict(config["encoder"]["cell"], "encoder")


def _model_rows(config: Mapping[str, Any]) -> list[tuple[str, Any]]:
    if config["kind"] == "pair":
        return [("forward", "forward/"), ("backward", "backward/"), ("kind", _KIND_NAMES[config["members"]])]
    encoder = config["encoder"]
    rows = [
        ("parameters", f"{config['parameters']:,}"),
        ("weights", config["weights"]),
        ("embedding", encoder["embedding_size"]),
        ("cell", str(_cell(config))),
        ("hidden units", _hidden_units(encoder)),
        ("vocabulary", f"{config['vocabulary']['size']:,} tokens"),
        ("tokenizer", config["tokenizer"]["name"]),
    ]
    if config["kind"] == "language_model" and config["softmax"]["softmax_experts"] > 1:
        rows.append(("softmaxes", f"{config['softmax']['softmax_experts']}, mixed"))
    if config.get("label_names"):
        rows.append(("labels", ", ".join(config["label_names"])))
    return rows + [(f"version of {name}", version) for name, version in config["versions"].items()]


def _hidden_units(encoder: Mapping[str, Any]) -> str:
    last = "" if encoder["last_hidden_size"] is None else f", {encoder['last_hidden_size']} in the last"
    return f"{encoder['hidden_size']} in {encoder['layers']} layers{last}"


def _limits(config: Mapping[str, Any]) -> list[str]:
    facts = config["facts"]
    limits = [str(limit) for limit in facts.get("limits", [])]
    kind = facts.get("splits", {}).get("kind")
    if kind in _SPLIT_LIMITS:
        limits.append(_SPLIT_LIMITS[kind])
    limits.append("The figures hold for text like the data above; on other text measure again before relying on it.")
    if _is_language_model(config):
        limits.append(
            "Generated text is fluent at best, not true; it repeats what is in the training text, biases too."
        )
    else:
        limits.append("Biases of the labels and of the text the encoder was trained on carry over to the predictions.")
    return limits


def _use(config: Mapping[str, Any]) -> str:
    """The code that loads the model and asks it something."""
    folder = "FOLDER"
    if _is_language_model(config):
        name, call = "LanguageModel", 'model.score(["a text"])'
        if config["kind"] == "pair":  # whose members are used one at a time
            folder += "/forward"
    else:
        name, text = "TextClassifier", '("a text", "another")' if _task(config) == "pair" else '"a text"'
        call = f"model.predict([{text}])"
    code = f'from ulmkit import {name}\n\nmodel = {name}.load("{folder}")\n{call}'
    return f"`FOLDER` is this folder; nothing else is needed, nor a network.\n\n```python\n{code}\n```"


def _task(config: Mapping[str, Any]) -> str:
    """What a classifier, or a pair of them, predicts."""
    task: str = config["task"] if config["kind"] == "pair" else config["head"]["kind"]
    return task


def _is_language_model(config: Mapping[str, Any]) -> bool:
    return "language_model" in (config["kind"], config.get("members"))


def _section(title: str, body: str, empty: str = "") -> str:
    body = body or empty
    return f"## {title}\n\n{body}" if body else ""


def _rows(values: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Nested objects as rows, names joined by a comma."""
    rows: list[tuple[str, Any]] = []
    for key, value in values.items():
        name = f"{prefix}{_words(key)}"
        if isinstance(value, Mapping):
            rows += _rows(value, f"{name}, ")
        else:
            rows.append((name, value))
    return rows


def _table(rows: Sequence[tuple[str, Any]]) -> str:
    return _markdown(("", ""), [(name, _value(value)) for name, value in rows]) if rows else ""


def _records(records: Any) -> str:
    """A list of objects as a table with a column for each key; anything else as rows or text."""
    if isinstance(records, Mapping):
        return _table(_rows(records))
    if not isinstance(records, list | tuple) or not all(isinstance(record, Mapping) for record in records):
        return "" if not records else _value(records)
    columns = list(dict.fromkeys(key for record in records for key in record))
    rows = [[_value(record.get(column)) for column in columns] for record in records]
    return _markdown([_words(column) for column in columns], rows) if records else ""


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
    )


def _words(key: str) -> str:
    return key.replace("_", " ")


def _value(value: Any) -> str:
    if value is None:
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.1f}"
    if isinstance(value, Mapping):
        return " ".join(f"{_words(key)} {_value(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_value(item) for item in value)
    return str(value)
