"""Host names looked up in the system's way, without holding up anything else."""

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

AT_ONCE = 16
"""Look-ups: the system's resolver blocks a thread for each."""


def ask_system(host: str, port: int) -> list[str]:
    """Every address of a host, best first; none if there is no such name. Blocks."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # a label is too long, or empty
        return []
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Lookup:
    """Asks in daemon threads of its own.

    A look-up may hang for half a minute and cannot be cancelled. In the loop's own pool a few of them would hold up
    all disk work, and the end of the server. One that nobody waits for any more keeps its place until it returns.
    """

    def __init__(self, ask: Callable[[str, int], list[str]] = ask_system) -> None:
        self._ask = ask
        self._free = asyncio.Semaphore(AT_ONCE)

    async def __call__(self, host: str, port: int) -> list[str]:
        """Every address of a host, best first."""
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[str]] = loop.create_future()

        def settle(found: list[str]) -> None:
            self._free.release()
            if not answer.done():
                answer.set_result(found)

        def ask() -> None:
            found = self._ask(host, port)
            with suppress(RuntimeError):  # the loop is closed: the server has ended meanwhile
                loop.call_soon_threadsafe(settle, found)

        threading.Thread(target=ask, name="lookup", daemon=True).start()
        return await answer
