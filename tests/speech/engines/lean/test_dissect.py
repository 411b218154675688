"""The parts of an encoder are found by how its data flows, whatever its exporter put between them."""

from pathlib import Path

import onnx
import pytest
from onnx import NodeProto, TensorProto, helper
from onnxruntime.quantization import QuantType

from stt_server.speech.engines.lean.anatomy import Attention, Convolution, FeedForward, Strange
from stt_server.speech.engines.lean.chart import Chart
from stt_server.speech.engines.lean.dissect import dissect
from stt_server.speech.models import EMBEDDED
from tests.speech.engines.lean.exports import BLOCKS, HEADS, WIDTH, Export, write

STAGES = [FeedForward, Attention, Convolution, FeedForward, type(None)]
"""Of one block."""


@pytest.mark.parametrize(
    "export", [Export(), Export(biases=True), Export(old_norms=True), Export(padded=False)], ids=str
)
@pytest.mark.parametrize(("kind", "each"), [(QuantType.QUInt8, False), (QuantType.QInt8, True)])
def test_every_export_has_the_same_parts(tmp_path: Path, export: Export, kind: QuantType, each: bool) -> None:
    """With biases and without, normalisations whole or in steps, weights signed or not."""
    export = Export(export.biases, export.old_norms, export.padded)  # the parameters are shared, and are used up
    anatomy = dissect(Chart(onnx.load(write(tmp_path, export, kind=kind, each=each)).graph))
    assert [type(stage.branch) for stage in anatomy.stages] == STAGES * BLOCKS
    assert [stage.factor for stage in anatomy.stages] == [0.5, 1, 1, 0.5, 1] * BLOCKS
    assert anatomy.subsampling.relus == (True, False, True, False, True)
    assert anatomy.width == WIDTH


def test_queries_keys_values_and_positions_are_told_apart(published: Path) -> None:
    """Their weights have the same shape; what they meet tells which is which. In the export they come in this order."""
    anatomy = dissect(Chart(onnx.load(published).graph))
    attention = anatomy.stages[1].branch
    assert isinstance(attention, Attention)
    assert attention.heads == HEADS
    parts = (attention.queries, attention.keys, attention.values, attention.positions, attention.out)
    names = [int(part.weight.name.removeprefix("w").removesuffix("_quantized")) for part in parts]
    assert names == sorted(names)
    biases = [int(bias.name.removeprefix("w")) for bias in (attention.content_bias, attention.position_bias)]
    assert names[3] < biases[0] < biases[1] < names[4]


def test_a_scaled_stream_is_noticed(tmp_path: Path) -> None:
    """Some encoders multiply what the subsampling gives by the root of its width."""
    anatomy = dissect(Chart(onnx.load(write(tmp_path, Export(scaled=5.5))).graph))
    assert anatomy.subsampling.factor == 5.5


def test_the_embedded_model_has_all_parts() -> None:
    """It has linear layers in its convolution stages, and a layer normalisation behind the convolution."""
    anatomy = dissect(Chart(onnx.load(EMBEDDED / "encoder.int8.onnx").graph))
    assert [type(stage.branch) for stage in anatomy.stages] == STAGES * 8
    convolutions = [stage.branch for stage in anatomy.stages if isinstance(stage.branch, Convolution)]
    assert all(part.norm for part in convolutions)


def test_another_function_is_strange(tmp_path: Path) -> None:
    """A feed-forward stage is x * sigmoid(x) between two products, or it is not one."""
    with pytest.raises(Strange, match="feed-forward"):
        dissect(Chart(onnx.load(write(tmp_path, Export(function="Tanh"))).graph))


def test_more_behind_the_last_stage_is_strange(published: Path) -> None:
    """What is not understood is not left out."""
    model = onnx.load(published)
    last: NodeProto = (
        model.graph.node[-1]
        if "outputs" in model.graph.node[-1].output
        else next(node for node in model.graph.node if "outputs" in node.output)
    )
    last.op_type = "Tanh"
    with pytest.raises(Strange, match="behind its last stage"):
        dissect(Chart(model.graph))


def test_a_graph_that_is_no_encoder_is_strange() -> None:
    """Neither is one without any part."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "abcd"]
    nodes = [helper.make_node("Identity", [x], [y]) for x, y in ("ac", "bd")]
    with pytest.raises(Strange):
        dissect(Chart(helper.make_graph(nodes, "none", values[:2], values[2:])))
