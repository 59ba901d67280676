import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmkit import config
from ulmkit.errors import ConfigError, UlmkitError, did_you_mean


@dataclass(frozen=True, kw_only=True)
class Example:
    size: int
    dropout: float = 0.1

    def __post_init__(self) -> None:
        config.check_probability("dropout", self.dropout)


def test_round_trip():
    example = Example(size=3, dropout=0.2)
    assert config.from_dict(Example, config.to_dict(example), "here") == example
    assert config.from_dict(Example, {"size": 3}, "here") == Example(size=3)


def test_fields_added_later_are_omitted_at_their_default():
    @dataclass(frozen=True, kw_only=True)
    class Newer(Example):
        rounds: int = field(default=5, metadata=config.ADDED_LATER)
        rank: int | None = field(default=None, metadata=config.ADDED_LATER)

    assert config.to_dict(Newer(size=3)) == config.to_dict(Example(size=3))
    assert config.to_dict(Newer(size=3, rounds=4)) == {"size": 3, "dropout": 0.1, "rounds": 4}
    for newer in (Newer(size=3), Newer(size=3, rounds=4, rank=2)):
        assert config.from_dict(Newer, config.to_dict(newer), "here") == newer


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": 1, "dropuot": 0.1}, "here: unknown key 'dropuot'; did you mean 'dropout'"),
        ({"dropout": 0.1}, "here: missing key 'size'"),
        ({"size": 1, "dropout": 1.0}, "dropout: expected 0 <= p < 1, got 1.0"),
    ],
)
def test_wrong_keys_and_values_are_named(values, message):
    with pytest.raises(ConfigError, match=message):
        config.from_dict(Example, values, "here")


@pytest.mark.parametrize(
    ("check", "value", "message"),
    [
        (config.check_positive, 0, "x: expected a number above 0, got 0"),
        (config.check_positive, math.inf, "x: expected a number of at most 1,000,000,000, got inf"),
        (config.check_not_negative, -1, "x: expected a number of at least 0, got -1"),
        (config.check_probability, -0.1, "x: expected 0 <= p < 1, got -0.1"),
        (config.check_fraction, 0.0, "x: expected 0 < fraction < 1, got 0.0"),
        (config.check_fraction, 1.0, "x: expected 0 < fraction < 1, got 1.0"),
        (config.check_probability, math.nan, "x: expected 0 <= p < 1, got nan"),
    ],
)
def test_numbers_outside_their_range(check, value, message):
    with pytest.raises(ConfigError, match=message):
        check("x", value)


@given(value=st.integers(), at_least=st.integers(0, 10), make=st.sampled_from([int, np.int64, np.uint8]))
def test_a_count_is_an_integer_that_is_large_enough(value, at_least, make):
    if make is not int:
        value = value % 100
    if value > config.LARGEST_COUNT:
        with pytest.raises(ConfigError, match="x: expected a whole number of at most 2,147,483,647, got"):
            config.check_whole("x", make(value), at_least)
    elif value >= at_least:
        config.check_whole("x", make(value), at_least)
    else:
        with pytest.raises(ConfigError, match=f"x: expected a whole number of at least {at_least}, got"):
            config.check_whole("x", make(value), at_least)


@given(value=st.floats() | st.booleans() | st.text() | st.none())
def test_a_count_is_neither_a_float_nor_a_bool(value):
    with pytest.raises(ConfigError) as refusal:
        config.check_whole("hidden_size", value)
    assert str(refusal.value) == f"hidden_size: expected a whole number of at least 1, got {value!r}"


@pytest.mark.parametrize("check", [config.check_positive, config.check_not_negative, config.check_probability])
@given(value=st.booleans() | st.text() | st.none() | st.lists(st.integers()) | st.complex_numbers())
def test_a_value_that_is_no_number_is_refused(check, value):
    with pytest.raises(ConfigError, match="x: expected "):
        check("x", value)


@given(value=st.floats())
def test_each_check_accepts_its_range_alone(value):
    ranges = {
        config.check_positive: 0 < value <= config.LARGEST_NUMBER,
        config.check_not_negative: 0 <= value <= config.LARGEST_NUMBER,
        config.check_probability: 0 <= value < 1,
    }
    for check, is_valid in ranges.items():
        for number in (value, np.float64(value)):
            if is_valid:
                check("x", number)
            else:
                with pytest.raises(ConfigError):
                    check("x", number)


def test_choices_name_the_nearest():
    config.check_choice("kind", "bpe", ("unigram", "bpe"))
    with pytest.raises(ConfigError, match="kind: got 'unigrm'; did you mean 'unigram'. there are: unigram, bpe"):
        config.check_choice("kind", "unigrm", ("unigram", "bpe"))
    assert did_you_mean("zzz", ["a", "b"]) == "there are: a, b"
    assert did_you_mean("zzz", []) == "there are none"
    assert did_you_mean("NEG", ["neg", "pos"]) == "did you mean 'neg'? there are: neg, pos"


def test_errors_are_of_one_family_and_of_the_builtin_kind():
    assert issubclass(ConfigError, UlmkitError)
    assert issubclass(ConfigError, ValueError)
