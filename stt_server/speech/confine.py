"""What a process gives away before it touches hostile bytes: memory, time, files, the network, its privileges."""

import ctypes
import math
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

OPEN_FILES = 64
"""The audio, the PCM, a pipe or two, and room for imports."""
NICENESS = 5
"""Decoding may wait for the recogniser and the API, not the other way round."""

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_SIGKILL = 9
_CLONE_NEWUSER, _CLONE_NEWNET = 0x1000_0000, 0x4000_0000
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION = 0x2008_0522


def confine(*, cpu_seconds: float, memory_bytes: int, file_bytes: int) -> None:
    """Bind this process for the rest of its life. Call it in the child, from its only thread.

    `cpu_seconds` and `memory_bytes` count from now, on top of what the process has used and mapped; no file it
    writes grows past `file_bytes`. Past its memory it sees `MemoryError`, past its time SIGXCPU ends it. Where the
    kernel grants no new network namespace, the network stays; away from Linux only the limits remain.
    """
    with suppress(OSError, AttributeError):
        os.nice(NICENESS)
    if sys.platform == "linux":
        _die_with_parent()
        _leave_network()
        _drop_privileges()
    _limit(cpu_seconds, memory_bytes, file_bytes)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    parent = os.getppid()
    _libc().prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # It died before the kernel knew that we care.
        os._exit(1)


def _leave_network() -> None:
    """Root may simply leave; others need a user namespace of their own, in which they own nothing."""
    if _libc().unshare(_CLONE_NEWNET) != 0:
        _libc().unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def _drop_privileges() -> None:
    """Keep of root's powers only reading files of others: its spool may lie in a folder of another user."""
    libc = _libc()
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then their upper halves
    if libc.capget(header, sets) == 0:
        kept = 1 << _CAP_DAC_OVERRIDE
        libc.capset(header, (ctypes.c_uint32 * 6)(sets[0] & kept, sets[1] & kept, 0, 0, 0, 0))


def _limit(cpu_seconds: float, memory_bytes: int, file_bytes: int) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    cpu = math.ceil(time.process_time() + cpu_seconds)
    limits = {
        resource.RLIMIT_CPU: (cpu, cpu + 1),  # first SIGXCPU, which tells what happened; then SIGKILL
        resource.RLIMIT_AS: (_mapped_bytes() + memory_bytes,) * 2,
        resource.RLIMIT_FSIZE: (file_bytes,) * 2,
        resource.RLIMIT_NOFILE: (OPEN_FILES,) * 2,
        resource.RLIMIT_CORE: (0, 0),
    }
    for name, (soft, hard) in limits.items():
        most = resource.getrlimit(name)[1]
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)
        with suppress(ValueError, OSError):  # macOS has no RLIMIT_AS that can be set
            resource.setrlimit(name, (soft, hard))


def _mapped_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
