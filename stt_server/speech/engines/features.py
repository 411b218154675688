"""What Parakeet hears: NeMo's normalised log-mel spectrogram, in numpy.

The numbers below are the front end the model was trained with. Another window, another mel scale or
another order of operations costs words (sherpa-onnx's own front end differs, and loses some).
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from stt_server.types import SAMPLE_RATE

Float32 = NDArray[np.float32]

HOP_SAMPLES = 160
HOP = HOP_SAMPLES / SAMPLE_RATE
"""Seconds from one frame to the next."""

_FFT_SAMPLES = 512
_WINDOW_SAMPLES = 400
_PREEMPHASIS = 0.97
_LOG_GUARD = 2.0**-24
_DEVIATION_GUARD = 1e-5
_BLOCK_FRAMES = 64
"""Frames transformed at a time: the arrays stay in the cache (10 s in 2 ms; 5 ms in one go)."""
_PRODUCT_FRAMES = 4
"""Frames in one matrix product. OpenBLAS splits larger ones over threads that then spin against the
recogniser's own: with the other core busy, 10 s took 80 ms instead of 2."""


def _slaney_mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slaney's scale: 200/3 Hz a step up to 1 kHz, then 27 steps to every factor of 6.4."""
    return np.where(hz < 1000, hz * 3 / 200, 15 + 27 * np.log(np.maximum(hz, 1) / 1000) / np.log(6.4))


def _slaney_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))


def mel_filters(mels: int, top_hz: float = SAMPLE_RATE / 2) -> Float32:
    """Triangles from 0 Hz to `top_hz`, each of area 1 (Slaney's norm): (mels, bins)."""
    top = _slaney_mel(np.array(top_hz))
    corners = _slaney_hz(np.linspace(0, top, mels + 2))
    left, centre, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    bins = np.linspace(0, SAMPLE_RATE / 2, _FFT_SAMPLES // 2 + 1)
    triangles = np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre))
    return (np.maximum(triangles, 0) * 2 / (right - left)).astype(np.float32)


class LogMel:
    """Samples to features. Build once, call from any thread."""

    def __init__(self, mels: int) -> None:
        self.mels = mels
        self._filters = np.ascontiguousarray(mel_filters(mels).T)
        self._window = np.hanning(_WINDOW_SAMPLES)

    def __call__(self, samples: Float32) -> Float32:
        """Features of shape (mels, len(samples) // 160): each row has mean 0 and deviation 1."""
        frames = len(samples) // HOP_SAMPLES
        windows = _windows(samples, -(-frames // _PRODUCT_FRAMES) * _PRODUCT_FRAMES)
        blocks = [
            self._mel_energy(windows[start : start + _BLOCK_FRAMES]) for start in range(0, len(windows), _BLOCK_FRAMES)
        ]
        energy = np.concatenate(blocks)[:frames] if blocks else np.empty((0, self.mels), np.float32)
        return np.ascontiguousarray(_normalised(np.log(energy + np.float32(_LOG_GUARD))).T)

    def _mel_energy(self, windows: Float32) -> Float32:
        """Energy in each mel band: (frames, mels)."""
        # float64: numpy's float32 transform is slower (3.7 against 1.0 ms for 10 s).
        spectrum = np.fft.rfft(windows * self._window, _FFT_SAMPLES)
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
        products = power.reshape(-1, _PRODUCT_FRAMES, power.shape[1]) @ self._filters
        return products.reshape(-1, self.mels)


def _windows(samples: Float32, frames: int) -> Float32:
    """Stretches of the pre-emphasised samples, the i-th centred on sample 160 * i, silence beyond both ends."""
    half = _WINDOW_SAMPLES // 2
    padded = np.zeros(frames * HOP_SAMPLES + 2 * half, np.float32)
    padded[half : half + len(samples)] = samples
    padded[half + 1 : half + len(samples)] -= np.float32(_PREEMPHASIS) * samples[:-1]
    return sliding_window_view(padded, _WINDOW_SAMPLES)[::HOP_SAMPLES][:frames]


def _normalised(features: Float32) -> Float32:
    """Each mel band to mean 0 and (unbiased) deviation 1 over the window."""
    frames = len(features)
    # Summed in float64: in float32 the mean of plain silence is off by more than the guard below.
    mean = features.sum(axis=0, dtype=np.float64) / max(frames, 1)
    centred = features - mean.astype(np.float32)
    deviation = np.sqrt(np.square(centred).sum(axis=0) / np.float32(max(frames - 1, 1)))
    return np.asarray(centred / (deviation + np.float32(_DEVIATION_GUARD)))
