"""Many clients, many kills: what each client was told is written down, and compared with what is there at the end."""

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.real.process import ROUTE, ServerProcess
from tests.web.live import until

CLIENTS = 4
GONE = "gone"
"""Stands for a job id where there must be no job."""


@dataclass
class Recording:
    """What one client knows of one recording of its own."""

    name: str
    told: str = GONE
    """Id of the job that must stand for it in the end."""
    cut_off: str = ""
    """What it had asked for when the server was killed; may have been done or not."""


@dataclass
class Report:
    """What came of it."""

    jobs: int = 0
    """Acknowledged."""
    answers: int = 0
    """Of all requests."""
    kills: int = 0
    problems: list[str] = field(default_factory=list)
    """Promises that were not kept."""


class Campaign:
    """Clients at a server that is killed and started again and again on one folder."""

    def __init__(self, new_server: Callable[[], ServerProcess], audio: bytes, text: str, *, seed: int) -> None:
        self._new_server = new_server
        self._audio = audio
        self._text = text
        self._chance = random.Random(seed)
        self._recordings: list[Recording] = []
        self._lock = threading.Lock()
        self.report = Report()

    def run(self, *, jobs: int, kills: int) -> Report:
        """Kill so often while so many jobs are submitted; then let all end, and compare."""
        for kill in range(kills):
            if kill % 5 == 4:
                self._new_server().kill_while_starting(self._chance.uniform(0, 0.4))
            else:
                self._round(round(self._chance.uniform(0.2, 1.8) * jobs / kills))
            self.report.kills += 1
        with self._new_server() as server:
            while self.report.jobs < jobs:
                self._act(server, random.Random(self.report.jobs))
            self._compare(server)
        return self.report

    def _round(self, jobs: int) -> None:
        enough = self.report.jobs + jobs
        with self._new_server() as server:
            clients = [
                threading.Thread(target=self._client, args=(server, random.Random(self._chance.random())))
                for _ in range(CLIENTS)
            ]
            for client in clients:
                client.start()
            until(lambda: self.report.jobs >= enough, 600)
            time.sleep(self._chance.uniform(0, 0.1))
            server.kill()
            for client in clients:
                client.join()

    def _client(self, server: ServerProcess, chance: random.Random) -> None:
        # Killed, it is told so by httpx, whose client is closed with the server.
        with suppress(httpx.TransportError, RuntimeError):
            while True:
                self._act(server, chance)

    def _act(self, server: ServerProcess, chance: random.Random) -> None:
        """A new recording is submitted; some are submitted again, replaced, or erased soon after."""
        if chance.random() < 0.1:
            self._call(server)
        recording = Recording(f"{len(self._recordings)}-{chance.random()}")
        with self._lock:
            self._recordings.append(recording)
        self._submit(server, recording)
        whim = chance.random()
        if whim < 0.1:
            self._submit(server, recording)
        elif whim < 0.25:
            until(lambda: server.job(recording.told)["status"] == "completed", 600)
            self._submit(server, recording, force="true")
        elif whim < 0.35:
            self._erase(server, recording)

    def _call(self, server: ServerProcess) -> None:
        answer = server.http.post(ROUTE, files={"file": self._audio})
        self._expect(answer.status_code == 200 and answer.json()["text"] == self._text, f"a caller got {answer.text}")

    def _submit(self, server: ServerProcess, recording: Recording, **fields: str) -> None:
        known = recording.told != GONE and not fields
        recording.cut_off = "" if known else "submission"
        answer: dict[str, Any] = server.submit(self._audio, recording.name, **fields)
        self._expect(answer["cached"] is known, f"{recording.name}: {answer}")
        self._expect(not known or answer["job_id"] == recording.told, f"{recording.name}: told another id")
        recording.told, recording.cut_off = answer["job_id"], ""
        self._count(jobs=answer["cached"] is False)

    def _erase(self, server: ServerProcess, recording: Recording) -> None:
        recording.cut_off = "erasure"
        answer = server.http.delete(f"{ROUTE}/{recording.told}")
        self._expect(answer.json() == {"deleted": 1}, f"{recording.name}: erasing gave {answer.text}")
        recording.told, recording.cut_off = GONE, ""
        self._count()

    def _count(self, *, jobs: int = 0) -> None:
        with self._lock:
            self.report.jobs += jobs
            self.report.answers += 1

    def _expect(self, holds: bool, problem: str) -> None:
        if not holds:
            self.report.problems.append(problem)

    def _compare(self, server: ServerProcess) -> None:
        until(server.quiet, 600)
        found = {recording.name: self._end(server, recording) for recording in self._recordings}
        until(lambda: server.http.get("/health").status_code == 200)
        counts = server.http.get("/health").json()["db_stats"]
        there = sum(job_id != GONE for job_id in found.values())
        expected = {"total": there, "completed": there, "failed": 0, "pending": 0}
        self._expect(counts == expected, f"{there} recordings are known, and {counts} rows")

    def _end(self, server: ServerProcess, recording: Recording) -> str:
        """Which job stands for the recording, checked."""
        job = server.lookup(recording.name)
        job_id = str(job["job_id"]) if job["found"] else GONE
        # An erasure that was cut off may have been done; so may a submission, under an id that was never told.
        allowed = {recording.told} | ({GONE} if recording.cut_off == "erasure" else set())
        if recording.cut_off != "submission" or job_id == GONE:
            self._expect(job_id in allowed, f"{recording.name}: {job_id}, not {allowed}")
        if job["found"]:
            self._expect(job["text"] == self._text, f"{recording.name}: {job}")
        return job_id
