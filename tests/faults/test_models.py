"""Damaged models. What is wrong is found before anything serves, said in one line, and said once."""

import hashlib
import random
import shutil
import time
from pathlib import Path

import httpx
import pytest

from tests.assets import ASSETS, TINY_MODEL, needs_assets, needs_model
from tests.faults.server import FakeServer, Launcher
from tests.real.process import ServerProcess
from tests.sounds import SAMPLE, SAMPLE_TEXT
from tests.web.live import until

pytestmark = needs_model

FILES = ("encoder.int8.onnx", "decoder.int8.onnx", "joiner.int8.onnx", "tokens.txt")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model with its list of checksums."""
    folder = tmp_path / "copy"
    folder.mkdir()
    sums = ""
    for name in FILES:
        shutil.copyfile(TINY_MODEL / name, folder / name)
        sums += f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n"
    (folder / "SHA256SUMS").write_text(sums)
    return folder


def flip(path: Path, offset: int) -> None:
    """Damage one byte."""
    content = bytearray(path.read_bytes())
    content[offset] ^= 0x10
    path.write_bytes(content)


def test_a_whole_model(tmp_path: Path, model: Path) -> None:
    """Its checksums are compared, and it is said to be verified."""
    with ServerProcess(tmp_path, MODEL_PATH=str(model)) as server:
        assert server.ready().http.get("/health").json()["verified"] is True


def test_one_byte(tmp_path: Path, model: Path) -> None:
    """The server as it is run does not start, and names the file."""
    flip(model / "encoder.int8.onnx", 1_000_000)
    assert str(model / "encoder.int8.onnx") in ServerProcess(tmp_path, MODEL_PATH=str(model)).refuses()


@pytest.mark.parametrize("name", FILES)
def test_one_byte_anywhere(launcher: Launcher, tmp_path: Path, model: Path, name: str) -> None:
    """Whichever byte of whichever file it is."""
    path = model / name
    whole = path.read_bytes()
    for offset in (0, len(whole) - 1, random.Random(name).randrange(len(whole))):
        path.write_bytes(whole)
        flip(path, offset)
        assert str(path) in FakeServer(launcher, tmp_path, MODEL_PATH=str(model)).refuses()


@needs_assets
def test_wrong_graphs(launcher: Launcher, tmp_path: Path, model: Path) -> None:
    """Files that end the process of a naive loader, in the encoder's place and listed as if they were right."""
    fixtures = sorted((ASSETS / "models" / "corrupt-fixtures").glob("*.onnx"))
    assert fixtures
    for fixture in fixtures:
        (model / "SHA256SUMS").unlink(missing_ok=True)
        shutil.copyfile(fixture, model / "encoder.int8.onnx")
        began = time.monotonic()
        server = FakeServer(launcher, tmp_path, real=True, MODEL_PATH=str(model))
        assert "encoder.int8.onnx" in server.refuses()
        assert "recogniser died" not in server.log
        assert time.monotonic() - began < 10


@pytest.mark.parametrize("offset", [0, 3, 40, 5_000, 1_000_000, -200, -1])
def test_one_byte_of_a_model_without_checksums(launcher: Launcher, tmp_path: Path, model: Path, offset: int) -> None:
    """Nothing to compare with: it is refused like any wrong graph, or runs and is said to be unverified."""
    (model / "SHA256SUMS").unlink()
    flip(model / "encoder.int8.onnx", offset)
    with FakeServer(launcher, tmp_path, real=True, MODEL_PATH=str(model)) as server:
        until(lambda: not server.alive or _is_ready(server))
        if server.alive:
            assert server.http.get("/health").json()["verified"] is False
            job_id = server.submit(SAMPLE.read_bytes(), "m")["job_id"]
            assert server.wait([job_id])[job_id]["status"] in ("completed", "failed")
        else:
            assert server.terminate() == 1
            [line] = [line for line in server.log.splitlines() if " ERROR " in line]
            assert "encoder.int8.onnx" in line


def _is_ready(server: ServerProcess) -> bool:
    try:
        return server.http.get("/health/ready").status_code == 200
    except httpx.HTTPError:
        return False


def test_a_model_that_is_damaged_later(launcher: Launcher, tmp_path: Path, model: Path) -> None:
    """The running server has it in memory; the next start sees."""
    with FakeServer(launcher, tmp_path, real=True, MODEL_PATH=str(model)) as server:
        server.ready()
        flip(model / "joiner.int8.onnx", 1000)
        job_id = server.submit(SAMPLE.read_bytes(), "m")["job_id"]
        assert server.wait([job_id])[job_id]["text"] == SAMPLE_TEXT
    assert "joiner.int8.onnx" in FakeServer(launcher, tmp_path, real=True, MODEL_PATH=str(model)).refuses()
