"""Clients that are slow, leave, or send too much: others are served, and nothing of them is left."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.faults.family import Memory
from tests.faults.server import FakeServer, Launcher
from tests.faults.wire import CHUNKED, Answer, Wire, chunks, form, sized, told
from tests.real.process import ROUTE
from tests.sounds import speech_wav
from tests.web.live import Part, until

AUDIO = speech_wav(1.5)
FILE: Part = ("file", ("a.wav", AUDIO, None))
BODY, HEAD = form(FILE)
LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
CLIENTS = 150
MB = 1_000_000


@pytest.fixture
def server(launcher: Launcher, tmp_path: Path) -> Iterator[FakeServer]:
    with FakeServer(launcher, tmp_path, own_forkserver=True, MAX_UPLOAD_BYTES=str(8 * MB)) as server:
        server.ready()
        assert told(server.http.post(ROUTE, files={"file": AUDIO})) is None  # all that is loaded late is loaded
        yield server
        until(server.quiet)
        assert server.http.get("/health").json()["db_stats"]["total"] == 0
        assert "Traceback" not in server.log


# -- Slow ----------------------------------------------------------------------------------------------


async def linger(server: FakeServer, first: bytes, drip: bytes) -> tuple[float, bytes]:
    """Send something, then a little every second: seconds until the server closed, and what it said."""
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.http.base_url.port)
    reading = asyncio.create_task(reader.read())
    try:
        writer.write(first)
        while not (await asyncio.wait({reading}, timeout=1))[0]:
            writer.write(drip)
        return time.monotonic() - began, await reading
    except ConnectionError:
        return time.monotonic() - began, b""
    finally:
        writer.transport.abort()
        await asyncio.wait({reading})


async def serve_others(server: FakeServer, seconds: float) -> list[float]:
    """Ordinary requests meanwhile; how long each took. Fails when one is not answered well."""
    took = []
    async with httpx.AsyncClient(base_url=server.http.base_url, timeout=20, trust_env=False) as client:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for answer in (await client.get("/health/live"), await client.post(ROUTE, files={"file": AUDIO})):
                assert answer.status_code == 200, answer.text
                took.append(answer.elapsed.total_seconds())
            await asyncio.sleep(0.3)
    return took


async def test_slow_clients_are_left_and_others_are_served(server: FakeServer) -> None:
    """Slow headers, slow bodies and idle connections, more of them than the queue has places: all closed in time,
    told why where they can be told, while everybody else is served."""
    upload = sized(HEAD, BODY[:1000], length=len(BODY))
    async with asyncio.TaskGroup() as group:

        def start(count: int, first: bytes, drip: bytes) -> list[asyncio.Task[tuple[float, bytes]]]:
            return [group.create_task(linger(server, first, drip)) for _ in range(count)]

        silent, idle = start(20, b"", b""), start(20, LIVE + b"\r\n", b"")
        headers, bodies = start(CLIENTS, LIVE + b"X: ", b"y"), start(CLIENTS, upload, BODY[1000:1050])
        took = await serve_others(server, 32)
    for clients, least, most in ((idle, 4, 15), (silent, 9, 20), (headers, 9, 20), (bodies, 25, 45)):
        seconds = [client.result()[0] for client in clients]
        assert least < min(seconds)
        assert max(seconds) < most
    answers = [client.result()[1] for client in headers + bodies]
    timed_out = [answer for answer in answers if answer.startswith(b"HTTP/1.1 408 ") and b"request_timeout" in answer]
    # An answer is lost on whoever sends in the moment when it comes.
    assert len(timed_out) > 0.9 * len(answers)
    assert set(answers) - set(timed_out) <= {b""}
    took.sort()
    assert took[len(took) // 2] < 0.5
    assert took[-1] < 5


# -- Gone ----------------------------------------------------------------------------------------------

LONG = speech_wav(120)
IDS: list[Part] = [("user_uuid", "u"), ("message_id", "m")]
LEAVING: dict[str, tuple[list[Part], float]] = {
    "in the headers": ([], 0),
    "at the first byte of the body": ([("file", ("a.wav", LONG, None))], 0.0001),
    "in the upload": ([("file", ("a.wav", LONG, None))], 0.5),
    "in the upload of a job": ([*IDS, ("file", ("a.wav", LONG, None))], 0.9),
    "while it waits": ([("file", ("a.wav", LONG, None))], 1),
    "in the stream": ([("stream", "true"), ("file", ("a.wav", LONG, None))], 1),
}


@pytest.mark.parametrize("how", ["politely", "by reset"])
def test_clients_that_leave(launcher: Launcher, tmp_path: Path, how: str) -> None:
    """At whatever moment they leave, their recordings are given up: no file, no job, no place, no memory."""
    with FakeServer(launcher, tmp_path, own_forkserver=True, delay=0.2) as server:
        server.ready()
        assert told(server.http.post(ROUTE, files={"file": AUDIO})) is None
        with Memory(server.pid) as memory:
            for parts, share in [leaving for leaving in LEAVING.values() for _ in range(8)]:
                body, head = form(*parts)
                begun = sized(head, body[: int(len(body) * share)], length=len(body))
                with Wire.to(server) as wire:
                    wire.send(begun if share else head)
                    if share == 1:
                        time.sleep(0.05)
                    if how == "by reset":
                        wire.reset()
            until(server.quiet)
            assert told(server.http.post(ROUTE, files={"file": AUDIO})) is None
        assert server.http.get("/health").json()["db_stats"]["total"] == 0
        assert memory.left_mb < 100
        assert "Traceback" not in server.log


# -- Too much ------------------------------------------------------------------------------------------


def zeros(wire: Wire, first: bytes, size: int) -> tuple[Answer | None, int]:
    """Send so many zeros in chunks until there is an answer; it, and how many bytes it took."""
    wire.send(first)
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    sent = 0
    while sent < size and not wire.waiting():
        wire.send(chunk)
        sent += len(chunk)
    return wire.answer(), sent


def test_bodies_larger_than_allowed(server: FakeServer) -> None:
    """Announced or not, in the file or beside it: 413 or 400 in the usual shape, early, with flat memory."""
    begun = HEAD + CHUNKED + b"\r\n"
    bodies = {
        "upload_too_large": (sized(HEAD, b"", length=200 * MB), begun + chunks(BODY[:-8], end=b"")),
        "invalid_audio": (begun + chunks(form(("file", ("a.wav", b"", None)))[0][:-10], end=b""),),
        "bad_request": (begun + chunks(form(("prompt", "x"))[0][:-10], end=b""),),
    }
    with Memory(server.pid) as memory:
        for code, first in [(code, first) for code, firsts in bodies.items() for first in firsts * 4]:
            with Wire.to(server) as wire:
                answer, sent = zeros(wire, first, 200 * MB)
                assert answer
                assert answer.code == code
                assert sent < 30 * MB
    assert memory.peak_mb < 60


def test_what_comes_after_a_refusal_is_thrown_away(server: FakeServer) -> None:
    """A client that sends all of its too large body before it reads gets its answer, and goes on."""
    body = bytes(40 * MB)
    with Memory(server.pid) as memory, Wire.to(server) as wire:
        wire.send(sized(HEAD, body))
        assert [answer.code for answer in wire.answers()] == ["upload_too_large"]
    assert memory.peak_mb < 60


def test_many_uploads_at_once(server: FakeServer) -> None:
    """Sixty uploads of four megabytes at once are on the disk, not in memory."""
    body, head = form(("file", ("a.wav", speech_wav(250), None)))
    with Memory(server.pid) as memory:
        with ExitStack() as stack:
            for wire in [stack.enter_context(Wire.to(server)) for _ in range(60)]:
                wire.send(sized(head, body[:-100_000], length=len(body)))
            until(lambda: sum(path.stat().st_size for path in server.spool.iterdir()) > 60 * 3 * MB)
        until(server.quiet)
    assert memory.peak_mb < 120
