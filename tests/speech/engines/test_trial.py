"""Whether the trial of exactness tells exact kernels from others."""

import numpy as np
import pytest

from stt_server.speech.engines.trial import Array, multiply, sums_are_exact
from stt_server.speech.processor import family, read_facts


def by_pairs(values: Array, weights: Array) -> Array:
    """As processors without VNNI do it: two products are added in 16 bits, which stick at their limits."""
    products = values[:, :, None].astype(np.int64) * weights[None].astype(np.int64)
    pairs = np.clip(products[:, 0::2] + products[:, 1::2], -32768, 32767)
    return np.asarray(pairs.sum(axis=1))


def wrong_in_one_row(values: Array, weights: Array) -> Array:
    """As a kernel that is exact for several rows, and has another one for a single row."""
    return by_pairs(values, weights) if len(values) == 1 else multiply(values, weights)


def test_what_is_exact_passes() -> None:
    """Sums in 32 bits are right however large they are."""
    assert sums_are_exact(lambda values, weights: values.astype(np.int32) @ weights.astype(np.int32))


@pytest.mark.parametrize("wrong", [by_pairs, wrong_in_one_row])
def test_what_sticks_does_not(wrong: object) -> None:
    """Sums in 16 bits are found out, even in one kernel of several."""
    assert callable(wrong)
    assert not sums_are_exact(wrong)


def test_the_table_is_true_of_this_machine() -> None:
    """What is known of this processor's family is what ONNX Runtime does on it."""
    found = family(read_facts())
    if found is None or found.exact is None:
        pytest.skip("nothing is known of this processor")
    assert sums_are_exact() == found.exact
