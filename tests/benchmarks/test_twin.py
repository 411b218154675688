"""The twin is a model that everybody loads, with the operators of the published files."""

from collections import Counter
from pathlib import Path

import onnx
import pytest

pytest.importorskip("torch", reason="torch is not installed: see benchmarks/README.md")

from benchmarks.contest import Models
from benchmarks.engines import ENGINES
from benchmarks.sounds import Speech
from benchmarks.twin.__main__ import build
from benchmarks.twin.network import Size
from stt_server.bench.speech import SAMPLES
from stt_server.speech.engines.rewrite import rewrite

SIZE = Size(layers=2, width=64, heads=2, channels=16, mels=80, hidden=32, tokens=300)


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Models:
    folder = tmp_path_factory.mktemp("twin")
    build(folder, SIZE, [Speech.found(SAMPLES).samples(seconds) for seconds in (3, 8)])
    return Models.of(folder)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_everybody_decodes_it_at_a_like_rate(twin: Models, tmp_path: Path) -> None:
    """A few tokens a second, as in speech: decoding costs everybody what it would cost with real weights."""
    clip = Speech.found(SAMPLES).write(tmp_path / "clip.wav", 8.0)
    assert twin.sherpa
    assert twin.onnx_asr
    folders = {"ours": twin.ours, "sherpa-onnx": twin.sherpa, "onnx-asr": twin.onnx_asr}
    rates = {name: ENGINES[name](folder, 1)(clip.path).tokens / clip.seconds for name, folder in folders.items()}
    assert all(0.5 < rate < 12 for rate in rates.values()), rates


def test_the_encoder_has_the_published_operators(twin: Models) -> None:
    """Quantised as the published one: unsigned weights, convolutions and products alike; masks and shift in place."""
    graph = onnx.load(twin.ours / "encoder.int8.onnx").graph
    kinds = Counter(node.op_type for node in graph.node)
    assert kinds["ConvInteger"] == 5 + 3 * SIZE.layers
    assert kinds["MatMulInteger"] == 1 + 9 * SIZE.layers
    assert kinds["MatMul"] == 3 * SIZE.layers  # scores by content and by distance, and what is heard
    assert kinds["Pad"] == SIZE.layers
    assert kinds["Where"] >= 3 * SIZE.layers
    weights = [weight for weight in graph.initializer if weight.name.endswith("_quantized")]
    assert {weight.data_type for weight in weights} == {onnx.TensorProto.UINT8}


def test_the_preparation_finds_its_work_in_it(twin: Models) -> None:
    """What makes Parakeet quick can be tried on it."""
    rewritten = rewrite(onnx.load(twin.ours / "encoder.int8.onnx"))
    assert (rewritten.pointwise, rewritten.floated) == (2 * SIZE.layers + 2, 3 + SIZE.layers)
