import subprocess
import sys
import threading

import pytest
from matplotlib.image import imread

from ulmkit.errors import ConfigError, DataError, FolderError
from ulmkit.report import plot_comparison, plot_lr_find, plot_quickstart, plot_runs, plot_training, plots

HISTORIES = {
    "pretrain": [
        {"kind": "train", "seconds": 10, "nll": 6.0},
        {"kind": "train", "seconds": 20, "nll": 5.0},
        {"kind": "validation", "seconds": 20, "valid_nll": 5.1},
    ],
    "fine-tune": [
        {"kind": "train", "seconds": 10, "nll": 4.5},
        {"kind": "validation", "seconds": 10, "valid_nll": 4.6},
    ],
    "classify": [
        {"kind": "train", "seconds": 5, "loss": 1.0},
        {"kind": "validation", "seconds": 5, "valid_accuracy": 0.5},
    ],
}
SCORES = {"with transfer": 0.9, "without": 0.25, "TF-IDF": 0.5}
INTERVALS = {"with transfer": (0.88, 0.92), "TF-IDF": (0.48, 0.52)}


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved, in order."""
    figures = []
    save = plots.save_figure
    monkeypatch.setattr(plots, "save_figure", lambda figure, path: (figures.append(figure), save(figure, path)))
    return figures


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_training_curves(tmp_path, drawn):
    plot_training(HISTORIES, tmp_path / "curves.png")
    perplexity, loss, accuracy = drawn[0].axes
    assert imread(tmp_path / "curves.png").ndim == 3
    assert perplexity.get_yscale() == "log"
    assert perplexity.get_xlim() == pytest.approx((0, 0.5))
    assert (perplexity.get_xlabel(), perplexity.get_ylabel()) == ("minutes since the start", "perplexity")
    assert texts(perplexity) == ["164", "pretrain", "99.5", "fine-tune"]
    assert [text.get_text() for text in perplexity.get_legend().get_texts()] == ["training", "validation"]
    boundary = perplexity.lines[-1].get_xdata()
    assert list(boundary) == pytest.approx([1 / 3, 1 / 3])
    assert loss.get_ylabel() == "cross-entropy (nats per document)"
    assert accuracy.get_ylim() == (0, 1)
    assert texts(accuracy) == ["50.0%", "classify"]


def test_comparison_starts_at_zero_and_names_every_figure(tmp_path, drawn):
    plot_comparison(SCORES, tmp_path / "bars.png", intervals=INTERVALS, measure="macro F1", title="100 labels")
    (axes,) = drawn[0].axes
    assert axes.get_xlim() == (0, 1)
    assert [bar.get_width() for bar in axes.patches] == [0.9, 0.25, 0.5]
    assert [bar.get_x() for bar in axes.patches] == [0, 0, 0]
    assert texts(axes) == ["90.0%", "25.0%", "50.0%"]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(SCORES)
    assert axes.yaxis_inverted()
    assert [list(line.get_xdata()) for line in axes.lines] == [[0.88, 0.92], [0.48, 0.52]]
    assert axes.get_xlabel() == "macro F1 (line: 95% interval)"
    assert axes.get_title(loc="left") == "100 labels"


def test_quickstart_has_curves_above_and_each_comparison_below(tmp_path, drawn):
    scores = {"100 labels": SCORES, "300 labels": {"with transfer": 1.0, "without": 0.0}}
    intervals = {"100 labels": INTERVALS}
    plot_quickstart(HISTORIES, scores, tmp_path / "quickstart.png", intervals=intervals, title="docstrings")
    assert [axes.get_ylabel() for axes in drawn[0].axes[:3]] == [
        "perplexity",
        "cross-entropy (nats per document)",
        "validation accuracy",
    ]
    assert [axes.get_title(loc="left") for axes in drawn[0].axes[3:]] == ["100 labels", "300 labels"]
    assert texts(drawn[0].axes[4]) == ["100.0%", "0.0%"]
    assert drawn[0].get_suptitle() == "docstrings"


def test_learning_rates_are_marked_and_divergence_runs_out_of_the_frame(tmp_path, drawn):
    rates, losses = [1e-4, 1e-3, 1e-2, 1e-1], [5.0, 4.0, 3.0, 50.0]
    plot_lr_find(rates, losses, {"valley": 3e-3, "steepest": 1e-3}, tmp_path / "rates.svg", smoothed=losses)
    (axes,) = drawn[0].axes
    assert axes.get_xscale() == "log"
    assert axes.get_ylim() == pytest.approx((2.6, 6.2))
    assert texts(axes) == ["steepest: 1.0e-03", "valley: 3.0e-03"]
    assert [line.get_xdata()[0] for line in axes.lines[2:]] == [1e-3, 3e-3]
    assert "<svg" in (tmp_path / "rates.svg").read_text()


@pytest.mark.parametrize("losses", [[2.0], [0.0], [-1.0]])
def test_one_learning_rate_alone(tmp_path, losses):
    plot_lr_find([1e-3], losses, {}, tmp_path / "rates.png")
    assert (tmp_path / "rates.png").exists()


@pytest.mark.parametrize(
    ("scores", "intervals", "message"),
    [
        ({}, {}, "scores: expected at least one, got none"),
        ({"a": 1.5}, {}, "scores: expected 'a' between 0 and 1, got 1.5"),
        ({"a": float("nan")}, {}, "scores: expected 'a' between 0 and 1, got nan"),
        ({"first": 0.5}, {"fist": (0, 1)}, "intervals: no score is named 'fist'; did you mean 'first'"),
        ({"a": 0.5}, {"a": (0.6, 0.7)}, r"intervals: expected that of 'a' to contain 0.5, got \(0.6, 0.7\)"),
    ],
)
def test_comparison_refuses(tmp_path, scores, intervals, message):
    with pytest.raises(DataError, match=message):
        plot_comparison(scores, tmp_path / "bars.png", intervals=intervals)
    with pytest.raises(DataError, match=message):
        plot_quickstart(HISTORIES, {"x": scores}, tmp_path / "bars.png", intervals={"x": intervals})
    assert not list(tmp_path.iterdir())


def test_quickstart_refuses(tmp_path):
    with pytest.raises(DataError, match="scores: expected at least one comparison, got none"):
        plot_quickstart(HISTORIES, {}, tmp_path / "x.png")
    with pytest.raises(DataError, match="intervals: no comparison is named 'b'; there are: a"):
        plot_quickstart(HISTORIES, {"a": SCORES}, tmp_path / "x.png", intervals={"b": {}})


def test_lr_find_refuses(tmp_path):
    with pytest.raises(DataError, match="losses: expected one for each of the rates, at least one; got 1, 2"):
        plot_lr_find([0.1, 0.2], [1.0], {}, tmp_path / "x.png")
    with pytest.raises(DataError, match="losses: expected .* got 0, 0"):
        plot_lr_find([], [], {}, tmp_path / "x.png")
    with pytest.raises(DataError, match="smoothed: expected .* got 2, 1"):
        plot_lr_find([0.1], [1.0], {}, tmp_path / "x.png", smoothed=[1.0, 2.0])


def test_format_and_folder(tmp_path):
    with pytest.raises(ConfigError, match="format: got 'pngg'; did you mean 'png'"):
        plot_comparison(SCORES, tmp_path / "bars.pngg")
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match="cannot be written"):
        plot_comparison(SCORES, tmp_path / "file" / "bars.png")


def test_a_failed_drawing_leaves_nothing_and_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "bars.png"
    path.write_text("old")

    def fail(self, file, **options):
        file.write(b"half")
        raise MemoryError

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    with pytest.raises(MemoryError):
        plot_comparison(SCORES, path)
    assert [file.name for file in tmp_path.iterdir()] == ["bars.png"]
    assert path.read_text() == "old"


def test_neither_import_nor_drawing_needs_pyplot(tmp_path):
    code = (
        "import sys, ulmkit.report as report; assert 'matplotlib' not in sys.modules;"
        "report.plot_comparison({'a': 0.5}, sys.argv[1]); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "bars.png")], check=True, env={"DISPLAY": ":none"})


def test_threads_may_draw_at_once(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    threads = [threading.Thread(target=plot_comparison, args=(SCORES, path)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({path.read_bytes() for path in paths}) == 1


def test_runs_in_one_frame(tmp_path, drawn):
    runs = {"modern": [(1.0, 300.0), (2.0, 120.0)], "readme": [(1.5, 500.0)]}
    plot_runs(runs, tmp_path / "runs.svg")
    axes = drawn[0].axes[0]
    assert [line.get_xydata().tolist() for line in axes.lines] == [[[1.0, 300.0], [2.0, 120.0]], [[1.5, 500.0]]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["modern: 120.0", "readme: 500.0"]
    assert (axes.get_yscale(), axes.get_xlim()[0], axes.get_ylabel()) == ("log", 0, "validation perplexity")
    assert (tmp_path / "runs.svg").read_text().startswith("<?xml")


def test_runs_without_points(tmp_path):
    with pytest.raises(DataError, match="runs: expected validations of 'b', got none; let it train"):
        plot_runs({"a": [(1.0, 2.0)], "b": []}, tmp_path / "runs.png")
    with pytest.raises(DataError, match="runs: expected at least one, got none"):
        plot_runs({}, tmp_path / "runs.png")
    with pytest.raises(ConfigError, match="format: got 'txt'"):
        plot_runs({"a": [(1.0, 2.0)]}, tmp_path / "runs.txt")
    assert list(tmp_path.iterdir()) == []
