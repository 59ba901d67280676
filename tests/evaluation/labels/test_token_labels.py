import json

import numpy as np
import pytest

from ulmkit.errors import DataError
from ulmkit.evaluation import Span, evaluate_tokens, spans
from ulmkit.evaluation.labels.token_labels import is_span_labelling

BIO = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
O, BP, IP, BL, IL = range(5)  # noqa: E741


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("", []),
        ("O O", []),
        ("B-A I-A O B-B", [("A", 0, 2), ("B", 3, 4)]),
        ("B-A B-A", [("A", 0, 1), ("A", 1, 2)]),  # B always begins
        ("B-A I-B", [("A", 0, 1), ("B", 1, 2)]),  # another type begins
        ("I-A I-A O", [("A", 0, 2)]),  # I after the start begins (IOB1)
        ("O I-A I-B I-B", [("A", 1, 2), ("B", 2, 4)]),
        ("B-A I-A B-A I-A I-A", [("A", 0, 2), ("A", 2, 5)]),
        ("I-A B-A", [("A", 0, 1), ("A", 1, 2)]),
        ("B I O I", [("_", 0, 2), ("_", 3, 4)]),
        ("B-A-1 I-A-1 I-A", [("A-1", 0, 2), ("A", 2, 3)]),
        ("O B-A", [("A", 1, 2)]),
    ],
)
def test_spans(labels, expected):
    assert spans(labels.split()) == [Span(*span) for span in expected]


def test_span_metrics_by_hand():
    #       PER (0,2) right          LOC (3,4) missed; PER (3,4) wrong type      LOC (0,2) wrong end
    true = [np.array([BP, IP, O, BL, O]), np.array([BL, IL, O])]
    guess = [np.array([BP, IP, O, BP, O]), np.array([BL, O, O])]
    report = evaluate_tokens(guess, true, BIO)
    assert (report.documents, report.tokens, report.unit) == (2, 8, "span")
    assert (report.precision, report.recall) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert report.micro_f1 == pytest.approx(1 / 3)
    loc, per = report.classes
    assert (loc.name, loc.precision, loc.recall, loc.f1, loc.support) == ("LOC", 0.0, 0.0, 0.0, 2)
    assert (per.name, per.precision, per.recall, per.support) == ("PER", 0.5, 1.0, 1)
    assert per.f1 == pytest.approx(2 / 3)
    assert report.macro_f1 == pytest.approx(1 / 3)
    assert report.token_accuracy == 6 / 8
    assert (report.majority_label, report.majority_accuracy) == ("O", 3 / 8)
    assert "F1 by span" in report.table()
    json.dumps(report.to_dict(), allow_nan=False)


def test_tokens_without_a_label_are_taken_out_before_spans_are_read():
    true = [np.array([-1, BP, -1, IP, O])]
    guess = [np.array([BL, BP, O, IP, O])]
    report = evaluate_tokens(guess, true, BIO)
    assert report.micro_f1 == 1.0
    assert report.tokens == 3


def test_no_spans_anywhere():
    report = evaluate_tokens([np.array([O, O])], [np.array([O, O])], BIO)
    assert (report.micro_f1, report.precision, report.macro_f1) == (None, None, None)
    assert report.token_accuracy == 1.0


def test_other_labels_are_counted_by_token():
    report = evaluate_tokens(
        [np.array([0, 1, 1]), np.array([2])], [np.array([0, 1, 0]), np.array([2])], ("N", "V", "X")
    )
    assert report.unit == "token"
    assert report.micro_f1 == report.token_accuracy == 0.75
    n, v, _ = report.classes
    assert (n.recall, v.precision) == (0.5, 0.5)


def test_which_labels_mark_spans():
    assert is_span_labelling(BIO)
    assert is_span_labelling(("O", "I"))
    assert not is_span_labelling(("O",))
    assert not is_span_labelling(("NOUN", "O"))


@pytest.mark.parametrize(
    ("guess", "true", "message"),
    [
        ([], [np.array([0])], "expected 1 documents, got 0"),
        ([np.array([0, 0])], [np.array([0])], "expected 1 labels for document 0, got 2"),
        ([np.array([5])], [np.array([0])], "predictions: expected labels 0 to 4, got 5 in document 0"),
        ([np.array([0])], [np.array([-2])], "targets: expected labels 0 to 4, got -2"),
        ([np.array([0])], [np.array([-1])], "at least one labelled token"),
    ],
)
def test_refusals(guess, true, message):
    with pytest.raises(DataError, match=message):
        evaluate_tokens(guess, true, BIO)
