"""Live processes stopped and starved."""

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """These processes do not move during the block."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):  # somebody may have lost patience with it
                os.kill(pid, signal.SIGCONT)


@contextmanager
def limited(pid: int, what: int, limit: int) -> Iterator[None]:
    """A limit of `resource` on a live process during the block."""
    before = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (limit, before[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, what, before)


def mapped_bytes(pid: int) -> int:
    """Address space of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
