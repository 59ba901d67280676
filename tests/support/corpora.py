"""Small corpora made on the spot."""

from ulmkit.tasks import find_label_kind
from ulmkit.text.corpus.builder import build_corpus
from ulmkit.text.read.document import Document
from ulmkit.text.tokens.plain_tokenizers import WhitespaceTokenizer

WORDS = WhitespaceTokenizer()


def build(documents, folder, task="none", **options):
    options = {"tokenizer": WORDS, "workers": 1, **options}
    return build_corpus(documents, folder, label_kind=find_label_kind(task), **options)


def folder_bytes(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def labelled(count, classes=("a", "b"), **known):
    labels = [classes[at % len(classes)] for at in range(count)]
    return [Document(f"word{at} {label}", label, **known) for at, label in enumerate(labels)]
