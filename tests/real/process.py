"""The server as its operator runs it: `stt-server serve` in a process of its own, which a test may kill."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Protocol, Self

import httpx

from tests import canary
from tests.assets import TINY_MODEL

ROUTE = "/v1/audio/transcriptions"
_ADDRESS = re.compile(r"\baddress\W+(http://[^\s\"]+)")


class Process(Protocol):
    """What is needed of `subprocess.Popen`."""

    pid: int

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def kill(self) -> None: ...
    def send_signal(self, sig: int, /) -> None: ...


class ServerProcess:
    """Start it with `with`; it ends with the block, whatever happened."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self._folder = folder
        self._log = folder / "server.log"
        self._environment = {
            **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")},
            "PORT": "0",
            "MODEL_PATH": str(TINY_MODEL),
            "DB_PATH": str(folder / "data" / "jobs.db"),
            **settings,
        }
        self.spool = Path(self._environment["DB_PATH"]).parent / "spool"

    def __enter__(self) -> Self:
        self._process = self._launch()
        try:
            address = self._address()
        except BaseException:
            self._process.kill()
            raise
        self.http = httpx.Client(base_url=address, timeout=60, trust_env=False)
        return self

    def _launch(self) -> Process:
        with self._log.open("wb") as log:
            command = [str(Path(sys.executable).parent / "stt-server"), "serve"]
            return subprocess.Popen(command, env=self._environment, cwd=self._folder, stderr=log)

    def __exit__(self, failure: object, *_: object) -> None:
        self.kill()
        if failure is None:
            canary.check(self.log)

    def _address(self) -> str:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if found := _ADDRESS.search(self.log):
                return found[1]
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"the server does not listen:\n{self.log}")

    @property
    def log(self) -> str:
        """All it has logged since its start."""
        return self._log.read_text()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ready(self) -> Self:
        """Wait until the model is loaded."""
        while self.http.get("/health/ready").status_code != 200:
            assert self.alive, self.log
            time.sleep(0.02)
        return self

    def recogniser(self) -> int:
        """Process id of its recogniser, as its log tells it once there is one."""
        while not (lines := [line for line in self.log.splitlines() if "recogniser ready" in line]):
            assert self.alive, self.log
            time.sleep(0.02)
        return int(lines[-1].rpartition("pid=")[2])

    def kill(self) -> None:
        """End it at once, as a power cut would, except for the disk."""
        self.http.close()
        self._process.kill()
        self._process.wait()

    def kill_while_starting(self, seconds: float) -> None:
        """Start it, and end it after so many seconds, wherever it is. Instead of `with`."""
        process = self._launch()
        time.sleep(seconds)
        process.kill()
        process.wait()

    def refuses(self) -> str:
        """Start it where it must not start; what it says. Instead of `with`."""
        assert self._launch().wait(60) == 1, self.log
        assert "Traceback" not in self.log
        [line] = [line for line in self.log.splitlines() if " ERROR " in line]
        return line

    def terminate(self) -> int:
        """Ask it to stop, as Docker does; its exit status."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(20)

    @property
    def alive(self) -> bool:
        """It has not ended."""
        return self._process.poll() is None

    def quiet(self) -> bool:
        """Nothing waits, nothing is worked on, nothing lies in the spool. False when it does not answer."""
        try:
            queue = self.http.get(f"{ROUTE}/status").json()
        except httpx.HTTPError:
            return False
        return not (queue["queue_length"] or queue["processing"] or list(self.spool.iterdir()))

    def submit(self, audio: bytes, message: str, **fields: str) -> Any:
        """Submit a job; the answer's body."""
        ids = {"user_uuid": "user", "message_id": message, **fields}
        answer = self.http.post(ROUTE, data=ids, files={"file": ("voicemail.wav", audio)})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def job(self, job_id: str) -> Any:
        """A job's body."""
        answer = self.http.get(f"{ROUTE}/{job_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def lookup(self, message: str, user: str = "user") -> Any:
        """What is known of a recording."""
        return self.http.get(f"{ROUTE}/lookup", params={"user_uuid": user, "message_id": message}).json()

    def wait(self, job_ids: list[str], seconds: float = 60) -> dict[str, Any]:
        """The jobs, once all are completed or failed."""
        deadline, ended = time.monotonic() + seconds, dict[str, Any]()
        while missing := [job_id for job_id in job_ids if job_id not in ended]:
            assert time.monotonic() < deadline, f"{len(missing)} jobs do not end:\n{self.log[-2000:]}"
            jobs = {job_id: self.job(job_id) for job_id in missing}
            ended |= {job_id: job for job_id, job in jobs.items() if job["status"] in ("completed", "failed")}
            time.sleep(0.05)
        return ended
