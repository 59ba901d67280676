"""Temperature scaling: probabilities as sure as they are right, and labels that stay."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from ulmkit.evaluation import (
    expected_calibration_error,
    fit_temperature,
    scaled_log_probabilities,
    scaled_probabilities,
)


def drawn(draw: np.random.Generator, count: int, sharpness: float) -> tuple[np.ndarray, np.ndarray]:
    logits = draw.normal(size=(count, 3)) * 1.5
    labels = np.array([draw.choice(3, p=row) for row in softmax(logits, axis=1)])
    return softmax(sharpness * logits, axis=1), labels


@pytest.mark.parametrize("sharpness", [0.5, 3.0])
def test_the_temperature_that_was_planted_is_found(sharpness: float) -> None:
    outputs, labels = drawn(np.random.default_rng(0), 2000, sharpness)
    temperature = fit_temperature(outputs, labels)
    assert temperature == pytest.approx(sharpness, rel=0.1)
    scaled = scaled_probabilities(outputs, temperature)
    errors = [expected_calibration_error(each.max(axis=1), each.argmax(axis=1) == labels) for each in (outputs, scaled)]
    assert errors[1] < 0.4 * errors[0]
    np.testing.assert_allclose(np.log(scaled), scaled_log_probabilities(np.log(outputs), temperature))


def test_few_documents_change_little() -> None:
    assert fit_temperature(np.array([[0.9, 0.1]]), np.array([0])) == pytest.approx(1.0, abs=0.4)
    assert 1.0 < fit_temperature(np.array([[0.9, 0.1]]), np.array([1])) < 3.0


@given(
    st.lists(st.floats(-20, 20, width=32), min_size=2, max_size=6),
    st.floats(0.05, 20.0),
    st.floats(0, 1e-6),
)
def test_labels_stay_however_close(logits: list[float], temperature: float, step: float) -> None:
    row = np.array([*logits, max(logits) + step], dtype=np.float32)
    probabilities = softmax(row[None, :].astype(np.float32), axis=1).astype(np.float32)
    scaled = scaled_probabilities(probabilities, temperature)
    assert scaled.argmax(axis=1).tolist() == probabilities.argmax(axis=1).tolist()
    assert scaled.sum() == pytest.approx(1.0)


def test_a_few_right_answers_do_not_make_it_certain() -> None:
    outputs = np.array([[0.9, 0.1]] * 20)
    temperature = fit_temperature(outputs, np.zeros(20, dtype=int))
    assert scaled_probabilities(outputs, temperature).max() < 0.97


def test_a_temperature_of_one_and_probabilities_of_zero() -> None:
    np.testing.assert_allclose(scaled_probabilities(np.array([1.0, 0.0]), 1.0), [1.0, 0.0], atol=1e-30)
    np.testing.assert_allclose(scaled_probabilities(np.array([[0.2, 0.8]]), 1.0), [[0.2, 0.8]])
