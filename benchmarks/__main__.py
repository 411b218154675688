"""The one command: `python -m benchmarks`. It builds the model, measures everybody, and writes tables and pictures.

Needs `pip install -e . -r benchmarks/requirements.txt`. README.md says what is measured and how.
"""

import argparse
import datetime
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.markdown import Markdown

from benchmarks import publish
from benchmarks.contest import HTTP, VOICEMAILS, Contestant, Models, Task, contestants, measure_overhead, run
from benchmarks.limit import measure
from benchmarks.machine import Machine
from benchmarks.report import render
from benchmarks.results import Results
from benchmarks.sounds import ROOT, Speech, voicemails
from benchmarks.team import processes
from benchmarks.twin import WRITTEN
from stt_server.settings import available_cpus
from stt_server.speech.models import EMBEDDED

_WORK = ROOT / "build" / "benchmarks"
_LENGTHS = (3.0, 10.0, 30.0, 60.0, 300.0)
_QUICK = (3.0, 10.0, 30.0)
_FILL_SECS = 30.0
"""Shorter clips are repeated until there is so much audio: a tick of the kernel's clock is 10 ms."""
_LOADS = (1, 2, 4, 8, 16)
_PARTS = ("limit", "overhead", "load", VOICEMAILS)
"""What `--only` may name beside contestants."""
_LIBRARIES = ("onnxruntime", "sherpa-onnx", "onnx-asr", "numpy")


def main() -> None:
    """Measure, print, write."""
    given = _arguments()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as `stt-server` does, for all children
    models = Models.of(given.model or _twin(given.out))
    speech = Speech.found(given.speech)
    results = _results(given, speech)
    with TemporaryDirectory(prefix="benchmarks-") as folder:
        _measure(given, models, speech, Path(folder), results)
    results.save(given.out)
    publish.write(results, given.out)
    Console().print(Markdown(render(results)))
    if given.publish:
        publish.into_readme(results, given.out)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--quick", action="store_true", help="three lengths, two rounds, 12 voicemails: minutes instead of an hour")
    add("--lengths", type=float, nargs="*", metavar="S", help="of the clips, in seconds; none: only the rest")
    add("--rounds", type=int, metavar="N", help="how often everybody runs (default: 5)")
    add("--voicemails", type=int, metavar="N", help="of the mixed load (default: 200)")
    add(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help=f"contestants whose name has it, or {', '.join(_PARTS)}",
    )
    add("--model", type=Path, metavar="FOLDER", help="a model of your own instead of the twin")
    add("--speech", type=Path, metavar="FOLDER", help="audio files to recognise instead of those at hand")
    add("--out", type=Path, metavar="FOLDER", default=_WORK, help="where results go (default: build/benchmarks)")
    add("--add", action="store_true", help="keep what was measured before, on the same machine and model")
    add("--publish", action="store_true", help="put the tables and pictures into benchmarks/README.md")
    given = parser.parse_args()
    given.lengths = sorted(given.lengths if given.lengths is not None else _QUICK if given.quick else _LENGTHS)
    given.rounds = given.rounds or (2 if given.quick else 5)
    if given.voicemails is None:
        given.voicemails = 12 if given.quick else 200
    return given


def _twin(out: Path) -> Path:
    """Built once. In a process of its own: it takes 10 GB."""
    folder = out / "twin"
    if not (folder / WRITTEN).is_file():
        print("building the model of random weights, once: ten minutes", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "benchmarks.twin", folder], cwd=ROOT, check=True)
    return folder


def _results(given: argparse.Namespace, speech: Speech) -> Results:
    if given.add and (given.out / "results.json").is_file():
        return Results.load(given.out)
    return Results(
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        machine=Machine.here(),
        versions={name: found for name in _LIBRARIES if (found := _version(name))},
        model=given.model.name if given.model else "random weights in Parakeet TDT 0.6B v3's shape",
        speech=speech.origin,
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _measure(given: argparse.Namespace, models: Models, speech: Speech, folder: Path, results: Results) -> None:
    """All that was asked for; saved after each step."""
    cores = available_cpus()
    names = [name for name in given.only if name not in _PARTS]
    everybody = contestants(models, cores)
    named = {one.name for one in everybody if not names or any(name in one.name for name in names)}

    def wanted(part: str) -> bool:
        return part in given.only if given.only else True

    if wanted("limit") and models.parakeets_size:
        results.products = measure(cores)
        results.save(given.out)
    if wanted("overhead"):
        results.overhead = measure_overhead(EMBEDDED, speech.write(folder / "overhead.wav", 3.0), cores)
        results.save(given.out)
    lengths = [_length(speech, folder, seconds) for seconds in given.lengths] if names or not given.only else []
    messages = voicemails(speech, folder, given.voicemails) if wanted(VOICEMAILS) and given.voicemails else []
    mixed = Task(f"{VOICEMAILS} ({len(messages)})", messages, share=True)
    ten = speech.write(folder / "load.wav", 10.0)
    loads = [Task(f"load {count}", [ten] * 2, at_a_time=count) for count in _LOADS] if wanted("load") else []

    def tasks(contestant: Contestant, number: int) -> list[Task]:
        """Lengths in every round; the rest, which is long, in the first one."""
        chosen = contestant.name in named
        found = [*lengths] if chosen else []
        if number == 0 and messages and chosen:
            found.append(_for_many(mixed, contestant, cores))
        if number == 0 and contestant.name == HTTP:
            found += loads
        return found

    with processes("ours", models.ours, count=1, threads=1, at_a_time=1):
        pass  # what the server prepares at its first start is no matter of speed
    console = Console(stderr=True)
    warm_up = speech.write(folder / "warm.wav", 3.0)
    for measurement in run(everybody, tasks, warm_up, given.rounds, say=console.log):
        results.measurements.append(measurement)
        results.save(given.out)


def _length(speech: Speech, folder: Path, seconds: float) -> Task:
    clip = speech.write(folder / f"{seconds:g}.wav", seconds)
    return Task(f"{seconds:g} s", [clip] * max(1, round(_FILL_SECS / seconds)))


def _for_many(task: Task, contestant: Contestant, cores: int) -> Task:
    """A busy server has more requests than cores."""
    return Task(task.name, task.clips, at_a_time=2 * cores, share=True) if contestant.name == HTTP else task


if __name__ == "__main__":
    main()
