"""The folder of the recipes, and a small word-level corpus for them."""

from pathlib import Path

from support import tiny

RECIPES = Path(__file__).parents[2] / "recipes"


def write_corpus(folder: Path, documents: int) -> Path:
    """Write generated sentences, one per line, as train.txt, valid.txt and test.txt."""
    folder.mkdir(parents=True)
    for split, first, count in (("train", 0, documents), ("valid", 5000, 30), ("test", 6000, 30)):
        lines = [tiny.review("pos", first + number) for number in range(count)]
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
