"""How many products of 8-bit numbers this machine can do: large matrix products, with nothing around them.

Measured through ONNX Runtime, which the server uses, and through oneDNN where PyTorch is installed. The best of both is
the limit: a practical one, of libraries, not the one in the processor's papers.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass

import numpy as np

_SHAPES = ((125, 1024, 4096), (1000, 1024, 4096), (1000, 4096, 1024))
"""Rows, depth, columns of Parakeet's feed-forward layers: rows of one 10 s window, and of eight at once."""
_SECS = 0.6
"""Spent on each."""


@dataclass(frozen=True, slots=True)
class Product:
    """One measured product."""

    library: str
    shape: tuple[int, int, int]
    tops: float
    """10^12 operations a second, an addition and a multiplication being two; of the fastest run."""


def measure(threads: int) -> list[Product]:
    """All products on all cores, in a process of their own."""
    # -m with the module's own name: its libraries' threads must not live on in ours.
    command = [sys.executable, "-m", "benchmarks.limit", str(threads)]
    found = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    return [Product(**{**row, "shape": tuple(row["shape"])}) for row in json.loads(found)]


def giga_operations(seconds: float) -> float:
    """What Parakeet costs for a second of audio, in windows of so many seconds, in 10^9 operations.

    Counted from its shapes: 16.0 in products with weights and convolutions, and attention's share, which grows with
    the window.
    """
    return 16.0 + 0.031 * seconds


def _products(threads: int) -> Iterator[Product]:
    for shape in _SHAPES:
        yield Product("ONNX Runtime", shape, _tops(shape, _by_onnxruntime(shape, threads)))
        with suppress(ImportError):
            yield Product("oneDNN", shape, _tops(shape, _by_onednn(shape, threads)))


def _tops(shape: tuple[int, int, int], run: Callable[[], object]) -> float:
    times: list[float] = []
    deadline = time.perf_counter() + _SECS
    while len(times) < 4 or time.perf_counter() < deadline:
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    rows, depth, columns = shape
    return 2 * rows * depth * columns / min(times[1:]) / 1e12


def _by_onnxruntime(shape: tuple[int, int, int], threads: int) -> Callable[[], object]:
    """Unsigned activations, signed weights: what its kernels do best."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    rows, depth, columns = shape
    numbers = np.random.default_rng(0)
    weights = numpy_helper.from_array(numbers.integers(-127, 128, (depth, columns), np.int8), "weights")
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "weights"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [rows, depth])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [rows, columns])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    values = {"x": numbers.integers(0, 256, (rows, depth), np.uint8)}
    return lambda: session.run(None, values)


def _by_onednn(shape: tuple[int, int, int], threads: int) -> Callable[[], object]:
    """With weights packed ahead, as an engine would have them."""
    import torch

    torch.set_num_threads(threads)
    rows, depth, columns = shape
    weights = torch.randint(-127, 128, (columns, depth), dtype=torch.int8)
    packed = torch.ops.onednn.qlinear_prepack(weights, [rows, depth])
    scales, zeros = torch.ones(columns), torch.zeros(columns, dtype=torch.int32)
    values = torch.randint(0, 256, (rows, depth), dtype=torch.uint8)
    product = torch.ops.onednn.qlinear_pointwise
    return lambda: product(values, 1.0, 0, packed, scales, zeros, None, 1.0, 0, torch.float32, "none", [], "")


if __name__ == "__main__":
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    json.dump([asdict(product) for product in _products(int(sys.argv[1]))], sys.stdout)
