import io

import pytest
from support.toy_task import FakeClock, ToyTask

from ulmkit.training import (
    Budget,
    LineProgress,
    ProgressInfo,
    RichProgress,
    StepResult,
    Trainer,
    TrainerConfig,
    full,
    make_progress,
)
from ulmkit.training.progress import format_seconds

INFO = ProgressInfo("all", 0.5, 1200, 0.25, 4.0, 54.6, 3210.0, 75.0)


def test_text():
    assert INFO.text() == "all  step 1,200  epoch 0.25  loss 4.000  perplexity 54.6  3,210 tokens/s  1:15 left"
    assert ProgressInfo("all", 0.0, 1, 0.0, None, None, None, None).text() == "all  step 1  epoch 0.00"


def test_lines_are_sparse():
    stream, clock = io.StringIO(), FakeClock()
    progress = LineProgress(stream, every_seconds=15, clock=clock)
    progress.start()
    for clock.now in range(40):
        progress.update(INFO)
    progress.message("validation")
    progress.close()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 4
    assert lines[0] == " 50%  " + INFO.text()
    assert lines[3] == "validation"


def test_live_bar(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    stream = io.StringIO()
    progress = RichProgress(stream)
    progress.close()
    progress.message("[before] the run")
    assert stream.getvalue() == "[before] the run\n"
    progress.start()
    progress.update(INFO)
    progress.message("[step] validation")
    progress.close()
    assert "[step] validation" in stream.getvalue()
    assert "50%" in stream.getvalue()
    assert INFO.text() in stream.getvalue()


def test_documents_are_counted_until_the_bar_starts(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    lines, stream = io.StringIO(), io.StringIO()
    for progress in (LineProgress(lines), RichProgress(stream)):
        progress.documents(1)
        progress.documents(1234)
        progress.start()
        progress.update(INFO)
        progress.close()
    assert "documents" not in lines.getvalue()
    assert stream.getvalue().count("1,234 documents") == 0  # no terminal: what is transient leaves no trace
    assert INFO.text() in stream.getvalue()


def test_choice():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    assert isinstance(make_progress(io.StringIO()), LineProgress)
    assert isinstance(make_progress(Terminal()), RichProgress)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (60, "1:00"), (7385, "2:03:05"), (-3, "0 s")]
)
def test_format_seconds(seconds, text):
    assert format_seconds(seconds) == text


class Recorder:
    def __init__(self):
        self.infos, self.messages, self.calls = [], [], []

    def start(self):
        self.calls.append("start")

    def update(self, info):
        self.infos.append(info)

    def message(self, text):
        self.messages.append(text)

    def close(self):
        self.calls.append("close")


@pytest.mark.parametrize("language_model", [True, False])
def test_what_the_trainer_shows(language_model):
    clock = FakeClock()
    task, progress = ToyTask(), Recorder()
    task.is_language_model = language_model
    loss = task.loss

    def timed(batch):
        clock.now += 2.0
        result = loss(batch)
        return StepResult(result.loss, 100, {"nll": 3.0}, 1.0)

    task.loss = timed
    phases = full(3, budget=Budget(steps=4), peak_rate=0.01)
    Trainer(task, TrainerConfig(), phases, progress=progress, clock=clock).fit()
    assert progress.calls == ["start", "close"]
    assert [info.fraction_done for info in progress.infos] == [0.25, 0.5, 0.75, 1.0]
    last = progress.infos[1]
    assert (last.phase, last.step, last.tokens_per_second, last.seconds_left) == ("full", 2, 50.0, 4.0)
    assert last.perplexity == (pytest.approx(20.0855, abs=1e-3) if language_model else None)
    assert progress.messages[0].startswith("step 4: validation mse")
    assert progress.messages[0].endswith("(best so far)")


def test_closed_when_training_fails():
    task, progress = ToyTask(), Recorder()
    task.loss = lambda batch: 1 / 0
    with pytest.raises(ZeroDivisionError):
        Trainer(task, TrainerConfig(), full(3, budget=Budget(steps=4), peak_rate=0.01), progress=progress).fit()
    assert progress.calls == ["start", "close"]
