"""A database that another program holds, and files that are none."""

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.server import FakeServer, Launcher
from tests.real.process import ROUTE
from tests.sounds import speech_wav
from tests.web.live import until

AUDIO = speech_wav(3)
TEXT = "w1 w2"
BUSY_SECS = 4
"""How long a hurried server waits for a lock; otherwise it is ten."""


class Asking(threading.Thread):
    """A request on its way, and how long it takes."""

    def __init__(self, server: FakeServer, message: str) -> None:
        super().__init__(daemon=True)
        self._address = str(server.http.base_url)
        self._ids = {"user_uuid": "user", "message_id": message}
        self.start()

    def run(self) -> None:
        began = time.monotonic()
        files = {"file": AUDIO}
        self.answer = httpx.post(self._address + ROUTE, data=self._ids, files=files, timeout=30, trust_env=False)
        self.seconds = time.monotonic() - began

    def answered(self) -> httpx.Response:
        """The answer."""
        self.join()
        return self.answer


def test_a_locked_database(launcher: Launcher, tmp_path: Path) -> None:
    """Submissions wait three seconds and succeed; those that would wait too long are told to come again; nobody who
    only asks waits at all, and the job in hand completes."""
    with FakeServer(launcher, tmp_path, delay=0.2, hurry=True) as server:
        done = server.submit(AUDIO, "done")["job_id"]
        server.wait([done])
        in_hand = server.submit(AUDIO, "in hand")["job_id"]
        until(lambda: server.job(in_hand)["status"] == "processing")
        with closing(sqlite3.connect(server.spool.parent / "jobs.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            impatient = [Asking(server, f"too long-{i}") for i in range(10)]
            _ask_for(server, done, BUSY_SECS - 2)
            patient = [Asking(server, f"three seconds-{i}") for i in range(10)]
            _ask_for(server, done, 3)
            other.execute("ROLLBACK")
        for asking in impatient:
            answer = asking.answered()
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage_busy")
            assert int(answer.headers["retry-after"]) >= 1
            assert BUSY_SECS - 0.5 < asking.seconds < BUSY_SECS + 1
        accepted = [asking.answered().json()["job_id"] for asking in patient]
        assert all(3 <= asking.seconds < BUSY_SECS for asking in patient)
        jobs = server.wait([in_hand, *accepted])
        assert {job["text"] for job in jobs.values()} == {TEXT}
        until(server.quiet)
        assert server.http.get("/health").json()["db_stats"]["total"] == 2 + len(patient)


def _ask_for(server: FakeServer, done: str, seconds: float) -> None:
    """Health, texts and the queue are told at once, all the time."""
    paths = ("/health", "/health/live", f"{ROUTE}/{done}", f"{ROUTE}/{done}/result", f"{ROUTE}/status")
    until_then = time.monotonic() + seconds
    while (began := time.monotonic()) < until_then:
        assert {server.http.get(path).status_code for path in paths} == {200}
        assert server.lookup("done")["text"] == TEXT
        assert time.monotonic() - began < 1
        time.sleep(0.1)


def test_a_database_that_is_locked_at_start(launcher: Launcher, tmp_path: Path) -> None:
    """A backup that is running delays the start, and no more."""
    with FakeServer(launcher, tmp_path) as server:
        job_id = server.submit(AUDIO, "m", prompt="hang")["job_id"]
        path = server.spool.parent / "jobs.db"
        until(lambda: server.job(job_id)["status"] == "processing")
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        threading.Timer(1.0, lambda: other.execute("ROLLBACK")).start()
        with FakeServer(launcher, tmp_path) as server:
            assert server.job(job_id)["status"] in ("queued", "processing")


def test_a_second_server(launcher: Launcher, tmp_path: Path) -> None:
    """It does not start on the database of the first, which goes on."""
    with FakeServer(launcher, tmp_path, hurry=True) as server:
        (tmp_path / "second").mkdir()
        where: dict[str, Any] = {"DB_PATH": str(server.spool.parent / "jobs.db")}
        message = FakeServer(launcher, tmp_path / "second", hurry=True, **where).refuses()
        assert "in use by another server" in message
        assert where["DB_PATH"] in message
        job_id = server.submit(AUDIO, "m")["job_id"]
        assert server.wait([job_id])[job_id]["text"] == TEXT


# -- Files that are no database ---------------------------------------------------------------------


def _letter(path: Path, _: bytes) -> None:
    path.write_text("Dear operator,\nthis is not a database.\n" * 100)


def _noise(path: Path, _: bytes) -> None:
    path.write_bytes(os.urandom(50_000))


def _head_only(path: Path, _: bytes) -> None:
    path.write_bytes(b"SQLite format 3\0" + os.urandom(50_000))


def _customers(path: Path, _: bytes) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE customers (name)")
        database.commit()


def _newer(path: Path, whole: bytes) -> None:
    path.write_bytes(whole)
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 9999")


def _half(path: Path, whole: bytes) -> None:
    path.write_bytes(whole[: len(whole) // 2])


def _page_lost(path: Path, whole: bytes) -> None:
    middle = len(whole) // 2 // 4096 * 4096
    path.write_bytes(whole[:middle] + b"\xa5" * 4096 + whole[middle + 4096 :])


def _folder(path: Path, _: bytes) -> None:
    path.mkdir()


@pytest.fixture(scope="module")
def whole(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A database with jobs in it."""
    with FakeServer(launcher, tmp_path_factory.mktemp("whole")) as server:
        server.wait([server.submit(AUDIO, str(i))["job_id"] for i in range(10)])
        assert server.terminate() == 0
        return (server.spool.parent / "jobs.db").read_bytes()


@pytest.mark.parametrize("make", [_letter, _noise, _head_only, _customers, _newer, _half, _page_lost, _folder])
def test_a_file_that_cannot_be_used(
    launcher: Launcher, tmp_path: Path, whole: bytes, make: Callable[[Path, bytes], Any]
) -> None:
    """The server does not start: status 1, one line that names the file, and not a byte of it is changed."""
    path = tmp_path / "data" / "jobs.db"
    path.parent.mkdir()
    make(path, whole)
    before = path.read_bytes() if path.is_file() else None
    assert str(path) in FakeServer(launcher, tmp_path).refuses()
    assert (path.read_bytes() if path.is_file() else None) == before


def test_rubbish_beside_the_database(launcher: Launcher, tmp_path: Path, whole: bytes) -> None:
    """A log that is no log of this database is left out, as SQLite does; what was stored is there."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "jobs.db").write_bytes(whole)
    (data / "jobs.db-wal").write_bytes(os.urandom(20_000))
    (data / "jobs.db-shm").write_bytes(os.urandom(32_768))
    with FakeServer(launcher, tmp_path) as server:
        assert {server.lookup(str(i))["text"] for i in range(10)} == {TEXT}
        job_id = server.submit(AUDIO, "new")["job_id"]
        assert server.wait([job_id])[job_id]["text"] == TEXT
