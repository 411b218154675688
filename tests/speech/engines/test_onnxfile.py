"""What a file says of itself is what the onnx package reads in it, and nothing else is believed."""

from contextlib import suppress
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from stt_server.errors import ModelBroken
from stt_server.speech.engines.onnxfile import Value, read_header
from tests.assets import ASSETS, TINY_MODEL, needs_assets


def value_of(value: onnx.ValueInfoProto) -> Value:
    """What it should be read as."""
    kinds: dict[int, str] = {TensorProto.FLOAT: "float", TensorProto.INT32: "int", TensorProto.INT64: "int"}
    return Value(value.name, kinds.get(value.type.tensor_type.elem_type, "other"))


@needs_assets
def test_it_reads_what_onnx_reads() -> None:
    """On every model at hand: metadata, inputs and outputs."""
    paths = [*TINY_MODEL.glob("*.onnx"), *(ASSETS / "models").glob("s*/*.onnx")]
    assert len(paths) > 5
    for path in paths:
        model, header = onnx.load(path), read_header(path)
        weights = {weight.name for weight in model.graph.initializer}
        assert header.file == path.name
        assert header.metadata == {entry.key: entry.value for entry in model.metadata_props}
        assert header.inputs == tuple(value_of(value) for value in model.graph.input if value.name not in weights)
        assert header.outputs == tuple(value_of(value) for value in model.graph.output)


def test_weights_listed_as_inputs_are_none(tmp_path: Path) -> None:
    """Old exporters list every weight among the inputs."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "w", "y")]
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
    graph = helper.make_graph([helper.make_node("Mul", ["x", "w"], ["y"])], "g", values[:2], values[2:], [weight])
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    assert read_header(tmp_path / "m.onnx").inputs == (Value("x", "float"),)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """In our words."""
    with pytest.raises(ModelBroken, match=r"m\.onnx cannot be read: No such file"):
        read_header(tmp_path / "m.onnx")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """No file ends in another error."""
    path = tmp_path_factory.mktemp("any") / "m.onnx"
    path.write_bytes(content)
    with suppress(ModelBroken):
        assert read_header(path).file == "m.onnx"


@given(cut=st.floats(0, 1, exclude_max=True))
def test_a_file_that_breaks_off_is_refused(tmp_path_factory: pytest.TempPathFactory, cut: float) -> None:
    """Wherever it does, so long as the graph is concerned: after it, what is left out cannot be known."""
    whole = (TINY_MODEL / "joiner.int8.onnx").read_bytes()
    model = onnx.load_model_from_string(whole)
    path = tmp_path_factory.mktemp("cut") / "m.onnx"
    path.write_bytes(whole[: int(cut * model.graph.ByteSize())])
    with pytest.raises(ModelBroken, match=r"damaged, or no ONNX file"):
        read_header(path)
