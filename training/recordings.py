"""People, not synthesisers: the prompts of the telephone exchange Asterisk, in shards of training/corpus.py.

    python -m training.recordings OUT [--armelle FOLDER]

Debian packages: asterisk-core-sounds-en and -en-wav (Allison Smith, American), asterisk-core-sounds-fr and -fr-wav
(June Wallack, Canadian); CC BY-SA 3.0. asterisk-prompt-fr-armelle (Armelle Desjardins, French; BSD) conflicts with
asterisk-core-sounds-fr: unpack it with `dpkg-deb -x` and name the folder that holds its `digits`. It has no list of
texts, so only what the file's name tells is used.

All are recorded for 8 kHz. An eighth of the whole sentences is set aside in `OUT/held-out`. From digits, letters and
dates, which were spoken to be joined, longer utterances are made: the only telephone numbers said by a person here.
"""

import argparse
import re
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from training.corpus import RATE, Samples, ShardWriter
from training.prompts import texts
from training.synthesis.spoken import LONGEST_SILENCE, Spoken

SOUNDS, LISTS = Path("/usr/share/asterisk/sounds"), Path("/usr/share/doc")
LONGEST = 30.0
"""Seconds."""
PACE = (3.5, 26.0)
"""Characters a second; text and sound that are further apart do not belong together."""
SHORT = 12
"""Characters up to which the pace tells nothing, a word alone being said slowly: then 2 seconds are the limit."""
HELD_OUT_SHARE = 8
"""One in so many."""
PAUSE = (0.1, 0.4)
"""Seconds between joined words."""
EDGE = 0.01
"""Where a word to be joined begins and ends, as the whole recordings do: nothing of its own silence stays."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A recording with its text."""

    name: str
    """Of the file, without suffix: `digits/7`."""
    text: str
    samples: Samples

    @property
    def held_out(self) -> bool:
        """Chosen by its name; single words are needed for training."""
        return self.text.count(" ") > 2 and zlib.crc32(self.name.encode()) % HELD_OUT_SHARE == 0


def main() -> None:
    """Read the options, write the shards, say how much there is of each voice."""
    parser = argparse.ArgumentParser(prog="python -m training.recordings", description="Recorded prompts into shards.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--armelle", type=Path, help="folder of asterisk-prompt-fr-armelle that holds `digits`")
    options = parser.parse_args()
    minutes: dict[str, float] = defaultdict(float)
    rng = np.random.default_rng(1)
    with ShardWriter(options.out, "00000") as known, ShardWriter(options.out / "held-out", "00000") as new:
        for voice, language, prompts in _voices(options.armelle):
            joined = [(f"{voice}, joined", *said) for said in _joined(prompts, language, rng)]
            whole = [(voice, prompt.text, prompt.samples, prompt.held_out) for prompt in prompts]
            for speaker, text, samples, held_out in whole + [(*each, False) for each in joined]:
                (new if held_out else known).add(samples, text, language, f"human:{voice}")
                minutes[f"{speaker}{', held out' if held_out else ''}"] += len(samples) / RATE / 60
    for speaker, length in minutes.items():
        print(f"{speaker}: {length:.1f} min")


def _voices(armelle: Path | None) -> Iterator[tuple[str, str, list[Prompt]]]:
    english = texts(LISTS / "asterisk-core-sounds-en" / "core-sounds-en.txt.gz", "en")
    french = texts(LISTS / "asterisk-core-sounds-fr" / "core-sounds-fr.txt.gz", "fr")
    yield "allison", "en", list(_prompts(SOUNDS / "en_US_f_Allison", ".wav", english))
    yield "june", "fr", list(_prompts(SOUNDS / "fr_CA_f_June", ".wav", french))
    if armelle:
        plain = {name: text for name, text in french.items() if re.match(r"(digits|letters)/", name)}
        yield "armelle", "fr", list(_prompts(armelle, ".gsm", plain))


def _prompts(folder: Path, suffix: str, known: dict[str, str]) -> Iterator[Prompt]:
    for name, text in sorted(known.items()):
        path = folder / f"{name}{suffix}"
        if not path.exists():
            continue
        samples, rate = _read(path)
        spoken = Spoken.of(samples, rate)
        if _plausible(text, len(spoken.samples) / RATE):
            yield Prompt(name, text, spoken.samples)
        else:
            print(f"left out: {path.name}, {len(spoken.samples) / RATE:.1f} s for {text!r}")


def _read(path: Path) -> tuple[Samples, int]:
    """Samples and rate. A file of GSM has no header that would tell."""
    headless = {"format": "RAW", "subtype": "GSM610", "samplerate": 8000, "channels": 1}
    samples, rate = soundfile.read(path, dtype="float32", **(headless if path.suffix == ".gsm" else {}))
    return samples, rate


def _plausible(text: str, seconds: float) -> bool:
    if len(text) <= SHORT:
        return 0.15 < seconds < 2
    return seconds < LONGEST and PACE[0] < len(text) / seconds < PACE[1]


def _joined(prompts: list[Prompt], language: str, rng: np.random.Generator) -> Iterator[tuple[str, Samples]]:
    """Numbers as they are said on the telephone, words letter by letter, numbers of two words, days and dates."""
    folders: dict[str, list[Prompt]] = defaultdict(list)
    for prompt in prompts:
        for kind, pattern in _KINDS.items():
            if re.fullmatch(pattern, prompt.name):
                folders[kind].append(prompt)
    plans = [(80, ["digit"] * count) for count in (3, 4, 5, 6)] + [(40, ["letter"] * count) for count in (2, 3, 4)]
    plans += [(60, ["day", *date]) for date in _DATES[language]] + [(60, list(date)) for date in _DATES[language]]
    plans += [(8, ["many", unit]) for unit in ("hundred", "thousand")] + [(60, ["many", "hundred", "ten"])]
    for times, plan in plans:
        for _ in range(times):
            chosen = [folders[kind][rng.integers(len(folders[kind]))] for kind in plan if folders[kind]]
            if len(chosen) == len(plan):
                yield _text(chosen, language), _sound([prompt.samples for prompt in chosen], rng)


_KINDS = {
    "digit": r"digits/[0-9]",
    "letter": r"letters/[a-z]",
    "day": r"digits/day-\d",
    "month": r"digits/mon-\d+",
    "ordinal": r"digits/h-(\d|1\d|20)",
    "ten": r"digits/[1-9]0",
    "many": r"digits/[2-9]",
    "date": r"digits/([2-9]|1\d|h-1)",
    "hundred": r"digits/hundred",
    "thousand": r"digits/thousand",
}
_DATES = {"en": [("month", "ordinal")], "fr": [("date", "month")]}
"""`March third`, `trois mars`."""


def _text(prompts: list[Prompt], language: str) -> str:
    """The words after one another; days and months keep their capital in English only."""
    proper = r"(letters/|digits/(day|mon)-)" if language == "en" else "letters/"
    words = [prompt.text.rstrip(".") for prompt in prompts]
    words = [w if re.match(proper, prompt.name) else w.lower() for prompt, w in zip(prompts, words, strict=True)]
    text = re.sub(r"\bcent$", "cents", " ".join(words))  # the plural, which only counts at the end
    return text[0].upper() + text[1:] + "."


def _sound(pieces: list[Samples], rng: np.random.Generator) -> Samples:
    joined: list[Samples] = []
    for piece in pieces:
        loud = np.flatnonzero(np.abs(piece) > EDGE)
        joined += [piece[loud[0] : loud[-1] + 1], np.zeros(round(rng.uniform(*PAUSE) * RATE), np.float32)]
    margin = np.zeros(round(LONGEST_SILENCE * RATE), np.float32)
    return np.concatenate([margin, *joined, margin])


if __name__ == "__main__":
    main()
