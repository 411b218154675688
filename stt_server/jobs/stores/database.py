"""One SQLite file: checked, locked against a second server, written by one connection and read by another.

sqlite3's errors become ours here and nowhere else.
"""

import asyncio
import fcntl
import logging
import os
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar

import aiosqlite

from stt_server.errors import StorageBusy, StorageFull, StoreBroken, SttError
from stt_server.jobs.stores import legacy, migrations
from stt_server.jobs.workers import off_loop

log = logging.getLogger(__name__)
T = TypeVar("T")
Parameters = tuple[Any, ...] | dict[str, Any]

BUSY_SECS = 10.0
"""How long a write waits for others, of this process or another."""
STEP_SECS = 0.25
"""It waits in steps: between them it notices that the server stops."""
SCRUB_SECS = 1.0
"""How long a scrub waits for readers. Replication tools (Litestream) hold a read lock for hours, and writers wait
meanwhile."""
CHECK_SECS = 15.0
"""How long the start waits for the check of a large file. 1.5 GB took 0.4 s from memory, so this is a slow disk."""
OLDEST_SQLITE = (3, 37)
"""STRICT tables; RETURNING came with 3.35."""

_BROKEN = frozenset(
    {
        sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FORMAT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
# ENOSPC becomes SQLITE_FULL, but a quota or a limit on file sizes comes as a failed write.
_FULL = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_IOERR_SHMSIZE,
        sqlite3.SQLITE_IOERR_TRUNCATE,
        sqlite3.SQLITE_IOERR_WRITE,
    }
)


@contextmanager
def border(path: Path) -> Iterator[None]:
    """Turn sqlite3's errors into ours."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0)
        if _is_busy(error):
            raise StorageBusy from error
        if code in _FULL:
            raise StorageFull(retry_after=30) from error
        if code & 0xFF in _BROKEN:
            raise StoreBroken(f"The database {path} cannot be used: {error}.") from error
        raise
    except OSError as error:
        raise StoreBroken(f"The database {path} cannot be used: {error.strerror}.") from error


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY


async def run(connection: aiosqlite.Connection, sql: str, parameters: Parameters = ()) -> list[sqlite3.Row]:
    """Run one statement to its end."""
    return list(await connection.execute_fetchall(sql, parameters))


class Database:
    """The file while it is open. Make one with `await Database.open(path)`."""

    def __init__(
        self,
        path: Path,
        writer: aiosqlite.Connection,
        reader: aiosqlite.Connection,
        lock: BinaryIO,
        busy_secs: float,
    ) -> None:
        self._path = path
        self._busy_secs = busy_secs
        self._writer = writer
        self._reader = reader
        self._lock = lock
        self._identity = _identity(path)
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing = False
        self._locked_out = False
        """Another program has the file while this one closes."""
        self._unclean = False
        """Erased bytes may still be in the write-ahead log."""

    @classmethod
    async def open(cls, path: Path, *, busy_secs: float = BUSY_SECS) -> Self:
        """Open, check, migrate. Raises `StoreBroken`, and then what the file holds is as it was."""
        with border(path):
            lock = await _claim(path, busy_secs)
        connections: list[aiosqlite.Connection] = []
        try:
            with border(path):
                connections.append(await _connect(path, busy_secs))
                await _prepare(connections[0], path, busy_secs)
                connections.append(await _connect(path, busy_secs))
                await run(connections[1], "PRAGMA query_only = ON")
                await _wait_for_locks(connections[0], min(STEP_SECS, busy_secs))
        except BaseException as error:
            for connection in connections:
                await connection.close()
            lock.close()
            if isinstance(error, SttError) and not isinstance(error, StoreBroken):
                raise StoreBroken(f"The database {path} cannot be opened: {error.__cause__}.") from error
            raise
        return cls(path, connections[0], connections[1], lock, busy_secs)

    async def read(self, sql: str, parameters: Parameters = ()) -> list[sqlite3.Row]:
        """Run one SELECT on what is committed, without waiting for writers."""
        with border(self._path):
            return await run(self._reader, sql, parameters)

    async def write(self, work: Callable[[aiosqlite.Connection], Awaitable[T]], *, scrub: bool = False) -> T:
        """Run `work` in a transaction of its own, one at a time; its result, once that is on the disk.

        A caller who leaves meanwhile tears nothing apart: it is finished all the same. With `scrub`, when the
        result is not empty, what was deleted is wiped from the disk too.
        """
        task = asyncio.create_task(self._write(work, scrub))
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    async def _write(self, work: Callable[[aiosqlite.Connection], Awaitable[T]], scrub: bool) -> T:
        # The wait for our own turn counts too: behind a locked file the last of many would wait for ages.
        deadline = asyncio.get_running_loop().time() + self._busy_secs
        try:
            async with asyncio.timeout_at(deadline):
                await self._turn.acquire()
        except TimeoutError:
            raise StorageBusy from None
        try:
            await self._check_identity()
            with border(self._path):
                result = await self._transact(work, deadline)
            self._unclean |= scrub and bool(result)
            if scrub and self._unclean:
                self._unclean = not await _scrub(self._writer, min(STEP_SECS, self._busy_secs))
            return result
        finally:
            self._turn.release()

    async def _check_identity(self) -> None:
        """SQLite goes on writing to a file that has been removed or replaced. What it keeps there is lost."""
        if await off_loop(_identity, self._path) != self._identity:
            raise StoreBroken(
                f"The database {self._path} was removed or replaced while in use. Start the server again."
            )

    async def _transact(self, work: Callable[[aiosqlite.Connection], Awaitable[T]], deadline: float) -> T:
        try:
            await self._begin(deadline)
            result = await work(self._writer)
            await run(self._writer, "COMMIT")
            return result
        except BaseException:
            # Does nothing where SQLite has rolled back by itself, or never began.
            with suppress(sqlite3.Error):
                await self._writer.rollback()
            raise

    async def _begin(self, deadline: float) -> None:
        """Lock the file against other writers, whose turn it may be."""
        loop = asyncio.get_running_loop()
        while not self._locked_out:
            try:
                await run(self._writer, "BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or loop.time() + STEP_SECS > deadline:
                    raise
                self._locked_out = self._closing
        raise StorageBusy

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # the caller may have gone; it is nobody else's error

    async def close(self) -> None:
        """Finish what is being written; close. The last to close moves the log into the database.

        What still waits for another program's lock is given up: a stop must not take longer than a container has.
        """
        self._closing = True
        while self._tasks:
            await asyncio.wait(self._tasks)
        try:
            with border(self._path):
                await self._reader.close()
                await self._writer.close()
        finally:
            self._lock.close()


async def _claim(path: Path, busy_secs: float) -> BinaryIO:
    """Lock the database against another server and make the file if needed; closing the result unlocks it.

    Two servers on one file would run each other's jobs and sweep each other's audio. The lock is a file of its own:
    SQLite's locks belong to the process, and closing any descriptor of the database would drop them.
    """
    lock = _make(path)
    try:
        # A server that is being replaced may take its last breaths.
        async with asyncio.timeout(busy_secs):
            while not _locked(lock):  # noqa: ASYNC110 -- another process's lock tells nobody
                await asyncio.sleep(0.05)
    except BaseException as error:
        lock.close()
        if isinstance(error, TimeoutError):
            raise StoreBroken(f"The database {path} is in use by another server.") from None
        raise
    return lock


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one in its place."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _make(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    return os.fdopen(os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600), "r+b")


def _locked(lock: BinaryIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _connect(path: Path, busy_secs: float) -> aiosqlite.Connection:
    connection = await aiosqlite.connect(path, isolation_level=None, timeout=busy_secs)
    connection.row_factory = sqlite3.Row
    try:
        for pragma in ("synchronous = FULL", "secure_delete = ON", "foreign_keys = ON", "temp_store = MEMORY"):
            await run(connection, f"PRAGMA {pragma}")
    except BaseException:
        await connection.close()
        raise
    return connection


async def _prepare(connection: aiosqlite.Connection, path: Path, busy_secs: float) -> None:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise StoreBroken(f"SQLite {sqlite3.sqlite_version} is too old: at least 3.37 is needed.")
    # Nothing is written before it is known to be a whole database of ours.
    await migrations.recognise(connection, path)
    await _check(connection, path)
    if await legacy.present(connection):
        os.chmod(path, 0o600)  # noqa: PTH101 -- Path.chmod is no faster; the log beside it takes the same mode
    await _keep_a_log(connection, path)
    await migrations.migrate(connection, path)
    await migrations.vacuum(connection)
    # What a crash left in the log may be something that was erased.
    await _scrub(connection, busy_secs)


async def _keep_a_log(connection: aiosqlite.Connection, path: Path) -> None:
    [(mode,)] = await run(connection, "PRAGMA journal_mode")
    if mode == "wal":
        return
    # The switch does not wait for a lock, so wait for it first: the server before may still be writing.
    await run(connection, "BEGIN IMMEDIATE")
    await run(connection, "ROLLBACK")
    [(mode,)] = await run(connection, "PRAGMA journal_mode = WAL")
    if mode != "wal":
        raise StoreBroken(f"The database {path} lies on a file system that cannot hold it.")


async def _wait_for_locks(connection: aiosqlite.Connection, seconds: float) -> None:
    await run(connection, f"PRAGMA busy_timeout = {round(seconds * 1000)}")


async def _scrub(connection: aiosqlite.Connection, busy_secs: float) -> bool:
    """Move the log into the database, where `secure_delete` zeroes what was deleted, and cut it to nothing.

    False when a reader or a full disk is in the way.
    """
    try:
        await _wait_for_locks(connection, SCRUB_SECS)
        [(busy, _, _)] = await run(connection, "PRAGMA wal_checkpoint(TRUNCATE)")
        if busy:
            log.warning("the database's log is in use; erased text stays in it until the next pass of retention")
        return not busy
    except sqlite3.Error as error:
        log.warning("the database's log could not be emptied; erased text may stay in it", extra={"why": str(error)})
        return False
    finally:
        await _wait_for_locks(connection, busy_secs)


async def _check(connection: aiosqlite.Connection, path: Path) -> None:
    try:
        async with asyncio.timeout(CHECK_SECS):
            found = await run(connection, "PRAGMA quick_check(1)")
    except TimeoutError:
        await connection.interrupt()
        log.warning("database too large to check at start", extra={"path": str(path)})
        return
    if found and found[0][0] != "ok":
        raise StoreBroken(f"The database {path} is damaged: {found[0][0]}.")
