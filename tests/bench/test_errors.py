"""Word errors are counted as everybody counts them, and a difference is certain only where it is."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_server.bench.errors import Score, difference, distance, normalised, rate, score

WORDS = st.lists(st.sampled_from("abcd"), max_size=8)


@cache
def plain(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """The definition."""
    if not one or not other:
        return len(one) + len(other)
    return min(
        plain(one[1:], other) + 1,
        plain(one, other[1:]) + 1,
        plain(one[1:], other[1:]) + (one[0] != other[0]),
    )


@given(WORDS, WORDS)
def test_the_distance_is_the_fewest_changes(one: list[str], other: list[str]) -> None:
    """Replaced, left out and put in words count one each, in the cheapest way there is."""
    assert distance(one, other) == plain(tuple(one), tuple(other))


@pytest.mark.parametrize(
    ("said", "heard", "words", "errors"),
    [
        ("My phone number.", "my phone number", 3, 0),
        ("L’été, vingt-deux", "l'été vingt deux", 3, 0),
        ("one two three", "one too three four", 3, 2),
        ("one two", "", 2, 2),
        ("one", "two three", 1, 2),
        ("room 12", "room twelve", 2, 1),
    ],
)
def test_errors_are_counted_without_case_and_punctuation(said: str, heard: str, words: int, errors: int) -> None:
    """Hyphens are spaces and apostrophes are alike; figures are not spelt out."""
    assert score(said, heard) == Score(words, errors)


def test_long_recordings_weigh_more() -> None:
    """The rate is over all words, not over recordings."""
    assert rate([Score(9, 0), Score(1, 1)]) == 0.1


def test_no_text_is_no_word() -> None:
    """Punctuation alone says nothing."""
    assert normalised(" - … _ ") == []


def test_a_real_difference_is_certain_and_a_small_one_is_not() -> None:
    """With one error more in each of many recordings there is no doubt; with one in all of them there is."""
    ours = [Score(10, 1)] * 50
    low, high = difference(ours, [Score(10, 2)] * 50)
    assert (low, high) == pytest.approx((0.1, 0.1))
    low, high = difference(ours, [Score(10, 2), *ours[1:]])
    assert low == 0.0
    assert high > 0.0


def test_the_bounds_are_those_of_the_normal_distribution() -> None:
    """For many recordings the mean is normal: 1.96 deviations to each side, but for the noise of resampling."""
    errors = np.random.default_rng(1).integers(0, 4, 400)
    low, high = difference([Score(10, 0)] * 400, [Score(10, int(count)) for count in errors])
    mean, deviation = errors.mean() / 10, errors.std() / 10 / 20
    # 10,000 resamples place a 2.5 % quantile within 0.03 deviations (one standard error): allow four.
    assert low == pytest.approx(mean - 1.96 * deviation, abs=0.12 * deviation)
    assert high == pytest.approx(mean + 1.96 * deviation, abs=0.12 * deviation)
