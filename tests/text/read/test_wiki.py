"""Wikipedia: dumps of MediaWiki and the files of WikiExtractor."""

import bz2
import json
import sys
import tracemalloc
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from ulmkit.errors import DataError, MissingPackageError
from ulmkit.pipeline import DataOptions, prepare
from ulmkit.text import read_documents
from ulmkit.text.read.wiki_markup import MarkupReader

ENGLISH = {"6": "File", "14": "Category", "1": "Talk"}
GERMAN = {"6": "Datei", "14": "Kategorie", "1": "Diskussion"}
GREEK = {"6": "Αρχείο", "14": "Κατηγορία", "1": "Συζήτηση"}

CATS = """{{Infobox cat|legs={{nowrap|4}}|sound=[[meow]]}}
The '''cat''' (''Felis catus''; {{IPA|kæt}}) is a [[Felidae|small]] [[carnivore]].<ref name="a">A book.</ref>
[[File:Cat.jpg|thumb|A [[cat]] on a mat]]
== Behaviour ==
Cats &amp; kittens sleep,<!-- do they? --> see [https://example.org their page] [https://example.org].
* they purr
* they hunt
{| class="wikitable"
|-
| one || two
|}
=== Play ===
They play.<br />Often.
== References ==
<references />
{{Authority control}}
[[Category:Cats]]
"""


def _page(title: str, text: str, number: int = 1, namespace: int = 0, redirect: str = "") -> str:
    turn = f'<redirect title="{escape(redirect)}" />' if redirect else ""
    return (
        f"<page><title>{escape(title)}</title><ns>{namespace}</ns><id>{number}</id>{turn}<revision><id>9{number}</id>"
        f"<contributor><username>x</username><id>5</id></contributor><text>{escape(text)}</text></revision></page>"
    )


def _dump(path: Path, pages: list[str], namespaces: dict[str, str] = ENGLISH) -> Path:
    names = "".join(f'<namespace key="{key}">{name}</namespace>' for key, name in namespaces.items())
    xml = (
        '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11"><siteinfo><sitename>W</sitename>'
        f'<namespaces><namespace key="0" />{names}</namespaces></siteinfo>{"".join(pages)}</mediawiki>'
    )
    data = xml.encode("utf-8")
    path.write_bytes(bz2.compress(data) if path.suffix == ".bz2" else data)
    return path


@pytest.mark.parametrize("name", ["w.xml", "enwiki-latest-pages-articles.xml.bz2", "e-articles1.xml-p1p41242.bz2"])
def test_a_dump_is_its_articles_as_plain_text(tmp_path, name):
    pages = [
        _page("Cat", CATS, 12),
        _page("Cats", "#REDIRECT [[Cat]]", 13, redirect="Cat"),
        _page("Talk:Cat", "Is it?", 14, namespace=1),
        _page("Cat (disambiguation)", "'''Cat''' may be:\n* [[Cat]]", 15),
        _page("Tom", "'''Tom''' may be:\n* [[Cat]]\n{{disambiguation|name}}", 16),
        _page("Nothing", "{{Infobox}}", 17),
        _page("Q & A", "Questions &lt; answers.", 18),
    ]
    documents = list(read_documents(_dump(tmp_path / name, pages)))
    assert [document.columns for document in documents] == [
        {"id": "12", "title": "Cat"},
        {"id": "18", "title": "Q & A"},
    ]
    assert documents[0].text.split("\n") == [
        "The cat (Felis catus; ) is a small carnivore.",
        "Behaviour",
        "Cats & kittens sleep, see their page .",
        "they purr",
        "they hunt",
        "Play",
        "They play.",
        "Often.",
    ]
    assert documents[1].text == "Questions < answers."


@pytest.mark.parametrize(
    ("namespaces", "markup", "text"),
    [
        (GERMAN, "Katze [[Datei:A.png|mini|Bild]][[Bild:B.JPG|mini]][[Kategorie:Katzen]][[File:C.x]]", "Katze"),
        (GREEK, "Γάτα [[Αρχείο:Α.ωωω|μικρογραφία]] [[Κατηγορία:Γάτες]][[κατηγορία: Ζώα]]", "Γάτα"),
        (ENGLISH, "Cat [[de:Katze]] [[:Category:Cats|cats]] [[wikt:cat|word]] [[Talk:Cat]]", "Cat cats word Talk:Cat"),
        (ENGLISH, "a ({{x}}) b ( , ) c （；） d", "a b c d"),
        (ENGLISH, "== A ==\n=== B ===\n=== C ===\ntext\n== D ==\n=== E ===", "A\nC\ntext"),
        (ENGLISH, "__NOTOC__ a <math>x</math> b <nowiki>[[c]]</nowiki> \n{| open\n| d\n", "a b [[c]]"),
    ],
)
def test_links_and_leftovers_of_several_languages(tmp_path, namespaces, markup, text):
    (document,) = read_documents(_dump(tmp_path / "w.xml", [_page("Page", markup + " ")], namespaces))
    assert document.text == text


def test_articles_come_in_order_from_worker_processes(tmp_path, monkeypatch):
    monkeypatch.setattr("ulmkit.text.workers.CHUNK_CHARACTERS", 200)
    monkeypatch.setattr("ulmkit.text.workers.SMALL_CHARACTERS", 0)
    path = _dump(tmp_path / "w.xml.bz2", [_page(f"P{at}", f"'''Page''' {at} [[x|y]]", at) for at in range(60)])
    assert [document.text for document in read_documents(path, workers=2)] == [f"Page {at} y" for at in range(60)]


def test_a_dump_is_read_in_bounded_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("ulmkit.text.workers.CHUNK_CHARACTERS", 50_000)
    path = _dump(tmp_path / "w.xml.bz2", [_page(f"P{n}", "some words " * 400, n) for n in range(400)])
    tracemalloc.start()
    assert sum(1 for _ in read_documents(path, workers=1)) == 400
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_300_000  # of 1.8 MB of text


def test_a_dump_is_prepared_with_title_and_id_as_columns(tmp_path):
    path = _dump(tmp_path / "w.xml.bz2", [_page(f"Page {at}", f"text number {at}", at) for at in range(20)])
    corpus = prepare(path, DataOptions(tokenizer="whitespace", workers=1))
    assert corpus.column("title", [3]) == ["Page 3"]
    assert corpus.column("id", [3]) == ["3"]
    assert len(corpus.rows("valid")) == 2


def _extracted(folder: Path) -> list[str]:
    (folder / "AA").mkdir(parents=True)
    doc = '<doc id="{}" url="https://w.org?curid={}" title="{}">\n{}\n\n{}\n\n</doc>\n'
    first = doc.format(1, 1, "Q &amp; A", "Q & A", "Questions.\n\nAnswers.") + doc.format(2, 2, "Empty", "Empty", "")
    (folder / "AA" / "wiki_00").write_text(first, encoding="utf-8")
    (folder / "AA" / "wiki_01.bz2").write_bytes(bz2.compress(doc.format(3, 3, "Γάτα", "Γάτα", "Ζώο").encode()))
    (folder / "AB").mkdir()
    row = {"id": "4", "revid": "7", "url": "https://w.org?curid=4", "title": "Cat", "text": "Cat\n\nAn animal."}
    (folder / "AB" / "wiki_00").write_text(json.dumps(row) + "\n")
    return ["Questions.\nAnswers.", "Ζώο", "An animal."]


def test_a_folder_of_wikiextractor(tmp_path):
    texts = _extracted(tmp_path / "extracted")
    documents = list(read_documents(tmp_path / "extracted"))
    assert [document.text for document in documents] == texts
    assert [document.columns["title"] for document in documents] == ["Q & A", "Γάτα", "Cat"]
    assert [document.columns["id"] for document in documents] == ["1", "3", "4"]
    assert [document.text for document in read_documents(tmp_path / "extracted" / "AA" / "wiki_00")] == texts[:1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<html><body/></html>", r"w.xml: expected a dump of MediaWiki \(<mediawiki><siteinfo>\), got <html>"),
        ("<mediawiki><siteinfo></siteinfo><page>", "w.xml: not a readable dump .* if it is truncated, fetch it again"),
        ("text", "w.xml: not a readable dump"),
    ],
)
def test_files_that_are_not_dumps_are_refused(tmp_path, content, message):
    (tmp_path / "w.xml").write_text(content)
    with pytest.raises(DataError, match=message):
        list(read_documents(tmp_path / "w.xml"))


def test_a_truncated_or_foreign_bz2_is_refused(tmp_path):
    path = _dump(tmp_path / "w.xml.bz2", [_page("P", "text " * 1000)])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="ends too early; it is truncated: fetch it again"):
        list(read_documents(path))
    path.write_bytes(b"no bzip2")
    with pytest.raises(DataError, match="not a readable bzip2 file"):
        list(read_documents(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('<doc id="1" title="A">\nA\n', "line 1: <doc> is not closed"),
        ('<doc id="1">\nA\n</doc>', "line 1: has no title"),
        ("some text", "line 1: expected <doc id= title=> or a JSON object, got 'some text'"),
        ('{"id": 1', "line 1: not valid JSON"),
    ],
)
def test_lines_that_wikiextractor_does_not_write_are_refused(tmp_path, content, message):
    (tmp_path / "wiki_00").write_text(content)
    with pytest.raises(DataError, match=message):
        list(read_documents(tmp_path / "wiki_00"))


def test_a_missing_parser_is_one_line_that_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mwparserfromhell", None)
    path = _dump(tmp_path / "w.xml", [_page("P", "text")])
    with pytest.raises(MissingPackageError, match=r"^mwparserfromhell: is not installed; .* ulmkit\[wiki\]$"):
        list(read_documents(path))


def test_unknown_files_are_told_the_known_kinds(tmp_path):
    (tmp_path / "a.dat").write_text("x")
    with pytest.raises(DataError, match=r"unknown kind of file '.dat'; .*\.parquet, .*\.xml, \.xml\.bz2, wiki_00"):
        list(read_documents(tmp_path / "a.dat"))


def test_markup_reader_keeps_what_it_cannot_parse():
    reader = MarkupReader(frozenset({"file"}))
    assert reader.plain_text("a [[b") == "a [[b"
    assert reader(["x", ""]) == ["x", ""]
