"""How much memory processes have taken. Linux's account of it; elsewhere nothing is known."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


def forget_peaks(pids: Iterable[int | str] = ("self",)) -> None:
    """Begin anew, where the kernel lets us: what loading a model took is no matter of recognising."""
    for pid in pids:
        with suppress(OSError):
            (_PROC / str(pid) / "clear_refs").write_text("5")


def peak_mib(pids: Iterable[int | str] = ("self",)) -> float:
    """Most memory that each process has had since `forget_peaks`, added up, in MiB; 0 where nobody tells."""
    return sum(_peak_kib(pid) for pid in pids) / 1024


def _peak_kib(pid: int | str) -> int:
    with suppress(OSError):
        for line in (_PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0
