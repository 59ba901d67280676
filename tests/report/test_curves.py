import math

import pytest

from ulmkit.errors import DataError
from ulmkit.report.curves import Panel, StageCurves, panels


def train(seconds, **values):
    return {"kind": "train", "seconds": seconds, **values}


def valid(seconds, **values):
    return {"kind": "validation", "seconds": seconds, **values}


def test_stages_follow_one_another_in_minutes_of_the_whole_run():
    histories = {
        "pretrain": [train(60, loss=3.0, nll=2.0), valid(90, valid_nll=1.0), train(120, loss=2.0, nll=0.0)],
        "finetune": [train(30, loss=9.0, nll=1.0)],
        "classify": [train(12, loss=0.5), valid(18, valid_loss=0.25, valid_accuracy=0.75)],
    }
    e = math.e
    pretrain = StageCurves("pretrain", 0.0, 2.0, [(1.0, pytest.approx(e * e)), (2.0, 1.0)], [(1.5, pytest.approx(e))])
    finetune = StageCurves("finetune", 2.0, 2.5, [(2.5, pytest.approx(e))], [])
    loss = StageCurves("classify", 2.5, 2.8, [(2.7, 0.5)], [(2.8, 0.25)])
    accuracy = StageCurves("classify", 2.5, 2.8, [], [(2.8, 0.75)])
    assert panels(histories) == [
        Panel("perplexity", [pretrain, finetune], logarithmic=True),
        Panel("cross-entropy (nats per document)", [loss]),
        Panel("validation accuracy", [accuracy], is_share=True),
    ]


def test_perplexity_is_taken_as_it_stands_if_there_is_no_nll():
    (panel,) = panels({"lm": [train(6, loss=3.0, perplexity=7.0), valid(6, valid_perplexity=8.0)]})
    assert panel.stages[0].training == [(0.1, 7.0)]
    assert panel.stages[0].validation == [(0.1, 8.0)]


def test_a_perplexity_too_large_for_a_float_stays_finite():
    (panel,) = panels({"lm": [train(6, nll=1e6)]})
    assert math.isfinite(panel.stages[0].training[0][1])


def test_values_that_were_not_finite_are_left_out():
    (panel,) = panels({"classify": [train(6, loss=None), train(12, loss=1.0)]})
    assert panel.stages[0].training == [(0.2, 1.0)]


@pytest.mark.parametrize("histories", [{}, {"a": [], "b": [train(1, tokens=5)]}])
def test_nothing_to_show(histories):
    with pytest.raises(DataError, match=f"histories: expected rows .*, got none in {len(histories)} stages"):
        panels(histories)
