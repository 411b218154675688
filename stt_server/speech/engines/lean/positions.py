"""The encodings of distances, as the published graph computes them: sines and cosines, in the order of its exporter."""

import numpy as np
import onnxruntime
from onnx import ModelProto, helper

from stt_server.speech.engines.lean.anatomy import Anatomy, Attention, Strange
from stt_server.speech.engines.lean.chart import Chart
from stt_server.speech.engines.rewrite import Array, reads, without_dead

_FEATURES = 8
"""Feature frames in one of the encoder's."""


def encodings(model: ModelProto, chart: Chart, anatomy: Anatomy, frames: int) -> Array:
    """(2 frames - 1, width). Raises `Strange` unless all stages have the same."""
    names = {stage.branch.positions.x for stage in anatomy.stages if isinstance(stage.branch, Attention)}
    if len(names) != 1:
        raise Strange(f"{len(names)} encodings of distances")
    (name,) = names
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    part = _part(model, chart, name).SerializeToString()
    session = onnxruntime.InferenceSession(part, options, providers=["CPUExecutionProvider"])
    mels = mel_bands(model, anatomy)
    given = dict(
        zip(
            chart.inputs,
            (np.zeros((1, mels, frames * _FEATURES), np.float32), np.array([frames * _FEATURES])),
            strict=True,
        )
    )
    (found,) = session.run([name], {entry.name: given[entry.name] for entry in session.get_inputs()})
    rows = np.asarray(found, np.float32).reshape(-1, anatomy.width)
    if len(rows) != 2 * frames - 1:
        raise Strange(f"{len(rows)} encodings of distances for {frames} frames")
    return rows


def mel_bands(model: ModelProto, anatomy: Anatomy) -> int:
    """What the model takes; where it does not say, 8 for each band that its subsampling leaves."""
    said = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    channels = anatomy.subsampling.convolutions[-1].weight.dims[0]
    return int(said) or anatomy.subsampling.out.inputs // channels * _FEATURES


def _part(model: ModelProto, chart: Chart, name: str) -> ModelProto:
    """What a model computes on its way to one value."""
    nodes = without_dead(chart.nodes, {name})
    read = {value for node in nodes for value in reads(node)}
    graph = helper.make_graph(
        nodes,
        "part",
        [value for value in model.graph.input if value.name in read],
        [helper.make_tensor_value_info(name, 1, None)],
        [weight for weight in model.graph.initializer if weight.name in read],
    )
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
