"""The lean graph against the published one: exact where that is claimed, close where convolutions are not rounded."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

from stt_server.errors import EngineFailed
from stt_server.speech.engines.forms import GRAPH, Form, make
from stt_server.speech.engines.lean import values
from stt_server.speech.engines.lean.anatomy import Attention, Conv, FeedForward, Product
from stt_server.speech.engines.lean.assemble import LONGEST
from stt_server.speech.engines.lean.chart import Chart
from stt_server.speech.engines.lean.dissect import dissect
from stt_server.speech.engines.networks import Encoder
from tests.speech.engines.graphs import Array, by_onnxruntime, model_of, quantise, scaled
from tests.speech.engines.lean.exports import MELS, WIDTH

random = np.random.default_rng(5)


def product(weight: Array, zero: ArrayLike | None, scale: ArrayLike, *, pointwise: bool = False) -> Product:
    """A part that was not found in a graph."""
    zeros = None if zero is None else numpy_helper.from_array(np.asarray(zero))
    scales = numpy_helper.from_array(np.asarray(scale))
    return Product("x", "y", numpy_helper.from_array(weight), zeros, scales, None, pointwise)


def lean(parts: list[Product], x: Array, factor: float = 1.0) -> Array:
    """What the lean graph's operator gives."""
    node = helper.make_node("DynamicQuantizeMatMul", ["x", "w", "s", "z", "b"], ["y"], domain="com.microsoft")
    weights = {
        "w": values.products(parts),
        "s": values.scales(parts, factor),
        "z": values.zeros(parts),
        "b": values.bias(parts, factor),
    }
    model = model_of([node], weights, "y", axes=2)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return by_onnxruntime(model, x, fused=True)[0]


def plain(part: Product, x: Array) -> Array:
    """What the published graph's operators give, one by one."""
    zero = {} if part.zero is None else {"w_zero": numpy_helper.to_array(part.zero)}
    weights = {"w": numpy_helper.to_array(part.weight), "w_scale": numpy_helper.to_array(part.scale), **zero}
    nodes = [quantise(), *scaled("MatMulInteger", "y", zero="w_zero" if zero else "")]
    return by_onnxruntime(model_of(nodes, weights, "y", axes=2), x)[0]


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("inner", [32, 385])
def test_three_products_in_one_are_exact(inner: int) -> None:
    """Queries, keys and values: each column keeps its integers, its scale and its zero point."""
    parts = [
        product(random.integers(0, 256, (inner, 24), np.uint8), zero, scale)
        for zero, scale in (
            (np.uint8(120), np.float32(0.01)),
            (None, np.float32(0.002)),
            (random.integers(0, 256, 24, np.uint8), random.uniform(0.001, 0.01, 24).astype(np.float32)),
        )
    ]
    x = random.normal(0, 1, (17, inner)).astype(np.float32)
    each = np.concatenate([plain(part, x) for part in parts], axis=1)
    assert (lean(parts, x) == each).all()


@pytest.mark.usefixtures("published")
def test_half_a_product_is_exact() -> None:
    """The half of feed-forward stages goes into the scale: a power of two costs no bit."""
    part = product(random.integers(0, 256, (32, 24), np.uint8), np.uint8(99), np.float32(0.013))
    x = random.normal(0, 1, (9, 32)).astype(np.float32)
    assert (lean([part], x, 0.5) == np.float32(0.5) * plain(part, x)).all()


def test_a_pointwise_convolution_is_turned() -> None:
    """Its weights lie the other way round."""
    weight = random.integers(0, 256, (6, 4, 1), np.uint8)
    part = product(weight, None, np.float32(1), pointwise=True)
    assert (values.products([part]) == (weight[:, :, 0].T.astype(np.int16) - 128)).all()


def test_a_quantised_convolution_becomes_what_it_meant() -> None:
    """Steps from zero, times their size, for each channel."""
    weight, zero = random.integers(0, 256, (3, 1, 5), np.uint8), np.array([1, 2, 3], np.uint8)
    scale = np.array([0.1, 0.2, 0.3], np.float32)
    tensors = [numpy_helper.from_array(value) for value in (weight, zero, scale)]
    part = Conv(helper.make_node("ConvInteger", [], []), "x", "y", tensors[0], tensors[1], tensors[2], None)
    found = values.convolution(part, [3, 1, 1, 5])
    meant = (weight - zero[:, None, None].astype(np.float32)) * scale[:, None, None]
    assert np.allclose(found[:, :, 0], meant, rtol=1e-6)


# -- Whole encoders --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lean_encoder(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """The published encoder's lean form."""
    folder = tmp_path_factory.mktemp("lean")
    assert make(published, folder, lambda _: None).form is Form.LEAN
    return Encoder(folder / GRAPH)


@pytest.mark.parametrize("frames", [1, 8, 9, 16, 17, 100, 1001, 8 * LONGEST])
def test_any_length_gives_as_many_frames(published: Path, lean_encoder: Encoder, frames: int) -> None:
    """Of one frame, of two, odd and even, up to the longest. The values lie no further from the float model's than the
    published encoder's do, since less is rounded on the way; a tenth is left for the luck of rounding."""
    features = random.normal(0, 1, (MELS, frames)).astype(np.float32)
    exact, before, after = (
        encoder(features) for encoder in (Encoder(published.with_name("float.onnx")), Encoder(published), lean_encoder)
    )
    assert exact.shape == after.shape == ((frames + 7) // 8, WIDTH)
    assert np.linalg.norm(after - exact) < 1.1 * np.linalg.norm(before - exact) < 0.3 * np.linalg.norm(exact)


def test_a_longer_window_fails(lean_encoder: Encoder) -> None:
    """Rather than being given wrong positions."""
    with pytest.raises(EngineFailed):
        lean_encoder(np.zeros((MELS, 8 * LONGEST + 8), np.float32))


def test_it_has_no_glue(published: Path, tmp_path: Path) -> None:
    """No masks, no padding, a third of the operators; inputs and outputs are the original's."""
    make(published, tmp_path, lambda _: None)
    old, new = onnx.load(published), onnx.load(tmp_path / GRAPH)
    onnx.checker.check_model(new)
    kinds = {node.op_type for node in new.graph.node}
    assert not kinds & {"Where", "Pad", "Expand", "MatMulInteger", "ConvInteger", "Softmax"}
    assert len(new.graph.node) < len(old.graph.node) / 3
    assert list(new.graph.input) == list(old.graph.input)
    assert list(new.graph.output) == list(old.graph.output)
    assert {weight.data_type for weight in new.graph.initializer} == {
        TensorProto.FLOAT, TensorProto.INT8, TensorProto.INT64,
    }  # fmt: skip


def test_the_half_is_found_in_the_weights(published: Path) -> None:
    """Of the feed-forward stages' last scale, and nowhere else."""
    stages = dissect(Chart(onnx.load(published).graph)).stages
    feed_forward = stages[0].branch
    assert isinstance(feed_forward, FeedForward)
    assert values.scales([feed_forward.narrow], 0.5) * 2 == values.scales([feed_forward.narrow], 1.0)


def test_positions_are_rounded_as_published(published: Path) -> None:
    """The table is, over the root of a head's width, what the published operators make of the encodings."""
    attention = dissect(Chart(onnx.load(published).graph)).stages[1].branch
    assert isinstance(attention, Attention)
    encodings = random.normal(0, 1, (5, WIDTH)).astype(np.float32)
    table, width = values.position_table(attention, encodings), WIDTH // attention.heads
    assert table.shape == (attention.heads, 6, width)
    expected = plain(attention.positions, encodings) / np.sqrt(np.float32(width))
    assert np.allclose(table[:, :5].transpose(1, 0, 2).reshape(5, WIDTH), expected, rtol=1e-5, atol=1e-6)
