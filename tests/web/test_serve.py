"""The server as a process: how it starts, refuses to start, and stops."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.assets import TINY_MODEL, needs_model
from tests.sounds import speech_wav
from tests.web.live import fake_model, multipart, until

COMMAND = [sys.executable, "-m", "stt_server", "serve"]
Run = Callable[..., "Process"]


class Process:
    """The server as a child of the test."""

    def __init__(self, folder: Path, command: list[str], **environment: str) -> None:
        self.log = folder / f"log-{time.monotonic_ns()}"
        defaults = {"DB_PATH": str(folder / "data" / "jobs.db"), "PORT": "0", "LOG_FORMAT": "json", "THREADS": "1"}
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
        with self.log.open("wb") as log:
            self.child = subprocess.Popen(command, env=kept | defaults | environment, stderr=log, stdout=log)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What it logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    @property
    def address(self) -> str:
        """Where it listens."""
        return str(until(self._listening)["address"])

    def _listening(self) -> dict[str, Any] | None:
        assert self.child.poll() is None, self.log.read_text()
        return next((line for line in self.lines if line["message"] == "listening"), None)

    def ready(self) -> "Process":
        """Wait until the model is loaded."""
        address = self.address
        until(lambda: httpx.get(f"{address}/health", trust_env=False).status_code == 200)
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; the exit status."""
        self.child.send_signal(number)
        return self.child.wait(12)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Start servers in a folder."""
    processes: list[Process] = []

    def run(command: list[str] = COMMAND, **environment: str) -> Process:
        processes.append(Process(tmp_path, command, **environment))
        return processes[-1]

    yield run
    for process in processes:
        process.child.kill()
        process.child.wait()


@needs_model
def test_a_whole_life(run: Run) -> None:
    """It says where it listens and with what, answers, and ends with status 0 when told to."""
    server = run(MODEL_PATH=str(TINY_MODEL)).ready()
    [line] = [line for line in server.lines if line["message"] == "listening"]
    assert line["embedded"] is False
    assert line["model"]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", line["address"])
    answer = httpx.post(f"{server.address}/v1/audio/transcriptions?x=canary", files={"file": speech_wav(2)})
    assert answer.status_code == 200
    assert server.stop() == 0
    [request] = [line for line in server.lines if line["message"] == "request"]
    assert request["route"] == "/v1/audio/transcriptions"
    assert (request["method"], request["status"], request["tenant"]) == ("POST", 200, "default")
    assert request["request_id"] == answer.headers["x-request-id"]
    assert "canary" not in server.log.read_text()
    assert "Traceback" not in server.log.read_text()


@needs_model
def test_stopping_while_it_works(run: Run) -> None:
    """Within ten seconds, with status 0: who waits is answered or told to come back, jobs are done next time."""
    server = run(MODEL_PATH=str(TINY_MODEL)).ready()
    ids = {"user_uuid": "u", "message_id": "m"}
    files = {"file": speech_wav(600)}
    job = httpx.post(f"{server.address}/v1/audio/transcriptions", data=ids, files=files, timeout=30).json()
    with socket.create_connection(("127.0.0.1", int(server.address.rpartition(":")[2]))) as upload:
        upload.sendall(b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n")
        upload.sendall(b"Content-Type: multipart/form-data; boundary=XX\r\n\r\n")
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 10
    assert "Traceback" not in server.log.read_text()
    again = run(MODEL_PATH=str(TINY_MODEL)).ready()
    url = f"{again.address}/v1/audio/transcriptions/{job['job_id']}"
    until(lambda: httpx.get(url).json()["status"] == "completed", 60)


def refuses(server: Process) -> str:
    """It ends with status 1 and one line that says why."""
    assert server.child.wait(30) == 1
    errors = [line for line in server.lines if line["level"] == "error"]
    assert len(errors) == 1, server.log.read_text()
    assert "Traceback" not in server.log.read_text()
    return str(errors[0]["why"])


def test_a_broken_model(run: Run, tmp_path: Path) -> None:
    """Files that are no model: it does not run, and names the folder or the file."""
    half = fake_model(tmp_path / "half")
    (half / "joiner.int8.onnx").unlink()
    assert "joiner.int8.onnx" in refuses(run(MODEL_PATH=str(half)))
    (fake_model(tmp_path / "listed") / "SHA256SUMS").write_text(f"{'0' * 64}  tokens.txt\n")
    assert "SHA256SUMS" in refuses(run(MODEL_PATH=str(tmp_path / "listed")))


def test_a_model_that_does_not_load(run: Run, tmp_path: Path) -> None:
    """What looks like a model and is none ends the server when it is loaded."""
    refuses(run(MODEL_PATH=str(fake_model(tmp_path / "fake"))))


@needs_model
def test_a_broken_store(run: Run, tmp_path: Path) -> None:
    """A database that is none is named, and left as it is."""
    path = tmp_path / "notes.txt"
    path.write_text("I am no database. " * 100)
    assert "notes.txt" in refuses(run(MODEL_PATH=str(TINY_MODEL), DB_PATH=str(path)))
    assert path.read_text().startswith("I am no database.")


def test_a_folder_that_cannot_be_made(run: Run, tmp_path: Path) -> None:
    """Where nothing can be written, as in a volume of somebody else's, it says so and what to set."""
    (tmp_path / "volume").write_text("This is no folder.")
    model = str(fake_model(tmp_path / "m"))
    message = refuses(run(MODEL_PATH=model, DB_PATH=str(tmp_path / "volume" / "jobs.db")))
    assert str(tmp_path / "volume") in message
    assert "DB_PATH" in message


@needs_model
def test_an_address_in_use(run: Run) -> None:
    """It is named."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert str(port) in refuses(run(MODEL_PATH=str(TINY_MODEL), PORT=str(port)))


def test_broken_keys(run: Run, tmp_path: Path) -> None:
    """A mistake in API_KEYS is told without the key."""
    message = refuses(run(MODEL_PATH=str(fake_model(tmp_path / "m")), API_KEYS="acme:sha256:canary"))
    assert "API_KEYS" in message
    assert "canary" not in message


@needs_model
def test_open_to_everybody(run: Run) -> None:
    """Listening beyond this machine without keys is said loudly; names that mean nothing are too."""
    server = run(MODEL_PATH=str(TINY_MODEL), HOST="0.0.0.0", AUTH="off", ENABLE_VAD="1", DIARIZATION_MODEL="x").ready()
    warnings = {line["message"]: line for line in server.lines if line["level"] == "warning"}
    assert warnings["everybody who reaches this address may use it"]["host"] == "0.0.0.0"
    assert warnings["settings without effect here"]["names"] == "ENABLE_VAD,DIARIZATION_MODEL"
    assert server.stop(signal.SIGINT) == 0


@needs_model
def test_ipv6(run: Run) -> None:
    """It listens on IPv6 too."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6 on this machine")
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 on this machine")
    server = run(MODEL_PATH=str(TINY_MODEL), HOST="::1").ready()
    assert server.address.startswith("http://[::1]:")
    body, kind = multipart(("file", ("a.wav", speech_wav(1), None)))
    answer = httpx.post(f"{server.address}/v1/audio/transcriptions", content=body, headers={"Content-Type": kind})
    assert answer.status_code == 200
