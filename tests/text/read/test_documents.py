import csv

import pyarrow
import pyarrow.parquet
import pytest
from support.data_files import read, write, write_parquet

from ulmkit.errors import DataError
from ulmkit.tasks import TASKS
from ulmkit.text.read.document import Document
from ulmkit.text.read.documents import DocumentSource

# --- single files


def test_text_file_is_one_document_with_its_lines(tmp_path):
    path = write(tmp_path / "a.txt", "\ufeffone two\nthree\n")
    assert read(path) == [Document("one two\nthree\n")]


def test_text_file_by_lines(tmp_path):
    path = write(tmp_path / "a.txt", "one two\n\n  three \n")
    assert [document.text for document in read(path, lines=True)] == ["one two", "three"]


@pytest.mark.parametrize("header", ["text", "Text", '"text","label"', "id\ttext"])
def test_a_header_in_a_file_of_lines_is_told_and_kept(tmp_path, header):
    path = write(tmp_path / "a.txt", f"{header}\none\ntwo\n")
    with pytest.warns(UserWarning, match=r"a\.txt: the first line, .*looks like a table's header .*--format csv"):
        assert [document.text for document in read(path, lines=True)] == [header, "one", "two"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("line", ["texts", "A text", "label", "text, please", "id,name"])
def test_ordinary_first_lines_are_no_header(tmp_path, line):
    path = write(tmp_path / "a.txt", f"{line}\ntext\n")
    assert [document.text for document in read(path, lines=True)] == [line, "text"]


def test_csv_with_quotes_and_line_breaks(tmp_path):
    path = write(tmp_path / "a.csv", 'text,label\n"a, ""b""\nc",pos\nd,\n')
    assert read(path) == [Document('a, "b"\nc', "pos"), Document("d", None)]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ('a 3" pipe', 'a 3" pipe'),
        ('"so it begins', '"so it begins'),
        ('"', '"'),
        ('"one" and "two"', '"one" and "two"'),
        ('"a ""b"" c"', 'a "b" c'),
        ('"""b"" c"', '"b" c'),
        ('"a\tb"', "a\tb"),
        ('""', ""),
    ],
)
def test_quotes_in_tsv(tmp_path, cell, text):
    path = write(tmp_path / "a.tsv", f'\ufefftext\tlabel\r\n{cell}\tpos\r\n\r\nnext "\tneg\r\n')
    assert read(path) == [Document(text, "pos"), Document('next "', "neg")]


def test_tsv_cells_between_quotes_of_two_sentences(tmp_path):
    path = write(tmp_path / "a.tsv", 'one\ttwo\n"He said\tit was so"\n')
    assert read(path, task="pair") == [Document(('"He said', 'it was so"'))]


def test_tsv_as_csv_writers_make_it(tmp_path):
    rows = [("text", "label"), ('tab\tand "quote"', "x"), ('"', "y"), ("plain", "z")]
    with open(tmp_path / "a.tsv", "w", newline="") as file:
        csv.writer(file, delimiter="\t").writerows(rows)
    assert read(tmp_path / "a.tsv") == [Document(text, label) for text, label in rows[1:]]


def test_tsv_of_a_very_long_field(tmp_path):
    path = write(tmp_path / "a.tsv", 'text\n"' + 'x""\t' * 50_000 + '"\n')
    assert len(read(path)[0].text) == 150_000


def test_csv_of_a_very_long_field(tmp_path):
    path = write(tmp_path / "a.csv", "text\n" + "x" * 200_000 + "\n")
    assert len(read(path)[0].text) == 200_000


def test_jsonl(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "a", "label": 1}\n\n{"text": "b", "label": null}\n{"text": null}\n')
    assert read(path) == [Document("a", "1"), Document("b"), Document("")]


def write_late_columns(path, rows=40, columns='"label": "a", "who": "ann", "text": "b"'):
    """Rows of a review alone, and one with more columns."""
    return write(path, '{"review": "x"}\n' * rows + f'{{"review": "y", {columns}}}\n')


def test_jsonl_columns_that_begin_late(tmp_path):
    path = write_late_columns(tmp_path / "a.jsonl")
    unlabelled = [Document("x")] * 40
    assert read(path) == [*unlabelled, Document("y", "a")]
    assert read(path, task="none") == [*unlabelled, Document("y")]
    assert read(path, label_column="who", group_column="label") == [*unlabelled, Document("y", "ann", group="a")]
    assert read(path, task="multi")[-1].label == ("a",)
    both = write_late_columns(tmp_path / "b.jsonl", columns='"label": "a", "labels": ["b"]')
    assert read(both, task="multi")[-1].label == ("b",)


def test_jsonl_column_that_no_row_has(tmp_path):
    path = write_late_columns(tmp_path / "a.jsonl")
    with pytest.raises(DataError, match=r"a\.jsonl: has no column 'lable'; there are: review"):
        next(iter(DocumentSource(path, label_column="lable", label_kind=TASKS["single"])))


def test_half_characters_are_replaced(tmp_path):
    half = r"\ud83d"
    row = f'{{"text": "a{half}", "label": "x{half}", "who": "{half}", "part": "p{half}", "more": "{half}b"}}'
    path = write(tmp_path / "a.jsonl", row + '\n{"text": "\\ud83d\\ude00", "label": "y"}')
    documents = read(path, group_column="who", split_column="part", columns=["more"])
    assert documents[0] == Document("a\ufffd", "x\ufffd", None, "\ufffd", None, "p\ufffd", {"more": "\ufffdb"})
    assert documents[1].text == "\N{GRINNING FACE}"
    path = write(tmp_path / "b.jsonl", f'{{"tokens": ["{half}"], "labels": ["O{half}"]}}')
    assert read(path, task="tokens") == [Document("\ufffd", ("O\ufffd",), ("\ufffd",))]
    assert read(["\ud83d", (("\udc00", "b"), "\ud83d")]) == [Document("\ufffd"), Document(("\ufffd", "b"), "\ufffd")]


@pytest.mark.parametrize("cell", ["", " ", '""'])
def test_blank_cells_say_nothing(tmp_path, cell):
    path = write(tmp_path / "a.csv", f"text,label,who,part,more\nx,{cell},{cell},{cell},{cell}\n")
    assert read(path, group_column="who", split_column="part", columns=["more"]) == [
        Document("x", columns={"more": ""})
    ]


def test_not_a_number_is_no_group(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", {"text": ["x", "y"], "who": [float("nan"), 2.0]})
    assert [document.group for document in read(path, group_column="who")] == [None, "2.0"]


def test_parquet(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", {"text": ["a", "b"], "label": [0, 1], "other": [1.5, None]})
    assert read(path) == [Document("a", "0"), Document("b", "1")]


def test_parquet_with_class_names_and_no_label(tmp_path):
    features = {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}
    path = write_parquet(tmp_path / "a.parquet", {"text": ["a", "b", "c"], "label": [0, 1, -1]}, features)
    assert [document.label for document in read(path)] == ["neg", "pos", None]


def test_minus_one_is_a_class_where_classes_have_no_names(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", {"text": ["a", "b"], "label": [-1, 1]})
    assert [document.label for document in read(path)] == ["-1", "1"]


def test_parquet_label_out_of_range(tmp_path):
    features = {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}
    path = write_parquet(tmp_path / "a.parquet", {"text": ["a"], "label": [7]}, features)
    with pytest.raises(DataError, match=r"row 1: column 'label': expected a label from 0 to 1, got 7"):
        read(path)


def test_conll(tmp_path):
    path = write(tmp_path / "a.conll", "-DOCSTART- X O\n\nAnna NN B-PER\nsings VB O\n\nHi UH O\n")
    assert read(path, task="tokens") == [
        Document("Anna sings", ("B-PER", "O"), ("Anna", "sings")),
        Document("Hi", ("O",), ("Hi",)),
    ]
    assert read(path, task="none")[0].label is None


def test_token_labels_in_parquet_and_jsonl(tmp_path):
    features = {"ner_tags": {"feature": {"names": ["O", "B"], "_type": "ClassLabel"}, "_type": "Sequence"}}
    path = write_parquet(tmp_path / "a.parquet", {"tokens": [["x", "y"]], "ner_tags": [[0, 1]]}, features)
    assert read(path, task="tokens") == [Document("x y", ("O", "B"), ("x", "y"))]
    path = write(tmp_path / "a.jsonl", '{"tokens": ["x", "y"], "labels": ["O", "B"]}')
    assert read(path, task="tokens") == [Document("x y", ("O", "B"), ("x", "y"))]


def test_labels_left_unread(tmp_path):
    options = {"task": "number", "labels": False}
    path = write(tmp_path / "a.csv", "title,label,id\nx,high,1\n")
    assert read(path, columns=["id"], **options) == [Document("x", columns={"id": "1"})]
    words = write(tmp_path / "a.conll", "x O\ny\n")
    assert read(words, task="tokens", labels=False) == [Document("x y", None, ("x", "y"))]
    rows = write(tmp_path / "a.jsonl", '{"tokens": ["x", "y"], "labels": ["O"]}\n{"tokens": "x  y"}\n')
    assert read(rows, task="tokens", labels=False) == [Document("x y", None, ("x", "y")), Document("x  y")]


def test_columns_kept_beside_words(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"tokens": ["x", "y"], "labels": ["O", "B"], "id": 7}\n')
    assert read(path, task="tokens", columns=["id"]) == [
        Document("x y", ("O", "B"), ("x", "y"), columns={"id": "7"}),
    ]


def test_pair_takes_the_two_text_columns(tmp_path):
    path = write(tmp_path / "a.csv", "id,premise,hypothesis,label\n1,it rains,it is wet,yes\n")
    assert read(path, task="pair") == [Document(("it rains", "it is wet"), "yes")]
    swapped = read(path, task="pair", text_column=("hypothesis", "premise"))
    assert swapped[0].text == ("it is wet", "it rains")


def test_several_text_columns_and_what_else_is_known(tmp_path):
    path = write(tmp_path / "a.csv", "title,body,who,when,part,lang\nT,B,ann,2024-05-31,dev,en\n")
    documents = read(
        path,
        text_column=["title", "body"],
        group_column="who",
        time_column="when",
        split_column="part",
        columns=["lang"],
    )
    assert documents == [Document(("T", "B"), None, None, "ann", 1717113600.0, "valid", {"lang": "en"})]


def test_only_text_column_is_the_default(tmp_path):
    path = write(tmp_path / "a.csv", "id,review,stars\n1,good,5\n2,bad,1\n")
    assert read(path, label_column="stars") == [Document("good", "5"), Document("bad", "1")]


def test_times_in_parquet(tmp_path):
    import datetime

    times = [datetime.datetime(1970, 1, 2), None]
    path = write_parquet(
        tmp_path / "a.parquet", {"text": ["a", "b"], "when": times, "day": [datetime.date(1970, 1, 3)] * 2}
    )
    assert [document.time for document in read(path, time_column="when")] == [86400.0, None]
    assert [document.time for document in read(path, time_column="day")] == [172800.0, 172800.0]


@pytest.mark.parametrize(("time", "seconds"), [("12.5", 12.5), ("1970-01-01T00:00:10+00:00", 10.0), ("", None)])
def test_times_in_text(tmp_path, time, seconds):
    path = write(tmp_path / "a.csv", f"text,when\nx,{time}\n")
    assert read(path, time_column="when")[0].time == seconds


# --- Python lists


def test_python_lists():
    given = ["a", ("b", 1), Document("c", split="test"), (("d", "e"), "x")]
    assert read(given) == [Document("a"), Document("b", "1"), Document("c", split="test"), Document(("d", "e"), "x")]


def test_python_list_of_something_else():
    with pytest.raises(DataError, match=r"document 1: expected str, \(str, label\) or Document, got 7"):
        read(["a", 7])


@pytest.mark.parametrize("data", [iter(["a"]), (text for text in "ab")], ids=["iterator", "generator"])
def test_one_shot_iterators_are_refused_as_data(data):
    with pytest.raises(DataError, match=rf"a list of documents, got {type(data).__name__}; put it in a list"):
        DocumentSource(data)


class Table:
    """Goes through the names of its columns, as data frames do."""

    columns = ("text", "label")

    def __iter__(self):
        return iter(self.columns)


class Splits(dict):
    """Tables by split, as a DatasetDict is."""

    column_names = ("text", "label")


@pytest.mark.parametrize(
    ("data", "advice"),
    [
        ({"text": ["a"], "label": ["b"]}, r"dict; give its rows: list\(zip\(table\['text'\], table\['label'\]\)\)"),
        (Table(), r"Table; give its rows: \[\(row\['text'\], row\['label'\]\) for row in table\]"),
        (Splits(), r"Splits; give the rows of one of its splits: list\(zip\(splits\['train'\]\['text'\], "),
        (None, "NoneType; give one of these"),
    ],
    ids=["dict", "table", "splits", "nothing"],
)
def test_tables_and_none_are_refused_as_data(data, advice):
    with pytest.raises(DataError, match=f"the name of a data set or a list of documents, got {advice}"):
        DocumentSource(data)


def test_source_reads_again_and_names_itself(tmp_path):
    path = write(tmp_path / "reviews.csv", "text\nx\n")
    source = DocumentSource(path)
    assert list(source) == list(source) == [Document("x")]
    assert source.description == "reviews.csv"
    assert DocumentSource(["a"]).description == "documents given in Python"


@pytest.mark.parametrize("name", ["missing.csv", "no/such/folder", "x" * 5000 + "/"])
def test_no_such_path(name):
    with pytest.raises(DataError, match=name[:20]):
        read(name)


def test_places_that_are_not_there_are_named_with_their_end(tmp_path):
    long = tmp_path / ("folder" * 15) / "missing.csv"
    with pytest.raises(DataError, match=r"folder/missing\.csv: no such file or folder$"):
        read(long)
    with pytest.raises(DataError) as refused:
        read("a text, not a path. " * 100)
    assert len(str(refused.value)) < 400


def test_a_text_that_is_not_a_number_is_missing(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": NaN, "label": "a"}\n{"text": "x", "label": "b"}\n')
    assert [document.text for document in read(path)] == ["", "x"]


def test_a_number_in_place_of_a_text_says_what_to_do(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "x", "label": "a"}\n{"text": 42, "label": "a"}\n')
    advice = "write it as text, or name another column; columns: text, label"
    with pytest.raises(DataError, match=f"line 2: column 'text': expected text, got 42; {advice}"):
        read(path)


def test_parquet_of_categories_and_bytes(tmp_path):
    table = pyarrow.table({"review": pyarrow.array(["x", "y", "x"]).dictionary_encode(), "stars": [1, 2, 1]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert [document.text for document in read(tmp_path / "a.parquet")] == ["x", "y", "x"]
    path = write_parquet(tmp_path / "b.parquet", {"text": [b"x"], "label": ["a"]})
    with pytest.raises(DataError, match=r"row 1: column 'text': expected text, got b'x'; decode the bytes; columns:"):
        read(path)


def test_lists_of_texts_have_no_labels():
    source = DocumentSource(["a", "b"], label_kind=TASKS["single"])
    with pytest.raises(DataError, match=r"documents given in Python: expected labels, got texts alone; give each as"):
        source.check_label_column()


@pytest.mark.parametrize("address", ["https://example.org/reviews.csv", "s3://place/reviews.csv"])
def test_addresses_are_to_be_downloaded(address):
    with pytest.raises(DataError, match="no such file or folder; download it, and give the file"):
        read(address)
