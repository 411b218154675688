"""`stt-server bench` as its users have it, with the model that comes with the program."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stt_server.bench.speech import SAMPLES
from stt_server.bench.speed import LENGTHS
from stt_server.speech.models import EMBEDDED


def bench(*arguments: object, threads: int = 2) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    return subprocess.run(
        [sys.executable, "-m", "stt_server", "bench", "--model-path", str(EMBEDDED), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**kept, "COLUMNS": "200", "THREADS": str(threads)},
        timeout=120,
    )


def test_speed_is_measured_at_several_lengths_and_some_at_a_time() -> None:
    """Each row says how many clips it is of, and its numbers fit together."""
    ended = bench("--seconds", 8, "--json")
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert (found["model"], found["threads"]) == ("parakeet-tdt-embedded", 2)
    assert found["loading"]["peak_mib"] > 0
    rows = found["speed"]
    cells = [(length, many) for length in LENGTHS for many in (1, 2)]
    assert [(row["length"], row["at_a_time"]) for row in rows] == cells[: len(rows)]  # a slow machine leaves some out
    for row in rows:
        assert row["clips"] % row["at_a_time"] == 0
        assert row["peak_mib"] > 0
        # So many at a time overlap, and none takes longer than all together.
        together = row["factor"] * row["length"] * row["clips"]
        assert 0 < row["latency"] <= together
    assert "accuracy" not in found


def test_a_measurement_that_would_take_too_long_is_left_out() -> None:
    """With hardly any time, the shortest clip alone is measured."""
    found = json.loads(bench("--seconds", 0.000001, "--json").stdout)
    assert [(row["length"], row["at_a_time"], row["clips"]) for row in found["speed"]] == [(LENGTHS[0], 1, 1)]


def test_the_table_shows_speed_and_errors(tmp_path: Path) -> None:
    """For people: every length, the words, the rate, and what is known of the difference."""
    for path in SAMPLES.glob("english-*"):
        shutil.copy(path, tmp_path)
    (tmp_path / "english-bill.txt").write_text("Hi, Ralph here, I'm calling about your bill.")  # one word is another
    ended = bench("--seconds", 1, "--speech", tmp_path, "--against", EMBEDDED)
    assert ended.returncode == 0, ended.stderr
    assert re.search(r"3 s +│ 1 ", ended.stdout)
    assert len(re.findall(r"parakeet-tdt-embedded +│ 15 +│ 1 +│ 6.67 %", ended.stdout)) == 2
    assert "Over 2 recordings" in ended.stdout
    assert "+0.00 points, with 95 % confidence between +0.00 and +0.00: they may be equal" in ended.stdout


def test_errors_are_counted_per_model() -> None:
    """The model hears its own samples without an error; `--seconds 0` leaves speed out."""
    found = json.loads(bench("--seconds", 0, "--speech", SAMPLES, "--json").stdout)
    words = sum(len(path.read_text().replace("-", " ").split()) for path in SAMPLES.glob("*.txt"))
    assert found["speed"] == []
    assert found["accuracy"] == [
        {"model": "parakeet-tdt-embedded", "words": words, "errors": 0, "word_error_rate": 0.0}
    ]
    assert "difference" not in found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--speech", "nowhere"], "nowhere: No such file"),
        (["--speech", SAMPLES, "--against", "nowhere"], "There is no model in nowhere"),
    ],
)
def test_a_mistake_is_said_before_anything_is_measured(arguments: list[object], message: str) -> None:
    """In one line, with status 1."""
    ended = bench(*arguments)
    assert ended.returncode == 1
    assert message in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


def test_a_second_model_without_recordings_is_refused() -> None:
    """It would not be used."""
    ended = bench("--against", EMBEDDED)
    assert ended.returncode == 2
    assert "--speech" in ended.stderr


def test_a_file_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    """The rate would be of other recordings than the user thinks."""
    (tmp_path / "broken.wav").write_bytes(b"RIFF" + bytes(100))
    (tmp_path / "broken.txt").write_text("hello")
    ended = bench("--seconds", 0, "--speech", tmp_path)
    assert ended.returncode == 1
    assert "broken.wav" in ended.stderr
