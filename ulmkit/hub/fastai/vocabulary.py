"""Vocabularies that fastai saved: the token of each id, and a classifier's labels."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import is_zipfile

from ulmkit.errors import FolderError
from ulmkit.hub.fastai.pickles import InertObject, read_values
from ulmkit.text.tokens.rules import BOS, LINE, PAD, PARAGRAPH, SPECIALS, UNK
from ulmkit.text.tokens.vocabulary import Vocabulary

SPACE = "▁"
"""Space in a token of fastai 2 and at the start of a SentencePiece piece."""

_ADVICE = "give the one that was saved with the weights: data.vocab.itos in fastai 1, dls.vocab in fastai 2"


_MOST_OBJECTS = 2
"""Objects around a list: a CategoryMap holds an L."""


@dataclass(frozen=True)
class FastaiVocabulary:
    """A vocabulary in ulmkit's spelling.

    Attributes:
        vocabulary: The token of each id.
        renamed: Number of tokens that have another name in fastai.
        labels: Labels of a classifier; empty if the file has none.
    """

    vocabulary: Vocabulary
    renamed: int
    labels: tuple[str, ...]


def read_vocabulary(path: Path) -> FastaiVocabulary:
    """Read a pickle of `data.vocab.itos`, or of `dls.vocab` of a language model or a classifier.

    Raises:
        FolderError: If the file cannot be read, or holds something else.
    """
    if is_zipfile(path):
        raise FolderError(f"{path}: expected a vocabulary, got weights; name the weights first, then the vocabulary")
    values = _items(read_values(path))
    labels: tuple[str, ...] = ()
    if values is not None and len(values) == 2:
        tokens_of_two, names = (_items(value) for value in values)
        if tokens_of_two is not None and names is not None:
            values, labels = tokens_of_two, _label_names(path, names)
    if not values or not all(isinstance(token, str) for token in values):
        raise FolderError(f"{path}: expected a list of tokens, got something else; {_ADVICE}")
    saved = [str(token) for token in values]
    tokens = _renamed(saved)
    if UNK not in tokens or BOS not in tokens:
        shown = ", ".join(map(repr, tokens[:3]))
        raise FolderError(
            f"{path}: expected {UNK} and {BOS} among the tokens, as fastai 1 and 2 have them, got {shown:.60}"
        )
    renamed = sum(new != old for new, old in zip(tokens, saved, strict=True))
    return FastaiVocabulary(Vocabulary(tokens), renamed, labels)


def _label_names(path: Path, names: Sequence[object]) -> tuple[str, ...]:
    if not all(isinstance(name, str | int | float) for name in names):
        raise FolderError(
            f"{path}: expected labels as text or numbers, got others; pickle the tokens alone, and give `labels`"
        )
    return tuple(str(name) for name in names)


def _items(value: object) -> list[object] | None:
    """Items of a list, or of fastai's `L` or `CategoryMap`, whose state holds a list; None for anything else."""
    for _ in range(_MOST_OBJECTS):
        if isinstance(value, InertObject):
            value = value.state.get("items") if isinstance(value.state, dict) else None
    return list(value) if isinstance(value, list | tuple) else None


def _renamed(saved: Sequence[str]) -> list[str]:
    r"""Give tokens ulmkit's names, each a different one.

    - SentencePiece pieces for special tokens, "▁xxmaj", take the place of the words "xxmaj", which no text has there.
    - A line break before a space, "\n▁", is the line break if there is no other.
    - Of a token that is there several times ("xxfake", which fills up the matrix), fastai looks up the last.
    """
    tokens = list(saved)
    places = {token: place for place, token in enumerate(tokens)}
    for special in SPECIALS:
        piece = SPACE + special
        if piece in places and (special not in places or special not in (UNK, PAD)):
            if special in places:
                tokens[places[special]] = f"{special}{SPACE}"
            tokens[places[piece]] = special
    for line in (LINE, PARAGRAPH):
        spellings = [place for place, token in enumerate(tokens) if _is_break(token, line)]
        if spellings and line not in places:
            tokens[spellings[0]] = line
    left = Counter(tokens)
    taken = set(tokens)
    for place, token in enumerate(tokens):
        if left[token] > 1:
            left[token] -= 1
            tokens[place] = _free_name(token, left[token], taken)
    return tokens


def _is_break(token: str, line: str) -> bool:
    return token.startswith(line[0]) and token.replace(SPACE, "").replace(" ", "") == line


def _free_name(token: str, number: int, taken: set[str]) -> str:
    name = f"{token}{SPACE}{number}"
    while name in taken:
        name += SPACE
    taken.add(name)
    return name


def label_names(path: Path, given: Sequence[str], saved: Sequence[str], classes: int) -> tuple[str, ...]:
    """Labels of a classifier, in the order of its outputs.

    Args:
        path: The vocabulary's file, for messages.
        given: Labels that the user named; none to take the saved ones.
        saved: Labels in the vocabulary's file.
        classes: Outputs of the classifier.

    Raises:
        FolderError: If there are not as many different ones as outputs.
    """
    names = tuple(given or saved)
    if len(names) != classes or len(set(names)) != classes:
        got = f"{len(set(names))} ({', '.join(map(repr, names)):.80})" if names else "none"
        raise FolderError(
            f"{path}: expected a label for each of the classifier's {classes} outputs, got {got}; pickle dls.vocab of "
            "the classifier, or give `labels` in the order of dls.vocab[1]"
        )
    return names
