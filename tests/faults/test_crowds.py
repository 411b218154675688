"""Many clients at once: one winner per key, a bound that holds, positions that only fall, answers for all."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stt_server.jobs.queue import JOBS_BESIDE_THREADS
from tests.assets import needs_model
from tests.faults.crowd import all_at_once, questions, submission
from tests.faults.server import FakeServer, Launcher
from tests.faults.wire import Wire, form
from tests.real.process import ROUTE, ServerProcess
from tests.sounds import speech_wav
from tests.web.live import until

AUDIO = speech_wav(3)
TEXT = "w1 w2"
SHORT = speech_wav(1.5)
IN_HAND = 2 + JOBS_BESIDE_THREADS
"""Jobs worked on at a time by these servers."""


# -- One key ----------------------------------------------------------------------------------------


def test_forty_clients_with_one_key(launcher: Launcher, tmp_path: Path) -> None:
    """They get one job, one of them is told that it made it, and its audio is kept once. Forced, the same."""
    with FakeServer(launcher, tmp_path, delay=0.2) as server:
        first = one_winner(server, [submission(AUDIO, "m")] * 40)
        server.wait([first])
        second = one_winner(server, [submission(AUDIO, "m", force="true")] * 40)
        assert second != first
        assert server.lookup("m")["text"] == TEXT
        server.wait([second])
        assert server.lookup("m")["job_id"] == second
        until(server.quiet)
        assert counts(server)["total"] == 1


def one_winner(server: ServerProcess, asks: list[Any]) -> str:
    answers = all_at_once(server, asks)
    assert {answer.status_code for answer in answers} == {200}
    bodies = [answer.json() for answer in answers]
    assert sorted(body["cached"] for body in bodies) == [False] + [True] * (len(asks) - 1)
    [job_id] = {body["job_id"] for body in bodies}
    assert len(list(server.spool.glob("*.audio"))) <= 1
    return str(job_id)


def counts(server: ServerProcess) -> Any:
    until(lambda: server.http.get("/health").status_code == 200)
    return server.http.get("/health").json()["db_stats"]


def test_force_over_kills(launcher: Launcher, tmp_path: Path) -> None:
    """The old result can be read at any moment until the new one is there, and then that one."""
    with FakeServer(launcher, tmp_path) as server:
        old = server.submit(AUDIO, "m")["job_id"]
        server.wait([old])
    job_id = ""
    for _ in range(3):
        with FakeServer(launcher, tmp_path, delay=1) as server:
            answer = server.submit(speech_wav(4), "m", force="true")
            assert job_id in ("", answer["job_id"])
            job_id = answer["job_id"]
            assert (server.lookup("m")["job_id"], server.lookup("m")["text"]) == (old, TEXT)
            assert server.job(job_id)["status"] in ("queued", "processing")
    with FakeServer(launcher, tmp_path, delay=0.3) as server:
        while (found := server.lookup("m"))["job_id"] == old:
            assert found["text"] == TEXT
        assert (found["job_id"], found["text"]) == (job_id, "w1 w2 w3")


# -- The bound --------------------------------------------------------------------------------------


@pytest.fixture
def full(launcher: Launcher, tmp_path: Path) -> Iterator[FakeServer]:
    """A server whose queue is full."""
    with FakeServer(launcher, tmp_path, delay=60, MAX_QUEUE_SIZE="3") as server:
        for i in range(3 + IN_HAND):
            server.submit(SHORT, str(i))
        yield server


def test_a_full_queue(full: FakeServer) -> None:
    """429 with Retry-After before the body is read, for both callers; a known key and all questions are answered."""
    for ids in ([("user_uuid", "user"), ("message_id", "new")], []):
        body, head = form(*ids, ("file", ("a.wav", speech_wav(3600), None)))
        with Wire.to(full) as wire:
            wire.send(head + b"Content-Length: %d\r\n\r\n" % len(body) + body[:20_000])
            answer = wire.answer()
        assert answer is not None
        assert (answer.status, answer.code) == (429, "queue_full")
        assert int(answer.headers["retry-after"]) >= 1
    assert full.submit(SHORT, "0")["cached"] is True
    assert full.http.get(f"{ROUTE}/status").json()["queue_length"] == 3
    assert full.lookup("new") == {"found": False}


def test_a_full_queue_fetches_nothing(launcher: Launcher, tmp_path: Path) -> None:
    """A `url` is not even connected to."""
    with (
        socket.create_server(("127.0.0.1", 0)) as remote,
        FakeServer(launcher, tmp_path, delay=60, MAX_QUEUE_SIZE="1", FETCH_ALLOW_HOSTS="127.0.0.1") as server,
    ):
        for i in range(1 + IN_HAND):
            server.submit(SHORT, str(i))
        url = f"http://127.0.0.1:{remote.getsockname()[1]}/a.wav"
        assert server.http.post(ROUTE, data={"url": url}).status_code == 429
        remote.settimeout(0.2)
        with pytest.raises(TimeoutError):
            remote.accept()


def test_two_hundred_clients(launcher: Launcher, tmp_path: Path) -> None:
    """The bound is never passed, whoever is refused is told when to come again, and leaves no trace."""
    bound = 20
    with FakeServer(launcher, tmp_path, MAX_QUEUE_SIZE=str(bound)) as server:
        watch = Watch(server)
        answers = all_at_once(server, [submission(AUDIO, str(i), prompt="hang") for i in range(200)])
        assert max(watch.lengths()) <= bound
        accepted = [i for i, answer in enumerate(answers) if answer.status_code == 200]
        refused = [answer for answer in answers if answer.status_code != 200]
        assert bound <= len(accepted) <= bound + IN_HAND
        assert {answer.status_code for answer in refused} == {429}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        assert {answer.json()["error"]["code"] for answer in refused} == {"queue_full"}
        assert [i for i in range(200) if server.lookup(str(i))["found"]] == accepted
        until(lambda: not list(server.spool.glob("*.part")))
        assert len(list(server.spool.glob("*.audio"))) == len(accepted)
        assert counts(server)["total"] == len(accepted)


class Watch(threading.Thread):
    """Asks for the length of the queue all the time."""

    def __init__(self, server: ServerProcess) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._seen: list[int] = []
        self._enough = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._enough.is_set():
            self._seen.append(self._server.http.get(f"{ROUTE}/status").json()["queue_length"])

    def lengths(self) -> list[int]:
        """All it has seen."""
        self._enough.set()
        self.join()
        return self._seen


# -- Positions --------------------------------------------------------------------------------------


def test_positions(launcher: Launcher, tmp_path: Path) -> None:
    """1 for the next, all different, and none ever grows, not even by a kill."""
    with FakeServer(launcher, tmp_path, loading=60) as server:
        jobs = [server.submit(SHORT, str(i))["job_id"] for i in range(IN_HAND + 20)]
        before = positions(server, jobs)
        assert list(before.values()) == list(range(1, 21))
    with FakeServer(launcher, tmp_path, loading=0.5, delay=0.1) as server:
        seen = positions(server, jobs)
        assert seen == before
        while seen:
            now = positions(server, jobs)
            assert all(at <= seen[job_id] for job_id, at in now.items())
            # They are asked for one after the other, and meanwhile may fall; but never below an earlier one.
            assert list(now.values()) == sorted(now.values())
            seen = now


def test_positions_while_others_come_and_go(launcher: Launcher, tmp_path: Path) -> None:
    """Jobs ahead are erased, known ones asked for again, forced, spoilt and left in the middle: who waits only moves
    forward, in order, and nobody twice to one place."""
    with FakeServer(launcher, tmp_path, delay=0.15) as server:
        done = server.submit(SHORT, "done")["job_id"]
        server.wait([done])
        jobs = [server.submit(SHORT, str(i))["job_id"] for i in range(60)]
        seen = dict.fromkeys(jobs, len(jobs))
        for i in range(10):
            assert server.http.delete(f"{ROUTE}/{jobs.pop(7 + 4 * i % 40)}").json() == {"deleted": 1}
            assert server.submit(SHORT, "59")["cached"] is True
            server.submit(SHORT, "done", force="true")
            assert server.http.post(ROUTE, files={"file": SHORT}).status_code == 200
            assert server.http.post(ROUTE, files={"file": b"none"}).status_code == 400
            body, head = form(("user_uuid", "user"), ("message_id", f"left-{i}"), ("file", ("a.wav", AUDIO, None)))
            with Wire.to(server) as wire:
                wire.send(head + b"Content-Length: %d\r\n\r\n" % len(body) + body[:20_000])
            now = positions(server, jobs)
            assert all(at <= seen[job_id] for job_id, at in now.items())
            # Asked for one after the other, as above.
            assert list(now.values()) == sorted(now.values())
            seen |= now
        assert {job["status"] for job in server.wait(jobs).values()} == {"completed"}


def positions(server: ServerProcess, jobs: list[str]) -> dict[str, int]:
    """Of those that wait."""
    found = {job_id: server.http.get(f"{ROUTE}/{job_id}").json().get("queue_position") for job_id in jobs}
    return {job_id: at for job_id, at in found.items() if at is not None}


def test_five_hundred_jobs(launcher: Launcher, tmp_path: Path) -> None:
    """They wait in order, over a restart too, and can be erased all at once."""
    with FakeServer(launcher, tmp_path, MAX_QUEUE_SIZE="1000") as server:
        jobs = []
        for start in range(0, 500, 50):
            answers = all_at_once(server, [submission(SHORT, str(i), prompt="hang") for i in range(start, start + 50)])
            jobs += sorted((answer.json() for answer in answers), key=lambda body: body["queue_position"])
        in_order = [body["job_id"] for body in jobs]
        assert len(set(in_order)) == 500
        assert list(positions(server, in_order).values()) == list(range(1, 501 - IN_HAND))
    with FakeServer(launcher, tmp_path, MAX_QUEUE_SIZE="1000") as server:
        assert list(positions(server, in_order).values()) == list(range(1, 501 - IN_HAND))
        assert server.http.get(f"{ROUTE}/status").json()["queue_length"] == 500 - IN_HAND
        assert server.http.delete(ROUTE, params={"user_uuid": "user"}).json() == {"deleted": 500}
        until(server.quiet)
        assert counts(server)["total"] == 0


# -- Questions --------------------------------------------------------------------------------------


@needs_model
def test_five_hundred_lookups(tmp_path: Path) -> None:
    """All at once, while the machine transcribes as fast as it can: every one is answered with the text."""
    with ServerProcess(tmp_path) as server:
        done = server.submit(SHORT, "done")["job_id"]
        server.wait([done])
        for i in range(4):
            server.submit(speech_wav(900), f"long-{i}")
        probe = threading.Thread(target=lambda: healthy.append(server.http.get("/health/live").status_code))
        healthy: list[int] = []
        probe.start()
        told = questions(server, f"{ROUTE}/lookup?user_uuid=user&message_id=done", 500)
        probe.join()
        assert healthy == [200]
        assert {answer.status for answer in told} == {200}
        assert all(done.encode() in answer.body for answer in told)
        assert server.http.get(f"{ROUTE}/status").json()["processing"]
