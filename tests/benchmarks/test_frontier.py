"""The benchmark beside what a user would pick instead: its options, draws, resuming, and what it says is missing."""

import io
import sys
from collections import Counter
from pathlib import Path

import frontier
import frontier_peers
import pytest
from frontier_data import draw_rows, read_task
from frontier_peers import FastText, Ulmkit, answer_once, missing_modules
from frontier_plot import plot_frontier, spread
from frontier_results import Models, Result, rows_of

from ulmkit import TextClassifier
from ulmkit.errors import DataError
from ulmkit.files import read_json
from ulmkit.pipeline import METHODS
from ulmkit.safe_writes import write_json

LINES = [("good", f"a fine film number {number}") for number in range(24)]
LINES += [("bad", f"a dull film number {number}") for number in range(12)]


class Constant:
    """A peer that answers "good", and counts its trainings."""

    name = "constant"
    modules = ()
    fits: list[tuple[int, list[str]]]

    def __init__(self, options=None):
        self.seed = None if options is None else options.seed

    def fit(self, texts, labels, unlabelled):
        assert not set(texts) & set(unlabelled)
        Constant.fits.append((self.seed, list(texts)))

    def predict(self, texts):
        return ["good"] * len(texts)

    def save(self, folder):
        (folder / "answer.txt").write_text("good")

    @classmethod
    def load(cls, folder):
        assert (folder / "answer.txt").read_text() == "good"
        return cls()


class Broken(Constant):
    name = "broken"

    def fit(self, texts, labels, unlabelled):
        raise ZeroDivisionError("no weights")


class Missing(Constant):
    name = "missing"
    modules = ("no_such_package.part", "json", "no_such_package.other")


@pytest.fixture
def data(tmp_path):
    """A folder of labelled documents, sorted by label."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "train.csv").write_text("label,text\n" + "".join(f"{label},{text}\n" for label, text in LINES))
    (folder / "test.csv").write_text("label,text\ngood,a test\nbad,a trial\n")
    (folder / "unsupervised.csv").write_text("text\nnobody knows\n")
    return folder


@pytest.fixture
def run(monkeypatch, data, tmp_path, capsys):
    """Runs the benchmark with peers of the test's own; gives what it printed."""
    Constant.fits = []
    peers = {"constant": Constant, "broken": Broken, "missing": Missing}
    monkeypatch.setattr(frontier, "PEERS", peers)
    monkeypatch.setattr(frontier, "OFFLINE", {})
    monkeypatch.setattr(frontier, "SECONDS_OF_CALLS", 0.0)
    monkeypatch.setattr(frontier, "start_up", lambda adapter, folder, text: 0.25)

    def run(*arguments: str) -> str:
        common = ["--subjectivity", str(data), "--held-out", "9", "--json", str(tmp_path / "found.json")]
        monkeypatch.setattr(sys, "argv", ["frontier.py", *common, *arguments])
        frontier.main()
        return capsys.readouterr().out

    return run


def test_draws_have_classes_in_proportion_and_contain_smaller_ones():
    labels = ["a"] * 60 + ["b"] * 30 + ["c"] * 10
    rows = draw_rows(labels, 20, seed=1)
    assert Counter(labels[row] for row in rows) == {"a": 12, "b": 6, "c": 2}
    assert set(rows) < set(draw_rows(labels, 50, seed=1))
    assert rows == draw_rows(labels, 20, seed=1)
    assert set(rows) != set(draw_rows(labels, 20, seed=2))
    assert rows != sorted(rows)
    assert sorted(draw_rows(labels, 100, seed=1)) == list(range(100))


def test_held_out_documents_are_never_given(data):
    task = read_task("name", str(data), 9, test=False)
    assert Counter(task.held_out_labels) == {"good": 6, "bad": 3}
    for seed in (0, 1):
        texts, labels, unlabelled = task.draw(6, seed)
        assert Counter(labels) == {"good": 4, "bad": 2}
        assert all((label, text) in LINES for label, text in zip(labels, texts, strict=True))
        assert not set(task.held_out_texts) & {*texts, *unlabelled}
        assert {*texts, *unlabelled, *task.held_out_texts} == {text for _, text in LINES} | {"nobody knows"}
        in_order = [text for _, text in LINES if text in unlabelled]
        assert in_order != [text for text in unlabelled if text != "nobody knows"]


def test_only_the_test_split_is_scored_with_test(data):
    task = read_task("name", str(data), None, test=True)
    assert sorted(task.held_out_texts) == ["a test", "a trial"]
    assert len(task.texts) == len(LINES)
    assert "a test" not in task.draw(4, 0)[2]
    with pytest.raises(DataError, match="name: expected at least 3 labelled documents in split test, got 2"):
        read_task("name", str(data), 3, test=True)
    with pytest.raises(DataError, match="got 36; hold out fewer"):
        read_task("name", str(data), 36, test=False)


def test_options_have_defaults_by_data():
    options = frontier.read_options(["--imdb", "A", "--banking77", "B", "--language-model", "small", "imdb=large"])
    assert options.data == {"imdb": "A", "banking77": "B"}
    assert options.language_models == {"imdb": "large", "banking77": "small", "subjectivity": "small"}
    assert options.held_out == 2000
    assert options.methods == list(METHODS)
    assert frontier.read_options(["--imdb", "A", "--test"]).held_out is None
    assert frontier.read_options(["--imdb", "A", "--test", "--held-out", "7"]).held_out == 7


def test_other_data_have_a_name(tmp_path):
    options = frontier.read_options(["--imdb", "A", "--data", "mails=B", "--language-model", "small", "mails=large"])
    assert options.data == {"imdb": "A", "mails": "B"}
    assert (options.language_models["imdb"], options.language_models["mails"]) == ("small", "large")
    task = frontier.Task("mails", ["a text"] * 200, ["a"] * 200, [], [], [])
    assert frontier.label_counts(task, None) == [100, 200]


def test_quick_takes_the_cheapest_peers_and_the_smallest_data():
    options = frontier.read_options(["--imdb", "A", "--subjectivity", "B", "--quick"])
    assert options.data == {"subjectivity": "B"}
    assert options.peers == ["tfidf", "nbsvm", "fasttext"]
    assert (options.labels, options.draws, options.methods) == ([100], 1, [])


def test_quick_refuses_a_choice_that_it_would_not_measure(capsys):
    for option in (["--methods", "linear"], ["--peers", "tfidf"]):
        with pytest.raises(SystemExit):
            frontier.read_options(["--subjectivity", "B", "--quick", *option])
        assert f"--quick: leave {option[0]} out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected some data; give --imdb, --subjectivity, --banking77, --data"),
        (["--data", "mails"], "--data: expected NAME=PLACE, with a name of its own, got 'mails'"),
        (["--data", "mails=A", "mails=B"], "--data: expected NAME=PLACE, with a name of its own, got 'mails=B'"),
        (["--data", "imdb=A"], "--data: expected NAME=PLACE, with a name of its own, got 'imdb=A'"),
        (["--imdb", "A", "--labels", "10", "0"], "--labels: expected a positive number, got [10, 0]"),
        (["--imdb", "A", "--setfit-pairs", "-1"], "--setfit-pairs: expected a positive number, got -1"),
        (["--imdb", "A", "--peers", "gpt"], "argument --peers: invalid choice: 'gpt'"),
        (["--imdb", "A", "--plot", "a.bmp"], "--plot: format: got 'bmp'; there are: png, svg, pdf"),
        (["--imdb", "A", "--language-model", "wiki=x"], "--language-model: expected DATA of imdb, subjectivity, "),
    ],
)
def test_bad_options_are_refused(capsys, arguments, message):
    with pytest.raises(SystemExit) as end:
        frontier.read_options(arguments)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_a_run_goes_on_where_it_was_stopped(run, tmp_path):
    arguments = ("--methods", "--peers", "constant", "--labels", "6", "12", "--draws")
    run(*arguments, "1")
    assert [(seed, len(texts)) for seed, texts in Constant.fits] == [(0, 6), (0, 12)]
    first = read_json(tmp_path / "found.json")
    assert [result["accuracy"] for result in first["results"]] == [pytest.approx(200 / 3)] * 2
    assert first["settings"] == {"test": False, "held_out": 9, "threads": first["settings"]["threads"]}

    write_json(tmp_path / "found.json", {**first, "results": first["results"][1:]})  # stopped before the other one
    run(*arguments, "2")
    assert [(seed, len(texts)) for seed, texts in Constant.fits[2:]] == [(0, 6), (1, 6), (1, 12)]
    assert Constant.fits[2] == Constant.fits[0]
    assert Constant.fits[3] != Constant.fits[0]
    assert len(read_json(tmp_path / "found.json")["results"]) == 4

    printed = run(*arguments, "2")
    assert len(Constant.fits) == 5
    assert "subjectivity, 12 labels\nmodel     % accuracy    ±  draws" in printed
    assert "constant        66.7  0.0      2" in printed


def test_a_stopped_run_keeps_what_was_finished(run, monkeypatch, tmp_path):
    def stop_at_the_second(self, texts, labels, unlabelled):
        Constant.fits.append((self.seed, list(texts)))
        if len(Constant.fits) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Constant, "fit", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        run("--methods", "--peers", "constant", "--labels", "6", "--draws", "3")
    found = read_json(tmp_path / "found.json")
    assert [result["draw"] for result in found["results"]] == [0]
    assert found["rows"][0]["peer_name"] == "constant"


def test_results_of_other_settings_or_benchmarks_are_refused(run, tmp_path):
    run("--methods", "--peers", "constant", "--labels", "6", "--draws", "1")
    with pytest.raises(SystemExit, match="--json: expected results with {'test': False, 'held_out': 8"):
        run("--methods", "--peers", "constant", "--labels", "6", "--held-out", "8")
    write_json(tmp_path / "found.json", {"benchmark": "busy", "rows": []})
    with pytest.raises(SystemExit, match="--json: expected a new file or results of this benchmark"):
        run("--methods", "--peers", "constant")


def test_what_is_missing_or_fails_is_named_and_costs_no_other(run, capsys, tmp_path):
    with pytest.raises(SystemExit) as end:
        run("--methods", "--peers", "missing", "broken", "constant", "--labels", "6", "--draws", "1")
    assert end.value.code == 1
    said = capsys.readouterr()
    assert "missing: not measured (not installed: no_such_package; see benchmarks/requirements.txt)" in said.out
    assert "draw 0, broken: failed" in said.out
    assert "ZeroDivisionError: no weights" in said.err
    rows = read_json(tmp_path / "found.json")["rows"]
    accuracies = {row["peer_name"]: row["peer"] for row in rows if row["unit"] == "% accuracy"}
    assert accuracies == {
        "broken (not measured)": None,
        "constant": pytest.approx(200 / 3),
        "missing (not measured)": None,
    }
    assert all(row["ulmkit"] is None and row["ratio"] is None for row in rows)


def test_installed_packages_are_not_missing():
    assert missing_modules(Missing) == ["no_such_package"]
    assert missing_modules(frontier_peers.PEERS["tfidf"]) == []


def result(model: str, **measures: float) -> Result:
    values = {"accuracy": 80.0, "minutes": 1.0, "documents_per_second": 100.0, "startup_seconds": 2.0, "megabytes": 9.0}
    return Result(data="imdb", labels=100, draw=0, model=model, **{**values, **measures})


def test_ratios_are_above_one_where_ulmkit_is_better():
    found = [result("peer"), result("ulmkit b"), result("ulmkit a", accuracy=88.0, minutes=4.0, megabytes=3.0)]
    found.append(Result(**{**vars(found[2]), "draw": 1, "accuracy": 92.0}))
    rows = rows_of(found, Models(["ulmkit a", "ulmkit b", "peer"], {}))
    assert {row["peer_name"] for row in rows} == {"ulmkit b", "peer"}
    ratios = {row["case"]: row["ratio"] for row in rows if row["peer_name"] == "peer"}
    assert ratios == {
        "imdb, 100 labels: accuracy": 90 / 80,
        "imdb, 100 labels: training": 1 / 4,
        "imdb, 100 labels: speed": 1.0,
        "imdb, 100 labels: start-up": 1.0,
        "imdb, 100 labels: size": 3.0,
    }


def test_a_fresh_process_answers(monkeypatch):
    monkeypatch.setattr(frontier, "ANSWER", "import sys; print(*sys.argv[1:], sys.stdin.read())")
    assert 0 < frontier.start_up("Name", "/folder", "text") < 30
    monkeypatch.setattr(frontier, "ANSWER", "import sys; sys.stdin.read()")
    with pytest.raises(RuntimeError, match="Name: expected an answer from a fresh process"):
        frontier.start_up("Name", "/folder", "text")


def test_a_fresh_process_may_use_the_bytecode_that_is_there(monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", "/nowhere")
    answer = "import sys; assert not sys.dont_write_bytecode and sys.pycache_prefix is None; print('yes')"
    monkeypatch.setattr(frontier, "ANSWER", answer)
    assert frontier.start_up("Name", "/folder", "text") > 0


def test_a_saved_peer_is_loaded_by_its_class_name_to_answer(monkeypatch, capsys, tmp_path):
    peer = frontier_peers.Tfidf()
    peer.fit([text for _, text in LINES], [label for label, _ in LINES], [])
    peer.save(tmp_path)
    monkeypatch.setattr(sys, "argv", ["-c", "Tfidf", str(tmp_path)])
    monkeypatch.setattr(sys, "stdin", io.StringIO("how dull"))
    answer_once()
    assert capsys.readouterr().out == "bad\n"


def test_every_peer_has_the_methods_of_a_peer():
    for adapter in (*frontier_peers.PEERS.values(), Ulmkit):
        assert adapter.name
        assert all(callable(getattr(adapter, method)) for method in ("fit", "predict", "save", "load"))
        assert getattr(frontier_peers, adapter.__name__) is adapter  # a fresh process finds it by that name


def test_ulmkit_gets_the_method_and_the_unlabelled_text_if_it_learns_from_it(monkeypatch):
    calls = []

    def train(data, language_model, *, method, minutes, run):
        calls.append(
            (method, language_model, minutes, run.seed, [(item.text, item.label, item.split) for item in data])
        )

    labelled = [("fine", "good", "train")]
    monkeypatch.setattr(TextClassifier, "train", train)
    for method in ("finetune", "auto"):
        Ulmkit("model", method=method, minutes=2.0, seed=3).fit(["fine"], ["good"], ["unread"])
    assert calls == [
        ("finetune", "model", 2.0, 3, labelled),
        ("auto", "model", 2.0, 3, [*labelled, ("unread", None, "unsupervised")]),
    ]


def test_the_int8_copy_of_the_same_training_is_measured_beside_it(run, monkeypatch, tmp_path):
    class Classifier:
        def __init__(self, answer):
            self.answer = answer

        def to_int8(self):
            return Classifier("bad")

        def predict(self, texts):
            return [self.answer] * len(texts)

        def save(self, folder):
            folder.mkdir()

    def fit(self, texts, labels, unlabelled):
        Constant.fits.append((self.seed, list(texts)))
        self.classifier = Classifier("good")

    monkeypatch.setattr(Ulmkit, "fit", fit)
    monkeypatch.setattr(Ulmkit, "has_network", property(lambda peer: peer.method == "finetune"))
    monkeypatch.setattr(frontier.LanguageModel, "load", lambda place: place)
    monkeypatch.setattr(frontier, "int8_runs", lambda device: (True, ""))
    arguments = ("--methods", "finetune", "auto", "--peers", "--labels", "6", "--draws", "1", "--minutes")
    arguments = ("--language-model", "small", *arguments)
    run(*arguments, "1")
    run(*arguments, "1")
    assert len(Constant.fits) == 2
    run(*arguments, "2")  # measured again: these are other trainings
    assert len(Constant.fits) == 4
    first, copy, blend = read_json(tmp_path / "found.json")["results"]
    assert (first["model"], first["accuracy"]) == ("ulmkit finetune", pytest.approx(200 / 3))
    assert (copy["model"], copy["accuracy"]) == ("ulmkit finetune, int8", pytest.approx(100 / 3))
    assert copy["minutes"] == first["minutes"]
    assert blend["model"] == "ulmkit auto"  # without a network, there is nothing to round
    assert copy["settings"] == {"minutes": 2.0, "language_model": "small"}
    monkeypatch.setattr(Ulmkit, "has_network", False)
    run(*arguments, "3")
    assert [result["model"] for result in read_json(tmp_path / "found.json")["results"]] == [
        "ulmkit finetune",
        "ulmkit auto",
    ]


def test_fasttext_reads_words_apart_from_punctuation():
    assert FastText._prepared('It\'s "Fine",\nso-so.') == 'it \' s " fine " , so - so .'


def test_names_in_the_plot_are_apart_and_inside(tmp_path):
    assert spread([0.1, 0.5, 0.9], 0.1) == [0.1, 0.5, 0.9]
    heights = spread([0.5, 0.5, 0.98, 0.99, 1.0], 0.1)
    assert heights == pytest.approx([0.5, 0.6, 0.8, 0.9, 1.0])
    assert spread([0.0] * 30, 0.1)[-1] == pytest.approx(2.9)
    path = tmp_path / "plot.svg"
    plot_frontier({"imdb, 100 labels": {"ulmkit finetune": (230.0, 88.0), "NB-SVM": (9000.0, 85.0)}}, path)
    drawn = Path(path).read_text(encoding="utf-8")
    assert "ulmkit finetune" in drawn
