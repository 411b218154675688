"""Child processes that may die at any moment, and the one way off the event loop.

A child comes from a fork server that has the decoders and the voice activity detector imported already: starting
one costs milliseconds. It talks over one pipe; when it is gone, for whatever reason, `Child.receive` says so.
"""

import asyncio
import atexit
import errno
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import Any, ParamSpec, TypeVar

from stt_server import logs
from stt_server.errors import Unavailable

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["stt_server.__main__", "stt_server.jobs.rehearsal"])
_PIPES = ThreadPoolExecutor(max_workers=1024, thread_name_prefix="pipe")
"""One thread for each live child, blocked on its pipe; made when needed. Their own pool: they must never wait for
disk work."""


def begin() -> None:
    """Have the process that children come from import what they need, while this one does something else."""
    forkserver.ensure_running()


_SHORT = frozenset({errno.EAGAIN, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EROFS, errno.ESTALE})


async def off_loop(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run something slow (disk, large texts) in a thread. Raises `Unavailable` where the system runs short."""
    with shortage():
        return await asyncio.to_thread(function, *args, **kwargs)


async def to_its_end(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Disk work that is over when this ends, even by cancellation: no file may appear after it was removed."""
    work = asyncio.ensure_future(off_loop(function, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    finally:
        while not work.done():
            with suppress(asyncio.CancelledError):  # one is on its way already
                await asyncio.wait({work})


@contextmanager
def shortage() -> Iterator[None]:
    """Turn what the system says when it has no thread, memory or file to spare into `Unavailable`.

    It passes, so it must not fail what was promised. The same for a disk that fails: whoever runs the server mends it.
    """
    try:
        yield
    except (MemoryError, OSError, RuntimeError) as error:
        short = isinstance(error, MemoryError) or getattr(error, "errno", None) in _SHORT
        if not short and "start new thread" not in str(error):
            raise
        log.warning("the system runs short", extra={"why": str(error) or "memory"})
        raise Unavailable(retry_after=1) from error


class ChildGone(Exception):  # not an error of the tree: who started it decides what it means
    """The process at the other end of the pipe has ended."""


class Child:
    """A process of ours and the pipe to it. Make one with `await Child.start(...)`."""

    def __init__(self, target: Callable[..., None], *args: object) -> None:
        self._closed = False
        self._pipe, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_main, args=(logs.current(), target, theirs, *args), daemon=True)
        self._process.start()
        theirs.close()
        self._handle = _handle_of(self._process.pid)

    @classmethod
    async def start(cls, target: Callable[..., None], *args: object) -> "Child":
        """Start `target(pipe, *args)` in a new process. Both must be picklable.

        Raises `Unavailable` when the system has no process, memory or file to spare, or the fork server has just
        been killed: the next start brings another one.
        """
        with shortage():
            starting = asyncio.get_running_loop().run_in_executor(_PIPES, lambda: cls(target, *args))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(_end_unwanted)
            raise
        except (OSError, EOFError) as error:
            log.warning("no process could be started", extra={"why": str(error)})
            if isinstance(error, FileNotFoundError):
                _find_another_place()
            raise Unavailable(retry_after=1) from error

    @property
    def pid(self) -> int | None:
        """The process's id."""
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self._process.exitcode

    async def send(self, message: object) -> None:
        """Send one picklable message. Raises `ChildGone`."""
        await self._wait_for(partial(self._pipe.send, message))

    async def receive(self) -> Any:
        """Wait for the next message. Raises `ChildGone`."""
        return await self._wait_for(self._pipe.recv)

    async def receive_within(self, seconds: int) -> Any:
        """Wait so long for the next message. Raises `ChildGone` and `TimeoutError`; the child is of no use after that.

        While the machine sleeps or the container is paused, the seconds do not pass: nobody hangs then.
        """
        return await _within(seconds, self.receive())

    async def receive_bytes_within(self, seconds: int, *, most: int) -> bytes:
        """As `receive_within`, of a child that is not trusted: `receive` runs what code a message may hold.

        It must speak by `send_bytes`, and no longer than `most`.
        """
        return await _within(seconds, self._wait_for(partial(self._pipe.recv_bytes, most)))

    async def _wait_for(self, message: Callable[[], T]) -> T:
        with shortage():
            waiting = asyncio.get_running_loop().run_in_executor(_PIPES, message)
        try:
            return await waiting
        except (EOFError, OSError) as error:
            raise ChildGone from error

    def kill(self) -> None:
        """End the process at once. `receive` then raises `ChildGone`."""
        if self._handle is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        elif not self._closed:
            self._process.kill()

    async def close(self) -> None:
        """End the process and give back what it held."""
        self.kill()
        try:
            await asyncio.get_running_loop().run_in_executor(_PIPES, self._process.join)
        except RuntimeError:  # no thread to wait in
            while self._process.is_alive():  # noqa: ASYNC110 -- it has been killed
                await asyncio.sleep(0.01)
        self._process.close()
        self._pipe.close()
        self._closed = True
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


async def _within(seconds: int, message: Coroutine[Any, Any, T]) -> T:
    receiving = asyncio.ensure_future(message)
    try:
        for _ in range(seconds):
            await asyncio.wait({receiving}, timeout=1)
            if receiving.done():
                return receiving.result()
    finally:
        receiving.cancel()
    raise TimeoutError


def _end_unwanted(starting: "asyncio.Future[Child]") -> None:
    """A child that somebody was waiting for who has left."""
    if not starting.cancelled() and not starting.exception():
        starting.result().kill()


def _find_another_place() -> None:
    """Have the next start make a fork server in a new folder, where its own is gone.

    Its socket lies among the temporary files, which some systems clear of what is ten days old.
    """
    server: Any = forkserver._forkserver  # it has no public way to be told
    address = server._forkserver_address
    if address and not Path(address).exists():
        current: Any = multiprocessing.current_process()
        current._config["tempdir"] = None
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(server._forkserver_pid, signal.SIGKILL)
            # Until it has ended the next start would take it for alive; which is also who buries it.
            os.waitid(os.P_PID, server._forkserver_pid, os.WEXITED | os.WNOWAIT)


def _kill_children() -> None:
    for process in multiprocessing.active_children():
        process.kill()


# multiprocessing would ask them to end, which they do not listen to, and then wait for them. What is registered last
# is done first.
atexit.register(_kill_children)


def _handle_of(pid: int | None) -> int | None:
    """What kills the process and never another one that has got its number since, where the system has that.

    multiprocessing hears of a child's end through the fork server, and would take every child for dead with that.
    """
    if pid is None or not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None  # it has ended already, or the kernel is old


def _main(logging_as: tuple[str, logs.Style], target: Callable[..., None], pipe: Connection, *args: object) -> None:
    logs.configure(*logging_as)
    # When memory runs out, the kernel ends a child first, whom the server survives.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")
    # Both reach the whole process group (Ctrl-C, systemd); only the server decides when its children end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Broken, the pipe says that the server has gone: nobody is left to tell anything.
    with suppress(ConnectionError):
        target(pipe, *args)


def end_with_the_server() -> None:
    """End this child when the server does, however it ends, and whatever this one is in the middle of: it may hang.

    By a thread, which a child that confines itself must not have; that one has deadlines of its own.
    """

    def wait() -> None:
        if server := multiprocessing.parent_process():
            server.join()
            os._exit(0)

    Thread(target=wait, daemon=True).start()
