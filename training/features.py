"""The two front ends that read our models: NeMo's, which the server and onnx-asr compute, and sherpa-onnx's own.

They differ in the window (Hann or Povey), in where a frame lies, in the highest frequency (8,000 or 7,600 Hz) and in
the guard of the logarithm. A model that has heard both works with either.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.fft import rfft

from stt_server.speech.engines.features import LogMel, mel_filters
from training.corpus import Samples

MELS = 80
HOP_SAMPLES = 160

Features = NDArray[np.float32]
"""Log-mel energies, each band with mean 0 and deviation 1 over the utterance: (frames, MELS)."""

_nemo = LogMel(MELS)

_WINDOW_SAMPLES = 400
_FFT_SAMPLES = 512
_PREEMPHASIS = np.float32(0.97)
_SHERPA_TOP_HZ = 7_600
"""kaldi-native-fbank's `high_freq` of -400 counts from half the sample rate."""
_SHERPA_GUARD = float(np.finfo(np.float32).eps)
_POVEY = (np.hanning(_WINDOW_SAMPLES) ** 0.85).astype(np.float32)
_SHERPA_FILTERS = np.ascontiguousarray(mel_filters(MELS, _SHERPA_TOP_HZ).T)


def nemo(samples: Samples) -> Features:
    """NeMo's features, computed by the server's own code."""
    return np.ascontiguousarray(_nemo(samples).T)


def sherpa(samples: Samples) -> Features:
    """What sherpa-onnx computes for a NeMo transducer: kaldi's framing, its pre-emphasis within each frame.

    Source: kaldi-native-fbank with snip_edges, remove_dc_offset and dither off, is_librosa on; compared with it in the
    tests.
    """
    frames = (len(samples) + HOP_SAMPLES // 2) // HOP_SAMPLES
    before = (_WINDOW_SAMPLES - HOP_SAMPLES) // 2
    padded = np.pad(samples, (before, _WINDOW_SAMPLES), mode="symmetric")
    windows = sliding_window_view(padded, _WINDOW_SAMPLES)[::HOP_SAMPLES][:frames]
    emphasised = windows.copy()
    emphasised[:, 1:] -= _PREEMPHASIS * windows[:, :-1]
    emphasised[:, 0] *= 1 - _PREEMPHASIS
    spectrum = rfft(emphasised * _POVEY, _FFT_SAMPLES)
    power = spectrum.real**2 + spectrum.imag**2
    energies = np.log(np.maximum(power @ _SHERPA_FILTERS, _SHERPA_GUARD))
    return _normalised(energies)


def _normalised(energies: Features) -> Features:
    deviation = energies.std(axis=0) + 1e-5
    return np.asarray((energies - energies.mean(axis=0)) / deviation, np.float32)
