"""The front end against librosa's filters and onnx-asr's features."""

import numpy as np
import pytest
from onnx_asr.preprocessors.numpy_preprocessor import NemoPreprocessorNumpy

from stt_server.speech.engines.features import HOP_SAMPLES, Float32, LogMel, mel_filters
from tests.assets import ASSETS, needs_assets
from tests.speech.engines.models import speech

CLIPS = ("en/jfk_16k.wav", "en/sb_spk1_snt3.wav", "multi/ru_proverka.wav", "en/mfa_acoustic_corpus.wav")


def reference(samples: Float32, mels: int) -> Float32:
    """Features as onnx-asr computes them, without the frame past the end."""
    features, lengths = NemoPreprocessorNumpy(f"nemo{mels}")(samples[None], np.array([len(samples)]))
    return features[0, :, : lengths[0]]


@pytest.mark.parametrize("mels", [80, 128])
def test_mel_filters_are_slaneys(mels: int) -> None:
    """The filter bank is librosa's, to the last digit of float32."""
    import librosa  # starts slowly

    expected = librosa.filters.mel(sr=16_000, n_fft=512, n_mels=mels, fmin=0, fmax=8000, norm="slaney", htk=False)
    np.testing.assert_allclose(mel_filters(mels), expected, rtol=0, atol=1e-8)


@needs_assets
@pytest.mark.parametrize("mels", [80, 128])
@pytest.mark.parametrize("clip", CLIPS)
def test_features_are_nemos(clip: str, mels: int) -> None:
    """Real speech gives the features of an independent implementation.

    Ours rounds the power spectrum and not the magnitude to float32. That is a relative 1e-7, which the logarithm of
    a band near nothing (2^-24) and the division by a small deviation raise to 1e-4; on average it stays near 1e-6.
    """
    samples = speech(ASSETS / "audio" / clip)
    ours, theirs = LogMel(mels)(samples), reference(samples, mels)
    assert ours.dtype == np.float32
    assert ours.shape == theirs.shape == (mels, len(samples) // HOP_SAMPLES)
    assert np.abs(ours - theirs).max() < 5e-4
    assert np.abs(ours - theirs).mean() < 1e-5


@pytest.mark.parametrize("samples", [0, 1, 159, 160, 161, 320, 1600, 10_239, 10_240, 10_241])
def test_any_length_is_taken(samples: int) -> None:
    """There is a frame for every whole hop, and the values are finite, however short the sound."""
    noise = np.random.default_rng(samples).normal(0, 0.1, samples).astype(np.float32)
    features = LogMel(80)(noise)
    assert features.shape == (80, samples // HOP_SAMPLES)
    assert np.isfinite(features).all()


@pytest.mark.parametrize("frames", [2, 3, 5, 63, 64, 65, 200])
def test_blocks_do_not_show(frames: int) -> None:
    """Frames are the same wherever the blocks they are computed in begin and end."""
    noise = np.random.default_rng(frames).normal(0, 0.1, frames * HOP_SAMPLES).astype(np.float32)
    np.testing.assert_allclose(LogMel(80)(noise), reference(noise, 80), atol=5e-4)


def test_silence_is_zero() -> None:
    """Digital silence has no deviation to divide by: its features are 0, not noise and not infinite."""
    assert not LogMel(128)(np.zeros(16_000, np.float32)).any()
