"""A wall clock that jumps while the server runs. It is wrong for the server alone (`tests.faults.clock`)."""

import socket
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.server import FakeServer, Launcher
from tests.real.process import ROUTE
from tests.sounds import speech_wav
from tests.web.live import multipart, read_answer, until

AUDIO = speech_wav(3)
TEXT = "w1 w2"
DAY = 86_400


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    """Seconds by which the server's clock is wrong."""
    path = tmp_path / "clock"
    path.write_text("0")
    return path


@pytest.mark.parametrize("days", [1, -1, 400, -400])
def test_a_jump(launcher: Launcher, tmp_path: Path, clock: Path, days: int) -> None:
    """Order is by arrival, waits are by another clock: nobody is overtaken, cut off, or kept waiting."""
    with FakeServer(launcher, tmp_path, clock=clock, loading=0.7) as server:
        jobs = [server.submit(AUDIO, f"before-{i}")["job_id"] for i in range(6)]
        caller = _Caller(server)
        body, kind = multipart(("file", ("a.wav", AUDIO, None)))
        head = f"POST {ROUTE} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", server.http.base_url.port or 0)) as upload:
            upload.sendall(head.encode() + body[:1000])
            clock.write_text(str(days * DAY))
            jobs += [server.submit(AUDIO, f"after-{i}")["job_id"] for i in range(6)]
            waiting = [server.job(job_id)["queue_position"] for job_id in jobs]
            assert [at for at in waiting if at] == sorted(at for at in waiting if at)
            upload.sendall(body[1000:])
            assert read_answer(upload)[0] == 200
        assert caller.text() == TEXT
        ended = server.wait(jobs)
        assert {job["text"] for job in ended.values()} == {TEXT}
        assert ended[jobs[-1]]["created_at"] - ended[jobs[0]]["created_at"] == pytest.approx(days * DAY, abs=60)
        assert "hangs" not in server.log
        assert server.terminate() == 0
    with FakeServer(launcher, tmp_path, clock=clock) as server:
        assert {server.job(job_id)["text"] for job_id in jobs} == {TEXT}


class _Caller(threading.Thread):
    """Somebody who waits in the call."""

    def __init__(self, server: FakeServer) -> None:
        super().__init__(daemon=True)
        self._address = str(server.http.base_url)
        self.start()
        until(lambda: server.http.get(f"{ROUTE}/status").json()["processing"])

    def run(self) -> None:
        self._answer = httpx.post(self._address + ROUTE, files={"file": AUDIO}, timeout=30, trust_env=False)

    def text(self) -> str:
        self.join()
        return str(self._answer.json()["text"])


def test_order_over_a_jump_and_a_kill(launcher: Launcher, tmp_path: Path, clock: Path) -> None:
    """Jobs submitted by a clock that was set back in between keep their order after a restart."""
    with FakeServer(launcher, tmp_path, clock=clock, loading=60) as server:
        jobs = []
        for i in range(10):
            clock.write_text(str(-i * DAY))
            jobs.append(server.submit(AUDIO, str(i))["job_id"])
    with FakeServer(launcher, tmp_path, clock=clock, loading=60) as server:
        positions = [server.job(job_id)["queue_position"] for job_id in jobs]
        assert positions == [None] * 4 + [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("days", [2, 400, -2])
def test_no_text_is_erased_because_of_a_jump(launcher: Launcher, tmp_path: Path, clock: Path, days: int) -> None:
    """At a start with a wrong clock texts that look old stay, and they are there when the clock is right again."""
    settings: dict[str, Any] = {"TEXT_RETENTION_DAYS": "1"}
    with FakeServer(launcher, tmp_path, clock=clock, **settings) as server:
        job_id = server.submit(AUDIO, "m")["job_id"]
        server.wait([job_id])
    for offset in (days, days, 0, days):
        clock.write_text(str(offset * DAY))
        with FakeServer(launcher, tmp_path, clock=clock, **settings) as server:
            if offset:
                until(lambda server=server: "the clock has jumped" in server.log)  # type: ignore[misc]
            assert server.job(job_id)["text"] == TEXT
