"""Augmentation of features: what stays, what moves, and how much is hidden."""

import numpy as np
import pytest

from training.features import MELS
from training.spectral import bent, masked


def _energies(frames: int = 400) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(frames, MELS)).astype(np.float32)


@pytest.mark.parametrize("frames", [1, 9, 50, 400, 1600])
def test_masks_hide_a_part_and_leave_the_rest(frames: int) -> None:
    energies = _energies(frames)
    for seed in range(20):
        heard = masked(energies, np.random.default_rng(seed))
        assert heard.shape == energies.shape
        assert np.all((heard == energies) | (heard == 0))
        rows = ~heard.any(axis=1)
        assert rows.sum() <= 10 * (1 + frames // 300)
        assert (~heard.any(axis=0)).sum() <= 30
    assert not np.shares_memory(heard, energies)


def test_a_peak_moves_by_a_few_bands_and_stays_a_peak() -> None:
    peak = np.exp(-0.5 * ((np.arange(MELS) - 30) / 3) ** 2).astype(np.float32)
    places = [int(bent(np.tile(peak, (5, 1)), np.random.default_rng(seed))[2].argmax()) for seed in range(300)]
    assert abs(np.mean(places) - 30) < 0.5
    assert 0.5 < np.std(places) < 3
    assert max(abs(place - 30) for place in places) < 12


def test_a_bend_is_the_same_for_all_frames_and_invents_no_energy() -> None:
    row = _energies(1)
    for seed in range(50):
        heard = bent(np.repeat(row, 7, axis=0), np.random.default_rng(seed))
        assert heard.dtype == np.float32
        assert np.all(heard == heard[0])
        assert row.min() <= heard.min() <= heard.max() <= row.max()
