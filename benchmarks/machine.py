"""What the machine is, and what else runs on it. Linux only."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from stt_server.settings import available_cpus
from stt_server.speech.processor import instructions, read_facts

_PROC = Path("/proc")
_TICK = os.sysconf("SC_CLK_TCK")
_INT8 = ("amx_int8", "avx512_vnni", "avx_vnni", "avx2")
_IDLE = (3, 4)
"""Fields of a line in /proc/stat: idle, and idle while the disk works."""
_COUNTED = 8
"""Its fields up to what a host took from us; guests' time behind them is counted already."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured."""

    processor: str
    cores: int
    """Granted to us."""
    instructions: tuple[str, ...]
    """For products of 8-bit numbers."""
    memory_gib: int

    @classmethod
    def here(cls) -> "Machine":
        """This one."""
        facts = read_facts()
        flags = instructions(facts)
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        family = f"family {facts.get('cpu family', '?')}, model {facts.get('model', '?')}"
        return cls(
            processor=f"{facts.get('model name', 'unknown')} ({family})",
            cores=available_cpus(),
            instructions=tuple(flag for flag in _INT8 if flag in flags),
            memory_gib=round(pages / 2**30),
        )

    def __str__(self) -> str:
        """One line."""
        return f"{self.processor}, {self.cores} cores, {', '.join(self.instructions)}, {self.memory_gib} GiB"


# -- Processor time ----------------------------------------------------------------------------------


class Meter:
    """What part of our processors others had since it was made."""

    def __init__(self) -> None:
        self._began, self._busy, self._ours = time.perf_counter(), _busy_secs(), _own_secs()

    def foreign(self) -> float:
        """[0, 1]. What a host took away counts as others'."""
        wall = time.perf_counter() - self._began
        others = (_busy_secs() - self._busy) - (_own_secs() - self._ours)
        return min(1.0, max(0.0, others / (wall * len(os.sched_getaffinity(0)))))


def _busy_secs() -> float:
    """Of the processors we may use, since the machine's start."""
    names = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    rows = (line.split() for line in (_PROC / "stat").read_text().splitlines())
    return sum(_busy_ticks([int(field) for field in row[1:]]) for row in rows if row[0] in names) / _TICK


def _busy_ticks(fields: list[int]) -> int:
    return sum(value for index, value in enumerate(fields[:_COUNTED]) if index not in _IDLE)


def _own_secs() -> float:
    """Of this process, its children and theirs, those that have ended included."""
    return sum(sum(map(int, _stat(pid)[11:15])) for pid in descendants(os.getpid())) / _TICK


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat behind the name, from the state on; zeros when it has ended."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["0"] * 50


def descendants(pid: int) -> list[int]:
    """The process, its children and theirs."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdecimal():
            children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found
