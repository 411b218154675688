"""What is recognised: speech of any length, cut and repeated from what is at hand."""

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stt_server.bench.speech import PCM, SAMPLES, cut, join, write
from stt_server.types import SAMPLE_RATE

ROOT = Path(__file__).parents[1]
RECORDED = Path(os.environ.get("STT_ASSETS", ROOT.parent / "shared" / "assets")) / "audio"
"""Recordings of people, where they are: a folder with `manifest.tsv`."""
_KINDS = ("en/", "fleurs/")
"""Folders of the manifest with clear speech of one person."""
_ENDINGS = {".wav", ".flac", ".ogg", ".mp3"}


@dataclass(frozen=True, slots=True)
class Clip:
    """A WAV file, 16 kHz mono PCM16."""

    path: Path
    seconds: float


@dataclass(frozen=True, slots=True)
class Speech:
    """One long recording, to be cut from."""

    pcm: PCM
    origin: str

    @classmethod
    def found(cls, folder: Path | None = None) -> "Speech":
        """All files of a folder; else recordings of people where they are, else the samples of this project."""
        if folder:
            files = sorted(path for path in folder.rglob("*") if path.suffix in _ENDINGS)
            if not files:
                raise SystemExit(f"There is no audio in {folder}.")
            return cls(join(files), f"the files of {folder.name}/")
        if (RECORDED / "manifest.tsv").is_file():
            return cls(join(list(_recorded())), "recordings of people reading and talking, in five languages")
        return cls(join(sorted(SAMPLES.glob("*.wav"))), "the project's synthesised samples")

    def samples(self, seconds: float) -> NDArray[np.float32]:
        """So many seconds, in [-1, 1]."""
        return cut(self.pcm, seconds).astype(np.float32) / np.float32(32_768)

    def write(self, path: Path, seconds: float, *, start: float = 0.0) -> Clip:
        """So many seconds as a file."""
        pcm = cut(self.pcm, seconds, start=start)
        return Clip(write(path, pcm), len(pcm) / SAMPLE_RATE)


def _recorded() -> Iterator[Path]:
    with (RECORDED / "manifest.tsv").open(encoding="utf-8") as manifest:
        for row in csv.DictReader(manifest, delimiter="\t", quoting=csv.QUOTE_NONE):
            if row["file"].startswith(_KINDS):
                yield RECORDED / row["file"]


# -- Voicemail ---------------------------------------------------------------------------------------

_MEDIAN, _SPREAD = 27.0, 0.75
"""Seconds, and the deviation of their logarithm: a mean of 36 s, that of some 10,000 messages left at AT&T (Jansche and
Abney, "Information extraction from voicemail transcripts", EMNLP 2002). Most are short, a few go on for minutes."""
_BRIEFEST, _LONGEST = 3.0, 180.0


def voicemails(speech: Speech, folder: Path, count: int) -> list[Clip]:
    """So many messages, the same ones every time, each from another place of the speech."""
    generator = np.random.default_rng(2002)
    lengths = np.clip(generator.lognormal(np.log(_MEDIAN), _SPREAD, count), _BRIEFEST, _LONGEST)
    starts = generator.uniform(0, len(speech.pcm) / SAMPLE_RATE, count)
    return [
        speech.write(folder / f"voicemail-{number}.wav", float(seconds), start=float(start))
        for number, (seconds, start) in enumerate(zip(lengths, starts, strict=True))
    ]
