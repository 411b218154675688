"""A checkpoint to ONNX files that sherpa-onnx, onnx-asr and our engine load: `python -m training.export WORK OUT`.

`OUT` gets sherpa-onnx's layout in 8 bits, the model as it is shipped; `OUT/float32` the same unrounded; `OUT/onnx-asr`
both in onnx-asr's layout, for comparisons.
"""

import argparse
import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn

from training.features import MELS
from training.model import SUBSAMPLING, Size, Transducer
from training.text import Tokenizer

NAME = "parakeet-tdt-embedded"
_OPSET = 17


class _Encoder(nn.Module):
    """NeMo's exported encoder: mel bands before frames, on both sides."""

    def __init__(self, model: Transducer) -> None:
        super().__init__()
        self.encoder = model.encoder

    def forward(self, audio_signal: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        encoded, lengths, _ = self.encoder(audio_signal.transpose(1, 2), length)
        return encoded.transpose(1, 2), lengths


class _Decoder(nn.Module):
    """NeMo's name for the prediction network."""

    def __init__(self, model: Transducer) -> None:
        super().__init__()
        self.predictor = model.predictor

    def forward(self, targets: Tensor, target_length: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, ...]:
        outputs, (hidden, cell) = self.predictor(targets.long(), (hidden, cell))
        return outputs.transpose(1, 2), target_length + 0, hidden, cell


class _Joiner(nn.Module):
    def __init__(self, model: Transducer) -> None:
        super().__init__()
        self.joiner = model.joiner

    def forward(self, encoder_outputs: Tensor, decoder_outputs: Tensor) -> Tensor:
        encoded = self.joiner.from_encoder(encoder_outputs.transpose(1, 2))
        predicted = self.joiner.from_predictor(decoder_outputs.transpose(1, 2))
        scores: Tensor = self.joiner(encoded[:, :, None], predicted[:, None])
        return scores


class _DecoderJoint(nn.Module):
    """Both in one, as onnx-asr has them."""

    def __init__(self, model: Transducer) -> None:
        super().__init__()
        self.decoder, self.joiner = _Decoder(model), _Joiner(model)

    def forward(
        self, encoder_outputs: Tensor, targets: Tensor, target_length: Tensor, hidden: Tensor, cell: Tensor
    ) -> tuple[Tensor, ...]:
        outputs, lengths, hidden, cell = self.decoder(targets, target_length, hidden, cell)
        return self.joiner(encoder_outputs, outputs), lengths, hidden, cell


_TEXTS = ["targets", "target_length"]
_AXES = {
    "audio_signal": {0: "batch", 2: "frames"},
    "length": {0: "batch"},
    "encoded_lengths": {0: "batch"},
    "targets": {0: "batch", 1: "tokens"},
    "target_length": {0: "batch"},
    "prednet_lengths": {0: "batch"},
    "encoder_outputs": {0: "batch", 2: "frames"},
    "decoder_outputs": {0: "batch", 2: "tokens"},
} | {name: {1: "batch"} for name in ("states.1", "states.2", "next.1", "next.2")}


def load(checkpoint: Path) -> Transducer:
    """The average over the last steps."""
    saved = torch.load(checkpoint, map_location="cpu")
    model = Transducer(MELS, saved["tokens"], Size(**saved["size"]))
    model.load_state_dict(saved["average"])
    return model.eval()


def export(model: Transducer, tokenizer: Tokenizer, out: Path) -> None:
    """Write all layouts to `out`."""
    float32, onnx_asr = out / "float32", out / "onnx-asr"
    for folder in (float32, onnx_asr):
        folder.mkdir(parents=True, exist_ok=True)
    _graphs(model, float32, onnx_asr)
    for source in (float32 / "encoder.onnx", float32 / "decoder.onnx", float32 / "joiner.onnx"):
        _shrink(source, out / f"{source.stem}.int8.onnx")
    for source in (onnx_asr / "encoder-model.onnx", onnx_asr / "decoder_joint-model.onnx"):
        _shrink(source, source.with_suffix(".int8.onnx"))
    metadata = _metadata(model)
    for path in (*float32.glob("*.onnx"), *onnx_asr.glob("*.onnx"), *out.glob("*.onnx")):
        _label(path, metadata)
    _write_tokens(tokenizer, out / "tokens.txt", float32 / "tokens.txt", onnx_asr / "vocab.txt")
    config = {"model_type": "nemo-conformer-tdt", "features_size": MELS, "subsampling_factor": SUBSAMPLING}
    (onnx_asr / "config.json").write_text(json.dumps(config))
    _write_checksums(out)


def _graphs(model: Transducer, float32: Path, onnx_asr: Path) -> None:
    """The networks unrounded."""
    width = model.predictor.lstm.hidden_size
    states = (torch.zeros(1, 1, width), torch.zeros(1, 1, width))
    text = (torch.zeros(1, 1, dtype=torch.int32), torch.ones(1, dtype=torch.int32))
    frame, token = torch.randn(1, model.encoder.width, 1), torch.randn(1, width, 1)
    signal = (torch.randn(2, MELS, 331), torch.tensor([331, 200]))
    encoder = (_Encoder(model), signal, ["audio_signal", "length"], ["outputs", "encoded_lengths"])
    before, after = [*_TEXTS, "states.1", "states.2"], ["outputs", "prednet_lengths", "next.1", "next.2"]
    _trace(*encoder, float32 / "encoder.onnx", {0: "batch", 2: "encoded"})
    _trace(*encoder, onnx_asr / "encoder-model.onnx", {0: "batch", 2: "encoded"})
    _trace(_Decoder(model), (*text, *states), before, after, float32 / "decoder.onnx", {0: "batch", 2: "tokens"})
    scores = {0: "batch", 1: "frames", 2: "tokens"}
    inputs = ["encoder_outputs", "decoder_outputs"]
    _trace(_Joiner(model), (frame, token), inputs, ["outputs"], float32 / "joiner.onnx", scores)
    before = ["encoder_outputs", *_TEXTS, "input_states_1", "input_states_2"]
    after = ["outputs", "prednet_lengths", "output_states_1", "output_states_2"]
    path = onnx_asr / "decoder_joint-model.onnx"
    _trace(_DecoderJoint(model), (frame, *text, *states), before, after, path, scores)


def _trace(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    input_names: Sequence[str],
    output_names: Sequence[str],
    path: Path,
    outputs: dict[int, str],
) -> None:
    names = {*input_names, *output_names}
    axes = {name: axes for name, axes in (_AXES | {"outputs": outputs}).items() if name in names}
    torch.onnx.export(
        module,
        inputs,
        str(path),
        input_names=list(input_names),
        output_names=list(output_names),
        dynamic_axes=axes,
        opset_version=_OPSET,
        dynamo=False,
    )


def _shrink(source: Path, target: Path) -> None:
    """Weights of the products to 8 bits, a scale for each output.

    With 7 of the 8 bits in use, sums of products with unsigned activations cannot overflow on processors without VNNI:
    the text is the same everywhere.
    """
    with tempfile.NamedTemporaryFile(suffix=".onnx") as unlabelled:
        quantize_dynamic(
            source,
            unlabelled.name,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            op_types_to_quantize=["MatMul", "Gemm"],
        )
        target.write_bytes(Path(unlabelled.name).read_bytes())


def _metadata(model: Transducer) -> dict[str, str]:
    """What sherpa-onnx and the server read from the graphs."""
    return {
        "model_type": "EncDecRNNTBPEModel",
        "version": "1",
        "model_author": "stt_server",
        "url": f"{NAME} (tdt)",  # without "tdt" in it, sherpa-onnx takes the model for a plain transducer
        "comment": "a small model of Parakeet's architecture, trained on synthesised speech; it is not Parakeet",
        "languages": "en,fr",
        "vocab_size": str(model.tokens),
        "normalize_type": "per_feature",
        "feat_dim": str(MELS),
        "subsampling_factor": str(SUBSAMPLING),
        "pred_rnn_layers": "1",
        "pred_hidden": str(model.predictor.lstm.hidden_size),
    }


def _label(path: Path, metadata: dict[str, str]) -> None:
    graph = onnx.load(path)
    del graph.metadata_props[:]
    onnx.helper.set_model_props(graph, metadata)
    graph.producer_name, graph.producer_version = "stt_server", ""
    onnx.save(graph, path)


def _write_tokens(tokenizer: Tokenizer, *paths: Path) -> None:
    rows = "".join(f"{piece} {number}\n" for number, piece in enumerate([*tokenizer.pieces, "<blk>"]))
    for path in paths:
        path.write_text(rows, encoding="utf-8")


def _write_checksums(folder: Path) -> None:
    files = sorted([*folder.glob("*.onnx"), folder / "tokens.txt"])
    rows = (f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)
    (folder / "SHA256SUMS").write_text("".join(rows))


def main() -> None:
    """Export the text stage of a work folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    export(load(given.work / "text.pt"), Tokenizer(given.work / "tokens.model"), given.out)
    for path in sorted(given.out.glob("*.onnx")):
        print(f"{path.stat().st_size / 1e6:6.2f} MB  {path.name}")


if __name__ == "__main__":
    main()
