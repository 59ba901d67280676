"""Words with labels: CoNLL-2003, its relatives, and CoNLL-U."""

import pytest
from support.data_files import read, write

from ulmkit.errors import DataError
from ulmkit.text.read.columns import ReadOptions
from ulmkit.text.read.document import Document
from ulmkit.text.read.readers import open_file

CONLLU = """# sent_id = 1
# text = vámonos al mar
1-2\tvámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tvamos\tir\tVERB\tVV\t_\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\tPP\t_\t1\tobj\t_\t_
2.1\t(nada)\t_\tX\t_\t_\t_\t_\t_\t_
3\t10 000\tnum\tNUM\t_\t_\t1\tobl\t_\t_

# sent_id = 2
1\t#\t#\tSYM\t_\t_\t0\troot\t_\t_
"""


@pytest.mark.parametrize("name", ["a.conllu", "a.conll"])
def test_conllu(tmp_path, name):
    path = write(tmp_path / name, CONLLU)
    assert read(path, task="tokens") == [
        Document("vamos nos 10 000", ("VERB", "PRON", "NUM"), ("vamos", "nos", "10 000")),
        Document("#", ("SYM",), ("#",)),
    ]
    assert open_file(path, ReadOptions()).layout.format == "conllu"


@pytest.mark.parametrize(("column", "labels"), [("deprel", ("root", "obj", "obl")), ("3", ("ir", "nosotros", "num"))])
def test_label_column_of_conllu(tmp_path, column, labels):
    assert read(write(tmp_path / "a.conllu", CONLLU), task="tokens", label_column=column)[0].label == labels


def test_unknown_label_column_of_conllu(tmp_path):
    path = write(tmp_path / "a.conllu", CONLLU)
    with pytest.raises(DataError, match=r"has no column 'pos'; did you mean 'xpos'\?.* or give its number, from 1"):
        read(path, task="tokens", label_column="pos")


def test_conllu_without_values_is_unlabelled(tmp_path):
    path = write(tmp_path / "a.conllu", "1\tx\t_\t_\t_\t_\t_\t_\t_\t_\n")
    assert read(path, task="tokens") == [Document("x", None, ("x",))]


def test_other_columns_in_conllu_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"expected the 10 columns of CoNLL-U and words numbered from 1, got 'x O'"):
        read(write(tmp_path / "a.conllu", "x O\n"), task="tokens")


def test_label_column_of_conll(tmp_path):
    path = write(tmp_path / "a.conll", "Anna NN B-PER\nsings VB O\n")
    assert read(path, task="tokens", label_column="2")[0].label == ("NN", "VB")
    with pytest.raises(DataError, match=r"has no column '4'; .*there are: 1, 2, 3"):
        read(path, task="tokens", label_column="4")


def test_index_and_comments_of_other_formats(tmp_path):
    path = write(tmp_path / "a.conll", "#\thttp://x [2009]\n1\tAnna\tB-PER\tO\n2\tsingt\tO\tO\n\n#\ty\n1\tJa\tO\tO\n")
    expected = [Document("Anna singt", ("B-PER", "O"), ("Anna", "singt")), Document("Ja", ("O",), ("Ja",))]
    assert read(path, task="tokens", label_column="3") == expected
    path = write(tmp_path / "b.conll", "# id 1 domain=en\nIt _ _ O\n# _ _ O\n\n# id 2\nNo _ _ O\n")
    assert [document.tokens for document in read(path, task="tokens")] == [("It", "#"), ("No",)]


def test_word_with_a_no_break_space_stays_whole(tmp_path):
    path = write(tmp_path / "a.conll", "10\u00a0000 CD O\nkm NN O\n")
    assert read(path, task="tokens") == [Document("10\u00a0000 km", ("O", "O"), ("10\u00a0000", "km"))]


def test_line_with_other_columns_is_refused(tmp_path):
    path = write(tmp_path / "a.conll", "Anna NN B-PER\nNew York NN B-LOC\n")
    with pytest.raises(
        DataError, match=r"a\.conll, line 2: expected 3 columns as in the lines before, got 4: 'New York"
    ):
        read(path, task="tokens")
