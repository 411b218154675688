"""The one command, on the model that comes with the program: everybody runs, and everything is written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.contest import HTTP, Models, Task, contestants, run
from benchmarks.machine import Machine
from benchmarks.results import Results
from benchmarks.sounds import ROOT, Speech, voicemails
from stt_server.bench.speech import SAMPLES
from stt_server.speech.models import EMBEDDED
from tests.speech.engines.models import onnx_asr_layout


def benchmark(*arguments: object) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", "--speech", str(SAMPLES), *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**kept, "PYTHONPATH": str(ROOT)},
        timeout=300,
    )


@pytest.fixture(scope="module")
def both_layouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model as the twin lies there."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "sherpa").symlink_to(EMBEDDED)
    onnx_asr_layout(folder / "onnx-asr", source=EMBEDDED)
    return folder


def test_everybody_hears_the_same_and_everything_is_written(both_layouts: Path, tmp_path: Path) -> None:
    """One round over everything, and the same folder taken up again for more."""
    quick = ("--rounds", 1, "--voicemails", 2, "--model", both_layouts, "--out", tmp_path)
    ended = benchmark("--lengths", 3, *quick)
    assert ended.returncode == 0, ended.stderr
    results = Results.load(tmp_path)
    names = {one.name for one in contestants(Models.of(both_layouts), Machine.here().cores)}
    for task in ("3 s", "voicemails (2)"):
        found = [one for one in results.measurements if one.task == task]
        assert {one.contestant for one in found} == names
        heard = {one.contestant: one.tokens / one.audio for one in found if one.tokens is not None}
        assert set(heard) == names - {HTTP}
        # Front ends and windows differ, the words are the same: some tokens in every second of speech.
        assert all(2 < rate < 10 for rate in heard.values()), heard
        assert all(one.peak_mib > 10 and len(one.latencies) == one.clips for one in found)
    assert [one.task for one in results.measurements if one.task.startswith("load")] == [
        f"load {count}" for count in (1, 2, 4, 8, 16)
    ]
    assert results.overhead
    assert results.products == []  # how near it is to the limit is known of Parakeet's size only
    table = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "### Seconds of audio a second" in table
    assert "Overhead of a request" in table

    ended = benchmark("--lengths", 1, "--only", "ours, one", *quick, "--add")
    assert ended.returncode == 0, ended.stderr
    more = Results.load(tmp_path)
    assert more.measurements[: len(results.measurements)] == results.measurements
    assert {one.task for one in more.measurements[len(results.measurements) :]} == {"1 s"}


def test_rounds_begin_with_another_each_time(tmp_path: Path) -> None:
    """Nobody always comes after the same one."""
    two = contestants(Models.of(EMBEDDED), 1)[:2]
    clip = Speech.found(SAMPLES).write(tmp_path / "clip.wav", 1.0)
    order = [
        (one.round, one.contestant)
        for one in run(two, lambda _who, _round: [Task("short", [clip])], clip, 2, lambda _: None)
    ]
    first, second = (one.name for one in two)
    assert order == [(0, first), (0, second), (1, second), (1, first)]


def test_only_what_a_layout_allows_is_compared(both_layouts: Path) -> None:
    """sherpa-onnx needs its own, onnx-asr another; ours takes both."""
    assert not any("onnx-asr" in one.name for one in contestants(Models.of(EMBEDDED), 2))
    assert not any("sherpa" in one.name for one in contestants(Models.of(both_layouts / "onnx-asr"), 2))


def test_voicemails_are_as_long_as_people_make_them(tmp_path: Path) -> None:
    """The same messages every time: most are brief, some go on, 36 s in the mean of very many."""
    speech = Speech.found(SAMPLES)
    messages = voicemails(speech, tmp_path, 200)
    again = voicemails(speech, tmp_path, 200)
    seconds = [message.seconds for message in messages]
    assert seconds == [message.seconds for message in again]
    assert min(seconds) >= 3
    assert max(seconds) <= 180
    assert 30 < sum(seconds) / 200 < 42  # four standard errors of 200 draws would be 9
    assert sorted(seconds)[100] < sum(seconds) / 200
