"""Servers that are stopped at every numbered step of their work, by `kill -9` and by a power cut."""

from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest

from tests.faults.server import FakeServer, Launcher
from tests.real.process import ROUTE
from tests.sounds import speech_wav
from tests.web.live import until

AUDIO = {"w1 w2": speech_wav(3), "w1 w2 w3": speech_wav(4)}
TEXT = "w1 w2"
PCM_BYTES = 3 * 16_000 * 2
"""What `AUDIO[TEXT]` decodes to."""

ADMISSION = [
    "open .part",
    "sync .part",
    "rename .part .audio",
    "sync spool",
    "BEGIN IMMEDIATE",
    "DELETE FROM jobs",
    "INSERT INTO jobs",
    "INSERT INTO keys",
    "COMMIT",
]
START = ["BEGIN IMMEDIATE", "UPDATE jobs SET status =", "COMMIT", "open .pcm"]
COMPLETION = [
    "remove .pcm",
    "BEGIN IMMEDIATE",
    "UPDATE jobs SET status =",
    "INSERT INTO transcripts",
    "UPDATE keys SET current =",
    "COMMIT",
    "remove .audio",
]
FORCED = [*COMPLETION[:5], "DELETE FROM jobs", *COMPLETION[5:]]


class Act(Protocol):
    """Something a client does, once a server, until no step of it is left to stop at."""

    def prepare(self, server: FakeServer, number: int) -> None:
        """Bring about what it is done to."""

    def do(self, server: FakeServer, number: int) -> None:
        """Do it. Raises httpx's errors when the server is stopped before its answer."""

    def check(self, server: FakeServer, number: int, *, answered: bool) -> None:
        """See that the next server knows what it should."""


def stop_at_every_step(launcher: Launcher, folder: Path, how: str, act: Act) -> list[str]:
    """Do it again and again, stopped one step further each time; the names of all the steps."""
    order, trace = folder / "order", folder / "trace"
    answered = False
    for number in count(1):
        with FakeServer(launcher, folder, steps=True) as server:
            if number > 1:
                act.check(server, number - 1, answered=answered)
            act.prepare(server, number)
            trace.unlink(missing_ok=True)
            order.write_text(f"{number} {how}")
            answered = True
            try:
                act.do(server, number)
            except httpx.TransportError:
                answered = False
            until(partial(_over, server, trace, number))
            order.unlink()
            if server.alive:
                act.check(server, number, answered=True)
                return _names(trace)
            assert len(_names(trace)) == number
    raise AssertionError


def _over(server: FakeServer, trace: Path, number: int) -> bool:
    """It has been stopped, or there was nothing to stop it at."""
    return not server.alive or (server.quiet() and len(_names(trace)) < number)


def _names(trace: Path) -> list[str]:
    return trace.read_text().splitlines() if trace.exists() else []


class Submission:
    """A job."""

    def prepare(self, server: FakeServer, number: int) -> None:
        self.job_id = ""

    def do(self, server: FakeServer, number: int) -> None:
        self.job_id = server.submit(AUDIO[TEXT], str(number))["job_id"]

    def check(self, server: FakeServer, number: int, *, answered: bool) -> None:
        """Acknowledged, it ends under its id. If not, it can be submitted again. In both cases it is there once."""
        again = server.submit(AUDIO[TEXT], str(number))
        if answered:
            assert (again["job_id"], again["cached"]) == (self.job_id, True)
        job_id = again["job_id"]
        assert server.wait([job_id])[job_id]["text"] == TEXT
        assert server.lookup(str(number))["job_id"] == job_id
        until(server.quiet)
        server.ready()
        assert server.http.get("/health").json()["db_stats"]["total"] == number


class Force:
    """A job that is to replace the result of another."""

    def prepare(self, server: FakeServer, number: int) -> None:
        if number == 1:
            server.wait([server.submit(AUDIO[TEXT], "m")["job_id"]])
        until(server.quiet)
        before = server.lookup("m")
        self.before = {before["job_id"]: before["text"]}
        self.new_text = next(text for text in AUDIO if text != before["text"])
        self.job_id = ""

    def do(self, server: FakeServer, number: int) -> None:
        self.job_id = server.submit(AUDIO[self.new_text], "m", force="true")["job_id"]

    def check(self, server: FakeServer, number: int, *, answered: bool) -> None:
        """The old result is readable until the new one is; an acknowledged force ends as the only job of its key."""
        while True:
            found = server.lookup("m")
            assert found["text"] == self.before.get(found["job_id"], self.new_text)
            if server.quiet():
                break
        found = server.lookup("m")
        if answered:
            assert (found["job_id"], found["text"]) == (self.job_id, self.new_text)
            for job_id in self.before:
                assert server.http.get(f"{ROUTE}/{job_id}").status_code == 404
        server.ready()
        assert server.http.get("/health").json()["db_stats"]["total"] == 1


class Erasure:
    """A user's two jobs erased, the one done, the other in hand."""

    def prepare(self, server: FakeServer, number: int) -> None:
        self.jobs = [server.submit(AUDIO[TEXT], "canary-done", user_uuid=f"user-{number}")["job_id"]]
        server.wait(self.jobs)
        self.jobs += [server.submit(AUDIO[TEXT], "canary", user_uuid=f"user-{number}", prompt="hang")["job_id"]]
        until(lambda: self._decoded(server.spool))

    @staticmethod
    def _decoded(spool: Path) -> bool:
        try:
            return any(path.stat().st_size == PCM_BYTES for path in spool.glob("*.pcm"))
        except FileNotFoundError:  # the first job's, which is going
            return False

    def do(self, server: FakeServer, number: int) -> None:
        self._erase(server, number)

    def _erase(self, server: FakeServer, number: int) -> None:
        assert server.http.delete(ROUTE, params={"user_uuid": f"user-{number}"}).status_code == 200

    def check(self, server: FakeServer, number: int, *, answered: bool) -> None:
        """Erased together or not at all; for good when it was answered; nothing of them stays on the disk."""
        statuses = [server.http.get(f"{ROUTE}/{job_id}").status_code for job_id in self.jobs]
        assert statuses in ([[404, 404]] if answered else [[404, 404], [200, 200]])
        self._erase(server, number)
        assert [server.http.get(f"{ROUTE}/{job_id}").status_code for job_id in self.jobs] == [404, 404]
        until(server.quiet)
        for path in server.spool.parent.glob("jobs.db*"):
            assert b"canary" not in path.read_bytes(), path.name


class Call:
    """A recording whose caller waits."""

    def prepare(self, server: FakeServer, number: int) -> None:
        pass

    def do(self, server: FakeServer, number: int) -> None:
        assert server.http.post(ROUTE, files={"file": AUDIO[TEXT]}).json()["text"] == TEXT

    def check(self, server: FakeServer, number: int, *, answered: bool) -> None:
        """Nothing is left of it."""
        assert list(server.spool.iterdir()) == []
        server.ready()
        assert server.http.get("/health").json()["db_stats"]["total"] == 0


EVERYTHING: list[tuple[Callable[[], Act], list[str]]] = [
    (Submission, [*ADMISSION, *START, *COMPLETION]),
    (Force, [*ADMISSION, *START, *FORCED]),
    (
        Erasure,
        ["BEGIN IMMEDIATE", "DELETE FROM jobs", "COMMIT", "PRAGMA wal_checkpoint", "remove .pcm", "remove .audio"],
    ),
    (Call, ["open .part", "rename .part .audio", "open .pcm", "remove .pcm", "remove .audio"]),
]


@pytest.mark.parametrize("how", ["kill", "cut"])
@pytest.mark.parametrize(("act", "steps"), EVERYTHING, ids=lambda value: getattr(value, "__name__", ""))
def test_every_step(launcher: Launcher, tmp_path: Path, how: str, act: Callable[[], Any], steps: list[str]) -> None:
    """Wherever it is stopped, by `kill -9` or a power cut: what was acknowledged holds, and nothing is left over."""
    assert stop_at_every_step(launcher, tmp_path, how, act()) == steps
