"""Which of the two public layouts a folder holds, and where its parts lie."""

from dataclasses import dataclass
from pathlib import Path

from stt_server.errors import ModelBroken


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of one model."""

    encoder: Path
    decoder: Path
    """The prediction network; where there is no joiner, with the joint in it."""
    joiner: Path | None
    tokens: Path
    config: Path | None
    """onnx-asr's settings file. Its models carry no metadata."""

    @property
    def missing(self) -> list[str]:
        """Names of the files that are needed and not there."""
        needed = (self.encoder, self.decoder, self.joiner, self.tokens)
        return [path.name for path in needed if path is not None and not path.is_file()]


def find_layout(folder: Path) -> Layout:
    """Recognise the layout by its file names, preferring int8 to float32.

    Raises `ModelBroken`, naming what is missing.
    """

    def graph(name: str) -> Path:
        small = folder / f"{name}.int8.onnx"
        large = folder / f"{name}.onnx"
        return small if small.is_file() or not large.is_file() else large

    sherpa = Layout(graph("encoder"), graph("decoder"), graph("joiner"), folder / "tokens.txt", None)
    onnx_asr = Layout(
        graph("encoder-model"),
        graph("decoder_joint-model"),
        None,
        folder / "vocab.txt",
        folder / "config.json",
    )
    best = min((sherpa, onnx_asr), key=lambda layout: len(layout.missing))
    if len(best.missing) > 2:
        raise ModelBroken(
            f"{folder} holds no Parakeet model: neither {sherpa.encoder.name}, {sherpa.decoder.name},"
            f" {sherpa.joiner and sherpa.joiner.name} and tokens.txt, nor {onnx_asr.encoder.name},"
            f" {onnx_asr.decoder.name} and vocab.txt."
        )
    if best.missing:
        raise ModelBroken(f"The model in {folder} is incomplete: {', '.join(best.missing)} missing.")
    return best
