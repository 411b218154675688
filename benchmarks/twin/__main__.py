"""Write the twin: `python -m benchmarks.twin FOLDER`.

`FOLDER/sherpa` gets sherpa-onnx's layout and `FOLDER/onnx-asr` onnx-asr's, in 8 bits, quantised as the published files
were: the encoder's weights unsigned, convolutions included, the others' signed. Takes ten minutes and 10 GB of memory.
"""

import argparse
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn

from benchmarks.sounds import Speech
from benchmarks.twin import WRITTEN
from benchmarks.twin.network import SUBSAMPLING, Decoder, DecoderJoint, Encoder, Joiner, Size
from benchmarks.twin.weights import calibrate, fill, pieces
from stt_server.speech.engines.features import Float32

_OPSET = 17
_CALIBRATION_SECS = (3, 10, 30)
_BATCH = {0: "batch"}
_STATES = (
    *("states.1", "states.2", "next.1", "next.2"),
    *("input_states_1", "input_states_2", "output_states_1", "output_states_2"),
)
_AXES = {
    "audio_signal": {0: "batch", 2: "time"},
    "length": _BATCH,
    "encoded_lengths": _BATCH,
    "targets": {0: "batch", 1: "tokens"},
    "target_length": _BATCH,
    "prednet_lengths": _BATCH,
    "encoder_outputs": {0: "batch", 2: "frames"},
    "decoder_outputs": {0: "batch", 2: "tokens"},
} | {name: {1: "batch"} for name in _STATES}


def build(folder: Path, size: Size, clips: Sequence[Float32], seed: int = 0) -> None:
    """Write both layouts. The same seed gives the same weights; biases depend on the clips too."""
    generator = torch.Generator().manual_seed(seed)
    encoder, decoder, joiner = Encoder(size).eval(), Decoder(size).eval(), Joiner(size).eval()
    fill((encoder, decoder, joiner), generator)
    rates = calibrate(encoder, decoder, joiner, clips)
    sherpa, onnx_asr = folder / "sherpa", folder / "onnx-asr"
    for target in (sherpa, onnx_asr):
        target.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as temporary:
        floats = Path(temporary)
        _export(floats, size, encoder, decoder, joiner)
        del encoder, decoder, joiner
        _quantise(floats / "encoder.onnx", sherpa / "encoder.int8.onnx", QuantType.QUInt8)
        _quantise(floats / "decoder.onnx", sherpa / "decoder.int8.onnx", QuantType.QInt8)
        _quantise(floats / "joiner.onnx", sherpa / "joiner.int8.onnx", QuantType.QInt8)
        _quantise(floats / "decoder_joint.onnx", onnx_asr / "decoder_joint-model.int8.onnx", QuantType.QInt8)
    _describe(sherpa / "encoder.int8.onnx", size)
    _link(sherpa / "encoder.int8.onnx", onnx_asr / "encoder-model.int8.onnx")
    rows = "".join(f"{text} {number}\n" for number, text in enumerate(pieces(size.tokens)))
    for path in (sherpa / "tokens.txt", onnx_asr / "vocab.txt"):
        path.write_text(rows, encoding="utf-8")
    config = {"model_type": "nemo-conformer-tdt", "features_size": size.mels, "subsampling_factor": SUBSAMPLING}
    (onnx_asr / "config.json").write_text(json.dumps(config))
    found = f"{rates.tokens:.1f} tokens and {rates.steps:.1f} steps of the joint a second before quantisation"
    (folder / WRITTEN).write_text(f"Random weights in Parakeet's shape, for measurements only. {size}, {found}.\n")


# -- Export ----------------------------------------------------------------------------------------


def _export(folder: Path, size: Size, encoder: Encoder, decoder: Decoder, joiner: Joiner) -> None:
    signal = (torch.randn(2, size.mels, 160), torch.tensor([160, 120]))
    states = (torch.zeros(2, 2, size.hidden), torch.zeros(2, 2, size.hidden))
    text = (torch.zeros(2, 1, dtype=torch.int32), torch.ones(2, dtype=torch.int32))
    frame, token = torch.randn(2, size.width, 1), torch.randn(2, size.hidden, 1)
    with _one_file(folder / "encoder.onnx") as path:
        _trace(encoder, signal, path, "audio_signal length", "outputs encoded_lengths", {0: "batch", 2: "frames"})
    before, after = "targets target_length states.1 states.2", "outputs prednet_lengths next.1 next.2"
    _trace(decoder, (*text, *states), folder / "decoder.onnx", before, after, {0: "batch", 2: "tokens"})
    scores = {0: "batch", 1: "frames", 2: "tokens"}
    _trace(joiner, (frame, token), folder / "joiner.onnx", "encoder_outputs decoder_outputs", "outputs", scores)
    both, path = DecoderJoint(decoder, joiner), folder / "decoder_joint.onnx"
    before = "encoder_outputs targets target_length input_states_1 input_states_2"
    after = "outputs prednet_lengths output_states_1 output_states_2"
    _trace(both, (frame, *text, *states), path, before, after, scores)


@contextmanager
def _one_file(path: Path) -> Iterator[Path]:
    """A graph too large for one protocol buffer is exported as a file for each weight. Bring them together."""
    with TemporaryDirectory(dir=path.parent) as scattered:
        yield Path(scattered) / path.name
        graph = onnx.load(Path(scattered) / path.name)
    onnx.save(graph, path, save_as_external_data=True, location=f"{path.stem}.weights")


def _trace(
    module: nn.Module, inputs: tuple[Tensor, ...], path: Path, before: str, after: str, outputs: dict[int, str]
) -> None:
    names, axes = f"{before} {after}".split(), _AXES | {"outputs": outputs}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the old exporter is NeMo's, and what it warns of is wanted
        torch.onnx.export(
            module,
            inputs,
            str(path),
            input_names=before.split(),
            output_names=after.split(),
            dynamic_axes={name: axes[name] for name in names},
            opset_version=_OPSET,
            dynamo=False,
        )


def _quantise(source: Path, target: Path, weights: QuantType) -> None:
    quantize_dynamic(source, target, weight_type=weights)


def _describe(encoder: Path, size: Size) -> None:
    """What sherpa-onnx and the server read from the graph."""
    graph = onnx.load(encoder)
    facts = {
        "model_type": "EncDecRNNTBPEModel",
        "version": "2",
        "model_author": "stt_server",
        "url": "random-weights (tdt)",  # without "tdt" in it, sherpa-onnx takes the model for a plain transducer
        "comment": "random weights, for measurements only",
        "vocab_size": size.tokens,
        "normalize_type": "per_feature",
        "feat_dim": size.mels,
        "subsampling_factor": SUBSAMPLING,
        "pred_rnn_layers": 2,
        "pred_hidden": size.hidden,
    }
    onnx.helper.set_model_props(graph, {key: str(value) for key, value in facts.items()})
    onnx.save(graph, encoder)


def _link(source: Path, target: Path) -> None:
    """The same file under another name: 620 MB."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def main() -> None:
    """Write the twin, or a smaller brother."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=Size().layers, help="fewer for a try")
    parser.add_argument("--width", type=int, default=Size().width, help="less for a try; a multiple of 8")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    clips = [Speech.found().samples(seconds) for seconds in _CALIBRATION_SECS]
    build(given.folder, Size(layers=given.layers, width=given.width), clips, given.seed)
    print((given.folder / WRITTEN).read_text(), end="")


if __name__ == "__main__":
    main()
