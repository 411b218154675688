"""The rewritten graph against the original: exact where that is claimed, within a stated bound where not."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from stt_server.speech.engines.features import LogMel
from stt_server.speech.engines.rewrite import rewrite
from stt_server.speech.processor import multiplies_exactly
from tests.assets import TINY_MODEL, needs_model
from tests.speech.engines.graphs import (
    Array,
    Run,
    by_definition,
    by_onnxruntime,
    kinds,
    model_of,
    quantise,
    rewritten,
    scaled,
    whole,
)
from tests.speech.engines.models import SAMPLES, speech, transcripts

needs_exact = pytest.mark.skipif(not multiplies_exactly(), reason="the fast kernels overflow on this processor")
RUNS = [by_definition, pytest.param(by_onnxruntime, marks=needs_exact)]

random = np.random.default_rng(4)


def weights(*shape: int) -> Array:
    return random.integers(0, 256, shape, np.uint8)


def zeros(kind: str, channels: int) -> dict[str, Array]:
    values = {"none": {}, "one": {"w_zero": np.uint8(117)}, "each": {"w_zero": weights(channels)}}
    return values[kind]  # type: ignore[return-value]


def scales(kind: str, *each: int) -> dict[str, Array]:
    shape = {"one": (), "each": each, "one in a row": (1,)}[kind]
    return {"w_scale": np.asarray(random.uniform(0.001, 0.01, shape), np.float32)}


def noise(*shape: int) -> Array:
    return random.normal(0, 1, shape).astype(np.float32)


def check_equal(model: ModelProto, x: Array, run: Run) -> ModelProto:
    """The rewritten model, after seeing that it gives the same to the last bit."""
    fast = rewritten(model)
    onnx.checker.check_model(fast, full_check=True)
    for before, after in zip(run(model, x), run(fast, x), strict=True):
        assert before.shape == after.shape
        assert (before == after).all()
    return fast


def check_untouched(model: ModelProto) -> None:
    found = rewrite(model)
    assert found.changes == 0
    assert kinds(whole(found)) == kinds(model)


# -- Matrix products -------------------------------------------------------------------------------


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("zero", ["none", "one", "each"])
@pytest.mark.parametrize("scale", ["one", "one in a row", "each"])
@pytest.mark.parametrize(("rows", "inner", "columns"), [(1, 3, 1), (7, 129, 33), (40, 640, 96)])
def test_signed_products_are_exact(run: Run, zero: str, scale: str, rows: int, inner: int, columns: int) -> None:
    """Any zero point, any scale, any shape, with a bias added behind: the same to the last bit."""
    values = {"w": weights(inner, columns), "bias": noise(columns), **zeros(zero, columns), **scales(scale, columns)}
    nodes = [
        quantise(),
        *scaled("MatMulInteger", "y", zero="w_zero" if zero != "none" else ""),
        helper.make_node("Add", ["bias", "y"], ["z"]),
    ]
    model = model_of(nodes, values, "z", axes=3)
    fast = check_equal(model, noise(2, rows, inner), run)
    kinds_of_weights = {w.name: w.data_type for w in fast.graph.initializer}
    assert TensorProto.UINT8 not in kinds_of_weights.values()


@needs_exact
@pytest.mark.parametrize("inner", [64, 385, 4096])
@pytest.mark.parametrize("bias", [False, True])
def test_fused_products_are_exact(inner: int, bias: bool) -> None:
    """So does the operator into which ONNX Runtime fuses quantisation, product, scale and bias, whatever the kernel."""
    values = {"w": weights(inner, 96), "bias": noise(96), **zeros("one", 96), **scales("one")}
    nodes = [quantise(), *scaled("MatMulInteger", "y"), helper.make_node("Add", ["y", "bias"], ["z"])][
        : 6 if bias else 5
    ]
    model, x = model_of(nodes, values, "z" if bias else "y", axes=2), noise(50, inner)
    (before,), (after,) = by_onnxruntime(model, x, fused=True), by_onnxruntime(rewritten(model), x, fused=True)
    assert (before == after).all()


@pytest.mark.parametrize("run", RUNS)
def test_the_extremes_are_exact(run: Run) -> None:
    """Weights of 0 and 255 with zero points of 0 and 255 stay within a signed byte."""
    values = {
        "w": np.tile(np.array([0, 255], np.uint8), (64, 2)),
        "w_zero": np.array([0, 0, 255, 255], np.uint8),
        "w_scale": np.float32(0.01),
    }
    model = model_of([quantise(), *scaled("MatMulInteger", "y")], values, "y", axes=2)  # type: ignore[arg-type]
    check_equal(model, np.where(noise(9, 64) > 0, 1, -1).astype(np.float32), run)


@pytest.mark.parametrize("run", RUNS)
def test_what_is_shared_stays_right(run: Run) -> None:
    """Queries, keys and values share their input; two of them their weights, and a float reader has them unsigned."""
    values = {"w": weights(16, 8), "v": weights(16, 8), "w_zero": np.uint8(9), "w_scale": np.float32(0.1)}
    nodes = [
        quantise(),
        *scaled("MatMulInteger", "q"),
        *scaled("MatMulInteger", "k"),
        *scaled("MatMulInteger", "u", weight="v")[:2],
        helper.make_node("Cast", ["w"], ["w_float"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["x", "w_float"], ["f"]),
    ]
    model = model_of(nodes, values, "q", "k", "u_cast", "f", axes=2)  # type: ignore[arg-type]
    fast = check_equal(model, noise(5, 16), run)
    assert sorted(w.name for w in fast.graph.initializer) == [
        "v/signed", "w", "w/signed", "w_scale", "w_zero/signed",
    ]  # fmt: skip


def test_weights_read_inside_a_branch_are_kept() -> None:
    """A branch of an `If` reads values from outside."""
    inner = helper.make_graph(
        [helper.make_node("Cast", ["w"], ["inside"], to=TensorProto.FLOAT)],
        "branch",
        [],
        [helper.make_tensor_value_info("inside", TensorProto.FLOAT, [None, None])],
    )
    nodes = [
        quantise(),
        *scaled("MatMulInteger", "y"),
        helper.make_node("If", ["yes"], ["f"], then_branch=inner, else_branch=inner),
    ]
    values: dict[str, Any] = {"w": weights(4, 4), **zeros("one", 4), **scales("one"), "yes": np.array(True)}
    check_equal(model_of(nodes, values, "y", "f", axes=2), noise(3, 4), by_definition)


# -- Convolutions over single points ---------------------------------------------------------------


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("axes", [3, 4])
@pytest.mark.parametrize("zero", ["none", "one"])
@pytest.mark.parametrize("scale", ["one", "each", "each, one batch"])
@pytest.mark.parametrize("bias", [False, True])
def test_pointwise_convolutions_are_exact(run: Run, axes: int, zero: str, scale: str, bias: bool) -> None:
    """Along one axis or two, as a matrix product: the same to the last bit, in the same layout."""
    into, out, beyond = 12, 20, [1] * (axes - 2)
    each = (1, out, *beyond) if scale == "each, one batch" else (out, *beyond)
    values: dict[str, Any] = {
        "w": weights(out, into, *beyond),
        **zeros(zero, out),
        **scales(scale.split(",")[0], *each),
    }
    nodes = [
        quantise(),
        *scaled("ConvInteger", "y", zero="w_zero" if zero != "none" else "", kernel_shape=[1, *beyond][1:]),
    ]
    if bias:
        values |= {"bias": noise(out), "shape": np.array([1, -1, *beyond])}
        nodes += [helper.make_node("Reshape", ["bias", "shape"], ["b"]), helper.make_node("Add", ["y", "b"], ["z"])]
    fast = check_equal(
        model_of(nodes, values, "z" if bias else "y", axes=axes), noise(2, into, *range(5, 3 + axes)), run
    )
    assert "ConvInteger" not in kinds(fast)
    assert kinds(fast).count("DynamicQuantizeLinear") == 1


# -- Other convolutions ----------------------------------------------------------------------------


@pytest.mark.parametrize("zero", ["none", "one"])
@pytest.mark.parametrize("scale", ["one", "each"])
@pytest.mark.parametrize(
    ("shape", "x", "attributes"),
    [
        ((8, 1, 9), (2, 8, 30), {"group": 8, "pads": [4, 4], "kernel_shape": [9]}),
        ((8, 1, 3, 3), (2, 1, 11, 16), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ((6, 1, 3, 3), (2, 6, 10, 8), {"group": 6, "strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ((4, 3, 1), (2, 3, 9), {"strides": [2]}),
        ((4, 2, 1), (2, 4, 9), {"group": 2}),
        ((4, 3, 1), (2, 3, 9), {"pads": [1, 1]}),
    ],
    ids=["depthwise", "first", "depthwise over two axes", "strided", "grouped", "padded"],
)
def test_other_convolutions_are_computed_in_float(
    zero: str, scale: str, shape: tuple[int, ...], x: tuple[int, ...], attributes: dict[str, Any]
) -> None:
    """The result differs from the quantised one by no more than rounding what goes in could: one step of its 255, half
    for the value and half for where zero lies, times the weights that meet."""
    values: dict[str, Any] = {
        "w": weights(*shape),
        **zeros(zero, shape[0]),
        **scales(scale, shape[0], *[1] * (len(shape) - 2)),
    }
    nodes = [quantise(), *scaled("ConvInteger", "y", zero="w_zero" if zero != "none" else "", **attributes)]
    model = model_of(nodes, values, "y", axes=len(x))
    found = rewrite(model)
    assert found.floated == found.changes == 1
    assert kinds(whole(found)) == ["Conv"]

    given = noise(*x)
    (before,), (after,) = by_onnxruntime(model, given), by_onnxruntime(whole(found), given)
    step = (max(given.max(), 0) - min(given.min(), 0)) / 255
    columns = (-1, *[1] * (len(shape) - 1))
    real = (values["w"].astype(np.float32) - np.float32(values.get("w_zero", 0))) * values["w_scale"].reshape(columns)
    bound = step * np.abs(real).reshape(shape[0], -1).sum(axis=1).max()
    assert before.shape == after.shape
    assert 0 < np.abs(before - after).max() <= bound


# -- What is left alone ----------------------------------------------------------------------------


def test_what_is_signed_already_is_left_alone() -> None:
    """An export with signed weights has nothing to gain."""
    values: dict[str, Any] = {"w": np.array([[1], [-2]], np.int8), "w_zero": np.int8(0), "w_scale": np.float32(1)}
    check_untouched(model_of([quantise(), *scaled("MatMulInteger", "y")], values, "y", axes=2))


def test_float_graphs_are_left_alone() -> None:
    """So has one that is not quantised."""
    check_untouched(model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": noise(4, 4)}, "y", axes=2))


def _computed_weights() -> ModelProto:
    nodes = [
        quantise("w_float"),
        quantise(),
        *scaled("MatMulInteger", "y", weight="w_float_quantized", zero="w_float_zero_point"),
    ]
    values: dict[str, Any] = {"w_float": noise(4, 4), "w_float_quantized_scale": np.float32(1)}
    return model_of(nodes, values, "y", axes=2)


def _convolution(*, sums_too: bool = False, **changed: Any) -> ModelProto:
    values = {"w": weights(4, 4, 1), "w_zero": np.uint8(3), "w_scale": np.float32(0.1), **changed}
    nodes = [quantise(), *scaled("ConvInteger", "y")]
    if sums_too:
        nodes.append(helper.make_node("Cast", ["y_sums"], ["also"], to=TensorProto.FLOAT))
    return model_of(nodes, values, "y", *(["also"] if sums_too else []), axes=3)


def _other_activation() -> ModelProto:
    model = _convolution(other=noise(1, 4, 5))
    model.graph.node.insert(0, quantise("other"))
    model.graph.node[2].input[2] = "other_zero_point"
    return model


@pytest.mark.parametrize(
    "model",
    [
        _computed_weights(),
        _convolution(sums_too=True),
        _convolution(w_scale=np.full((4, 1, 1), 0.1, np.float32)[None]),
        _convolution(w_scale=np.full(5, 0.1, np.float32)),
        _convolution(w_zero=weights(2)),
        _other_activation(),
    ],
    ids=["computed weights", "sums read twice", "scales along the batch", "scales along time", "zeros", "other zero"],
)
def test_what_looks_different_is_left_alone(model: ModelProto) -> None:
    """Where a piece is missing, or is laid out otherwise, nothing is guessed."""
    check_untouched(model)


# -- Whole models ----------------------------------------------------------------------------------


def _conformer_like(path: Path) -> ModelProto:
    """Subsampling, a feed-forward and a convolution module in float32: every operator of the published encoder that is
    quantised, in the arrangement of its export."""
    values: dict[str, Array] = {
        "c0": noise(8, 1, 3, 3) / 3, "c0b": noise(8), "c1": noise(8, 1, 3, 3) / 3, "c1b": noise(8),
        "c2": noise(8, 8, 1, 1) / 3, "c2b": noise(8), "flat": np.array([0, 0, -1]),
        "out": noise(8 * 4, 24) / 5, "outb": noise(24), "a": noise(24, 96) / 5, "b": noise(96, 24) / 10,
        "p1": noise(48, 24, 1) / 5, "dw": noise(24, 1, 9) / 3, "dwb": noise(24), "p2": noise(24, 24, 1) / 5,
    }  # fmt: skip
    make = helper.make_node
    nodes = [
        make("Conv", ["x", "c0", "c0b"], ["s0"], "s0", strides=[2, 2], pads=[1, 1, 1, 1]),
        make("Conv", ["s0", "c1", "c1b"], ["s1"], "s1", strides=[2, 2], pads=[1, 1, 1, 1], group=8),
        make("Conv", ["s1", "c2", "c2b"], ["s2"], "s2"),
        make("Transpose", ["s2"], ["t"], "t", perm=[0, 2, 1, 3]),
        make("Reshape", ["t", "flat"], ["r"], "r"),
        make("MatMul", ["r", "out"], ["o"], "o"), make("Add", ["outb", "o"], ["ob"], "ob"),
        make("MatMul", ["ob", "a"], ["f1"], "f1"), make("Relu", ["f1"], ["f2"], "f2"),
        make("MatMul", ["f2", "b"], ["f3"], "f3"), make("Add", ["ob", "f3"], ["f4"], "f4"),
        make("Transpose", ["f4"], ["m0"], "m0", perm=[0, 2, 1]),
        make("Conv", ["m0", "p1"], ["m1"], "m1"), make("Split", ["m1"], ["g1", "g2"], "g", axis=1),
        make("Sigmoid", ["g2"], ["g3"], "g3"), make("Mul", ["g1", "g3"], ["g4"], "g4"),
        make("Conv", ["g4", "dw", "dwb"], ["m2"], "m2", group=24, pads=[4, 4]),
        make("Relu", ["m2"], ["m3"], "m3"), make("Conv", ["m3", "p2"], ["m4"], "m4"),
        make("Transpose", ["m4"], ["y"], "y", perm=[0, 2, 1]),
    ]  # fmt: skip
    model = model_of(nodes, values, "y", axes=4, out_axes=3)
    onnx.save(model, path / "float.onnx")
    quantize_dynamic(path / "float.onnx", path / "int8.onnx", weight_type=QuantType.QUInt8)
    return model


def _distance(one: Array, other: Array) -> float:
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


@needs_exact
def test_a_graph_quantised_like_the_published_ones(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """All its operators are rewritten; the result lies no further from the float model's than the original's, since
    less is rounded on the way."""
    with caplog.at_level(logging.ERROR):  # the quantiser advises on the root logger
        original, x = _conformer_like(tmp_path), noise(1, 1, 60, 16)
    quantised = onnx.load(tmp_path / "int8.onnx")
    found = rewrite(quantised)

    assert (found.signed, found.pointwise, found.floated) == (3, 3, 3)
    onnx.checker.check_model(whole(found), full_check=True)
    assert not {"ConvInteger"} & set(kinds(whole(found)))
    (exact,), (before,), (after,) = (
        by_onnxruntime(model, x, fused=True) for model in (original, quantised, whole(found))
    )
    assert _distance(after, before) < _distance(before, exact) + _distance(after, exact)
    assert _distance(after, exact) < 1.1 * _distance(before, exact) < 0.1


@needs_model
@needs_exact
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", transcripts() if SAMPLES.is_dir() else [])
def test_the_small_models_encoder_is_exact(name: str, fused: bool) -> None:
    """A whole trained encoder whose products alone are quantised gives the same frames to the last bit: operator by
    operator, and fused as in the product, where that needs the original's notes on shapes."""
    model = onnx.load(TINY_MODEL / "encoder.int8.onnx")
    found = rewrite(model)
    assert (found.signed, found.pointwise, found.floated) == (55, 0, 0)
    features = LogMel(80)(speech(SAMPLES / name))[None]
    for graph in (model, fast := whole(found)):
        graph.graph.input[0].name = "x"
        for node in graph.graph.node:
            node.input[:] = ["x" if n == "audio_signal" else n for n in node.input]
        length = graph.graph.input.pop(1)
        graph.graph.initializer.append(numpy_helper.from_array(np.array([features.shape[2]]), length.name))
    for before, after in zip(
        by_onnxruntime(model, features, fused=fused), by_onnxruntime(fast, features, fused=fused), strict=True
    ):
        assert (before == after).all()


@needs_model
def test_what_the_model_says_of_itself_is_kept() -> None:
    """Metadata, opsets, inputs and outputs are the original's, and the original is not touched."""
    model = onnx.load(TINY_MODEL / "encoder.int8.onnx")
    content = model.SerializeToString()
    fast = rewritten(model)
    assert model.SerializeToString() == content
    assert [(p.key, p.value) for p in fast.metadata_props] == [(p.key, p.value) for p in model.metadata_props]
    assert [(o.domain, o.version) for o in fast.opset_import] == [(o.domain, o.version) for o in model.opset_import]
    assert (fast.ir_version, fast.producer_name) == (model.ir_version, model.producer_name)
    assert list(fast.graph.input) == list(model.graph.input)
    assert list(fast.graph.output) == list(model.graph.output)
