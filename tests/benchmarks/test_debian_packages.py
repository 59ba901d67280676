"""Package descriptions as data: one package of a source, of some sections, with the description of its checksum."""

import debian_packages
import pytest

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


@pytest.mark.parametrize("language", ["en", "de", "pt_BR"])
def test_one_package_of_each_source_in_a_known_section(language):
    rows = debian_packages.describe_packages(PACKAGES, TRANSLATION.replace("Description-en", f"Description-{language}"))
    assert sorted(section for _, _, section in rows) == ["math", "sound"]
    assert {summary for summary, _, _ in rows} - {"proves theorems"} < {"plays tunes", "plays more tunes"}
    assert {text for _, text, _ in rows} == {"One line, another.\n\nA paragraph."}


@pytest.mark.parametrize(("first", "second"), [("Translation-en", "Packages"), ("Packages", "missing")])
def test_wrong_files_are_refused(tmp_path, monkeypatch, capsys, first, second):
    (tmp_path / "Packages").write_text(PACKAGES)
    (tmp_path / "Translation-en").write_text(TRANSLATION)
    given = [str(tmp_path / first), str(tmp_path / second), "--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", ["debian_packages.py", *given])
    with pytest.raises(SystemExit) as end:
        debian_packages.main()
    assert end.value.code == 2
    assert "expected two unpacked files" in (told := capsys.readouterr().err) or "found no package" in told
    assert not (tmp_path / "out").exists()


def test_both_files_are_written(tmp_path, monkeypatch):
    (tmp_path / "Packages").write_text(PACKAGES)
    (tmp_path / "Translation-en").write_text(TRANSLATION)
    given = [str(tmp_path / name) for name in ("Packages", "Translation-en")]
    monkeypatch.setattr("sys.argv", ["debian_packages.py", *given, "--out", str(tmp_path / "out")])
    debian_packages.main()
    short, long = ((tmp_path / "out" / f"{name}.csv").read_text().splitlines() for name in ("short", "long"))
    assert short[0] == long[0] == "text,label"
    assert "proves theorems,math" in short
    assert "A paragraph." in "".join(long)


def test_a_section_has_a_limit(monkeypatch):
    monkeypatch.setattr(debian_packages, "MOST_PACKAGES", 0)
    assert debian_packages.describe_packages(PACKAGES, TRANSLATION) == []
