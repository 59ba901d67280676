"""How fast is tokenization, and how many documents get fastai's tokens?

Documents per second with two worker processes, from the start of the workers until all tokens are in the calling
process; each repeat forks workers that have seen no text. The peer is fastai's default tokenizer, over spaCy, with its
own two workers on the same documents. Then the share of documents whose tokens equal fastai's, and the kinds of
differences of the others.

    python benchmarks/tokenization.py [--data FOLDER] [--quick] [--json FILE]
"""

import argparse
import gc
import itertools
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

from common import median_seconds_in_turn, report, row
from fastai_peer import MISSING

from ulmkit.text import SpacyTokenizer, Tokenizer, read_documents, train_sentencepiece
from ulmkit.text.tokens.rules import MAJ, UP

WORKERS = 2
BATCH = 250
SUBWORDS = 16_000

_tokenizer: Tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data",
        default="stanfordnlp/imdb",
        help="folder, or name of a data set on the hub (default: stanfordnlp/imdb)",
    )
    parser.add_argument("--quick", action="store_true", help="1,000 documents, one repeat, the main cases")
    parser.add_argument("--json", metavar="FILE", help="write the results to this file")
    options = parser.parse_args()
    texts = read_texts(options.data, 1_000 if options.quick else 10_000)
    repeats = 1 if options.quick else 3
    print(f"{len(texts):,} documents, {sum(map(len, texts)) / len(texts):,.0f} characters each, {WORKERS} workers\n")

    fastai = load_fastai()
    cases = tokenizers(texts, options.quick)
    runs = {case: partial(tokenize_in_workers, tokenizer, texts) for case, tokenizer in cases.items()}
    peers = {"fastai 2 spaCy": partial(fastai, texts)} if fastai else {}
    seconds = median_seconds_in_turn({**runs, **peers}, repeats)
    speeds = {name: len(texts) / value for name, value in seconds.items()}
    peer_name = next(iter(peers), MISSING)
    rows = [row(case, "documents/s", speeds[case], speeds.get(peer_name), peer_name) for case in runs]
    if fastai:
        compare_tokens(fastai(texts[:2000]), SpacyTokenizer("en").tokenize_many(texts[:2000]))
    report("tokenization", rows, options.json)


def read_texts(data: str, count: int) -> list[str]:
    """Read the first documents of the training split."""
    return [str(document.text) for document in itertools.islice(read_documents(data, split="train"), count)]


def tokenizers(texts: list[str], quick: bool) -> dict[str, Tokenizer]:
    """Make the tokenizer of each case."""
    cases: dict[str, Tokenizer] = {"spaCy words": SpacyTokenizer("en")}
    for kind in ("unigram",) if quick else ("unigram", "bpe"):
        cases[f"SentencePiece {kind} {SUBWORDS:,}"] = train_sentencepiece(texts, SUBWORDS, kind)
    return cases


def tokenize_in_workers(tokenizer: Tokenizer, texts: list[str]) -> list[list[str]]:
    """Tokenize all texts in worker processes whose tokenizer has seen no text."""
    batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
    context = multiprocessing.get_context("fork")  # fastai starts its workers so
    with ProcessPoolExecutor(WORKERS, context, initializer=_start_worker, initargs=(tokenizer,)) as pool:
        return list(itertools.chain.from_iterable(pool.map(_tokenize_batch, batches)))


def _start_worker(tokenizer: Tokenizer) -> None:
    global _tokenizer
    _tokenizer = tokenizer
    gc.freeze()  # otherwise the first collection copies the memory of the calling process


def _tokenize_batch(texts: list[str]) -> list[list[str]]:
    return _tokenizer.tokenize_many(texts)


def load_fastai() -> Callable[[list[str]], list[list[str]]] | None:
    """fastai's tokenization with its default rules and tokenizer; None if it is not installed."""
    try:
        from fastai.text.core import WordTokenizer, tokenize_texts
    except ImportError:
        return None
    return lambda texts: [list(tokens) for tokens in tokenize_texts(texts, n_workers=WORKERS, tok=WordTokenizer("en"))]


def compare_tokens(theirs: list[list[str]], ours: list[list[str]]) -> None:
    """Print the share of documents with equal tokens, then with more and more kinds of differences ignored."""
    steps: list[tuple[str, Callable[[list[str]], Any]]] = [
        ("all tokens equal", list),
        ("ignoring marks of capitals that fastai drops", _without_marks),
        ("ignoring also white space other than line breaks and blanks", _without_space),
        ("ignoring also word boundaries (fastai joins some sentences)", lambda tokens: "".join(_without_space(tokens))),
    ]
    print("Documents with fastai's tokens:")
    for name, view in steps:
        same = sum(view(a) == view(b) for a, b in zip(theirs, ours, strict=True))
        print(f"  {same / len(ours):6.1%}  {name}")
    print("The rest: entities, web addresses, a special token's name in the text; see ulmkit/text/tokens/rules.py.\n")


def _without_marks(tokens: list[str]) -> list[str]:
    return [token for token in tokens if token not in (UP, MAJ)]


def _without_space(tokens: list[str]) -> list[str]:
    return [token for token in _without_marks(tokens) if token.replace("▁", " ").strip()]


if __name__ == "__main__":
    main()
