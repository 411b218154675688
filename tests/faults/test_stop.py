"""SIGTERM in every state a server can be in. All states at once, because most of a stop is waiting."""

import os
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from stt_server.jobs.queue import CALLS_AT_ONCE
from tests.faults.server import FakeServer, Launcher
from tests.real.process import ROUTE
from tests.sounds import speech_wav
from tests.web.live import multipart, until

AUDIO = speech_wav(3)
TEXT = "w1 w2"
FAR_AWAY = 60.0
"""Seconds: longer than anybody waits here."""

Situation = Callable[[FakeServer], AbstractContextManager[None]]
"""Brings a server into a state; what follows its `yield` happens after the stop."""


@contextmanager
def idle(server: FakeServer) -> Iterator[None]:
    """It has nothing to do."""
    server.ready()
    yield


@contextmanager
def loading(server: FakeServer) -> Iterator[None]:
    """Its model is not there yet, and jobs wait for it."""
    assert server.http.get("/health/ready").status_code == 503
    server.submit(AUDIO, "promised")
    yield


@contextmanager
def jobs_in_hand(server: FakeServer) -> Iterator[None]:
    """Jobs are recognised and wait. Only one will never end: afterwards there is a thread for the promised one."""
    server.submit(AUDIO, "promised")
    server.submit(AUDIO, "hangs", prompt="hang")
    for i in range(10):
        server.submit(AUDIO, f"waits-{i}")
    yield


@contextmanager
def quick_caller(server: FakeServer) -> Iterator[None]:
    """Somebody waits in the call for what is done in a second."""
    call = _Call(server)
    yield
    assert call.answer.json() == {"text": TEXT, "usage": {"type": "duration", "seconds": 3}}


@contextmanager
def slow_caller(server: FakeServer) -> Iterator[None]:
    """Somebody waits in the call for what would take far too long: told to come back."""
    call = _Call(server, prompt="hang")
    yield
    assert call.answer.status_code == 503
    assert call.answer.json()["error"]["code"] == "shutting_down"
    assert int(call.answer.headers["retry-after"]) >= 1


@contextmanager
def callers_in_line(server: FakeServer) -> Iterator[None]:
    """More callers than are served at a time."""
    calls = [_Call(server, prompt="hang") for _ in range(20)]
    until(lambda: server.http.get(f"{ROUTE}/status").json()["queue_length"] == 20 - CALLS_AT_ONCE)
    yield
    assert {call.answer.status_code for call in calls} == {503}


@contextmanager
def listener(server: FakeServer) -> Iterator[None]:
    """Somebody listens to a stream that has not begun."""
    call = _Call(server, prompt="hang", stream="true")
    yield
    assert call.answer.status_code == 503


class _Call:
    """A recording whose caller waits, on a thread of its own, until it is in hand."""

    def __init__(self, server: FakeServer, **fields: str) -> None:
        address = str(server.http.base_url)
        self._future: Future[httpx.Response] = Future()
        threading.Thread(target=self._post, args=(address, fields), daemon=True).start()
        until(lambda: server.http.get(f"{ROUTE}/status").json()["processing"])

    def _post(self, address: str, fields: dict[str, str]) -> None:
        try:
            answer = httpx.post(address + ROUTE, data=fields, files={"file": AUDIO}, timeout=30, trust_env=False)
            self._future.set_result(answer)
        except httpx.HTTPError as error:
            self._future.set_exception(error)

    @property
    def answer(self) -> httpx.Response:
        return self._future.result(10)


@contextmanager
def upload(server: FakeServer) -> Iterator[None]:
    """A file is arriving."""
    body, kind = multipart(("file", ("a.wav", speech_wav(600), None)))
    head = f"POST {ROUTE} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.http.base_url.port or 0)) as connection:
        connection.sendall(head.encode() + body[: len(body) // 2])
        until(lambda: list(server.spool.glob("*.part")))
        yield


@contextmanager
def fetch(server: FakeServer) -> Iterator[None]:
    """A file is being fetched from a server that takes its time."""
    with socket.create_server(("127.0.0.1", 0)) as remote:
        url = f"http://127.0.0.1:{remote.getsockname()[1]}/a.wav"
        form = {"url": url, "user_uuid": "user", "message_id": "fetched"}
        post = threading.Thread(target=lambda: _ignore(lambda: server.http.post(ROUTE, data=form)))
        post.start()
        connection, _ = remote.accept()
        with connection:
            assert connection.recv(1)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n" + AUDIO)
            yield
        post.join()


@contextmanager
def idle_connections(server: FakeServer) -> Iterator[None]:
    """Clients hold connections and say nothing."""
    port = server.http.base_url.port or 0
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
    yield
    for connection in connections:
        connection.close()


@contextmanager
def children_starting(server: FakeServer) -> Iterator[None]:
    """Decoders are just being started for several callers at once."""
    body, kind = multipart(("file", ("a.wav", AUDIO, None)))
    head = f"POST {ROUTE} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    calls = [socket.create_connection(("127.0.0.1", server.http.base_url.port or 0)) for _ in range(10)]
    for call in calls:
        call.sendall(head.encode() + body)
    until(lambda: list(server.spool.iterdir()))
    for call in calls:
        call.close()
    yield


@contextmanager
def hung_recogniser(server: FakeServer) -> Iterator[None]:
    """The recogniser does not move."""
    server.ready()
    pid = server.recogniser()
    os.kill(pid, signal.SIGSTOP)
    server.submit(AUDIO, "promised")
    yield
    until(lambda: not Path(f"/proc/{pid}").exists())


@contextmanager
def locked_database(server: FakeServer) -> Iterator[None]:
    """Another program holds the database, and a submission waits for it."""
    with closing(sqlite3.connect(server.spool.parent / "jobs.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        post = threading.Thread(target=lambda: _ignore(lambda: server.submit(AUDIO, "unheard")))
        post.start()
        until(lambda: list(server.spool.glob("*.audio")))
        yield
        post.join()


@contextmanager
def impatient_operator(server: FakeServer) -> Iterator[None]:
    """The signal comes again and again, while somebody waits in the call."""
    _Call(server, prompt="hang")
    server.submit(AUDIO, "promised")
    signals = threading.Thread(target=_signal_often, args=(server.pid,))
    signals.start()
    yield
    signals.join()


def _signal_often(pid: int) -> None:
    for _ in range(20):
        time.sleep(0.05)
        os.kill(pid, signal.SIGTERM)


def _ignore(act: Callable[[], Any]) -> None:
    with suppress(httpx.HTTPError, OSError, RuntimeError, AssertionError):
        act()


SITUATIONS: dict[Situation, dict[str, Any]] = {
    idle: {},
    loading: {"loading": FAR_AWAY},
    jobs_in_hand: {"delay": 1.0},
    quick_caller: {"delay": 1.0},
    slow_caller: {},
    callers_in_line: {},
    listener: {},
    upload: {},
    fetch: {"FETCH_ALLOW_HOSTS": "127.0.0.1"},
    idle_connections: {},
    children_starting: {"own_forkserver": True},
    hung_recogniser: {},
    locked_database: {},
    impatient_operator: {"delay": 1.0},
}


class Stop:
    """A stop and what it left."""

    def __init__(self, launcher: Launcher, folder: Path, situation: Situation, options: dict[str, Any]) -> None:
        folder.mkdir()
        self._launcher = launcher
        self._folder = folder
        with FakeServer(launcher, folder, **options) as server, situation(server):
            self.promised = server.lookup("promised")["found"]
            began = time.monotonic()
            self.status = server.terminate()
            self.seconds = time.monotonic() - began
            self.log = server.log
            self.files = sorted(path.suffix for path in server.spool.iterdir())

    def check_next_start(self) -> None:
        """What was promised is done then, and what was not is not there."""
        with FakeServer(self._launcher, self._folder) as server:
            for name in ("promised", "unheard", "fetched"):
                found = server.lookup(name)
                assert found["found"] or not (name == "promised" and self.promised)
                if found["found"]:
                    assert server.wait([found["job_id"]])[found["job_id"]]["text"] == TEXT


@pytest.fixture(scope="module")
def stops(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Situation, Future[Stop]]]:
    """All of them, side by side."""
    folder = tmp_path_factory.mktemp("stops")
    with ThreadPoolExecutor(len(SITUATIONS)) as pool:
        yield {
            situation: pool.submit(Stop, launcher, folder / situation.__name__, situation, options)
            for situation, options in SITUATIONS.items()
        }


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.__name__)
def test_a_stop(stops: dict[Situation, Future[Stop]], situation: Situation) -> None:
    """Exit status 0 within Docker's ten seconds; only the audio of promised jobs stays; the next start does them."""
    stop = stops[situation].result()
    print(stop.seconds, stop.files)
    assert stop.status == 0
    assert stop.seconds < 10
    assert "Traceback" not in stop.log
    assert set(stop.files) <= {".audio"}
    stop.check_next_start()
