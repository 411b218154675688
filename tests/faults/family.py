"""A process and all its children, seen from outside."""

import threading
from pathlib import Path
from typing import Self

PAGE_BYTES = 4096
MB = 1_000_000
EVERY_SECS = 0.03


def family(pid: int) -> list[int]:
    """The process, its children, their children."""
    parents = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        try:
            parents[int(process.name)] = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has just ended
    found = [pid]
    for member in found:
        found += [child for child, parent in parents.items() if parent == member]
    return found


def resident_mb(pid: int) -> float:
    """Memory that the whole family holds; what two of them share counts twice."""
    pages = 0
    for member in family(pid):
        try:
            pages += int(Path(f"/proc/{member}/statm").read_text().split()[1])
        except OSError:
            continue
    return pages * PAGE_BYTES / MB


class Memory:
    """Watches a family during a block: how far its memory grew above what it was at the beginning."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peak = 0.0
        self._watching = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._before = self._peak = resident_mb(self._pid)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._watching.set()
        self._thread.join()

    @property
    def peak_mb(self) -> float:
        """The most it has grown at any moment."""
        return self._peak - self._before

    @property
    def left_mb(self) -> float:
        """What it has grown by now."""
        return resident_mb(self._pid) - self._before

    def _watch(self) -> None:
        while not self._watching.wait(EVERY_SECS):
            self._peak = max(self._peak, resident_mb(self._pid))
