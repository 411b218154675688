"""The server as a process of its own, asked over HTTP."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from benchmarks.machine import descendants
from benchmarks.sounds import Clip
from benchmarks.team import Answer

_ROUTE = "/v1/audio/transcriptions"
_ADDRESS = re.compile(r'"address": "(http://[^"]+)"')
_START_SECS = 600
"""Loading the model included, and preparing it."""
_ANSWER_SECS = 3600
_END_SECS = 20


class Server:
    """A running server, and a client for it."""

    def __init__(self, process: "subprocess.Popen[bytes]", http: httpx.Client) -> None:
        self._process = process
        self._http = http

    @property
    def pids(self) -> Sequence[int]:
        """The server, its recogniser, and its decoders."""
        return descendants(self._process.pid)

    def run(self, clips: Sequence[Clip], at_a_time: int) -> list[Answer]:
        """Upload all clips and wait for their texts, so many requests at any time."""
        with ThreadPoolExecutor(at_a_time) as pool:
            return list(pool.map(self._ask, clips))

    def _ask(self, clip: Clip) -> Answer:
        audio = clip.path.read_bytes()
        began = time.perf_counter()
        answer = self._http.post(_ROUTE, files={"file": ("clip.wav", audio)})
        latency = time.perf_counter() - began
        answer.raise_for_status()
        return Answer(latency, None)


@contextmanager
def server(model: Path, threads: int) -> Iterator[Server]:
    """Start `stt-server serve`, wait until it is ready, and stop it."""
    with TemporaryDirectory(prefix="stt-") as temporary:
        folder = Path(temporary)
        settings = {
            "PORT": "0",
            "MODEL_PATH": str(model.resolve()),
            "DB_PATH": str(folder / "jobs.db"),
            "THREADS": str(threads),
            "LOG_FORMAT": "json",
        }
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "stt_server", "serve"],
                env={**_inherited(), **settings},
                stderr=log,
            )
        try:
            address = _address(process, folder / "log")
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
            with httpx.Client(base_url=address, timeout=_ANSWER_SECS, limits=limits, trust_env=False) as http:
                _await_ready(process, http)
                yield Server(process, http)
        finally:
            process.terminate()
            try:
                process.wait(_END_SECS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _inherited() -> dict[str, str]:
    return {
        name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH")
    }


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    deadline = time.monotonic() + _START_SECS
    while process.poll() is None and time.monotonic() < deadline:
        if found := _ADDRESS.search(log.read_text()):
            return found[1]
        time.sleep(0.05)
    raise SystemExit(f"The server does not start:\n{log.read_text()}")


def _await_ready(process: "subprocess.Popen[bytes]", http: httpx.Client) -> None:
    deadline = time.monotonic() + _START_SECS
    while http.get("/health/ready").status_code != 200:
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("The server does not get ready.")
        time.sleep(0.05)
