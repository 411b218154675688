"""What no client should send: every answer has the one shape, nothing is smuggled, nothing is left."""

import json
from collections.abc import Iterator

import pytest

from tests.faults.server import FakeServer, Launcher
from tests.faults.wire import CHUNKED, Wire, chunks, form, sized
from tests.sounds import speech_wav
from tests.web.live import Part

AUDIO = speech_wav(1.5)
FILE: Part = ("file", ("a.wav", AUDIO, None))
BODY, POST = form(FILE)
LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def server(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeServer]:
    with FakeServer(launcher, tmp_path_factory.mktemp("http")) as server:
        yield server.ready()
        assert server.alive
        assert server.quiet()
        assert "Traceback" not in server.log


REFUSED = {
    # Where a proxy and this server could disagree about where a request ends.
    "both lengths": POST + b"Content-Length: 5\r\n" + CHUNKED + b"\r\n" + chunks(BODY) + LIVE + b"\r\n",
    "both lengths, chunks first": POST + CHUNKED + b"Content-Length: 100\r\n\r\n0\r\n\r\n" + LIVE + b"\r\n",
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "a list of lengths": POST + b"Content-Length: 5, 6\r\n\r\nhello!",
    "negative length": POST + b"Content-Length: -1\r\n\r\n",
    "signed length": POST + b"Content-Length: +5\r\n\r\nhello",
    "length in other digits": POST + "Content-Length: ５\r\n\r\nhello".encode(),
    "length without end": POST + b"Content-Length: " + b"9" * 400 + b"\r\n\r\nhello",
    "unknown framing": POST + b"Transfer-Encoding: xchunked\r\n\r\n" + chunks(BODY),
    "chunked twice": POST + CHUNKED + CHUNKED + b"\r\n" + chunks(BODY),
    "chunked, then not": POST + CHUNKED + b"Transfer-Encoding: identity\r\n\r\n" + chunks(BODY),
    "compressed": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + chunks(BODY),
    "space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n" + chunks(BODY),
    "bare CR": LIVE + b"X: y\rContent-Length: 5\r\n\r\nhello",
    "no host": b"GET /health/live HTTP/1.1\r\n\r\n",
    "two hosts": LIVE + b"Host: y\r\n\r\n",
    # Chunks.
    "negative chunk": POST + CHUNKED + b"\r\n-1\r\nx\r\n",
    "chunk of no number": POST + CHUNKED + b"\r\nzz\r\nx\r\n",
    "chunk without end": POST + CHUNKED + b"\r\n5\r\nhelloXX0\r\n\r\n",
    "chunk extension without end": POST + CHUNKED + b"\r\n5;" + b"x" * 70_000,
    "trailers without end": POST + CHUNKED + b"\r\n" + chunks(BODY, end=b"0\r\n" + b"X: y\r\n" * 20_000),
    # Bytes.
    "nothing but bytes": bytes(range(256)) * 8,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "HTTP/0.9": b"GET /health/live\r\n\r\n",
    "NUL in a header": LIVE + b"X: a\0b\r\n\r\n",
    "NUL in the address": b"GET /health/\0live HTTP/1.1\r\nHost: x\r\n\r\n",
    "a header without end": LIVE + b"X: " + b"y" * 200_000,
    "an address without end": b"GET /" + b"a" * 200_000,
    "headers without end": LIVE + b"a: b\r\n" * 40_000,
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_http_ends_the_connection(server: FakeServer, name: str) -> None:
    """It is refused once, in the usual shape, and whatever comes behind it is read by nobody."""
    with Wire.to(server) as wire:
        wire.send(REFUSED[name])
        answers = wire.answers()
    assert [answer.code for answer in answers] in (["invalid_http"], [])  # closed on what is still being sent


ODD = {
    "bare LF": (b"GET /health/live HTTP/1.1\nHost: x\n\n", [None]),
    "folded header": (LIVE + b"X: a\r\n b\r\n\r\n", [None]),
    "folded framing": (POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + chunks(BODY), [None]),
    "many headers": (LIVE + b"a: b\r\n" * 10_000 + b"\r\n", [None]),
    "unknown method": (b"BREW /health/live HTTP/1.1\r\nHost: x\r\n\r\n", ["method_not_allowed"]),
    "tunnel": (b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x\r\n\r\n", ["not_found"]),
    "socket": (LIVE + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n", [None]),
    "HTTP/2 by upgrade": (LIVE + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", [None]),
    "HTTP/2 at once": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ["not_found", "invalid_http"]),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", ["not_found"]),
    "encoded NUL": (b"GET /v1/audio/transcriptions/%00 HTTP/1.1\r\nHost: x\r\n\r\n", ["job_not_found"]),
    "broken UTF-8": (b"GET /v1/audio/transcriptions/%ed%a0%80%ff HTTP/1.1\r\nHost: x\r\n\r\n", ["job_not_found"]),
    "a way out": (b"GET /v1/models/..%2f..%2f..%2fetc%2fpasswd HTTP/1.1\r\nHost: x\r\n\r\n", ["model_not_found"]),
    "a body nobody wants": (sized(LIVE, b"hello"), [None]),
    "one length twice": (LIVE + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", [None]),
    "HTTP/1.0": (b"GET /health/live HTTP/1.0\r\n\r\n", [None]),
    "an upload in HTTP/1.0": (sized(POST.replace(b"1.1", b"1.0"), BODY), [None]),
    "an upload without length": (POST + b"\r\n", ["bad_request"]),
    "another expectation": (sized(POST + b"Expect: 200-ok\r\n", BODY), [None]),
    "pipelined": ((LIVE + b"\r\n") * 20 + sized(POST, BODY) + sized(POST, BODY) + LIVE + b"\r\n", [None] * 23),
    "pipelined behind a refusal": (sized(POST, b"x" * 9) + LIVE + b"\r\n", ["bad_request", None]),
    "trailers": (POST + CHUNKED + b"\r\n" + chunks(BODY, end=b"0\r\nX: y\r\n\r\n"), [None]),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_is_answered_once(server: FakeServer, name: str) -> None:
    """As many answers as requests, in their order, and the connection goes on where HTTP lets it."""
    data, expected = ODD[name]
    with Wire.to(server) as wire:
        wire.send(data)
        assert [answer.code for answer in wire.answers()] == expected


FORMS = {
    "empty": b"",
    "no boundary": b"hello",
    "no end": BODY[:-8],
    "no name": b"--XX\r\nContent-Disposition: form-data\r\n\r\nx\r\n--XX--\r\n",
    "no disposition": b"--XX\r\nX: y\r\n\r\nx\r\n--XX--\r\n",
    "a part's header without end": b"--XX\r\nX: " + b"y" * 100_000,
    "a part's headers without end": b"--XX\r\n" + b"X: y\r\n" * 20_000,
    "too many fields": form(*[("a", "b")] * 65, FILE)[0],
    "fields without end": form(*[("a", "b")] * 20_000, FILE)[0],
    "too many files": form(*[("x", ("a", b"y", None))] * 3, FILE)[0],
    "two recordings": form(FILE, FILE)[0],
    "a field too long": form(("prompt", "x" * 70_000), FILE)[0],
    "no UTF-8": form(("prompt", b"\xff\xfe"), FILE)[0],
    "NUL in an id": form(("user_uuid", "a\0b"), ("message_id", "m"), FILE)[0],
    "line break in an id": form(("user_uuid", "a\r\nb"), ("message_id", "m"), FILE)[0],
    "surrogates in an id": form(("user_uuid", b"\xed\xa0\x80"), ("message_id", "m"), FILE)[0],
    "an id too long": form(("user_uuid", "u" * 256), ("message_id", "m"), FILE)[0],
    "a file of nothing": form(("file", ("a.wav", b"", None)))[0],
    "a file of zeros": form(("file", ("a.wav", bytes(100_000), None)))[0],
    "a file name that leads away": form(("file", ("../../../../etc/passwd", b"x", None)))[0],
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("framing", ["sized", "chunked"])
def test_malformed_forms_are_the_clients_fault(server: FakeServer, name: str, framing: str) -> None:
    """Each is answered 400 in the usual shape, and the connection goes on."""
    body = FORMS[name]
    pieces = [body[i : i + 1000] for i in range(0, len(body), 1000)]
    with Wire.to(server) as wire:
        wire.send(sized(POST, body) if framing == "sized" else POST + CHUNKED + b"\r\n" + chunks(*pieces))
        [answer] = wire.answers()
    assert (answer.status, answer.code is None) == (400, False)


FORM_DATA = b"multipart/form-data"
KINDS = [
    b"", b"text/plain", b"application/json", b"application/x-www-form-urlencoded", b"multipart/mixed; boundary=XX",
    FORM_DATA, FORM_DATA + b"; boundary=", FORM_DATA + b"; boundary*=x''%00", FORM_DATA + b"; boundary=\xff\xfe",
    FORM_DATA + b"; boundary=" + b"x" * 40_000, FORM_DATA + b'; boundary="' + b'\\"' * 9000, b";;;;" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: repr(kind[:40]))
def test_no_content_type_does_harm(server: FakeServer, kind: bytes) -> None:
    """Whatever is said of the body, it is the client's fault when it cannot be read."""
    with Wire.to(server) as wire:
        wire.send(sized(b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Type: " + kind + b"\r\n", BODY))
        [answer] = wire.answers()
    assert (answer.status, answer.code is None) == (400, False)


def test_crumbs_do_not_hold_up_the_others(server: FakeServer) -> None:
    """Bodies in chunks of one byte, as fast as they come, cost others nothing: they are refused."""
    crumbs = chunks(*[b"x"] * 50_000, end=b"")
    with Wire.to(server) as one, Wire.to(server) as two:
        for wire in (one, two):
            wire.send(POST + CHUNKED + b"\r\n" + chunks(BODY[:-8], end=b"") + crumbs)
        assert server.http.get("/health/live").elapsed.total_seconds() < 0.3
        for wire in (one, two):
            assert [answer.code for answer in wire.answers()] in (["invalid_http"], [])


def test_a_client_may_wait_for_a_word(server: FakeServer) -> None:
    """`Expect: 100-continue` is answered before the body: go on, or why not."""
    with Wire.to(server) as wire:
        wire.send(POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY))
        answer = wire.answer()
        assert answer
        assert answer.status == 100
        wire.send(BODY)
        [answer] = wire.answers()
        assert "text" in json.loads(answer.body)
    with Wire.to(server) as wire:
        wire.send(POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % (1 << 40))
        answer = wire.answer()
        assert answer
        assert answer.code == "upload_too_large"
