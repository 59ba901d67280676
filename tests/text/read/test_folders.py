"""Folders of data: the files they hold, and the splits and labels that names say."""

import os

import pytest
from support.data_files import read, write, write_parquet

from ulmkit.errors import DataError
from ulmkit.tasks import TASKS
from ulmkit.text.read.document import Document, known_split, normalise_split
from ulmkit.text.read.documents import DocumentSource
from ulmkit.text.read.folders import find_files


def test_folder_of_split_text_files(tmp_path):
    for name in ("train", "valid", "test"):
        write(tmp_path / f"{name}.txt", f" {name} line \n")
    assert [(document.split, document.text) for document in read(tmp_path)] == [
        ("test", " test line \n"),
        ("train", " train line \n"),
        ("valid", " valid line \n"),
    ]


def test_folder_of_parquet_as_on_the_hub(tmp_path):
    write(tmp_path / "README.md", "# data")
    for split in ("train", "test", "unsupervised", "validation"):
        write_parquet(tmp_path / "data" / f"{split}-00000-of-00001.parquet", {"text": [split], "label": [1]})
    found = {document.split: document.label for document in read(tmp_path)}
    assert found == {"train": "1", "test": "1", "valid": "1", "unsupervised": None}
    assert [document.text for document in read(tmp_path, split="dev")] == ["validation"]
    assert len(read(tmp_path, split=["train", "unsupervised"])) == 2


@pytest.mark.filterwarnings("ignore:.* looks like .csv")
@pytest.mark.parametrize(
    "names",
    [
        ("ptb.train.txt", "ptb.valid.txt", "ptb.test.txt"),
        ("wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens"),
        ("my_train.TXT", "my-dev.txt", "my.test.txt"),
        ("glue_train.tsv", "dev_matched.tsv", "data/x.test.tsv"),
        ("train/en/a.csv", "val/en/a.csv", "test/en/a.csv"),
    ],
)
def test_splits_by_any_part_of_a_name(tmp_path, names):
    for name in names:
        write(tmp_path / name, f"text\n{name}\n")
    found = {document.split: document.text for document in read(tmp_path)}
    assert [found[split].removeprefix("text\n").strip() for split in ("train", "valid", "test")] == list(names)


@pytest.mark.parametrize("name", ["train_test.txt", "dev.unsup-1.csv", "train-val/a.csv"])
def test_a_name_of_two_splits(tmp_path, name):
    write(tmp_path / name, "text\nx\n")
    message = rf"{name.split('/')[0]}: expected the name of one split, got \w+ and \w+; rename it"
    with pytest.raises(DataError, match=message):
        read(tmp_path)


@pytest.mark.parametrize(
    ("named", "other"), [("train.txt", "tset.txt"), ("b.test.csv", "all.csv"), ("test/a.csv", "more/a.csv")]
)
def test_splits_named_by_some_files_only(tmp_path, named, other):
    write(tmp_path / named, "text\nx\n")
    write(tmp_path / other, "text\nx\n")
    message = f"expected every data file to name its split, as {named} does, got {other}; rename or move it"
    with pytest.raises(DataError, match=message):
        read(tmp_path)


@pytest.mark.parametrize("name", ["dev", "test-data", "train"])
def test_the_given_folders_own_name_is_no_split(tmp_path, name):
    write(tmp_path / name / "a.csv", "text\nx\n")
    write(tmp_path / name / "b.csv", "text\ny\n")
    assert {document.split for document in read(tmp_path / name)} == {None}
    assert {document.split for document in read(tmp_path)} == {known_split(name)}


def make_imdb(folder):
    """The layout of the official IMDb archive."""
    for name in ("README", "imdb.vocab", "imdbEr.txt"):
        write(folder / name, "not a document")
    for part, labels in (("train", ("pos", "neg", "unsup")), ("test", ("pos", "neg"))):
        write(folder / part / "labeledBow.feat", "9 0:9 1:1")
        for label in labels:
            write(folder / part / f"urls_{label}.txt", "an address")
            for at in range(2):
                write(folder / part / label / f"{at}_{at + 7}.txt", f"{part} {label} {at}")
    return folder


def test_imdb_archive(tmp_path):
    documents = read(make_imdb(tmp_path / "aclImdb"))
    expected = [Document(f"test {label} {at}", label, split="test") for label in ("neg", "pos") for at in range(2)]
    expected += [Document(f"train {label} {at}", label, split="train") for label in ("neg", "pos") for at in range(2)]
    expected += [Document(f"train unsup {at}", split="unsupervised") for at in range(2)]
    assert documents == expected


def test_a_part_of_the_imdb_archive(tmp_path):
    documents = read(make_imdb(tmp_path) / "train")
    assert [(document.label, document.split) for document in documents] == [
        *[("neg", None)] * 2,
        *[("pos", None)] * 2,
        *[(None, "unsupervised")] * 2,
    ]


def test_folders_beside_splits_are_passed_over(tmp_path):
    for place in ("train/pos/1", "test/pos/1", "docs/1", "old/pos/1", "train_test_notes"):
        write(tmp_path / f"{place}.txt", place)
    assert [document.text for document in read(tmp_path)] == ["test/pos/1", "train/pos/1"]


def test_folders_without_texts_do_not_hide_loose_ones(tmp_path):
    (tmp_path / "test").mkdir()
    write(tmp_path / "images" / "1.png", "x")
    write(tmp_path / "a.txt", "one")
    assert read(tmp_path) == [Document("one")]


def test_split_folders_of_longer_names(tmp_path):
    for place in ("train_en/pos/1", "test_en/pos/1"):
        write(tmp_path / f"{place}.txt", place)
    assert [(document.split, document.label) for document in read(tmp_path)] == [("test", "pos"), ("train", "pos")]


def test_texts_named_for_splits_beside_label_folders(tmp_path):
    for name in ("train.txt", "test.txt", "old/1.txt"):
        write(tmp_path / name, "x")
    message = r"expected texts named for their splits or LABEL/doc\.txt folders, got test\.txt and old/1\.txt; move"
    with pytest.raises(DataError, match=message):
        read(tmp_path)


def test_label_folders(tmp_path):
    write(tmp_path / "pos" / "1.txt", "good")
    write(tmp_path / "neg" / "1.txt", "bad")
    write(tmp_path / "neg" / "2.txt", "")
    assert read(tmp_path) == [Document("bad", "neg"), Document("", "neg"), Document("good", "pos")]
    assert {document.label for document in read(tmp_path, task="none")} == {None}


def test_label_folders_by_split_with_unlabelled_text(tmp_path):
    write(tmp_path / "train" / "urls.txt", "not a document")
    for place in ("train/pos/1", "train/neg/1", "train/unsup/1", "test/pos/1", "valid/1"):
        write(tmp_path / f"{place}.txt", place)
    assert {(document.text, document.split, document.label) for document in read(tmp_path)} == {
        ("train/pos/1", "train", "pos"),
        ("train/neg/1", "train", "neg"),
        ("train/unsup/1", "unsupervised", None),
        ("test/pos/1", "test", "pos"),
        ("valid/1", "valid", None),
    }


def test_flat_text_folder_is_a_document_a_file(tmp_path):
    write(tmp_path / "b.txt", "two")
    write(tmp_path / "a.txt", "one")
    assert [document.text for document in read(tmp_path)] == ["one", "two"]


def test_folder_without_data(tmp_path):
    with pytest.raises(DataError, match=r"expected data files .*or LABEL/doc.txt folders, got none"):
        read(tmp_path)


def test_folder_of_mixed_kinds(tmp_path):
    write(tmp_path / "a.csv", "text\nx\n")
    write(tmp_path / "b.jsonl", '{"text": "x"}')
    with pytest.raises(DataError, match=r"expected one kind of data file, got \.csv, \.jsonl"):
        read(tmp_path)


@pytest.mark.parametrize(("table", "text"), [("a/notes.csv", "a/0.txt"), ("all.csv", "train/pos/0.txt")])
def test_tables_beside_folders_of_texts(tmp_path, table, text):
    write(tmp_path / table, "text\nx\n")
    write(tmp_path / text, "x")
    with pytest.raises(DataError, match=rf"files with columns or folders of texts, got {table} and {text}; move one"):
        read(tmp_path)


def test_loose_texts_beside_tables_are_passed_over(tmp_path):
    write(tmp_path / "a.csv", "text\nx\n")
    write(tmp_path / "licence.txt", "not a document")
    assert read(tmp_path) == [Document("x")]


@pytest.mark.parametrize(
    ("text", "deeper"),
    [
        ("pos/1.txt", "neg/2020/1.txt"),
        ("train/pos/1.txt", "train/neg/2020/1.txt"),
        ("test/1.txt", "test/2020/05/1.txt"),
        ("1.txt", "2020/05/1.txt"),
    ],
)
def test_texts_deeper_than_the_others(tmp_path, text, deeper):
    write(tmp_path / text, "x")
    write(tmp_path / deeper, "y")
    message = rf"expected all texts as deep as .*{text.split('/', 1)[-1]}, got .*{deeper.split('/', 1)[-1]}; move it up"
    with pytest.raises(DataError, match=message):
        read(tmp_path)
    (tmp_path / deeper).rename(tmp_path / deeper.replace("1.txt", ".1.txt"))
    assert [document.text for document in read(tmp_path)] == ["x"]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train-00000-of-00001", "train"),
        ("validation", "valid"),
        ("dev_2", "valid"),
        ("training.en", "train"),
        ("ptb.train", "train"),
        ("my_corpus-Dev.v2", "valid"),
        ("trainset.csv", "train"),
        ("testdata2.csv", "test"),
        ("train (1).csv", "train"),
        ("latest", None),
        ("values", None),
        ("contest", None),
        ("a", None),
    ],
)
def test_known_split(name, split):
    assert known_split(name) == split


def test_normalise_split():
    assert [normalise_split(name) for name in ("Validation", "val", " test ", "Mine")] == [
        "valid",
        "valid",
        "test",
        "mine",
    ]


def test_links_to_files_and_folders_are_followed(tmp_path):
    write(tmp_path / "elsewhere" / "1.txt", "good")
    write(tmp_path / "bad.txt", "bad")
    (tmp_path / "data" / "neg").mkdir(parents=True)
    (tmp_path / "data" / "pos").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "neg" / "1.txt").symlink_to("../../bad.txt")
    assert read(tmp_path / "data") == [Document("bad", "neg"), Document("good", "pos")]
    write(tmp_path / "tables" / "deep" / "a.csv", "text\none\n")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "train").symlink_to(tmp_path / "tables")
    assert read(tmp_path / "linked") == [Document("one", split="train")]


def test_links_in_a_circle_are_refused(tmp_path):
    write(tmp_path / "pos" / "1.txt", "good")
    (tmp_path / "pos" / "more").symlink_to(tmp_path)
    with pytest.raises(DataError, match=r"pos/more: expected a folder, got a link to a folder that holds it; remove"):
        read(tmp_path)


def test_links_to_nothing_are_refused_where_data_is_expected(tmp_path):
    write(tmp_path / "a.csv", "text\none\n")
    (tmp_path / "old").symlink_to("nowhere")
    assert read(tmp_path) == [Document("one")]
    (tmp_path / "b.csv").symlink_to("nowhere.csv")
    with pytest.raises(DataError, match=r"b\.csv: expected a data file, got a link to nothing"):
        read(tmp_path)


def test_a_file_that_is_linked_twice_is_read_once(tmp_path):
    write(tmp_path / "2024" / "a.csv", "text\none\n")
    (tmp_path / "latest").symlink_to("2024")
    assert read(tmp_path) == [Document("one")]
    assert find_files(tmp_path)[1] == {tmp_path / "latest" / "a.csv": "the same file as 2024/a.csv"}


def test_pipes_in_a_folder_are_passed_over(tmp_path):
    write(tmp_path / "a.csv", "text\none\n")
    os.mkfifo(tmp_path / "b.csv")
    assert read(tmp_path) == [Document("one")]
    assert find_files(tmp_path)[1] == {tmp_path / "b.csv": "a pipe"}


MODEL = '{"format_version": 2, "kind": "classifier", "fingerprint": "x"}'
RESULTS = '{"perplexity_before": 2, "perplexity_after": 1, "reports": {}}'


def test_own_files_and_folders_are_passed_over(tmp_path):
    write(tmp_path / "reviews.csv", "text,label\none,x\n")
    write(tmp_path / "notes.md", "not data")
    write(tmp_path / "model" / "config.json", MODEL)
    write(tmp_path / "model" / "training_log.csv", "step,loss\n1,2\n")
    write(tmp_path / "m.training" / "checkpoint-00000001" / "a.csv", "text\nx\n")
    write(tmp_path / "training_log.csv", "step,loss\n1,2\n")
    write(tmp_path / "predictions.csv", 'label,probability,probabilities,text\nx,1.0,"{""x"": 1.0}",one\n')
    write(tmp_path / "scores.jsonl", '{"id": "1", "log_probability": -1, "perplexity": 2, "text": "one"}\n')
    write(tmp_path / "numbers.csv", "row,label,text\n1,2.5,one\n")
    write(tmp_path / "summary.json", '{\n  "texts": 1\n}\n')
    assert read(tmp_path) == [Document("one", "x")]
    assert {path.name: reason for path, reason in find_files(tmp_path)[1].items()} == {
        "notes.md": "not a data file",
        "model": "a model that ulmkit wrote",
        "m.training": "a training of ulmkit that has not ended",
        "training_log.csv": "a training log of ulmkit",
        "predictions.csv": "predictions or scores that ulmkit wrote",
        "scores.jsonl": "predictions or scores that ulmkit wrote",
        "numbers.csv": "predictions that ulmkit wrote",
        "summary.json": "of another kind or place than the data",
    }


def test_a_model_among_folders_of_labels_is_passed_over(tmp_path):
    write(tmp_path / "pos" / "1.txt", "good")
    write(tmp_path / "model" / "config.json", MODEL)
    write(tmp_path / "model" / "vocabulary.txt", "not a document")
    assert read(tmp_path) == [Document("good", "pos")]


def test_predictions_alone_are_data(tmp_path):
    write(tmp_path / "predictions.csv", 'label,probability,probabilities,text\nx,1.0,"{""x"": 1.0}",one\n')
    assert read(tmp_path) == [Document("one", "x")]


@pytest.mark.parametrize(
    ("name", "content", "description"),
    [("config.json", MODEL, "a model that ulmkit wrote"), ("quickstart.json", RESULTS, "results of ulmkit quickstart")],
)
def test_own_folders_as_data_are_named(tmp_path, name, content, description):
    write(tmp_path / name, content)
    write(tmp_path / "a.csv", "text\nx\n")
    with pytest.raises(DataError, match=f"expected data, got {description}; name the file or folder that holds"):
        read(tmp_path)


def test_json_is_data_where_nothing_else_is(tmp_path):
    write(tmp_path / "train.json", '[{"text": "one"}]')
    write(tmp_path / "test.json", '{"text": "two"}\n{"text": "three"}\n')
    write(tmp_path / "settings.json", '{\n  "a": 1\n}\n')
    assert [(document.text, document.split) for document in read(tmp_path)] == [
        ("two", "test"),
        ("three", "test"),
        ("one", "train"),
    ]
    write(tmp_path / "a.csv", "text\nx\n")
    assert read(tmp_path) == [Document("x")]


def test_folder_without_known_names_says_what_is_there(tmp_path):
    write(tmp_path / "data" / "neg" / "1", "bad")
    write(tmp_path / "data" / "pos" / "2", "good")
    with pytest.raises(DataError, match=r"got none \(neg/1 is of no known kind: name the kind with format"):
        read(tmp_path / "data")
    assert read(tmp_path / "data", format="txt") == [Document("bad", "neg"), Document("good", "pos")]
    write(tmp_path / "deep" / "a" / "neg" / "1.txt", "bad")
    with pytest.raises(DataError, match=r"got none \(a/neg/1\.txt is too deep: name the folder that holds those of"):
        read(tmp_path / "deep")


def test_tables_that_a_spreadsheet_program_has_open_are_passed_over(tmp_path):
    write(tmp_path / "reviews.csv", "text\none\n")
    (tmp_path / "~$reviews.csv").write_bytes(b"\x00\x01")
    assert [document.text for document in read(tmp_path)] == ["one"]


def test_a_test_file_may_lack_the_labels(tmp_path):
    write(tmp_path / "train.csv", "id,text,target\n1,one,a\n2,two,b\n")
    write(tmp_path / "test.csv", "id,text\n3,three\n")
    found = [(document.text, document.label, document.split) for document in read(tmp_path, label_column="target")]
    assert found == [("three", None, "test"), ("one", "a", "train"), ("two", "b", "train")]
    with pytest.raises(DataError, match=r"train\.csv: has no column 'targt'; did you mean 'target'"):
        read(tmp_path, label_column="targt")
    source = DocumentSource(tmp_path, split="test", label_kind=TASKS["single"], label_column="targt")
    with pytest.raises(DataError, match=r"test\.csv: has no column 'targt'"):
        source.check_label_column()


def test_a_data_set_on_disk_is_to_be_written_as_parquet(tmp_path):
    write(tmp_path / "dataset_dict.json", '{"splits": ["train"]}')
    (tmp_path / "train").mkdir()
    write(tmp_path / "train" / "state.json", '{"_split": "train"}')
    (tmp_path / "train" / "data-00000-of-00001.arrow").write_bytes(b"ARROW1")
    advice = r"train/data-00000-of-00001\.arrow is a table of a kind that is not read; save it as \.parquet"
    with pytest.raises(DataError, match=rf"expected data files .*got none \(.*{advice}"):
        read(tmp_path)
