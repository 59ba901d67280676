"""Separators, headers, line ends and empty columns of .csv and .tsv files."""

import pytest
from support.data_files import read, write

from ulmkit.errors import DataError
from ulmkit.text.read.columns import ReadOptions
from ulmkit.text.read.document import Document
from ulmkit.text.read.readers import open_file


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_csv_with_another_separator(tmp_path, separator):
    rows = ["text,source,label", '"Draw, a line; plot | of\tdata",web,a', "Solve it,mail,b"]
    path = write(tmp_path / "a.csv", "\n".join(row.replace(",", separator, 3) for row in rows[:1]) + "\n")
    path.write_text(
        f"text{separator}source{separator}label\n"
        f'"Draw, a line; plot | of\tdata"{separator}web{separator}a\nSolve it, please{separator}mail{separator}b\n'
    )
    assert read(path) == [Document("Draw, a line; plot | of\tdata", "a"), Document("Solve it, please", "b")]
    layout = open_file(path, ReadOptions()).layout
    assert (layout.format, layout.separator, layout.unread_columns) == ("csv", separator, ("source", "label"))


def test_separator_that_rows_do_not_have_as_often_is_named(tmp_path):
    path = write(tmp_path / "a.csv", "text;source\none;web\ntwo\n")
    message = (
        r"a\.csv: expected columns separated by ',', got ';' in the first line, .* 2 columns there and 1 in line 3"
    )
    with pytest.raises(DataError, match=message):
        read(path)


def test_commas_are_kept_where_they_fit(tmp_path):
    path = write(tmp_path / "a.csv", "text,a;b\none;two,x;y\n")
    assert read(path, label_column="a;b") == [Document("one;two", "x;y")]
    path = write(tmp_path / "b.csv", "text\none; two\nthree\n")
    assert read(path) == [Document("one; two"), Document("three")]


def test_separator_named_on_a_line_of_its_own(tmp_path):
    path = write(tmp_path / "a.csv", "\ufeffsep=;\r\ntext;label\r\none;x\r\n")
    assert read(path) == [Document("one", "x")]


def test_tsv_with_commas(tmp_path):
    path = write(tmp_path / "a.tsv", 'text,label\n"one, two",x\n')
    assert read(path) == [Document("one, two", "x")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "Draw a line plot of the data\nSolve the equation for x\n"),
        ("b.csv", "Great movie!\nBad movie\n"),
        ("c.csv", "这部电影很好看，我喜欢\n不好\n"),
        ("d.csv", "1,good\n0,bad\n"),
        ("e.csv", '"Wall St. bears claw back into the black",3\nOil soars,2\n'),
        ("f.tsv", "1\tgood film\n0\tbad film\n"),
    ],
)
def test_header_that_looks_like_data_is_refused(tmp_path, name, content):
    message = r"expected the names of the columns in the first line, got .*header=False \(--no-header\), else name the"
    with pytest.raises(DataError, match=message):
        read(write(tmp_path / name, content))


@pytest.mark.parametrize("name", ["Customer review", "What did you like best about the course?"])
def test_long_name_of_a_column_that_is_asked_for(tmp_path, name):
    path = write(tmp_path / "a.csv", f"{name}\nAll of it.\n")
    assert read(path, text_column=name) == [Document("All of it.")]


def test_numbered_columns_of_a_data_frame_are_a_header(tmp_path):
    path = write(tmp_path / "a.csv", ",0,1\n0,good,5\n1,bad,1\n")
    assert read(path, label_column="1") == [Document("good", "5"), Document("bad", "1")]


def test_file_without_header(tmp_path):
    path = write(tmp_path / "a.csv", "Draw a line plot of the data\nSolve the equation for x\n")
    assert [document.text for document in read(path, header=False)] == [
        "Draw a line plot of the data",
        "Solve the equation for x",
    ]
    path = write(tmp_path / "b.tsv", "1\tgood film\n0\tbad film\n")
    expected = [Document("good film", "1"), Document("bad film", "0")]
    assert read(path, header=False, text_column="2", label_column="1") == expected
    assert read(path, header=False, label_column="1") == expected
    with pytest.raises(DataError, match=r"has no column 'text'; there are: 1, 2"):
        read(path, header=False, text_column="text")


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_empty_columns_of_spreadsheets_are_passed_over(tmp_path, name):
    content = "text,label,,\nhello there,a,,\ngood bye,b\nbye,c,\n"
    path = write(tmp_path / name, content.replace(",", "\t") if name.endswith("tsv") else content)
    assert read(path) == [Document("hello there", "a"), Document("good bye", "b"), Document("bye", "c")]
    assert open_file(path, ReadOptions()).layout.unnamed_columns == 2


def test_cell_in_a_column_without_a_name_is_refused(tmp_path):
    path = write(tmp_path / "a.csv", "text,label,,\nhello there,a,,\nhello, you,b,\n")
    with pytest.raises(DataError, match=r"a\.csv, line 3: expected 2 fields, got 4"):
        read(path)


def test_index_columns_without_names_are_passed_over(tmp_path):
    path = write(tmp_path / "a.csv", ",,text\n0,1,x\n")
    assert read(path) == [Document("x")]


def test_names_are_compared_without_spaces_and_in_one_unicode_form(tmp_path):
    path = write(tmp_path / "a.csv", "\ufeff\ufefftext, label,cate\u0301gorie\u200b\nx,y,z\n")
    assert read(path) == [Document("x", "y")]
    assert (
        read(path, label_column="cat\u00e9gorie") == read(path, label_column="cate\u0301gorie") == [Document("x", "z")]
    )


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_line_ends(tmp_path, name, end):
    content = end.join(["text,label", "hello there,a", "good bye,b"])
    path = write(tmp_path / name, content.replace(",", "\t") if name.endswith("tsv") else content)
    assert read(path) == [Document("hello there", "a"), Document("good bye", "b")]


def test_other_files_with_carriage_returns(tmp_path):
    assert read(write(tmp_path / "a.jsonl", '{"text": "x"}\r{"text": "y"}\r')) == [Document("x"), Document("y")]
    assert [d.text for d in read(write(tmp_path / "a.txt", "one\rtwo"), lines=True)] == ["one", "two"]
    assert [d.tokens for d in read(write(tmp_path / "a.conll", "x O\r\ry O\r"), task="tokens")] == [("x",), ("y",)]


def test_carriage_return_within_a_row_is_named(tmp_path):
    with pytest.raises(DataError, match=r"line 2: not valid CSV \(a carriage return inside a cell without quotes\)"):
        read(write(tmp_path / "a.csv", "text,label\none\rtwo,x\n"))


def test_every_row_is_a_document_for_prediction(tmp_path):
    path = write(tmp_path / "a.txt", "one\n\n  \ntwo\n\n")
    assert [document.text for document in read(path, lines=True, labels=False)] == ["one", "", "", "two", ""]
    assert [document.text for document in read(path, lines=True)] == ["one", "two"]
    path = write(tmp_path / "a.csv", 'text\none\n\n"two\n\nthree"\n""\n')
    assert [document.text for document in read(path, labels=False)] == ["one", "", "two\n\nthree", ""]


@pytest.mark.parametrize(
    ("column", "value", "split"),
    [
        ("is_test", "True", "test"),
        ("is_test", "False", "train"),
        ("test", "1", "test"),
        ("isValid", "yes", "valid"),
        ("validation", "0.0", "train"),
        ("is_train", "true", "train"),
        ("is_train", "no", "test"),
        ("split", "dev", "valid"),
    ],
)
def test_split_columns_of_true_and_false(tmp_path, column, value, split):
    path = write(tmp_path / "a.csv", f"text,{column}\nx,{value}\n")
    assert read(path, split_column=column)[0].split == split


@pytest.mark.parametrize("column", ["split", "train_test", "flag"])
def test_true_and_false_of_an_unknown_split_are_refused(tmp_path, column):
    path = write(tmp_path / "a.csv", f"text,{column}\nx,True\n")
    with pytest.raises(DataError, match=rf"line 2: column '{column}': expected the name of a split .*, got 'True'"):
        read(path, split_column=column)


@pytest.mark.parametrize("separator", ["^", "~", "\x1f"])
def test_csv_with_a_rare_separator(tmp_path, separator):
    path = write(tmp_path / "a.csv", f"text{separator}label\none, two{separator}x\nthree{separator}y\n")
    assert read(path) == [Document("one, two", "x"), Document("three", "y")]


def test_header_that_comes_again_is_refused(tmp_path):
    path = write(tmp_path / "a.csv", "text,label\none,x\ntext,label\ntwo,y\n")
    with pytest.raises(DataError, match=r"a\.csv, line 3: expected a row, got the names of the columns again; remove"):
        read(path)
    for again in ("\ufefftext,label", "Text,LABEL", ' text,"label"'):
        path = write(tmp_path / "a.csv", f"text,label\none,x\n{again}\ntwo,y\n")
        with pytest.raises(DataError, match="line 3: expected a row, got the names of the columns again"):
            read(path)
    path = write(tmp_path / "b.csv", "text\ntext\n")
    assert read(path) == [Document("text")]


@pytest.mark.parametrize(
    ("name", "content", "blank"),
    [
        ("a.csv", "id,text\n1,one\n\n\n2,two\n\n", 2),
        ("a.tsv", "id\ttext\n1\tone\n\n2\ttwo\n", 1),
        ("a.jsonl", '{"text": "one"}\n\n{"text": "two"}\n\n\n', 1),
    ],
)
def test_blank_lines_without_an_answer_are_told(tmp_path, recwarn, name, content, blank):
    path = write(tmp_path / name, content)
    assert [document.text for document in read(path, labels=False)] == ["one", "two"]
    message = f"{path}: {blank} blank lines are not counted as rows and get no answer"
    assert [str(warning.message) for warning in recwarn] == [message]
    assert [document.text for document in read(path)] == ["one", "two"]
    assert len(recwarn) == 1


def test_first_line_of_spaces(tmp_path):
    with pytest.raises(DataError, match=r"a\.csv: expected a line with the names of the columns, got a blank one"):
        read(write(tmp_path / "a.csv", "  \n  \n"))


def test_a_first_line_of_words_may_be_data(tmp_path):
    with pytest.raises(DataError, match=r"name it with text_column; if the first line is data, .*header=False"):
        read(write(tmp_path / "a.csv", "a great film,pos\na poor film,neg\n"))
    with pytest.raises(DataError, match=r"got the columns review, class; name it with text_column$"):
        read(write(tmp_path / "b.csv", "review,class\na poor film,neg\n"))
