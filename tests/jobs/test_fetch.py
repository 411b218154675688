"""A URL becomes a file, against real servers on the loopback that stall, lie, redirect and break off."""

import asyncio
import datetime
import gzip
import logging
import os
import ssl
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stt_server import logs
from stt_server.errors import (
    BadUrl,
    StartupError,
    StorageFull,
    SttError,
    TooLarge,
    UpstreamFailed,
    UrlDenied,
    UrlRefused,
    UrlServerError,
    UrlTimeout,
)
from stt_server.jobs import fetch, spool
from stt_server.jobs.fetch import AT_ONCE, Fetcher
from stt_server.jobs.names import Lookup

SOUND = os.urandom(300_000)
SECRET = "s3cr3t"
PREFIX = "Failed to fetch audio from URL: "


# -- Servers ----------------------------------------------------------------------------------------


@dataclass
class Connection:
    """One visit to a server of a test."""

    request: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def headers(self) -> dict[str, str]:
        lines = self.request.decode().split("\r\n")[1:-2]
        return dict(line.lower().split(": ", 1) for line in lines)

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    async def gone(self) -> None:
        """Wait until the other side has left."""
        while await self.reader.read(4096):
            pass


Handler = Callable[[Connection], Awaitable[None]]


@dataclass
class Server:
    """Answers every connection with `handler`, and remembers what was asked."""

    handler: Handler
    port: int = 0
    seen: list[Connection] = field(default_factory=list)
    connections: int = 0
    names: list[str | None] = field(default_factory=list)
    """Names asked for in TLS."""

    def url(self, path: str = "/voice.wav", host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            visit = Connection(await reader.readuntil(b"\r\n\r\n"), reader, writer)
            self.seen.append(visit)
            await self.handler(visit)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


Start = Callable[..., Awaitable[Server]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts servers on the loopback, and ends them."""
    async with AsyncExitStack() as stack:

        async def begin(handler: Handler, tls: ssl.SSLContext | None = None) -> Server:
            server = Server(handler)
            if tls is not None:
                tls.sni_callback = lambda _socket, name, _context: server.names.append(name)
            listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
            stack.callback(listener.close)
            server.port = listener.sockets[0].getsockname()[1]
            return server

        yield begin


def answer(body: bytes = SOUND, status: str = "200 OK", **headers: object) -> Handler:
    """An honest answer, unless a header is overruled."""
    fields = {"content-length": len(body), **{name.replace("_", "-"): value for name, value in headers.items()}}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value is not None)

    async def handler(visit: Connection) -> None:
        await visit.send(f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body)

    return handler


def raw(data: bytes) -> Handler:
    async def handler(visit: Connection) -> None:
        await visit.send(data)

    return handler


def redirect(location: str, status: str = "302 Found") -> Handler:
    return answer(b"", status, location=location)


async def never(visit: Connection) -> None:
    raise AssertionError("must not be asked")


def fetcher(*allow: str, timeout: float = 5, cap: int = 1_000_000, **more: Any) -> Fetcher:
    return Fetcher(allow_hosts=allow or ("127.0.0.1",), timeout_secs=timeout, max_bytes=cap, **more)


class Resolver:
    """A phone book: each name has its addresses, taken in turn when they change."""

    def __init__(self, **names: str | list[str]) -> None:
        self.names = {name.replace("_", "."): value for name, value in names.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        value = self.names.get(host, "")
        return (value.pop(0) if isinstance(value, list) else value).split()


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "x.part"


@pytest.fixture(autouse=True)
def nothing_leaks(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """In no test of this file does a log line hold the secret. Libraries are as quiet as in the server."""
    for name in ("httpx", "httpcore"):
        caplog.set_level(logging.WARNING, name)
    caplog.set_level(logging.DEBUG)
    yield
    for record in caplog.records:
        assert SECRET not in logs.JsonFormatter().format(record)
        assert SECRET not in str(vars(record))


async def refusal(fetcher: Fetcher, url: str, part: Path) -> SttError:
    """The error that this URL ends in. Whatever it is: it says where it comes from, no secret, and leaves no file."""
    with pytest.raises(SttError) as caught:
        await fetcher.fetch(url, part)
    error = caught.value
    assert error.message.startswith(PREFIX)
    assert SECRET not in "".join(traceback.format_exception(error))
    known: BaseException | None = error
    while known is not None:
        assert SECRET not in str(known)
        known = known.__cause__ or known.__context__
    assert list(part.parent.glob("*.part")) == []
    return error


# -- What works -------------------------------------------------------------------------------------


async def test_a_recording_is_fetched(start: Start, part: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Every byte arrives; the request is plain; the log knows the host and the size."""
    server = await start(answer())
    assert await fetcher().fetch(server.url(f"/a/voice.WAV?token={SECRET}"), part) == "audio.wav"
    assert part.read_bytes() == SOUND
    assert server.seen[0].request.startswith(f"GET /a/voice.WAV?token={SECRET} HTTP/1.1\r\n".encode())
    assert server.seen[0].headers == {
        "host": f"127.0.0.1:{server.port}",
        "user-agent": "stt-server",
        "accept": "*/*",
        "accept-encoding": "identity",
        "connection": "close",
    }
    (line,) = (record for record in caplog.records if record.getMessage() == "url fetched")
    assert (vars(line)["host"], vars(line)["bytes"]) == ("127.0.0.1", len(SOUND))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde"),
        (b"HTTP/1.1 200 OK\r\n\r\nabcde", b"abcde"),
        (b"HTTP/1.0 200 OK\r\n\r\nabcde", b"abcde"),
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: identity\r\ncontent-length: 2\r\n\r\nab", b"ab"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab", b"ab"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab, and what nobody asked for", b"ab"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b""),
    ],
)
async def test_every_framing_is_read(start: Start, part: Path, data: bytes, expected: bytes) -> None:
    """Chunks, a length, or the end of the connection say where the body ends; not a byte more is taken."""
    server = await start(raw(data))
    await fetcher().fetch(server.url(), part)
    assert part.read_bytes() == expected


async def test_a_large_file_is_written_in_pieces(start: Start, part: Path) -> None:
    """A file longer than the buffer is whole, and replaces what lay there."""
    body = os.urandom(fetch.WRITE_BYTES * 2 + 12345)
    part.write_bytes(b"old")
    server = await start(answer(body))
    await fetcher(cap=len(body)).fetch(server.url(), part)
    assert part.read_bytes() == body


async def test_a_name_is_looked_up_once_and_kept(start: Start, part: Path) -> None:
    """The connection goes to the address that was checked; the server is still asked by its name."""
    server = await start(answer())
    resolver = Resolver(pbx_example=["127.0.0.1", "10.255.255.1"])
    await fetcher("pbx.example", resolve=resolver).fetch(server.url(host="PBX.example."), part)
    assert resolver.asked == ["pbx.example"]
    assert server.seen[0].headers["host"] == f"pbx.example:{server.port}"


async def test_the_next_address_is_tried(start: Start, part: Path) -> None:
    """A host with a dead address is reached at the living one."""
    server = await start(answer())
    resolver = Resolver(pbx_example="127.0.0.9 127.0.0.1")
    await fetcher("pbx.example", resolve=resolver).fetch(server.url(host="pbx.example"), part)
    assert part.read_bytes() == SOUND


@pytest.mark.parametrize(
    "spelling", ["127.1", "0x7f.1", "2130706433", "017700000001", "localhost.", "[::ffff:127.0.0.1]"]
)
async def test_a_listed_address_is_open_in_every_spelling(start: Start, part: Path, spelling: str) -> None:
    """The list is held against what is connected to."""
    server = await start(answer())
    await fetcher("127.0.0.1", "::1").fetch(server.url(host=spelling), part)
    assert part.read_bytes() == SOUND


async def test_a_redirect_to_another_place_is_followed(start: Start, part: Path) -> None:
    """Absolute or relative, over names; the hint comes from wherever there is one."""
    cdn = await start(answer())

    async def pbx(visit: Connection) -> None:
        first = b"/recording" in visit.request
        location = f"/moved?token={SECRET}" if first else cdn.url(f"/blob?sig={SECRET}", "cdn.example")
        await redirect(location, "307 Temporary Redirect" if first else "301 Moved Permanently")(visit)

    server = await start(pbx)
    book = Resolver(pbx_example="127.0.0.1", cdn_example="127.0.0.1")
    one = fetcher("pbx.example", "cdn.example", resolve=book)
    assert await one.fetch(server.url(f"/recording/msg1.gsm?token={SECRET}", "pbx.example"), part) == "audio.gsm"
    assert part.read_bytes() == SOUND
    assert cdn.seen[0].headers["host"] == f"cdn.example:{cdn.port}"


async def test_the_environment_says_nothing(start: Start, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies of the environment are not used: they would resolve names on their own."""
    server = await start(answer())
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    await fetcher().fetch(server.url(), part)
    assert part.read_bytes() == SOUND


async def test_a_function_can_stand_in_for_the_network(part: Path) -> None:
    """Tests elsewhere need no server; the rules hold for them too."""

    def remote(request: httpx.Request) -> httpx.Response:
        assert request.headers["host"] == "pbx.example"
        assert request.url.host == "93.184.216.34"
        return httpx.Response(200, content=b"sound")

    more: dict[str, Any] = {"transport": httpx.MockTransport(remote), "timeout_secs": 5, "max_bytes": 100}
    one = Fetcher(resolve=Resolver(pbx_example="93.184.216.34", lan_example="10.0.0.1"), **more)
    await one.fetch("https://pbx.example/x", part)
    assert part.read_bytes() == b"sound"
    part.unlink()
    assert isinstance(await refusal(one, "https://lan.example/x", part), UrlRefused)


# -- Where it may go --------------------------------------------------------------------------------

SPELLINGS = [
    "127.0.0.1", "127.1", "0x7f.1", "0x7f000001", "2130706433", "017700000001", "localhost", "LOCALHOST", "localhost.",
    "[::1]", "[::]", "0.0.0.0", "0", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "127.0.0.1.nip.example", "mixed.example", "[fe80::1%25lo]",
]  # fmt: skip


@pytest.mark.parametrize("spelling", [*SPELLINGS, "0177.0.0.1", "①②⑦.⓪.⓪.①"])
async def test_no_spelling_reaches_the_inside(
    start: Start, part: Path, spelling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loopback is refused however it is written: no connection arrives, and an open port looks like a closed one."""
    canary = await start(never)
    # The canary's port would be refused as well: here only the address may be the reason.
    monkeypatch.setattr("stt_server.jobs.addresses.PORTS", frozenset({canary.port, 9}))
    book = Resolver(**{"127.0.0.1.nip.example": "127.0.0.1", "mixed.example": "93.184.216.34 127.0.0.1"})
    system = Lookup()

    async def resolve(host: str, port: int) -> list[str]:
        return list(await (book if host.endswith("example") else system)(host, port))

    one = Fetcher(timeout_secs=5, max_bytes=1000, resolve=resolve)
    messages = set()
    for port in (canary.port, 9):
        error = await refusal(one, f"http://{spelling}:{port}/?token={SECRET}", part)
        assert isinstance(error, UrlRefused if spelling in SPELLINGS else BadUrl)
        messages.add((error.code, error.message))
    assert len(messages) == 1
    assert canary.connections == 0


async def test_refused_and_unreachable_look_alike(start: Start, part: Path, unused_tcp_port: int) -> None:
    """A forbidden address, a closed port, a name that is none and a broken handshake: one code, one text."""

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example\r\n")
        writer.close()

    listener = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    urls = [
        f"https://127.0.0.1:{port}/x",
        f"http://127.0.0.1:{unused_tcp_port}/x",
        "http://10.0.0.1/x",
        "http://nothing.invalid/x",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fe80::1]/",
    ]
    errors = [await refusal(fetcher(), url, part) for url in urls]
    assert {(type(error), error.message) for error in errors} == {(UrlRefused, UrlRefused().message)}
    listener.close()


async def test_a_name_that_changes_its_address_is_not_followed(start: Start, part: Path) -> None:
    """Public when it is checked, loopback a moment later: the first answer is the only one."""
    canary = await start(never)
    resolver = Resolver(rebind_example=["192.0.2.1", "127.0.0.1"])  # the first cannot be reached from anywhere
    one = fetcher("192.0.2.0/24", resolve=resolver, timeout=0.3)
    assert isinstance(await refusal(one, canary.url(host="rebind.example"), part), UrlRefused)
    assert resolver.asked == ["rebind.example"]
    assert canary.connections == 0


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/iam",
        "http://localhost:{port}/",
        "http://127.1:{port}/",
        "http://[::1]:{port}/",
        "http://inside.example:{port}/",
        "//inside.example:{port}/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:{port}/",
        f"http://user:{SECRET}@pbx.example:{{port}}/",
        "http://pbx.example:{port}\\@127.0.0.1/",
        "http://unlisted.example/",
    ],
)
async def test_a_redirect_cannot_lead_inside(start: Start, part: Path, location: str) -> None:
    """Each hop is judged like the first URL, and the refusal looks the same."""
    canary = await start(never)
    server = await start(redirect(location.format(port=canary.port)))
    book = Resolver(
        pbx_example="127.0.0.1", inside_example="127.0.0.1", localhost="127.0.0.1", unlisted_example="93.184.216.34"
    )
    one = fetcher(f"pbx.example:{server.port}", resolve=book)
    error = await refusal(one, server.url(f"/x?token={SECRET}", "pbx.example"), part)
    assert (type(error), error.message) == (UrlRefused, UrlRefused().message)
    assert (server.connections, canary.connections) == (1, 0)


async def test_redirects_end(start: Start, part: Path) -> None:
    """Five redirects are followed, a loop is not."""
    server = await start(redirect("/again"))
    assert isinstance(await refusal(fetcher(), server.url(), part), UrlDenied)
    assert server.connections == 6

    async def fifth(visit: Connection) -> None:
        step = int(visit.request.split()[1].lstrip(b"/"))
        await (redirect(f"/{step + 1}") if step < 5 else answer())(visit)

    await fetcher().fetch((await start(fifth)).url("/0"), part)
    assert part.read_bytes() == SOUND


async def test_a_password_is_sent_to_its_origin_only(start: Start, part: Path) -> None:
    """Basic authorization reaches the host it was written for, and no host that it redirects to."""
    other = await start(answer())
    server = await start(redirect(other.url()))
    await fetcher().fetch(f"http://user:{SECRET}@127.0.0.1:{server.port}/", part)
    assert server.seen[0].headers["authorization"].startswith("basic ")
    assert "authorization" not in other.seen[0].headers
    assert "referer" not in other.seen[0].headers


# -- What is taken ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("401 Unauthorized", UrlDenied),
        ("404 Not Found", UrlDenied),
        ("429 Too Many", UrlDenied),
        ("204 No Content", UrlDenied),
        ("206 Partial Content", UrlDenied),
        ("302 Found", UrlDenied),
        ("304 Not Modified", UrlDenied),
        ("500 Oops", UrlServerError),
        ("503 Later", UrlServerError),
    ],
)
async def test_other_answers_are_named_by_their_number(
    start: Start, part: Path, status: str, kind: type[SttError]
) -> None:
    """The caller learns the status, nothing else of the answer."""
    server = await start(answer(b"body", status, x_secret=SECRET))
    error = await refusal(fetcher(), server.url(f"/x?token={SECRET}"), part)
    assert (type(error), error.message) == (kind, f"{PREFIX}the server answered {status[:3]}.")


async def test_a_body_that_is_announced_too_large_is_not_taken(start: Start, part: Path) -> None:
    """The length alone is enough; exactly the limit is allowed."""
    taken = asyncio.Event()

    async def handler(visit: Connection) -> None:
        await visit.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n")
        await visit.gone()
        taken.set()

    server = await start(handler)
    error = await refusal(fetcher(cap=1000), server.url(), part)
    assert isinstance(error, TooLarge)
    await asyncio.wait_for(taken.wait(), 2)  # the connection was closed
    await fetcher(cap=1000).fetch((await start(answer(b"x" * 1000))).url(), part)
    assert part.stat().st_size == 1000


@pytest.mark.parametrize("chunked", [True, False])
async def test_an_endless_body_is_cut_off(start: Start, part: Path, chunked: bool) -> None:
    """Without a length, bytes are counted as they come."""

    async def handler(visit: Connection) -> None:
        await visit.send(b"HTTP/1.1 200 OK\r\n" + b"transfer-encoding: chunked\r\n" * chunked + b"\r\n")
        block = b"x" * 65536
        while True:
            await visit.send(b"10000\r\n" + block + b"\r\n" if chunked else block)

    server = await start(handler)
    assert isinstance(await refusal(fetcher(cap=3_000_000), server.url(), part), TooLarge)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\ncontent-length: " + b"9" * 5000 + b"\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nx: \x00\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: y",
        b"HTTP/1.1 9999 What\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
        b"\x16\x03\x01\x02\x00",
        b"HTTP/1.1 200 OK\r\n" + b"x: yyyyyyyy\r\n" * 20_000,
    ],
)
async def test_broken_answers_are_failures(start: Start, part: Path, data: bytes) -> None:
    """A body shorter than its length, headers without end, or no HTTP at all: a failure, never half a file."""
    server = await start(raw(data))
    error = await refusal(fetcher(), server.url(f"/x?token={SECRET}"), part)
    assert type(error) in (UpstreamFailed, TooLarge)


async def test_a_length_shorter_than_the_body_is_believed(start: Start, part: Path) -> None:
    """What comes after the announced end is nobody's."""
    server = await start(answer(b"sound and more", content_length=5))
    await fetcher().fetch(server.url(), part)
    assert part.read_bytes() == b"sound"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, identity", "x-unheard-of"])
async def test_nothing_is_inflated(start: Start, part: Path, encoding: str) -> None:
    """A small answer cannot grow: other encodings than none are refused before the body."""
    server = await start(answer(gzip.compress(bytes(50_000_000), 1), content_encoding=encoding))
    assert isinstance(await refusal(fetcher(), server.url(), part), UrlDenied)


async def test_compressed_bytes_stay_as_they_are(start: Start, part: Path) -> None:
    """A file that happens to be gzip is stored, not opened."""
    body = gzip.compress(b"sound" * 1000)
    server = await start(answer(body, content_type="application/gzip"))
    await fetcher().fetch(server.url(), part)
    assert part.read_bytes() == body


# -- How long it may take ---------------------------------------------------------------------------


def silent(*before: bytes) -> Handler:
    async def handler(visit: Connection) -> None:
        await visit.send(*before)
        await visit.gone()

    return handler


async def trickle(visit: Connection) -> None:
    await visit.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    while True:
        await visit.send(b"x")
        await asyncio.sleep(0.02)


async def trickled_headers(visit: Connection) -> None:
    await visit.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await visit.send(b"x: y\r\n")
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    "handler",
    [
        silent(),
        silent(b"HTTP/1.1 200"),
        silent(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"),
        trickle,
        trickled_headers,
    ],
)
async def test_a_slow_server_is_left(start: Start, part: Path, handler: Handler) -> None:
    """Silence or a trickle, before or after the headers: the whole fetch has one deadline."""
    server = await start(handler)
    began = time.monotonic()
    error = await refusal(fetcher(timeout=0.3), server.url(f"/?token={SECRET}"), part)
    assert (type(error), error.message) == (UrlTimeout, UrlTimeout().message)
    assert 0.25 < time.monotonic() - began < 3


async def test_redirects_share_the_deadline(start: Start, part: Path) -> None:
    """Five slow hops take no longer than one."""

    async def handler(visit: Connection) -> None:
        await asyncio.sleep(0.15)
        await redirect("/again")(visit)

    server = await start(handler)
    assert isinstance(await refusal(fetcher(timeout=0.4), server.url(), part), UrlTimeout)


async def test_no_connection_in_time_is_a_refusal(part: Path) -> None:
    """An address that swallows packets, or a name that never resolves, looks like a closed port."""

    async def hang(host: str, port: int) -> list[str]:
        await asyncio.sleep(60)
        return []

    error = await refusal(fetcher(resolve=hang, timeout=0.1), "http://slow.example/", part)
    assert (type(error), error.message) == (UrlRefused, UrlRefused().message)


async def test_a_silent_handshake_is_a_refusal(start: Start, part: Path) -> None:
    """A port that accepts and says nothing to TLS is not told apart from one that does not accept."""

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        await asyncio.sleep(0.5)
        writer.close()

    listener = await asyncio.start_server(mute, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    error = await refusal(fetcher(timeout=0.2), f"https://127.0.0.1:{port}/", part)
    assert (type(error), error.message) == (UrlRefused, UrlRefused().message)
    listener.close()
    await asyncio.sleep(0.4)


async def test_sixteen_at_once(start: Start, tmp_path: Path) -> None:
    """One more waits for its turn, and its wait counts."""
    gate = asyncio.Event()

    async def handler(visit: Connection) -> None:
        await gate.wait()
        await answer(b"sound")(visit)

    server = await start(handler)
    one = fetcher(timeout=5)
    parts = [tmp_path / f"{i}.part" for i in range(AT_ONCE + 4)]
    tasks = [asyncio.create_task(one.fetch(server.url(), part)) for part in parts]
    while server.connections < AT_ONCE:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert server.connections == AT_ONCE
    one._timeout_secs = 0.1
    with pytest.raises(UrlTimeout):
        await one.fetch(server.url(), tmp_path / "late.part")
    gate.set()
    await asyncio.gather(*tasks)
    assert [part.read_bytes() for part in parts] == [b"sound"] * len(parts)


# -- Certificates -----------------------------------------------------------------------------------


def server_side(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    return context


def self_signed(folder: Path, name: str) -> Path:
    """The certificate of a telephone system: its own issuer, no authority, valid for one name."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    today = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(secret)
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    return folder / "cert.pem"


def self_signed_side(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    return context


async def test_an_unknown_certificate_is_refused(
    start: Start, part: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Trust comes first: nothing is asked of a server nobody vouches for. The log says why."""
    server = await start(never, self_signed_side(self_signed(tmp_path, "pbx.example")))
    one = fetcher("pbx.example", resolve=Resolver(pbx_example="127.0.0.1"))
    error = await refusal(one, server.url(f"/?token={SECRET}", "pbx.example", "https"), part)
    assert (type(error), error.message) == (UrlRefused, UrlRefused().message)
    assert server.seen == []
    assert "certificate: self-signed certificate" in [vars(record).get("why") for record in caplog.records]


async def test_a_certificate_may_vouch_for_itself(start: Start, part: Path, tmp_path: Path) -> None:
    """A self-signed leaf in the bundle is trusted, for its name and no other; its name is asked for in TLS."""
    certificate = self_signed(tmp_path, "pbx.example")
    server = await start(answer(), self_signed_side(certificate))
    book = Resolver(pbx_example="127.0.0.1", evil_example="127.0.0.1")
    one = fetcher("pbx.example", "evil.example", "127.0.0.1", resolve=book, ca_bundle=certificate)
    await one.fetch(server.url(host="pbx.example.", scheme="https"), part)
    assert part.read_bytes() == SOUND
    assert server.names == ["pbx.example"]
    assert server.seen[0].headers["host"] == f"pbx.example:{server.port}"
    part.unlink()
    assert isinstance(await refusal(one, server.url(host="evil.example", scheme="https"), part), UrlRefused)
    assert len(server.seen) == 1
    await one.fetch(server.url(scheme="https"), part)  # by its address, which it is valid for too


async def test_a_leaf_may_be_the_anchor(start: Start, part: Path, tmp_path: Path) -> None:
    """A certificate in the bundle is enough, though nobody knows the authority that signed it."""
    leaf = trustme.CA().issue_cert("127.0.0.1")
    leaf.cert_chain_pems[0].write_to_path(str(tmp_path / "leaf.pem"))
    server = await start(answer(), server_side(leaf))
    await fetcher(ca_bundle=tmp_path / "leaf.pem").fetch(server.url(scheme="https"), part)
    assert part.read_bytes() == SOUND


async def test_an_authority_of_ones_own(start: Start, part: Path, tmp_path: Path) -> None:
    """The bundle may hold an authority; the host's name is still checked."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server = await start(answer(), server_side(authority.issue_cert("pbx.example")))
    book = Resolver(pbx_example="127.0.0.1", other_example="127.0.0.1")
    one = fetcher("pbx.example", "other.example", resolve=book, ca_bundle=tmp_path / "ca.pem")
    await one.fetch(server.url(host="pbx.example", scheme="https"), part)
    part.unlink()
    assert isinstance(await refusal(one, server.url(host="other.example", scheme="https"), part), UrlRefused)


@pytest.mark.parametrize("entry", ["pbx.example", "127.0.0.1", "127.0.0.0/8"])
async def test_only_named_hosts_go_unchecked(
    start: Start, part: Path, tmp_path: Path, entry: str, caplog: pytest.LogCaptureFixture
) -> None:
    """No certificate check for the hosts listed, by name or address, and for no others. Said at every start."""
    server = await start(answer(), self_signed_side(self_signed(tmp_path, "whatever.example")))
    book = Resolver(pbx_example="127.0.0.1", other_example="127.0.0.2")
    one = fetcher("pbx.example", "other.example", "127.0.0.0/8", resolve=book, insecure_hosts=(entry,))
    await one.fetch(server.url(host="pbx.example", scheme="https"), part)
    part.unlink()
    assert "certificates of some hosts are not checked" in caplog.messages
    if entry == "pbx.example":
        assert isinstance(await refusal(one, server.url(scheme="https"), part), UrlRefused)


async def test_trust_is_not_inherited(start: Start, part: Path, tmp_path: Path) -> None:
    """After an unchecked host, another name at the same address is checked: connections are not shared."""
    server = await start(answer(), self_signed_side(self_signed(tmp_path, "whatever.example")))
    book = Resolver(pbx_example="127.0.0.1", other_example="127.0.0.1")
    one = fetcher("pbx.example", "other.example", resolve=book, insecure_hosts=("pbx.example",))
    await one.fetch(server.url(host="pbx.example", scheme="https"), part)
    part.unlink()
    assert isinstance(await refusal(one, server.url(host="other.example", scheme="https"), part), UrlRefused)


async def test_a_redirect_may_not_drop_the_lock(start: Start, part: Path, tmp_path: Path) -> None:
    """https stays https."""
    plain = await start(never)
    certificate = self_signed(tmp_path, "pbx.example")
    server = await start(redirect(plain.url()), self_signed_side(certificate))
    one = fetcher(ca_bundle=certificate)
    assert isinstance(await refusal(one, server.url(scheme="https"), part), UrlRefused)
    assert plain.connections == 0


# -- Settings and disk ------------------------------------------------------------------------------


def test_settings_that_cannot_be_meant_are_errors(tmp_path: Path) -> None:
    """A host list or a bundle with a slip in it stops the start, and names the setting and the slip."""
    with pytest.raises(StartupError, match=r"FETCH_ALLOW_HOSTS: 'http://pbx' "):
        fetcher("pbx", "http://pbx")
    with pytest.raises(StartupError, match="FETCH_INSECURE_HOSTS: 'a b' "):
        fetcher("pbx", insecure_hosts=("a b",))
    (tmp_path / "empty.pem").write_text("nothing here")
    for name in ("empty.pem", "missing.pem"):
        with pytest.raises(StartupError, match=f"FETCH_CA_BUNDLE: .*{name}"):
            fetcher(ca_bundle=tmp_path / name)


async def test_a_full_disk_is_said(start: Start, tmp_path: Path) -> None:
    """No space on the device is our trouble, to be tried again later."""
    server = await start(answer())
    part = tmp_path / "x.part"
    part.symlink_to("/dev/full")
    with pytest.raises(StorageFull) as caught:
        await fetcher().fetch(server.url(), part)
    assert caught.value.retry_after > 1
    assert not part.is_symlink()


async def test_the_reserve_is_kept(start: Start, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fetch stops before it eats the space that the database needs."""
    monkeypatch.setattr(fetch, "RESERVE_BYTES", 1 << 60)
    server = await start(answer())
    with pytest.raises(StorageFull):
        await fetcher().fetch(server.url(), part)
    assert not part.exists()
    assert spool.RESERVE_BYTES < 1 << 60


@pytest.mark.parametrize("sent", [0, 1000, fetch.WRITE_BYTES + 1000])
async def test_a_caller_who_leaves_takes_everything_along(start: Start, part: Path, sent: int) -> None:
    """Cancelled at any point, a fetch leaves no file and no connection."""
    left = asyncio.Event()

    async def handler(visit: Connection) -> None:
        await visit.send(b"HTTP/1.1 200 OK\r\n\r\n" * (sent > 0) + b"x" * sent)
        await visit.gone()
        left.set()

    server = await start(handler)
    task = asyncio.create_task(fetcher(cap=1 << 30).fetch(server.url(), part))
    while not server.seen or (sent > fetch.WRITE_BYTES and not part.exists()):
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(left.wait(), 2)
    assert not part.exists()


@pytest.mark.parametrize("when", ["at once", "twice"])
async def test_a_write_in_hand_leaves_no_file(
    part: Path, monkeypatch: pytest.MonkeyPatch, when: Literal["at once", "twice"]
) -> None:
    """A file that a thread makes after the caller has left is removed too."""
    writing = asyncio.Event()
    loop = asyncio.get_running_loop()
    write = fetch._write

    def slow(path: Path, mode: str, data: bytes) -> None:
        loop.call_soon_threadsafe(writing.set)
        time.sleep(0.2)
        write(path, mode, data)

    monkeypatch.setattr(fetch, "_write", slow)
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=b"sound"))
    task = asyncio.create_task(fetcher(transport=transport).fetch("http://127.0.0.1/", part))
    await writing.wait()
    task.cancel()
    if when == "twice":
        await asyncio.sleep(0.05)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not part.exists()
    await asyncio.sleep(0.3)
    assert not part.exists()


async def test_crumbs_do_not_fill_the_loop(start: Start, tmp_path: Path) -> None:
    """Servers that send a byte at a time, as fast as they can, leave the loop to others and end at the deadline."""

    async def handler(visit: Connection) -> None:
        await visit.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            await visit.send(b"1\r\nx\r\n" * 10_000)

    server = await start(handler)
    one = fetcher(timeout=1)
    began = time.thread_time()
    fetches = [one.fetch(server.url(), tmp_path / f"{i}.part") for i in range(4)]
    ends = await asyncio.gather(*fetches, return_exceptions=True)
    assert [type(end) for end in ends] == [UrlTimeout] * 4
    assert time.thread_time() - began < 0.5
    assert list(tmp_path.iterdir()) == []


async def test_small_chunks_are_no_crumbs(start: Start, part: Path) -> None:
    """A server that sends telephone frames one by one is not held up."""
    body = b"21\r\n" + b"x" * 33 + b"\r\n"
    server = await start(raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + body * 5000 + b"0\r\n\r\n"))
    await fetcher(timeout=4).fetch(server.url(), part)
    assert part.stat().st_size == 33 * 5000
