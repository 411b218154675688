"""The table of the model's errors: `python -m training.evaluate WORK MODEL [--speech FOLDER]`.

`MODEL` is what `training.export` wrote, with its `float32` and `onnx-asr` folders. `--speech` is a folder with
`manifest.tsv` and recordings of people (columns `file`, `language` and `transcript`).
"""

import argparse
import csv
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx_asr
import sherpa_onnx
import soundfile
import soxr

from stt_server.speech.engines.parakeet import load_parakeet
from stt_server.speech.transcribe import transcribe
from stt_server.types import Audio, Options, Word
from training.augmentation import telephone
from training.corpus import RATE, Samples, shards
from training.scoring import Clip, Recogniser, Score, score

_OPTIONS = Options(model="")


def ours(folder: Path) -> Recogniser:
    """Our engine, a clip in one window."""
    engine = load_parakeet(folder, threads=1, may_prepare=False)
    return lambda samples: engine.recognise([Audio(samples)], _OPTIONS)[0].words


def server(folder: Path) -> Recogniser:
    """Our engine as the server runs it: silence found, long speech cut and joined."""
    engine = load_parakeet(folder, threads=1, may_prepare=False)

    def recognise(samples: Samples) -> Sequence[Word]:
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            soundfile.write(file.name, samples, RATE, subtype="FLOAT")
            path = Path(file.name)
            transcript = transcribe(path, engine, _OPTIONS, max_duration=3600, threads=1)
        return [word for segment in transcript.segments for word in segment.words]

    return recognise


def sherpa(folder: Path) -> Recogniser:
    """sherpa-onnx, with its own front end."""
    recogniser = sherpa_onnx.OfflineRecognizer.from_transducer(
        *(str(folder / f"{part}.int8.onnx") for part in ("encoder", "decoder", "joiner")),
        tokens=str(folder / "tokens.txt"),
        num_threads=1,
        model_type="nemo_transducer",
    )

    def recognise(samples: Samples) -> Sequence[Word]:
        stream = recogniser.create_stream()
        stream.accept_waveform(RATE, samples)
        recogniser.decode_stream(stream)
        return _untimed(stream.result.text)

    return recognise


def onnx_asr_(folder: Path) -> Recogniser:
    """onnx-asr, with NeMo's front end."""
    model = onnx_asr.load_model("nemo-conformer-tdt", str(folder), quantization="int8")
    return lambda samples: _untimed(model.recognize(samples, sample_rate=16_000))


def _untimed(text: str) -> Sequence[Word]:
    return [Word(word, 0.0, 0.0) for word in text.split()]


def synthesised(folder: Path) -> list[Clip]:
    """All utterances of a folder of shards."""
    return [
        Clip(shard.samples(line), line.text, line.language, line.words)
        for shard in shards(folder)
        for line in shard.lines
    ]


def recorded(folder: Path, language: str, part: str) -> list[Clip]:
    """The recordings of one language in one of the manifest's folders."""
    with (folder / "manifest.tsv").open(encoding="utf-8") as manifest:
        rows = [row for row in csv.DictReader(manifest, delimiter="\t", quoting=csv.QUOTE_NONE) if row["transcript"]]
    chosen = [row for row in rows if row["language"] == language and row["file"].startswith(part)]
    return [Clip(_read(folder / row["file"]), row["transcript"], language) for row in chosen]


def _read(path: Path) -> Samples:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return np.asarray(soxr.resample(samples.mean(axis=1), rate, RATE), np.float32)


def over_telephone(clips: Sequence[Clip]) -> list[Clip]:
    """The same through 8 kHz and G.711."""
    return [Clip(telephone(clip.samples), clip.text, clip.language, clip.words) for clip in clips]


def rows(work: Path, model: Path, speech: Path | None) -> Iterator[tuple[str, str, Score]]:
    """What was heard, by what, and how well."""
    engines = {"ours": ours(model), "ours, float32": ours(model / "float32")}
    engines |= {"sherpa-onnx": sherpa(model), "onnx-asr": onnx_asr_(model / "onnx-asr")}
    for name, folder in (("known voices", "held-out-known"), ("new voices", "held-out-new")):
        clips = synthesised(work / "speech" / folder)
        for language in ("en", "fr"):
            spoken = [clip for clip in clips if clip.language == language]
            for engine, recognise in engines.items():
                yield f"{name}, {language}", engine, score(spoken, recognise)
            yield f"{name}, {language}, telephone", "ours", score(over_telephone(spoken), engines["ours"])
    if speech:
        for part, language in (
            ("en/", "en"),
            ("fleurs/", "en"),
            ("digits/", "en"),
            ("fleurs/", "fr"),
            ("multi/", "fr"),
        ):
            yield f"people, {part} {language}", "server", score(recorded(speech, language, part), server(model))


def main() -> None:
    """Print the table, a row as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--speech", type=Path)
    given = parser.parse_args()
    print("| speech | recogniser | words | WER | clips all right | median error of word starts |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, engine, result in rows(given.work, given.model, given.speech):
        delay = "" if result.delay_ms is None else f"{result.delay_ms:.0f} ms"
        cells = (name, engine, result.words, f"{result.error_rate:.1f} %", f"{result.exact:.0f} %", delay)
        print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
