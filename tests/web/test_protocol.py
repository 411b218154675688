"""Slow, broken and too many clients."""

import socket
import time
from dataclasses import replace
from functools import partial

import pytest

from stt_server.web.protocol import Deadlines, PatientProtocol
from tests.sounds import speech_wav
from tests.web.conftest import Start
from tests.web.live import Live, fake_app, multipart, read_answer, until

BODY, KIND = multipart(("file", ("a.wav", speech_wav(20), None)))
HEAD = f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Type: {KIND}\r\nContent-Length: "


class Hasty(PatientProtocol):
    """Everything a hundred times faster, and three connections."""

    deadlines = Deadlines(
        headers_secs=0.5,
        window_secs=0.5,
        body_secs=60.0,
        linger_secs=0.5,
        reader_secs=0.5,
        connections=3,
        tick_secs=0.05,
    )


@pytest.fixture(scope="module")
def hasty(start_shared: Start) -> Live:
    return start_shared(protocol=Hasty)


def closed(connection: socket.socket) -> bytes:
    """What still comes until the server closes."""
    received = b""
    while more := connection.recv(65536):
        received += more
    return received


def trickle(connection: socket.socket, piece: bytes = b"x") -> None:
    """A little now and then, for a while."""
    for _ in range(200):
        connection.sendall(piece)
        time.sleep(0.02)


def test_slow_headers(hasty: Live) -> None:
    """Headers that never end are answered 408 in the usual shape, and the connection is closed."""
    with hasty.socket() as connection:
        for byte in b"GET /health/live HTTP/1.1\r\n":
            connection.sendall(bytes([byte]))
        status, headers, body = read_answer(connection)
        assert status == 408
        assert b'"code":"request_timeout"' in body
        assert headers["x-request-id"]
        assert closed(connection) == b""


def test_a_silent_connection(hasty: Live) -> None:
    """A connection on which nothing comes is closed without a word."""
    with hasty.socket() as connection:
        assert closed(connection) == b""


def test_a_slow_body(hasty: Live) -> None:
    """An upload that stalls is given up: 408, its file removed, its place free."""
    with hasty.socket() as connection:
        connection.sendall(f"{HEAD}{len(BODY)}\r\n\r\n".encode() + BODY[:100_000])
        status, _, body = read_answer(connection)
        assert (status, b"request_timeout" in body) == (408, True)
        assert closed(connection) == b""
    until(lambda: hasty.spool == [])
    assert hasty.get("/v1/audio/transcriptions/status")["queue_length"] == 0


def test_a_trickle(hasty: Live) -> None:
    """Neither does a byte now and then keep a connection open."""
    with hasty.socket() as connection:
        connection.sendall(f"{HEAD}{len(BODY)}\r\n\r\n".encode())
        with pytest.raises(OSError, match=r"reset|[Pp]ipe"):
            trickle(connection)


class Impatient(Hasty):
    """One second for a whole body."""

    deadlines = replace(Hasty.deadlines, body_secs=1.0)


def test_an_endless_body(start: Start) -> None:
    """An upload that keeps its pace but never comes to an end is given up all the same."""
    with start(protocol=Impatient).socket() as connection:
        connection.sendall(f"{HEAD}{100_000_000}\r\n\r\n".encode() + BODY[:500])
        with pytest.raises(OSError, match=r"reset|[Pp]ipe"):
            trickle(connection, bytes(5000))


def test_a_steady_body(hasty: Live) -> None:
    """An upload that takes longer than all these deadlines but keeps its pace is answered."""
    step = len(BODY) // 20 + 1
    with hasty.socket() as connection:
        connection.sendall(f"{HEAD}{len(BODY)}\r\n\r\n".encode())
        for start in range(0, len(BODY), step):
            connection.sendall(BODY[start : start + step])
            time.sleep(0.07)
        assert read_answer(connection)[0] == 200


def test_an_answer_takes_its_time(start: Start) -> None:
    """While the server works, no deadline runs against the client."""
    live = start(partial(fake_app, delay=1), Hasty)
    body, kind = multipart(("file", ("a.wav", speech_wav(2), None)))
    assert live.http.post("/v1/audio/transcriptions", content=body, headers={"Content-Type": kind}).status_code == 200


def test_an_answer_that_is_not_taken(hasty: Live) -> None:
    """It is not kept for ever for a client that does not read."""
    job = hasty.job(speech_wav(300), "long")["job_id"]
    hasty.ended(job)
    ask = f"GET /v1/audio/transcriptions/{job}/result?response_format=verbose_json HTTP/1.1\r\nHost: x\r\n\r\n"
    with hasty.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
        connection.sendall(ask.encode() * 500)
        with pytest.raises(OSError, match=r"reset|[Pp]ipe"):
            trickle(connection, b"\r\n")


def test_bytes_after_the_answer(hasty: Live) -> None:
    """A refused upload is taken to its end for a while, so that the client reads why, and then dropped."""
    with hasty.socket() as connection:
        connection.sendall(f"{HEAD}{100 << 40}\r\n\r\n".encode())
        connection.sendall(bytes(1_000_000))
        assert read_answer(connection)[0] == 413
        assert closed(connection) == b""


def test_no_delay(live: Live) -> None:
    """An answer is not held back by the network stack, which by default waits 40 ms for more."""
    taken = []
    with live.socket() as connection:
        for _ in range(21):
            began = time.monotonic()
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_answer(connection)[0] == 200
            taken.append(time.monotonic() - began)
    assert sorted(taken)[10] < 0.03


def test_keep_alive(hasty: Live) -> None:
    """One connection serves many requests, a refused upload among them."""
    with hasty.socket() as connection:
        for _ in range(3):
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_answer(connection)[0] == 200
            body, kind = multipart(("model", "gpt-9"), ("file", ("a.wav", bytes(300_000), None)))
            head = f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n"
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            assert read_answer(connection)[0] == 404


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 70_000,
        b"GET / HTTP/1.1\r\nHost x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
    ],
    ids=lambda value: repr(value[:20]),
)
def test_what_is_not_http(live: Live, request_bytes: bytes) -> None:
    """It is answered 400 in the usual shape, with an id."""
    with live.socket() as connection:
        connection.sendall(request_bytes)
        status, headers, body = read_answer(connection)
    assert status == 400
    assert b'"code":"invalid_http"' in body
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"]


def test_broken_chunks(live: Live) -> None:
    """A body that breaks off in the middle of nonsense ends the request and leaves nothing."""
    with live.socket() as connection:
        head = f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Type: {KIND}\r\n"
        connection.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n")
        assert read_answer(connection)[0] == 400
    until(lambda: live.spool == [])


def test_too_many_connections(hasty: Live) -> None:
    """Connections beyond the limit get 503 in the usual shape; whether the server lives is still answered."""
    idle = [socket.create_connection(("127.0.0.1", hasty.port)) for _ in range(3)]
    try:
        with hasty.socket() as connection:
            connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
            status, headers, body = read_answer(connection)
            assert (status, b'"code":"unavailable"' in body) == (503, True)
            assert int(headers["retry-after"]) >= 1
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_answer(connection)[0] == 200
    finally:
        for connection in idle:
            connection.close()
    until(lambda: hasty.http.get("/v1/models").status_code == 200)


def test_expect_continue(live: Live) -> None:
    """curl waits before it sends: it is told to go on, or why not."""
    body, kind = multipart(("file", ("a.wav", speech_wav(2), None)))
    head = f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nExpect: 100-continue\r\n"
    with live.socket() as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
        assert read_answer(connection)[0] == 100
        connection.sendall(body)
        assert read_answer(connection)[0] == 200
    with live.socket() as connection:
        connection.sendall(f"{head}Content-Length: {1 << 40}\r\n\r\n".encode())
        assert read_answer(connection)[0] == 413
