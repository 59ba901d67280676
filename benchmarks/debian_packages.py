"""Make data of Debian's package descriptions, labelled with their sections, for `frontier.py` and `few_labels.py`.

    python benchmarks/debian_packages.py PACKAGES TRANSLATION [--out FOLDER]

PACKAGES and TRANSLATION are the files `Packages` and `Translation-LANGUAGE` of a release, unpacked. Where `apt` keeps
them packed, `/usr/lib/apt/apt-helper cat-file FILE` unpacks them; `apt-get update -o Acquire::Languages=en,de` fetches
them for English and German.

Writes FOLDER/short.csv, with the line that sums up each package, and FOLDER/long.csv, with the text that follows it.
Both have one package of each source, of 17 sections with at most 600 packages each, in random order.
"""

import argparse
import csv
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ulmkit.safe_writes import atomic_write

SECTIONS = {
    "admin",
    "database",
    "doc",
    "editors",
    "electronics",
    "fonts",
    "games",
    "graphics",
    "hamradio",
    "mail",
    "math",
    "net",
    "science",
    "sound",
    "text",
    "video",
    "web",
}
MOST_PACKAGES = 600
SEED = 0
_FIELD = re.compile(r"^([A-Za-z0-9_-]+):[ \t]*(.*(?:\n[ \t].*)*)", re.MULTILINE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path, metavar="PACKAGES")
    parser.add_argument("translation", type=Path, metavar="TRANSLATION")
    parser.add_argument("--out", type=Path, default=Path("debian-packages"), metavar="FOLDER")
    options = parser.parse_args()
    try:
        rows = describe_packages(options.packages.read_text("utf-8"), options.translation.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        parser.error(f"expected two unpacked files of text ({error})")
    if not rows:
        parser.error("found no package with a description; expected two files of one release")
    options.out.mkdir(parents=True, exist_ok=True)
    for name, column in (("short", 0), ("long", 1)):
        with atomic_write(options.out / f"{name}.csv", "w") as file:
            writer = csv.writer(file)
            writer.writerow(("text", "label"))
            writer.writerows((row[column], row[2]) for row in rows)
    counts = Counter(section for _, _, section in rows)
    print(f"{len(rows):,} packages: " + ", ".join(f"{section} {count}" for section, count in sorted(counts.items())))


def describe_packages(packages: str, translation: str) -> Sequence[tuple[str, str, str]]:
    """Summary, long description and section of each package that is taken, in random order.

    Args:
        packages: Text of the file `Packages`.
        translation: Text of the file `Translation-LANGUAGE`.
    """
    descriptions = {each.get("Description-md5"): _description(each) for each in _paragraphs(translation)}
    found = list(_paragraphs(packages))
    random.Random(SEED).shuffle(found)
    rows = []
    sources: set[str] = set()
    counts: Counter[str] = Counter()
    for package in found:
        section = package.get("Section", "").rpartition("/")[2]
        source = package.get("Source", package.get("Package", "")).split(" ")[0]
        summary, _, rest = descriptions.get(package.get("Description-md5", ""), "").partition("\n")
        text = _without_marks(rest)
        if section in SECTIONS and source not in sources and text and counts[section] < MOST_PACKAGES:
            sources.add(source)
            counts[section] += 1
            rows.append((summary, text, section))
    return rows


def _description(fields: Mapping[str, str]) -> str:
    """The description of a package in the language of the file."""
    for name, text in fields.items():
        if name.startswith("Description-") and name != "Description-md5":
            return text
    return ""


def _without_marks(description: str) -> str:
    """The paragraphs of a long description, which a line with a dot divides."""
    paragraphs = re.split(r"^[ \t]*\.$", description, flags=re.MULTILINE)
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs).strip()


def _paragraphs(text: str) -> Iterator[Mapping[str, str]]:
    """The fields of each paragraph of a control file, by name."""
    for paragraph in text.split("\n\n"):
        if fields := dict(_FIELD.findall(paragraph)):
            yield fields


if __name__ == "__main__":
    main()
