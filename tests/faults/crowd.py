"""Many clients at once, in one thread."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import httpx

from tests.real.process import ROUTE, ServerProcess

Ask = Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]


def all_at_once(server: ServerProcess, asks: Sequence[Ask]) -> list[httpx.Response]:
    """Each on a connection of its own, none before all are ready; their answers in order."""
    return asyncio.run(_all_at_once(str(server.http.base_url), asks))


async def _all_at_once(address: str, asks: Sequence[Ask]) -> list[httpx.Response]:
    limits = httpx.Limits(max_connections=len(asks))
    async with httpx.AsyncClient(base_url=address, limits=limits, timeout=60, trust_env=False) as client:
        return await asyncio.gather(*(ask(client) for ask in asks))


def submission(audio: bytes, message: str, **fields: str) -> Ask:
    """A job."""
    form = {"user_uuid": "user", "message_id": message, **fields}
    return lambda client: client.post(ROUTE, data=form, files={"file": audio})


@dataclass(frozen=True)
class Told:
    """A question's answer."""

    status: int
    body: bytes
    seconds: float


def questions(server: ServerProcess, path: str, count: int) -> list[Told]:
    """The same question on so many connections at once. By hand: a client library is slower than the server."""
    return asyncio.run(_questions(server.http.base_url.port or 80, path, count))


async def _questions(port: int, path: str, count: int) -> list[Told]:
    return await asyncio.gather(*(_question(port, path) for _ in range(count)))


async def _question(port: int, path: str) -> Told:
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return Told(int(head.split()[1]), body, time.monotonic() - began)
