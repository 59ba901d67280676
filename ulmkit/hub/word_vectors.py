"""Word vectors in a language model's folder. Imports without torch."""

from collections.abc import Collection
from pathlib import Path

from ulmkit.arrays import load_arrays, save_arrays
from ulmkit.errors import FolderError
from ulmkit.hub.folder_config import config_errors
from ulmkit.members.word_vectors import WordVectors
from ulmkit.text.tokens.vocabulary import Vocabulary

_FOLDER = "word_vectors"
_WORDS_FILE = "words.json"
_VECTORS_FILE = "vectors.safetensors"
_ARRAYS = ("codes", "scales", "keep")


def save_word_vectors(folder: Path, word_vectors: WordVectors) -> None:
    """Write word vectors into a model folder that is being made."""
    path = folder / _FOLDER
    path.mkdir()
    Vocabulary(word_vectors.words).save(path / _WORDS_FILE)
    save_arrays(path / _VECTORS_FILE, {name: getattr(word_vectors, name) for name in _ARRAYS})


def load_word_vectors(folder: Path, files: Collection[str]) -> WordVectors | None:
    """Read the word vectors of a model folder, whose files are checked; None if it lists none.

    Args:
        folder: The model folder.
        files: Names of the files that it lists.

    Raises:
        FolderError: If they are not what `save_word_vectors` writes.
    """
    names = [f"{_FOLDER}/{name}" for name in (_WORDS_FILE, _VECTORS_FILE)]
    listed = [name for name in names if name in files]
    if not listed:
        return None
    if listed != names:
        raise FolderError(f"{folder / _FOLDER}: expected {' and '.join(names)}, got {listed[0]}; copy the folder again")
    arrays = load_arrays(folder / names[1])
    if sorted(arrays) != sorted(_ARRAYS):
        raise FolderError(
            f"{folder / names[1]}: expected {', '.join(_ARRAYS)}, got {', '.join(sorted(arrays))}; "
            "copy the folder again"
        )
    with config_errors(folder):
        return WordVectors(Vocabulary.load(folder / names[0]).tokens, **arrays)
