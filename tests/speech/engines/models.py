"""Variants of the small model: the other public layout, a stricter export, and files that do not fit."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnx_asr
import soundfile
from onnx import TensorProto, compose, helper

from stt_server.speech.engines.features import Float32
from stt_server.speech.engines.prepared import SMALLEST
from tests.assets import TINY_MODEL
from tests.speech.engines import graphs

SAMPLES = TINY_MODEL / "samples"
TOKENS = 769
"""Of the small model, blank included."""


def transcripts() -> dict[str, str]:
    """File name to text of the six samples the small model is known to get right."""
    rows = (line.split("\t") for line in (SAMPLES / "transcripts.tsv").read_text().splitlines())
    return {name: text for name, text, _ in rows}


def speech(path: Path) -> Float32:
    """A 16 kHz clip."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    assert rate == 16_000
    return np.ascontiguousarray(samples[:, 0], np.float32)


def copy_tiny(folder: Path) -> Path:
    """The small model as it is, to be spoilt."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in TINY_MODEL.glob("*.*"):
        shutil.copyfile(file, folder / file.name)
    return folder


def onnx_asr_layout(folder: Path, *, integers: int = TensorProto.INT64, source: Path = TINY_MODEL) -> Path:
    """The model as onnx-asr wants it: prediction network and joint in one graph."""
    folder.mkdir(parents=True)
    shutil.copyfile(source / "encoder.int8.onnx", folder / "encoder-model.int8.onnx")
    shutil.copyfile(source / "tokens.txt", folder / "vocab.txt")
    config = {"model_type": "nemo-conformer-tdt", "features_size": 80, "subsampling_factor": 8}
    (folder / "config.json").write_text(json.dumps(config))
    onnx.save(_fused(source, integers), folder / "decoder_joint-model.int8.onnx")
    return folder


def _fused(source: Path, integers: int) -> onnx.ModelProto:
    decoder = compose.add_prefix(onnx.load(source / "decoder.int8.onnx"), "d/")
    joiner = compose.add_prefix(onnx.load(source / "joiner.int8.onnx"), "j/")
    for model in (decoder, joiner):
        del model.metadata_props[:]
    model = compose.merge_models(decoder, joiner, io_map=[("d/outputs", "j/decoder_outputs")])
    graph = model.graph
    names = {
        "j/encoder_outputs": "encoder_outputs",
        "d/targets": "targets",
        "d/target_length": "target_length",
        "d/states.1": "input_states_1",
        "d/states.2": "input_states_2",
        "j/outputs": "outputs",
        "d/prednet_lengths": "prednet_lengths",
        "d/next.1": "output_states_1",
        "d/next.2": "output_states_2",
    }
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for values in (graph.input, graph.output):
        for value in values:
            value.name = names[value.name]
        ordered = sorted(values, key=lambda value: [*names.values()].index(value.name))
        kept = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in ordered]
        del values[:]
        values.extend(kept)
    _take_integers(graph, integers)
    return model


def _take_integers(graph: onnx.GraphProto, kind: int) -> None:
    """Let the graph take its integers in another width than its insides do."""
    for value in graph.input:
        if value.type.tensor_type.elem_type == TensorProto.INT32 and kind != TensorProto.INT32:
            value.type.tensor_type.elem_type = kind
            inner = f"{value.name}/narrow"
            for node in graph.node:
                node.input[:] = [inner if name == value.name else name for name in node.input]
            graph.node.insert(0, helper.make_node("Cast", [value.name], [inner], to=TensorProto.INT32))


def one_row_decoder(folder: Path) -> Path:
    """The small model with its second state fixed at one row, as in sherpa-onnx's export of Parakeet."""
    copy_tiny(folder)
    decoder = onnx.load(folder / "decoder.int8.onnx")
    decoder.graph.input[3].type.tensor_type.shape.dim[1].dim_value = 1
    onnx.save(decoder, folder / "decoder.int8.onnx")
    return folder


def without_durations(folder: Path) -> Path:
    """The small model as a plain transducer: the joint scores tokens only."""
    copy_tiny(folder)
    joiner = onnx.load(folder / "joiner.int8.onnx")
    output = joiner.graph.output[0]
    for node in joiner.graph.node:
        node.output[:] = ["all_scores" if name == output.name else name for name in node.output]
    for name, value in (("first", 0), ("past", TOKENS), ("axis", 3)):
        joiner.graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [1], [value]))
    joiner.graph.node.append(helper.make_node("Slice", ["all_scores", "first", "past", "axis"], [output.name]))
    output.type.tensor_type.shape.dim[3].dim_value = TOKENS
    onnx.save(joiner, folder / "joiner.int8.onnx")
    return folder


def with_metadata(folder: Path, **entries: str) -> Path:
    """The small model, its encoder saying something else of itself."""
    copy_tiny(folder)
    encoder = onnx.load(folder / "encoder.int8.onnx")
    facts = {entry.key: entry.value for entry in encoder.metadata_props} | entries
    helper.set_model_props(encoder, facts)
    onnx.save(encoder, folder / "encoder.int8.onnx")
    return folder


def rewritten(folder: Path) -> Path:
    """The small model with the fast form of its encoder."""
    copy_tiny(folder)
    onnx.save(graphs.rewritten(onnx.load(folder / "encoder.int8.onnx")), folder / "encoder.int8.onnx")
    return folder


def heavy(folder: Path) -> Path:
    """The small model with so much ballast in its encoder that preparing it is worth while."""
    copy_tiny(folder)
    encoder = onnx.load(folder / "encoder.int8.onnx")
    encoder.graph.initializer.append(
        helper.make_tensor("ballast", TensorProto.UINT8, [SMALLEST], bytes(SMALLEST), raw=True)
    )
    onnx.save(encoder, folder / "encoder.int8.onnx")
    return folder


def load_onnx_asr(folder: Path) -> onnx_asr.adapters.TimestampedResultsAsrAdapter:
    """The independent implementation, with its tokens, times and log-probabilities."""
    model = onnx_asr.load_model("nemo-conformer-tdt", folder, quantization="int8", providers=["CPUExecutionProvider"])
    return model.with_timestamps()
