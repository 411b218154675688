"""Does ONNX Runtime add up products of unsigned and signed bytes without loss on this machine? It is made to do so."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from stt_server.speech.engines.graphs import session_options

Array = NDArray[Any]
Multiply = Callable[[Array, Array], Array]
"""uint8 (rows, n) times int8 (n, columns): sums of products."""

INNER, COLUMNS = 256, 48
ROWS = (1, 2, 17, 130)
"""Kernels differ with the number of rows."""


def multiply(values: Array, weights: Array) -> Array:
    """By ONNX Runtime, the weights being known beforehand as in a model."""
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["values", "weights"], ["sums"])],
        "trial",
        [helper.make_tensor_value_info("values", TensorProto.UINT8, values.shape)],
        [helper.make_tensor_value_info("sums", TensorProto.INT32, None)],
        [helper.make_tensor("weights", TensorProto.INT8, weights.shape, weights.tobytes(), raw=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, session_options(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"values": values})[0])


def sums_are_exact(multiply: Multiply = multiply) -> bool:
    """Whether the largest and smallest sums there are come out right, and random ones."""
    draw = np.random.default_rng(0).integers
    weights = draw(-128, 128, (INNER, COLUMNS), np.int8)
    weights[:, 0::4], weights[:, 1::4] = 127, -128
    for rows in ROWS:
        values = draw(0, 256, (rows, INNER), np.uint8)
        values[::2] = 255
        if not np.array_equal(multiply(values, weights), values.astype(np.int64) @ weights.astype(np.int64)):
            return False
    return True
