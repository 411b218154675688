"""The fast form beside a model: made once, found again, never believed when it does not fit, never in the way."""

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from stt_server.errors import ModelBroken
from stt_server.speech.engines import load
from stt_server.speech.engines.prepared import FOLDER, Choice, Why, choose, prepare
from stt_server.speech.processor import Kernels, multiplies_exactly
from stt_server.types import Audio, Options
from tests.assets import TINY_MODEL, needs_model
from tests.speech.engines import models
from tests.speech.engines.graphs import rewritten
from tests.speech.engines.lean.exports import Export, write
from tests.speech.engines.models import SAMPLES, speech, transcripts

pytestmark = needs_model
needs_exact = pytest.mark.skipif(not multiplies_exactly(), reason="nothing is prepared for this processor")

ENCODER = "encoder.int8.onnx"
ROOT = Path(__file__).parents[3]


@pytest.fixture
def cpuinfo(tmp_path: Path) -> Path:
    """A processor for which it is worth it."""
    path = tmp_path / "cpuinfo"
    path.write_text("flags : avx512_vnni\n")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return models.copy_tiny(tmp_path / "model")


def graphs(folder: Path) -> list[Path]:
    """What lies among the prepared."""
    return [path for path in (folder / FOLDER).iterdir() if path.name != "lock"] if (folder / FOLDER).exists() else []


def digest(*paths: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:16]


def same(one: onnx.ModelProto, other: onnx.ModelProto) -> bool:
    """Whether they are the same graph with the same weights, wherever those lay."""
    weights = [{tensor.name: numpy_helper.to_array(tensor) for tensor in m.graph.initializer} for m in (one, other)]
    bare = [onnx.ModelProto.FromString(model.SerializeToString()) for model in (one, other)]
    for model in bare:
        del model.graph.initializer[:]
    return bare[0] == bare[1] and all(
        map(np.array_equal, *[[found[name] for name in sorted(found)] for found in weights])
    )


def chosen(folder: Path, cpuinfo: Path) -> Choice:
    return choose(folder / ENCODER, smallest=0, cpuinfo=cpuinfo)


def made(folder: Path, cpuinfo: Path, **other: Any) -> Path:
    """The fast graph that has been prepared."""
    choice = prepare(folder, smallest=0, cpuinfo=cpuinfo, **other)
    assert choice.why is Why.PREPARED
    return choice.path


def test_it_is_made_once_and_found_again(folder: Path, cpuinfo: Path) -> None:
    """Its name carries the original's checksum, the version, the form and its own; the original is not touched."""
    before = digest(folder / ENCODER)
    assert chosen(folder, cpuinfo) == Choice(folder / ENCODER, Why.ABSENT)

    path = made(folder, cpuinfo)

    own = digest(path.with_name("encoder.weights"), path)
    assert path == folder / FOLDER / f"encoder.int8-{before}-3-rewritten-{own}" / "encoder.onnx"
    assert digest(folder / ENCODER) == before
    assert chosen(folder, cpuinfo) == Choice(path, Why.PREPARED)
    written = path.stat().st_mtime_ns
    assert made(folder, cpuinfo) == path
    assert path.stat().st_mtime_ns == written
    assert graphs(folder) == [path.parent]


def test_the_file_is_the_rewritten_graph(folder: Path, cpuinfo: Path) -> None:
    """Written weight by weight, it reads as one model; what is large lies apart, on pages of its own."""
    path = made(folder, cpuinfo)
    assert same(onnx.load(path), rewritten(onnx.load(folder / ENCODER)))
    alone = onnx.load(path, load_external_data=False)
    places = [{entry.key: entry.value for entry in tensor.external_data} for tensor in alone.graph.initializer]
    assert path.stat().st_size < path.with_name("encoder.weights").stat().st_size / 4
    assert {place["location"] for place in places if place} == {"encoder.weights"}
    assert all(int(place["offset"]) % 4096 == 0 for place in places if place)


def test_both_layouts_are_prepared(tmp_path: Path, cpuinfo: Path, onnx_asr_folder: Path) -> None:
    """onnx-asr's encoder has another name."""
    folder = shutil.copytree(onnx_asr_folder, tmp_path / "model", ignore=shutil.ignore_patterns(FOLDER))
    assert made(folder, cpuinfo).parent.name.startswith("encoder-model.int8-")


def test_progress_reaches_its_end(folder: Path, cpuinfo: Path) -> None:
    """Somebody waiting sees how far it is, up to all of it."""
    seen: list[tuple[str, int, int]] = []
    made(folder, cpuinfo, on_progress=lambda *report: seen.append(report))
    size = (folder / ENCODER).stat().st_size
    assert {(name, total) for name, _, total in seen} == {("encoder.int8.onnx, prepared", size)}
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    assert seen[-1][1] == size


def test_a_published_encoder_becomes_lean(published: Path, tmp_path: Path, cpuinfo: Path) -> None:
    """Both names say so: the file's, and the reason that is logged and checked. Waiting ends at all of it."""
    folder = models.copy_tiny(tmp_path / "model")
    shutil.copyfile(published, folder / ENCODER)
    seen: list[int] = []
    choice = prepare(folder, lambda _file, done, _total: seen.append(done), smallest=0, cpuinfo=cpuinfo)
    assert choice.why is Why.LEAN
    assert "-3-lean-" in choice.path.parent.name
    assert chosen(folder, cpuinfo) == choice
    assert seen == sorted(seen)
    assert seen[-1] == published.stat().st_size


def test_an_encoder_that_computes_something_else_is_only_rewritten(
    tmp_path: Path, cpuinfo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """All parts are there, and one function is another: the trial sees it, and says by how much."""
    folder = models.copy_tiny(tmp_path / "model")
    write(folder, Export(gate="HardSigmoid"))
    choice = prepare(folder, smallest=0, cpuinfo=cpuinfo)
    assert choice.why is Why.PREPARED
    assert same(onnx.load(choice.path), rewritten(onnx.load(folder / ENCODER)))
    [reason] = [record.__dict__["reason"] for record in caplog.records if "no lean form" in record.message]
    assert "differs by" in reason


# -- What does not fit -----------------------------------------------------------------------------


def test_another_original_gets_its_own(folder: Path, cpuinfo: Path) -> None:
    """A model put in the place of another is not answered with the other's graph, which goes."""
    old = made(folder, cpuinfo)
    models.with_metadata(folder, languages="en,fr")
    assert chosen(folder, cpuinfo).why is Why.ABSENT
    new = made(folder, cpuinfo)
    assert new != old
    assert graphs(folder) == [new.parent]


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _older(path: Path) -> None:
    path.parent.rename(path.parent.with_name(path.parent.name.replace("-3-", "-2-")))


def _of_one_file(path: Path) -> None:
    """As the version before had it."""
    shutil.rmtree(path.parent)
    path.parent.with_name(path.parent.name.replace("-3-", "-2-") + ".onnx").write_bytes(b"graph and weights")


@pytest.mark.parametrize("name", ["encoder.onnx", "encoder.weights"])
@pytest.mark.parametrize(
    "spoil", [_flip, _older, _of_one_file, lambda path: os.truncate(path, 1000), lambda path: path.unlink()]
)
def test_a_damaged_or_stale_one_is_made_anew(folder: Path, cpuinfo: Path, name: str, spoil: Any) -> None:
    """A flipped bit, a missing end or file, or another version's work: seen before it is loaded."""
    path = made(folder, cpuinfo)
    content = path.with_name(name).read_bytes()
    spoil(path.with_name(name))
    assert chosen(folder, cpuinfo) == Choice(folder / ENCODER, Why.ABSENT)
    assert made(folder, cpuinfo) == path
    assert path.with_name(name).read_bytes() == content
    assert graphs(folder) == [path.parent]


def test_an_unfinished_one_is_no_hindrance(folder: Path, cpuinfo: Path) -> None:
    """What a process left that was killed at work is cleared away."""
    (folder / FOLDER).mkdir()
    (folder / FOLDER / "4711.part").mkdir()
    (folder / FOLDER / "4711.part" / "encoder.weights").write_bytes(b"half")
    path = made(folder, cpuinfo)
    assert graphs(folder) == [path.parent]


# -- What needs none -------------------------------------------------------------------------------


def test_an_original_with_nothing_to_rewrite_is_looked_at_once(folder: Path, cpuinfo: Path) -> None:
    """An export with signed weights is used as it is, and its checksum says so the next time."""
    models.rewritten(folder)
    assert prepare(folder, smallest=0, cpuinfo=cpuinfo) == Choice(folder / ENCODER, Why.NOTHING)
    assert chosen(folder, cpuinfo).why is Why.NOTHING
    assert [list(path.iterdir()) for path in graphs(folder)] == [[]]


def test_small_and_float_models_are_left_alone(folder: Path, cpuinfo: Path) -> None:
    """They gain nothing: not even a folder is made."""
    assert prepare(folder, cpuinfo=cpuinfo) == Choice(folder / ENCODER, Why.SMALL)
    (folder / ENCODER).rename(folder / "encoder.onnx")
    assert prepare(folder, smallest=0, cpuinfo=cpuinfo) == Choice(folder / "encoder.onnx", Why.FLOAT)
    assert not (folder / FOLDER).exists()


def test_a_processor_that_would_overflow_gets_the_original(folder: Path, cpuinfo: Path) -> None:
    """Even where the fast form lies there, made by another machine."""
    made(folder, cpuinfo)
    cpuinfo.write_text("flags : avx2\n")
    assert prepare(folder, smallest=0, cpuinfo=cpuinfo) == Choice(folder / ENCODER, Why.PROCESSOR)


# -- What goes wrong -------------------------------------------------------------------------------


def test_who_runs_the_server_has_the_last_word(folder: Path, cpuinfo: Path) -> None:
    """KERNELS=published leaves the file as it came, `prepared` prepares it even for a processor that would overflow."""
    assert prepare(folder, smallest=0, cpuinfo=cpuinfo, kernels=Kernels.PUBLISHED) == Choice(
        folder / ENCODER, Why.ASKED
    )
    assert not (folder / FOLDER).exists()
    cpuinfo.write_text("flags : avx2\n")
    path = made(folder, cpuinfo, kernels=Kernels.PREPARED)
    assert choose(folder / ENCODER, smallest=0, cpuinfo=cpuinfo, kernels=Kernels.PREPARED) == Choice(path, Why.PREPARED)


def test_what_is_no_graph_is_left_to_the_loader(folder: Path, cpuinfo: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It complains of the file the operator knows; this only warns."""
    (folder / ENCODER).write_bytes(b"\xff" * 1000)
    assert prepare(folder, smallest=0, cpuinfo=cpuinfo) == Choice(folder / ENCODER, Why.FAILED)
    assert "cannot be prepared" in caplog.text
    with pytest.raises(ModelBroken, match=r"encoder\.int8\.onnx cannot be loaded"):
        load(folder, threads=1)


def test_no_model_is_still_no_model(tmp_path: Path) -> None:
    """There, it fails like everything else."""
    with pytest.raises(ModelBroken, match="holds no Parakeet model"):
        prepare(tmp_path)


PREPARE = textwrap.dedent("""
    import sys
    from pathlib import Path
    from stt_server import logs
    from stt_server.speech.engines.prepared import prepare
    logs.configure("info")
    print(prepare(Path(sys.argv[1]), smallest=0, cpuinfo=Path(sys.argv[2])).why.name)
""")


def program(folder: Path, cpuinfo: Path) -> list[str]:
    """Preparing as a program of its own."""
    return [sys.executable, "-c", PREPARE, str(folder), str(cpuinfo)]


def on_a_mount(prelude: str, folder: Path, cpuinfo: Path) -> "subprocess.CompletedProcess[str]":
    """Run it where the folder is another file system, made by some commands."""
    if not shutil.which("unshare"):
        pytest.skip("no unshare")
    shell = f'{prelude} || exit 77; "$@"'
    ended = subprocess.run(
        ["unshare", "-rm", "sh", "-c", shell, str(folder), *program(folder, cpuinfo)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    if ended.returncode == 77 or ended.stderr.startswith("unshare"):
        pytest.skip("no right to mount")
    return ended


def test_a_read_only_folder_means_the_original_and_one_warning(folder: Path, cpuinfo: Path) -> None:
    """As with a volume mounted `:ro`: the warning says what to run."""
    ended = on_a_mount('mount --bind "$0" "$0" && mount -o remount,ro,bind "$0"', folder, cpuinfo)
    assert ended.stdout == "FAILED\n"
    assert ended.stderr.count("WARNING") == len(ended.stderr.splitlines()) == 1
    assert "Run `stt-server download`" in ended.stderr
    assert "Read-only file system" in ended.stderr


def test_a_prepared_model_is_used_from_a_read_only_folder(folder: Path, cpuinfo: Path) -> None:
    """What the download has prepared needs no writing."""
    made(folder, cpuinfo)
    ended = on_a_mount('mount --bind "$0" "$0" && mount -o remount,ro,bind "$0"', folder, cpuinfo)
    assert (ended.stdout, ended.stderr) == ("PREPARED\n", "")


def test_a_full_disk_means_the_original_and_a_warning(folder: Path, cpuinfo: Path, tmp_path: Path) -> None:
    """It is seen before the work begins, and said in numbers."""
    prelude = f'mount -t tmpfs -o size=40m none "$0" && cp "{TINY_MODEL}"/*.* "$0"'
    ended = on_a_mount(prelude, folder, cpuinfo)
    assert ended.stdout == "FAILED\n"
    assert "error=66 MiB are needed, 3" in ended.stderr


def test_a_disk_that_fills_up_meanwhile_leaves_nothing_behind(folder: Path, cpuinfo: Path) -> None:
    """A write that fails ends like a disk that was full before."""
    limited = "import resource, signal; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
    ended = subprocess.run(
        [sys.executable, "-c", limited + PREPARE, folder, cpuinfo], capture_output=True, text=True, cwd=ROOT
    )
    assert ended.stdout == "FAILED\n"
    assert "error=File too large" in ended.stderr
    assert graphs(folder) == []


def test_several_processes_make_one(folder: Path, cpuinfo: Path) -> None:
    """Started together, one of them works and the others wait for it."""
    started = [
        subprocess.Popen(program(folder, cpuinfo), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        for _ in range(4)
    ]
    outcomes = [process.communicate() for process in started]
    assert [out for out, _ in outcomes] == ["PREPARED\n"] * 4
    assert "".join(log for _, log in outcomes).count("model prepared") == 1
    assert len(graphs(folder)) == 1


# -- In the engine ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model large enough to be prepared unasked."""
    return models.heavy(tmp_path_factory.mktemp("heavy") / "model")


@needs_exact
def test_the_engine_prepares_and_hears_the_same(heavy: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Loading makes the fast form, if it may; with it the same words are heard, to the last bit of their
    probabilities."""
    caplog.set_level(logging.INFO)
    windows = [Audio(speech(SAMPLES / name)) for name in transcripts()]
    asked = Options(model="tiny")
    plain = load(heavy, threads=1, may_prepare=False)
    assert not graphs(heavy)
    fast = load(heavy, threads=1)
    assert [path.is_dir() for path in graphs(heavy)] == [True]
    chosen = [record.__dict__["why"] for record in caplog.records if record.message == "encoder chosen"]
    assert chosen == [Why.ABSENT, Why.PREPARED]
    assert fast.recognise(windows, asked) == plain.recognise(windows, asked)


@needs_exact
def test_a_prepared_graph_that_does_not_load_costs_nothing(heavy: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever an ONNX Runtime of the future thinks of it: the original is there."""
    for path in graphs(heavy):
        shutil.rmtree(path)
    junk = b"junk"
    name = f"encoder.int8-{digest(heavy / ENCODER)}-3-lean-{hashlib.sha256(junk).hexdigest()[:16]}"
    (heavy / FOLDER / name).mkdir(parents=True)
    (heavy / FOLDER / name / "encoder.onnx").write_bytes(junk)
    assert load(heavy, threads=1)
    assert "the prepared encoder does not load" in caplog.text


@needs_exact
def test_the_benchmark_compares_both(folder: Path) -> None:
    """One command, a table with a row for each encoder and number of threads."""
    command = [sys.executable, str(ROOT / "benchmarks" / "encoder.py"), str(folder), "--rounds", "1", "--seconds", "2"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    rows = [line.split()[:2] for line in ended.stdout.splitlines()[2:]]
    assert rows == [[threads, name] for threads in "12" for name in ("published", "prepared")]
