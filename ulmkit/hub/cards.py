"""The model card, README.md of a model folder: what the model is, how to use it, how it was made and how good it is.

The card is written from the model and its `TrainingFacts` alone; a fact that is not recorded is left out or named as
unknown.
"""

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ulmkit.hub.card_sections import data_section, evaluation_section, notes_section, training_section
from ulmkit.hub.facts import TrainingFacts, package_versions
from ulmkit.hub.folder_config import Weights
from ulmkit.hub.hub_name import HubName
from ulmkit.hub.parts import ClassifierParts, EnsembleParts, FeatureParts, LanguageModelParts, member_name
from ulmkit.hub.shipped import shipped_with_vocabulary
from ulmkit.tasks import Task

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

CARD_FILE = "README.md"

_FOLDER_NOTE = "`FOLDER` is this folder. It is complete: no network is needed."
_HUB_NOTE = "The model is downloaded once; after that no network is needed."
_HUB_DATA = re.compile(r"([\w.-]+/[\w.-]+)(:[\w.-]+)?")
"""A recorded name of data on the hub; of paths only the last part is recorded, which has no slash."""

_CLEANNESS_LIMITS = {
    "transductive": "The text of evaluated documents, not their labels, was used in training (transductive split).",
    "mixed": "A model that this one started from was trained on the same data under another split: it may have read "
    "the text of the held-out documents.",
    "other data": "A model that this one started from was also trained on other data; whether that contains "
    "the text of held-out documents is not known.",
    "unknown": "A model that this one started from does not record its training data; whether it has read the "
    "text of held-out documents is not known.",
}


def model_card(name: str, parts: LanguageModelParts | ClassifierParts, weights: Weights = "float32") -> str:
    """The card of a language model or a classifier.

    Args:
        name: Name of the model, the card's title.
        parts: The model.
        weights: How its weights are stored.

    Returns:
        Markdown with the YAML header that the hub reads.
    """
    encoder = parts.model.encoder.config.cell.title
    rows = _model_rows(parts, weights)
    if isinstance(parts, ClassifierParts):
        introduction = f"A text classifier ({encoder} encoder, reads {parts.direction}) that predicts "
        introduction += f"{parts.task.summary}{_class_names(parts)}. {_tokens(parts)}"
        return _card(name, parts.facts, True, introduction, rows, _classifier_use(parts.task))
    introduction = f"A language model ({encoder}) that reads {parts.direction} and predicts the next token."
    return _card(name, parts.facts, False, introduction, rows, _language_model_use("FOLDER"))


def pair_card(name: str, facts: TrainingFacts, task: Task | None) -> str:
    """The card of a pair; its members have complete cards of their own.

    Args:
        name: Name of the pair, the card's title.
        facts: Facts of the pair, such as its metrics.
        task: Task of its classifiers; None for language models.

    Returns:
        Markdown with the YAML header that the hub reads.
    """
    if task is None:
        introduction = "A forward and a backward language model, each complete; together they give features of texts."
        use = _language_model_use("FOLDER")
    else:
        introduction = f"A forward and a backward text classifier, averaged, that predict {task.summary}."
        use = _classifier_use(task)
    introduction += " The cards in [forward](forward/README.md) and [backward](backward/README.md) describe the two."
    return _card(name, facts, task is not None, introduction, [], use)


def ensemble_card(name: str, parts: EnsembleParts) -> str:
    """The card of an ensemble; its networks have complete cards of their own.

    Args:
        name: Name of the model, the card's title.
        parts: The ensemble.

    Returns:
        Markdown with the YAML header that the hub reads.
    """
    members = [member_name(member) for member in parts.members]
    made_of = (
        f"a text classifier of {len(members)} members" if len(members) > 1 else f"a text classifier ({members[0]})"
    )
    introduction = f"{made_of[0].upper()}{made_of[1:]} that predicts "
    introduction += f"{parts.task.summary}{_class_names(parts)}. {_tokens(parts)}"
    rows = [
        (member, f"weight {weight:.3f}")
        for member, weight in zip(members, parts.combiner.weights.tolist(), strict=True)
    ]
    rows.append(("vocabulary", f"{len(parts.vocabulary):,} tokens of the {parts.tokenizer.name} tokenizer"))
    rows.append(("written with", ", ".join(f"{package} {version}" for package, version in package_versions().items())))
    has_networks = any(isinstance(member, ClassifierParts | FeatureParts) for member in parts.members)
    return _card(name, parts.facts, True, introduction, rows, _classifier_use(parts.task), has_networks)


def card_on_hub(card: str, folder: str, name: HubName) -> str:
    """Say in the card of a folder how the model is loaded from the hub.

    Only what ulmkit wrote is changed: the title, if it is the folder's name, and the lines on use.

    Args:
        card: The card in the model folder.
        folder: Name of the folder.
        name: Name of the model on the hub.
    """
    card = re.sub(rf"^# {re.escape(folder)}$", f"# {name.model}", card, count=1, flags=re.MULTILINE)
    return card.replace(_FOLDER_NOTE, _HUB_NOTE).replace('.load("FOLDER")', f'.from_pretrained("{name}")')


def _class_names(parts: ClassifierParts | EnsembleParts) -> str:
    """The classes after a colon, names with a comma in quotes; nothing for tasks without classes."""
    names = [f'"{name}"' if "," in name else name for name in parts.label_names]
    return f": {', '.join(names)}" if names else ""


def _card(
    name: str,
    facts: TrainingFacts,
    is_classifier: bool,
    introduction: str,
    model_rows: Sequence[tuple[str, str]],
    use: str,
    has_networks: bool = True,
) -> str:
    sections = [
        ("Use", use),
        ("Training data", data_section(facts)),
        ("Evaluation", evaluation_section(facts)),
        ("Training", training_section(facts, has_networks)),
        ("Notes", notes_section(facts)),
        ("Model", "\n".join(f"- {label}: {value}" for label, value in model_rows)),
        ("Limits", "\n".join(f"- {limit}" for limit in _limits(facts, is_classifier, has_networks))),
    ]
    blocks = [_header(name, facts, is_classifier, has_networks), f"# {name}", facts.description or "", introduction]
    blocks += [f"## {title}\n\n{body}" for title, body in sections if body]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _header(name: str, facts: TrainingFacts, is_classifier: bool, has_networks: bool) -> str:
    from huggingface_hub import ModelCardData

    task = "text-classification" if is_classifier else "text-generation"
    match = None if facts.data is None else _HUB_DATA.fullmatch(facts.data.name)
    data_set = None if match is None else match[1]
    results = _eval_results(facts, task, data_set)
    data = ModelCardData(
        language=facts.language,
        license=facts.license,
        library_name="ulmkit",
        pipeline_tag=task,
        tags=["awd-lstm", "ulmfit"] if has_networks else ["linear"],
        datasets=data_set,
        model_name=name if results else None,
        eval_results=results or None,
    )
    return f"---\n{data.to_yaml()}\n---"


def _eval_results(facts: TrainingFacts, task: str, data_set: str | None) -> "list[EvalResult]":
    """Write validation metrics as the hub's results, which need the name of the data."""
    from huggingface_hub import EvalResult

    if facts.data is None:
        return []
    return [
        EvalResult(
            task_type=task,
            dataset_type=data_set or facts.data.name,
            dataset_name=facts.data.name,
            dataset_split="validation",
            metric_type=metric,
            metric_name=metric.replace("_", " "),
            metric_value=round(value, 6),
        )
        for metric, value in facts.validation.items()
        if math.isfinite(value)
    ]


def _classifier_use(task: Task) -> str:
    return _code("TextClassifier", "FOLDER", f"print(model.predict([{task.example}]))")


def _language_model_use(folder: str) -> str:
    return _code("LanguageModel", folder, 'print(model.score(["a text"]))')


def _code(name: str, folder: str, call: str) -> str:
    code = f'from ulmkit import {name}\n\nmodel = {name}.load("{folder}")\n{call}'
    return f"{_FOLDER_NOTE}\n\n```python\n{code}\n```"


def _model_rows(parts: LanguageModelParts | ClassifierParts, weights: Weights) -> list[tuple[str, str]]:
    from ulmkit.model.aligned import count_parameters

    config = parts.model.encoder.config
    last = "" if config.last_hidden_size is None else f", {config.last_hidden_size} in the last"
    rows = [
        ("parameters", f"{count_parameters(parts.model):,}"),
        ("encoder weights", weights),
        ("layers", f"{config.layers} of {config.hidden_size} units{last}"),
        ("cell", str(config.cell)),
        ("embedding", f"{config.embedding_size} units"),
        ("vocabulary", f"{len(parts.vocabulary):,} tokens of the {parts.tokenizer.name} tokenizer"),
    ]
    if isinstance(parts, LanguageModelParts) and parts.model.config.softmax_experts > 1:
        rows.append(("softmax", f"mixture of {parts.model.config.softmax_experts}"))
    if isinstance(parts, LanguageModelParts) and parts.word_vectors is not None:
        rows.append(
            ("word vectors", f"{parts.word_vectors.size}-dimensional, of {len(parts.word_vectors.words):,} words")
        )
    if isinstance(parts, ClassifierParts) and parts.temperature != 1.0:
        rows.append(("temperature of the probabilities", f"{parts.temperature:.3f}"))
    versions = ", ".join(f"{name} {version}" for name, version in package_versions().items())
    return [*rows, ("written with", versions)]


def _tokens(parts: ClassifierParts | EnsembleParts) -> str:
    shipped = shipped_with_vocabulary(parts.tokenizer, parts.vocabulary)
    same = "" if shipped is None else f", the same as `{shipped}`"
    return f"It reads text as {parts.tokenizer.units} ({len(parts.vocabulary):,} tokens{same})."


def _limits(facts: TrainingFacts, is_classifier: bool, has_networks: bool) -> list[str]:
    limits = list(facts.limits)
    if facts.data is not None and facts.data.cleanness in _CLEANNESS_LIMITS:
        limits.append(_CLEANNESS_LIMITS[facts.data.cleanness])
    if facts.continuation is not None and facts.continuation.old_data is None:
        limits.append(
            "The classifier that this one continues may have learned from labels of documents that this one is "
            "validated on: the old documents were not available."
        )
    limits.append("The metrics hold for text like the training data; evaluate again before use on other text.")
    if is_classifier:
        text = "text the encoder was trained on" if has_networks else "training text"
        limits.append(f"Biases in the labels and in the {text} carry over to predictions.")
    else:
        limits.append("Generated text is fluent at best, not true; it reproduces training text, including its biases.")
    return limits
