"""Stops a server at a numbered step of its own work.

A step is a call that changes what lies on the disk: a file opened for writing, synced, renamed or removed, an SQL
statement that writes. The calls are wrapped where they leave Python, in the process of the test's server only: the
program under test is as it is, and steps that it gains are found by themselves.

It can be stopped in two ways. `kill`: the process ends, the disk keeps everything. `cut`: as after a power cut, what
had not been synced is undone before.
"""

import io
import os
import signal
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import RLock
from typing import IO, Any


class Disk:
    """What a power cut may take back. The database is not in it: SQLite's own files are SQLite's promise."""

    def __init__(self, aside: Path) -> None:
        self._aside = aside
        """Where removed files wait for the power cut."""
        self._unsynced: set[str] = set()
        """Files whose bytes may only be in memory."""
        self._undo: list[Callable[[], object]] = []
        """Takes back the changes of folders that may only be in memory."""
        self._copies = 0

    def written(self, path: str) -> None:
        self._unsynced.add(path)

    def synced(self, path: str) -> None:
        self._unsynced.discard(path)
        if Path(path).is_dir():
            self._undo.clear()

    def renamed(self, old: str, new: str) -> None:
        if old in self._unsynced:
            self._unsynced.add(new)
        self._undo.append(partial(os.rename, new, old))

    def about_to_be_removed(self, path: str) -> None:
        self._copies += 1
        copy = self._aside / f"{os.getpid()}-{self._copies}"
        os.link(path, copy)
        self._undo.append(partial(os.rename, copy, path))

    def lose_power(self) -> None:
        for change in reversed(self._undo):
            change()
        for path in self._unsynced:
            if Path(path).exists():
                os.truncate(path, 0)


class Steps:
    """Counts steps while the file `order` exists: `<number> <how>`. Their names go to `trace`."""

    def __init__(self, order: Path, trace: Path, spool: Path) -> None:
        self._order = order
        self._trace = trace
        self._spool = str(spool)
        self._disk = Disk(trace.parent)
        self._lock = RLock()
        self._count = 0
        # Those that are wrapped, as they were.
        self._open, self._fsync, self._replace, self._unlink = io.open, os.fsync, os.replace, os.unlink

    def install(self) -> None:
        """Wrap the ways to the disk, in this process."""
        io.open = self.open  # type: ignore[assignment]
        os.fsync = self.fsync  # type: ignore[assignment]
        os.replace = self.replace  # type: ignore[assignment]
        os.unlink = self.unlink  # type: ignore[assignment]
        steps = self

        class Connection(sqlite3.Connection):
            """Tells of each statement that writes, once it has."""

            def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
                cursor = super().execute(sql, parameters)
                if name := _written_by(sql):
                    steps.passed(name)
                return cursor

        sqlite3.connect = partial(sqlite3.connect, factory=Connection)  # type: ignore[assignment]

    def passed(self, name: str) -> None:
        """A step has been done."""
        with self._lock:
            if not self._order.exists():
                return
            number, how = self._order.read_text().split()
            self._count += 1
            with self._open(self._trace, "a") as trace:
                trace.write(name + "\n")
            if self._count == int(number):
                if how == "cut":
                    self._disk.lose_power()
                os.kill(os.getpid(), signal.SIGKILL)

    def open(self, path: Any, mode: str = "r", *args: Any, **more: Any) -> IO[Any]:
        """`io.open`."""
        file: IO[Any] = self._open(path, mode, *args, **more)
        if self._ours(path) and "w" in mode:
            self._disk.written(str(path))
            self.passed(f"open {_kind(path)}")
        return file

    def fsync(self, descriptor: int) -> None:
        """`os.fsync`."""
        self._fsync(descriptor)
        path = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 -- pathlib goes through what is wrapped here
        if self._ours(path):
            self._disk.synced(path)
            self.passed(f"sync {_kind(path)}")

    def replace(self, old: Any, new: Any) -> None:
        """`os.replace`."""
        self._replace(old, new)
        if self._ours(new):
            self._disk.renamed(str(old), str(new))
            self.passed(f"rename {_kind(old)} {_kind(new)}")

    def unlink(self, path: Any) -> None:
        """`os.unlink`."""
        if self._ours(path) and Path(path).exists():
            with self._lock:
                self._disk.about_to_be_removed(str(path))
                self._unlink(path)
            self.passed(f"remove {_kind(path)}")
        else:
            self._unlink(path)

    def _ours(self, path: Any) -> bool:
        return isinstance(path, str | Path) and str(path).startswith(self._spool)


def _kind(path: Any) -> str:
    return Path(path).suffix or Path(path).name


def _written_by(sql: str) -> str | None:
    """A short name of a statement, None when it changes nothing."""
    words = sql.split()
    if words[0] == "PRAGMA":
        return "PRAGMA wal_checkpoint" if "wal_checkpoint" in words[1] else None
    if words[0] == "SELECT":
        return None
    return " ".join(words[: 5 if words[0] == "UPDATE" else 3])
