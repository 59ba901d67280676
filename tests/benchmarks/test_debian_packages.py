"""Package descriptions as data: one package of a source, of some sections, with the description of its checksum."""

import debian_packages

PACKAGES = """Package: tune
Source: tunes (1.2)
Section: sound
Description: plays tunes
Description-md5: 1

Package: tune-extra
Source: tunes
Section: sound
Description: plays more tunes
Description-md5: 2

Package: proof
Section: contrib/math
Description: proves theorems
Description-md5: 3

Package: libtune
Section: libs
Description: tunes for programs
Description-md5: 4

Package: silent
Section: sound
Description: has no translation
Description-md5: 5
"""
TRANSLATION = "\n\n".join(
    f"Package: any\nDescription-md5: {number}\nDescription-en: {summary}\n One line,\n  another.\n .\n A paragraph.\n"
    for number, summary in enumerate(("plays tunes", "plays more tunes", "proves theorems", "tunes for programs"), 1)
)


def test_one_package_of_each_source_in_a_known_section():
    rows = debian_packages.describe_packages(PACKAGES, TRANSLATION)
    assert sorted(section for _, _, section in rows) == ["math", "sound"]
    assert {summary for summary, _, _ in rows} - {"proves theorems"} < {"plays tunes", "plays more tunes"}
    assert {text for _, text, _ in rows} == {"One line, another.\n\nA paragraph."}


def test_a_section_has_a_limit(monkeypatch):
    monkeypatch.setattr(debian_packages, "MOST_PACKAGES", 0)
    assert debian_packages.describe_packages(PACKAGES, TRANSLATION) == []
