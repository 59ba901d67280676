"""Folders of exported classifiers: all that it takes to serve one without ulmkit.

config.json        what it predicts, labels, inputs and outputs, parity
model.onnx         the network, or model.pt2
vocabulary.json    the token of each id
tokenizer/         what the tokenizer needs
text_reader/       Python that turns text into token ids
README.md          how to run it
"""

import copy
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ulmkit.config import check_choice
from ulmkit.errors import ConfigError, DataError
from ulmkit.files import list_files
from ulmkit.hub import ClassifierParts, package_versions
from ulmkit.hub.folder_config import EXPORT_KIND, write_config
from ulmkit.hub.parts import EnsembleParts, Member, member_name
from ulmkit.hub.text_parts import save_text_parts
from ulmkit.members.combiner import Combiner
from ulmkit.model.cells import LSTM
from ulmkit.model.int8_encoder import Int8Encoder
from ulmkit.portable import text_reader
from ulmkit.portable.formats import FORMATS, Format, output_names
from ulmkit.portable.parity import Parity, check_parity
from ulmkit.portable.readme import export_readme
from ulmkit.portable.state import StateLayout
from ulmkit.safe_writes import atomic_folder, atomic_write, check_writable
from ulmkit.text import characters
from ulmkit.text.corpus.token_stream import reverse_document
from ulmkit.text.tokens import parts as token_parts
from ulmkit.text.tokens import rules

EXPORT_VERSION = 1
READER_FOLDER = "text_reader"

_READER_MODULES = {text_reader: "__init__.py", token_parts: "parts.py", rules: "rules.py", characters: "characters.py"}
_OWN_IMPORT = re.compile(r"^from ulmkit\.(?:\w+\.)*(\w+) import", re.MULTILINE)
_SAMPLES = (
    "",
    "The printer on the 2nd floor is JAMMED again... sooooo annoying!!!\n\nPlease help/reset it, Mr. O'Neil-Smith.",
    "no no no no! He said \u201cYes\u201d &amp; left<br />www.example.org/a#b 3.50 \u20ac\n",
    "\u65e5\u672c\u8a9e\u306e\u6587\u3002Caf\u00e9 na\u00efve \U0001f600 xxbos\u200b \u00ad",
)
"""Texts on which the text reader must agree with the tokenizer."""


def export_network(parts: ClassifierParts, folder: Path, to: str, *, overwrite: bool = False) -> Parity:
    """Write a classifier's network with all that serves it, if it computes what the classifier computes.

    Args:
        parts: The classifier.
        folder: Folder to write, whole or not at all.
        to: Name of a format of `FORMATS`.
        overwrite: Replace an existing folder.

    Returns:
        The comparison with the classifier.

    Raises:
        ConfigError: If the format is unknown, or has no place for this kind of network.
        DataError: If the file's outputs differ from the classifier's, or the text reader's tokens from the tokenizer's.
        MissingPackageError: If the format's packages are not installed.
        FolderError: If the folder exists or cannot be written.
    """
    check_choice("to", to, FORMATS)
    chosen = FORMATS[to]
    _check_exportable(parts)
    check_writable(folder, overwrite)
    chosen.check()
    with atomic_folder(folder, overwrite=overwrite) as temporary:
        path = temporary / chosen.file
        chosen.write(parts.model, parts.temperature, path)
        parity = check_parity(chosen.open(path, output_names(parts.model)), parts, chosen.title)
        text_entries = save_text_parts(temporary, parts.vocabulary, parts.tokenizer)
        write_reader(temporary / READER_FOLDER)
        with atomic_write(temporary / "README.md") as file:
            file.write(export_readme(Path(folder).name, parts, chosen.file))
        files = {name: vars(entry) for name, entry in list_files(temporary).items()}
        write_config(temporary, {**_config(parts, chosen, parity), **text_entries, "files": files})
        _check_reader(temporary, parts)
    return parity


def check_single_network(members: Sequence[Member], parts: ClassifierParts | EnsembleParts) -> ClassifierParts:
    """Return the network of a classifier that is one network, with the combiner of a ladder in its last layer.

    Raises:
        ConfigError: If it is a pair or a blend; the message says what to export.
    """
    networks = [member for member in members if isinstance(member, ClassifierParts)]
    if not isinstance(parts, EnsembleParts):
        if len(networks) == 1:
            return networks[0]
        raise ConfigError(
            "export: expected one network, got a pair, whose predictions are averaged; export its folders `forward` "
            "and `backward` one by one"
        )
    if len(networks) == len(members) == 1 and parts.combiner.weights[0] > 0:
        return _combined(networks[0], parts.combiner)
    names = ", ".join(map(member_name, members))
    if not networks:
        raise ConfigError(
            f"export: expected a fine-tuned network, got a classifier of {names}; train one with `--method finetune`"
        )
    raise ConfigError(
        f"export: expected one network, got a blend of {names}; give the folder of a network in the classifier's "
        f"`members` for that alone, less accurate than the blend, or train with `--method finetune`"
    )


def _combined(network: ClassifierParts, combiner: Combiner) -> ClassifierParts:
    """Put the weight and the biases of a combiner into the only network that it weighs.

    log softmax(a log softmax(z) + b) = log softmax((z + b / a) / T),  T = 1 / a
    """
    weight = float(combiner.weights[0])
    model = copy.deepcopy(network.model)
    last = model.head.layers[-1]
    assert isinstance(last, torch.nn.Linear)
    with torch.no_grad():
        last.bias.add_(torch.from_numpy(combiner.bias / weight))
    return replace(network, model=model, temperature=1.0 / weight)


def write_reader(folder: Path) -> None:
    """Write the package `text_reader`: copies of its modules that import each other in place of ulmkit."""
    folder.mkdir()
    for module, name in _READER_MODULES.items():
        source = Path(str(module.__file__)).read_text(encoding="utf-8")
        with atomic_write(folder / name) as file:
            file.write(_OWN_IMPORT.sub(r"from .\1 import", source))


def _check_exportable(parts: ClassifierParts) -> None:
    """Raise ConfigError unless the formats have a place for this network."""
    model = parts.model
    if isinstance(model.encoder, Int8Encoder):
        raise ConfigError("export: the classifier's weights are int8 already; give the one that was trained")
    if not isinstance(model.config.cell, LSTM):
        raise ConfigError(f"export: expected the cell 'lstm', got {model.config.cell.name!r}; use ulmkit to serve it")
    if model.head.reads_pairs or model.head.per_token:
        raise ConfigError(
            f"export: expected a classifier of whole texts, got one of task {parts.task.name!r}; use ulmkit to serve it"
        )


def _config(parts: ClassifierParts, chosen: Format, parity: Parity) -> dict[str, Any]:
    layout = StateLayout.of(parts.model.config)
    return {
        "format_version": EXPORT_VERSION,
        "kind": EXPORT_KIND,
        "file": chosen.file,
        "task": parts.task.name,
        "label_names": list(parts.label_names),
        "direction": parts.direction,
        "inputs": ["ids", "lengths", "state"],
        "outputs": output_names(parts.model),
        "state_size": layout.total,
        "state": layout.sizes,
        "temperature": parts.temperature,
        "parity": parity.to_dict(),
        "versions": package_versions(),
    }


def _check_reader(folder: Path, parts: ClassifierParts) -> None:
    """Raise DataError unless the text reader finds the ids that the tokenizer and the vocabulary give."""
    reader = text_reader.TextReader(folder)
    for text in _SAMPLES:
        try:
            ids = parts.vocabulary.encode(parts.tokenizer.tokenize(text))
        except DataError:  # a word-level vocabulary without a token for unknown words
            continue
        if parts.direction == "backward":
            ids = reverse_document(ids, parts.vocabulary.bos_id)
        if not np.array_equal(reader.ids(text), ids):
            raise DataError(
                f"export: expected the text reader to find the tokens of {parts.tokenizer.name!r}, got others for "
                f"{text!r}; nothing was written, serve the classifier as it is"
            )
