"""Real files from other people's test suites, odd, broken and hostile, and all the recorded speech.

One confined child decodes them all, so that a crash, a hang or a hunger for memory shows as such.
"""

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.assets import ASSETS, needs_assets

pytestmark = needs_assets

SLACK = 0.03
"""Seconds. The manifests round to 0.01, and MP3 decoders differ in what they cut off at the ends."""

CHILD = """
import json, sys
from pathlib import Path
from stt_server.errors import SttError
from stt_server.speech.audio import decode
from stt_server.speech.confine import confine, withdraw
from stt_server.speech.sniff import SNIFF_BYTES, sniff
paths = sys.stdin.read().splitlines()
withdraw()
confine(cpu_seconds=60, memory_bytes=256 << 20, file_bytes=0, may_read=map(Path, paths))
for name in paths:
    path, samples, error = Path(name), 0, None
    try:
        with path.open("rb") as file:
            container = sniff(file.read(SNIFF_BYTES), path.name)
        samples = sum(len(block) for block in decode(path, container, max_duration=3600))
    except SttError as caught:
        error = type(caught).__name__
    print(json.dumps([name, samples / 16_000, error]), flush=True)
"""


@dataclass(frozen=True)
class Case:
    """A row of a manifest."""

    path: Path
    expected: str
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What became of a file."""

    seconds: float
    error: str | None


def cases(folder: str, seconds: str) -> Iterator[Case]:
    """All rows of one manifest; none where the assets are absent."""
    manifest = ASSETS / folder / "manifest.tsv"
    if manifest.exists():
        with manifest.open(newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                expected = row.get("expected", "decodes")
                yield Case(ASSETS / folder / row["file"], expected, float(row[seconds]))


FORMATS = list(cases("formats", "ffmpeg_seconds"))
SPEECH = list(cases("audio", "seconds"))


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    """What the child made of each file, by its path."""
    paths = "\n".join(str(case.path) for case in FORMATS + SPEECH)
    done = subprocess.run([sys.executable, "-c", CHILD], input=paths, capture_output=True, text=True, timeout=120)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"died after {lines[-1:]}: {done.stderr}"
    return {name: Outcome(seconds, error) for name, seconds, error in lines}


@pytest.mark.parametrize("case", FORMATS, ids=lambda case: case.path.name)
def test_awkward_files(case: Case, outcomes: dict[str, Outcome]) -> None:
    """What ought to decode does, to its length; what cannot is called bad audio; nothing crashes or hangs."""
    outcome = outcomes[str(case.path)]
    if case.expected.startswith("clean error"):
        assert outcome.error == "BadAudio"
    elif "clean error" in case.expected:
        assert outcome.error in (None, "BadAudio", "AudioTooShort")
    else:
        assert outcome.error == ("AudioTooShort" if case.seconds < 0.1 else None)
    if outcome.error is None and case.seconds:
        assert outcome.seconds == pytest.approx(case.seconds, abs=SLACK)


@pytest.mark.parametrize("case", SPEECH, ids=lambda case: case.path.name)
def test_recorded_speech(case: Case, outcomes: dict[str, Outcome]) -> None:
    """Every recording decodes to its length."""
    outcome = outcomes[str(case.path)]
    assert outcome.error is None
    assert outcome.seconds == pytest.approx(case.seconds, abs=SLACK)


def test_manifests_are_read() -> None:
    """The two tests above have seen files."""
    assert len(FORMATS) == 78
    assert len(SPEECH) == 95
