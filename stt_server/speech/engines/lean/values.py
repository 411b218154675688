"""The lean graph's weights, made of the published ones when they are written, one after another.

What multiplies integers keeps its integers. Only their scales change, and only by a stage's factor: 0.5 is exact.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from onnx import TensorProto, numpy_helper

from stt_server.speech.engines.lean.anatomy import Attention, Conv, Product
from stt_server.speech.engines.rewrite import Array, signed


def products(parts: Sequence[Product]) -> Array:
    """The signed weights of several products of one value, side by side: (in, outs)."""
    return np.concatenate([_weights(part) for part in parts], axis=1)


def _weights(part: Product) -> Array:
    values = signed(numpy_helper.to_array(part.weight))
    return np.ascontiguousarray(values.reshape(part.outputs, part.inputs).T) if part.pointwise else values


def scales(parts: Sequence[Product], factor: float) -> Array:
    """One for all where that is enough, else one for each column."""
    return _columns(parts, [_value(part.scale) * np.float32(factor) for part in parts])


def zeros(parts: Sequence[Product]) -> Array:
    """Zero points, signed like the weights: likewise."""
    return _columns(parts, [_zero(part) for part in parts])


def _zero(part: Product) -> Array:
    if part.zero is not None:
        return signed(numpy_helper.to_array(part.zero))
    return np.asarray(signed(np.zeros(1, numpy_helper.to_array(part.weight).dtype)))


def _columns(parts: Sequence[Product], values: Sequence[Array]) -> Array:
    if len(parts) == 1 and values[0].size == 1:
        return values[0].reshape(())
    return np.concatenate([np.broadcast_to(v.reshape(-1), part.outputs) for part, v in zip(parts, values, strict=True)])


def bias(parts: Sequence[Product], factor: float = 1.0) -> Array:
    """Zeros where a product has none."""
    return np.concatenate([_bias(part) for part in parts]) * np.float32(factor)


def _bias(part: Product) -> Array:
    return np.zeros(part.outputs, np.float32) if part.bias is None else _value(part.bias).reshape(-1)


def attention_bias(part: Attention) -> Array:
    """Of queries, keys and values in one. The queries carry the bias that meets positions."""
    values = bias([part.queries, part.keys, part.values])
    values[: part.queries.outputs] += _value(part.position_bias).reshape(-1)
    return values


def content_bias(part: Attention) -> Array:
    """What the queries still lack where they meet keys; nothing for keys and values."""
    missing = (_value(part.content_bias) - _value(part.position_bias)).reshape(-1)
    return np.concatenate([missing, np.zeros(part.keys.outputs + part.values.outputs, np.float32)])


def position_table(part: Attention, encodings: Array) -> Array:
    """Projected encodings (distances, width) as (heads, distances + 1, a head's width), over the root of the last."""
    steps = _weights(part.positions).astype(np.float32) - np.float32(zeros([part.positions]))
    projected = _rounded(encodings) @ (steps * scales([part.positions], 1.0)) + _bias(part.positions)
    heads = projected.reshape(len(encodings), part.heads, -1).transpose(1, 0, 2) / np.sqrt(
        np.float32(part.positions.outputs // part.heads)
    )
    return np.pad(heads, ((0, 0), (0, 1), (0, 0))).astype(np.float32)


def _rounded(values: Array) -> Array:
    """To 8 bits, as `DynamicQuantizeLinear` does it.

    The published graph does so with every window's part of the encodings. They are sines and cosines, whose range is
    from -1 to 1 but for windows of a few seconds; there, the outermost values are rounded to the next step.
    """
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    step = np.float32((high - low) / 255)
    zero = np.clip(np.rint(-low / step), 0, 255)
    return np.asarray((np.clip(np.rint(values / step) + zero, 0, 255) - zero) * step, np.float32)


def convolution(part: Conv, dims: Iterable[int]) -> Array:
    """The weights of a convolution as floats."""
    values, along = numpy_helper.to_array(part.weight), (-1, *[1] * (len(part.weight.dims) - 1))
    if part.scale is not None:
        zero = 0 if part.zero is None else _value(part.zero).astype(np.float32)
        values = (values.astype(np.float32) - np.reshape(zero, along)) * _value(part.scale).reshape(along)
    return np.asarray(values, np.float32).reshape(*dims)


def vector(tensor: TensorProto) -> Array:
    """A weight without axes of 1."""
    return _value(tensor).reshape(-1)


def _value(tensor: TensorProto) -> Array:
    return np.asarray(numpy_helper.to_array(tensor))
