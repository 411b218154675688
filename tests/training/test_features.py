"""sherpa-onnx's front end, against the library that it is made of."""

import numpy as np
import pytest

pytest.importorskip("scipy", reason="scipy is not installed: see training/README.md")
kaldi = pytest.importorskip("kaldi_native_fbank", reason="kaldi-native-fbank is not installed: see training/README.md")

from training import features  # noqa: E402


@pytest.mark.parametrize("samples", [16_123, 8_000, 4_007])
def test_equal_to_kaldi_native_fbank(samples: int) -> None:
    """Up to float32's rounding, for lengths that end anywhere in a frame."""
    sound = (np.random.default_rng(samples).standard_normal(samples) * 0.1).astype(np.float32)
    options = kaldi.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.snip_edges = False
    options.frame_opts.remove_dc_offset = False
    options.mel_opts.num_bins = features.MELS
    options.mel_opts.low_freq = 0
    options.mel_opts.high_freq = -400
    options.mel_opts.is_librosa = True
    theirs = kaldi.OnlineFbank(options)
    theirs.accept_waveform(16_000, sound.tolist())
    theirs.input_finished()
    energies = np.stack([theirs.get_frame(index) for index in range(theirs.num_frames_ready)])
    wanted = (energies - energies.mean(axis=0)) / (energies.std(axis=0) + 1e-5)
    np.testing.assert_allclose(features.sherpa(sound), wanted, atol=2e-3)
