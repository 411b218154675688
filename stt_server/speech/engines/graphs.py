"""ONNX Runtime behind a border: graphs in, arrays out, its errors turned into ours."""

import ctypes
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import ArrayLike, NDArray
from onnxruntime.capi import onnxruntime_pybind11_state

from stt_server.errors import EngineFailed, ModelBroken

_ERRORS: tuple[type[Exception], ...] = (
    *(
        kind
        for kind in vars(onnxruntime_pybind11_state).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    ),
    RuntimeError,
    ValueError,
    MemoryError,
)
"""What ONNX Runtime raises. Its own classes have no common parent."""

_TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}

Array = NDArray[Any]

_LARGE_BYTES = 1024 * 1024
_MMAP_THRESHOLD = -3
"""glibc's M_MMAP_THRESHOLD, from malloc.h."""


def _return_large_blocks() -> None:
    """Have large blocks go back to the system as soon as they are freed, in the whole process.

    Loading a graph reads its weights and packs them anew. glibc keeps freed blocks of up to 32 MiB for later: Parakeet
    with two windows of 20 s at once then needs 1,330 MiB instead of 960.
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)


def session_options() -> onnxruntime.SessionOptions:
    """How every graph here is run."""
    options = onnxruntime.SessionOptions()
    # One thread a call: two calls at once on one session do 58 s of audio a second on two cores,
    # one call on two threads 42, and pools that spin wait against each other (100 ms a call).
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # it raises what it also prints
    return options


class Graph:
    """One loaded graph. Its inputs and outputs go by position: exports differ in the names."""

    def __init__(self, path: Path, *, inputs: Sequence[int], outputs: int) -> None:
        """Open a graph that takes inputs of these numbers of dimensions and gives so many outputs."""
        self.name = path.name
        _return_large_blocks()
        try:
            self._session = onnxruntime.InferenceSession(path, session_options(), providers=["CPUExecutionProvider"])
        except _ERRORS as error:
            raise ModelBroken(f"{self.name} cannot be loaded: {error}") from error
        self._inputs = self._session.get_inputs()
        self._outputs = [output.name for output in self._session.get_outputs()]
        if [len(entry.shape) for entry in self._inputs] != [*inputs] or len(self._outputs) != outputs:
            found = ", ".join(f"{entry.name}{entry.shape}" for entry in self._inputs)
            raise ModelBroken(f"{self.name} is not this part of a Parakeet model: it takes {found}.")
        if strange := {entry.type for entry in self._inputs} - _TYPES.keys():
            raise ModelBroken(f"{self.name} takes {', '.join(sorted(strange))}, which is not supported.")
        self._takes = [(entry.name, _TYPES[entry.type]) for entry in self._inputs]

    @property
    def metadata(self) -> dict[str, str]:
        """What its maker wrote into it."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    def size(self, index: int, axis: int) -> int | None:
        """A dimension of an input; None where it may vary."""
        dimension = self._inputs[index].shape[axis]
        return dimension if isinstance(dimension, int) else None

    def run(self, *values: ArrayLike) -> list[Array]:
        """All outputs for these inputs, which are cast to what the graph takes. Raises `EngineFailed`."""
        feeds = {name: np.asarray(value, kind) for (name, kind), value in zip(self._takes, values, strict=True)}
        try:
            outputs: list[Array] = self._session.run(self._outputs, feeds)
        except _ERRORS as error:
            raise EngineFailed from error
        return outputs
