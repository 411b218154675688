"""A URL becomes a file: from allowed addresses only, within bounds of time and size, and nothing said about it.

The caller chooses where the server goes, so each step is distrusted: the text of the URL (`targets`), every address
its name resolves to (`addresses`), each redirect, and what is sent. No error and no log line carries more of a URL
than its host.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import httpx

from stt_server.errors import (
    StartupError,
    SttError,
    TooLarge,
    UpstreamFailed,
    UrlDenied,
    UrlRefused,
    UrlServerError,
    UrlTimeout,
)
from stt_server.jobs import certificates
from stt_server.jobs.addresses import Address, Host, may_connect, parse_address, unmapped
from stt_server.jobs.names import Lookup
from stt_server.jobs.spool import RESERVE_BYTES, full_disk, require_room
from stt_server.jobs.targets import Target, connectable, hint, parse, redirected, refused
from stt_server.jobs.workers import to_its_end

log = logging.getLogger(__name__)
T = TypeVar("T")
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

AT_ONCE = 16
"""Fetches at a time. The others wait, on their own time."""
CONNECT_SECS = 10.0
"""To one address, for TCP and again for TLS."""
MAX_ADDRESSES = 4
"""Addresses of one host that are tried, one after the other."""
MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
WRITE_BYTES = 1024 * 1024
"""Written to disk at a time: a trip to another thread for every packet would cost more than the write."""
CRUMB_BYTES = 32
"""A body in smaller pieces than this on average is slowed down. Each piece costs some 12 microseconds of the event
loop whatever its size: a few servers that send single bytes would keep ours from everything else."""
CRUMBS = 256
CRUMBS_SECS = 0.25
"""The pause after so many."""
HEADERS = {"User-Agent": "stt-server", "Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close"}
PREFIX = "Failed to fetch audio from URL: "


@dataclass(slots=True)
class _Stage:
    """How far a fetch has come: what fails before there is a connection is told apart by nobody."""

    connecting: bool = False
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    """What the hop in hand must close."""

    async def trace(self, event: str, facts: dict[str, Any]) -> None:
        """Told by the HTTP library what it does."""
        if event == "connection.connect_tcp.started":
            self.connecting = True
        elif event == "connection.connect_tcp.complete":
            # The library forgets the connection when it is cancelled in the TLS handshake.
            self.stack.push_async_callback(facts["return_value"].aclose)
        elif event == "http11.send_request_headers.started":
            self.connecting = False


class Fetcher:
    """Fetches recordings for callers who only sent a URL."""

    def __init__(
        self,
        *,
        timeout_secs: float,
        max_bytes: int,
        allow_hosts: Sequence[str] = (),
        insecure_hosts: Sequence[str] = (),
        ca_bundle: Path | None = None,
        resolve: Resolve | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Raise `StartupError` for a host list or bundle that cannot be read.

        `resolve` finds the addresses of a name, `transport` stands in for the network: both are for tests.
        """
        self._timeout_secs = timeout_secs
        self._max_bytes = max_bytes
        self._allowed = _hosts("FETCH_ALLOW_HOSTS", allow_hosts)
        self._insecure = _hosts("FETCH_INSECURE_HOSTS", insecure_hosts)
        self._checked = certificates.checking(ca_bundle)
        self._unchecked = certificates.unchecking()
        self._resolve = resolve or Lookup()
        self._transport = transport
        self._slots = asyncio.Semaphore(AT_ONCE)
        if insecure_hosts:
            log.warning("certificates of some hosts are not checked", extra={"hosts": ",".join(insecure_hosts)})

    async def fetch(self, url: str, part: Path) -> str | None:
        """Fetch `url` into the file `part`; a file name for its extension, if one is known.

        Raises `BadUrl`, `UrlRefused` (not allowed, or no connection), `UrlDenied`, `TooLarge`, `UrlTimeout`,
        `UrlServerError`, `UpstreamFailed`, `StorageFull`. Then, and when cancelled, there is no file.
        """
        began = time.monotonic()
        target = parse(url)
        stage = _Stage()
        limit = asyncio.timeout(self._timeout_secs)
        failure: SttError
        try:
            async with limit, self._slots:
                name, size = await self._follow(target, part, stage)
        except SttError as error:
            failure = error
        except TimeoutError:
            if not limit.expired():
                raise
            failure = refused(target.host, "no connection in time") if stage.connecting else UrlTimeout()
        except httpx.TimeoutException:
            failure = UrlTimeout()
        except httpx.HTTPError:
            failure = UpstreamFailed(PREFIX + "the connection broke off, or does not speak HTTP.")
        else:
            log.info("url fetched", extra={"host": target.host, "bytes": size, "seconds": _since(began)})
            return name
        if not isinstance(failure, UrlRefused):  # those were logged with their reason
            facts = {"host": target.host, "why": failure.code, "seconds": _since(began)}
            log.info("url not fetched", extra=facts)
        raise failure  # here, out of reach of the library's errors: those know the whole URL

    async def _follow(self, first: Target, part: Path, stage: _Stage) -> tuple[str | None, int]:
        target = first
        for _ in range(MAX_REDIRECTS + 1):
            async with AsyncExitStack() as stage.stack:
                response = await self._ask(target, stage)
                location = response.headers.get("location")
                if response.status_code not in REDIRECTS or location is None:
                    self._check(response)
                    size = await self._save(response, part)
                    return hint(response.headers.get("content-disposition", ""), target, first), size
            target = redirected(target, location)
        raise UrlDenied(PREFIX + "too many redirects.")

    # -- Connecting ---------------------------------------------------------------------------------

    async def _ask(self, target: Target, stage: _Stage) -> httpx.Response:
        """Send the request to the first address that takes it; the answer's headers."""
        stage.connecting = True
        why = "no such name"
        for address in await self._addresses(target):
            # A transport for each request: no connection, and no trust, is left for the next caller.
            transport = self._transport or httpx.AsyncHTTPTransport(
                verify=self._context(target, address), trust_env=False
            )
            await stage.stack.enter_async_context(transport)
            stage.connecting = False
            try:
                response = await transport.handle_async_request(_request(target, address, stage))
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                why = _why(error)
                continue
            stage.stack.push_async_callback(response.aclose)
            return response
        raise refused(target.host, why)

    async def _addresses(self, target: Target) -> list[Address]:
        literal = parse_address(target.host)
        texts = [target.host] if literal else await self._resolve(target.host, target.port)
        addresses = [address for address in map(parse_address, texts) if address is not None]
        # One address that is not allowed spoils the name: which of them answers must not depend on luck.
        if not all(may_connect(target.host, target.port, address, self._allowed) for address in addresses):
            raise refused(target.host, "its address or port is not allowed")
        return [unmapped(address) for address in addresses[:MAX_ADDRESSES]]

    def _context(self, target: Target, address: Address) -> ssl.SSLContext:
        insecure = any(host.covers(target.host, target.port, address) for host in self._insecure)
        return self._unchecked if insecure else self._checked

    # -- Receiving ----------------------------------------------------------------------------------

    def _check(self, response: httpx.Response) -> None:
        """Judge the headers before any byte of the body is taken."""
        status = response.status_code
        if status >= 500:
            raise UrlServerError(f"{PREFIX}the server answered {status}.")
        if status not in (200, 203):  # part of a file (206) was not asked for, and would be a hole in the text
            raise UrlDenied(f"{PREFIX}the server answered {status}.")
        if response.headers.get("content-encoding", "").strip().lower() not in ("", "identity"):
            raise UrlDenied(PREFIX + "the server answered in an encoding that was not asked for.")
        length = response.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._max_bytes:
            raise self._too_large()

    def _too_large(self) -> TooLarge:
        return TooLarge(f"{PREFIX}it is larger than the {self._max_bytes} bytes this server accepts.")

    async def _save(self, response: httpx.Response, part: Path) -> int:
        """Write the body to `part`; its size. If that fails the file is removed."""
        size = pieces = 0
        buffer = bytearray()
        mode = "wb"
        try:
            # Not `aiter_bytes`, which inflates; nor `aiter_raw`, which will not read what a test wrote in one piece.
            async for piece in cast("httpx.AsyncByteStream", response.stream):
                size += len(piece)
                pieces += 1
                if size > self._max_bytes:
                    raise self._too_large()
                if pieces % CRUMBS == 0 and size < pieces * CRUMB_BYTES:
                    await asyncio.sleep(CRUMBS_SECS)
                buffer += piece
                if len(buffer) >= WRITE_BYTES:
                    await to_its_end(_write, part, mode, bytes(buffer))
                    buffer.clear()
                    mode = "ab"
            await to_its_end(_write, part, mode, bytes(buffer))
        except BaseException:
            await to_its_end(part.unlink, missing_ok=True)
            raise
        return size


def _request(target: Target, address: Address, stage: _Stage) -> httpx.Request:
    headers = {"Host": target.host_header, **HEADERS}
    if target.authorization is not None:
        headers["Authorization"] = target.authorization
    extensions = {
        # Only connecting has a limit of its own: a limit for each read never fires on a trickle.
        "timeout": {"connect": CONNECT_SECS, "read": None, "write": None, "pool": None},
        "sni_hostname": target.host,
        "trace": stage.trace,
    }
    return httpx.Request("GET", connectable(target, address), headers=headers, extensions=extensions)


def _why(error: BaseException | None) -> str:
    """Why there is no connection, for the log. The library's own texts stay out of it."""
    reason = "no answer" if isinstance(error, httpx.ConnectTimeout) else "no connection"
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"certificate: {error.verify_message}"
        if isinstance(error, ssl.SSLError):
            return "no TLS"
        error = error.__cause__ or error.__context__
    return reason


def _since(began: float) -> float:
    return round(time.monotonic() - began, 2)


# -- Disk -------------------------------------------------------------------------------------------


def _write(part: Path, mode: str, data: bytes) -> None:
    with full_disk():
        require_room(part.parent, RESERVE_BYTES + len(data))
        with part.open(mode) as file:
            file.write(data)


# -- Settings ---------------------------------------------------------------------------------------


def _hosts(setting: str, entries: Sequence[str]) -> tuple[Host, ...]:
    return tuple(_host(setting, entry) for entry in entries)


def _host(setting: str, entry: str) -> Host:
    try:
        return Host.parse(entry)
    except ValueError:
        raise StartupError(
            f"{setting}: {entry!r} is not a name, an address or a network, with an optional :port."
        ) from None
