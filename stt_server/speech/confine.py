"""What a process gives away before it touches hostile bytes: memory, time, files, the network, its privileges."""

import ctypes
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stt_server.speech.landlock import only_read
from stt_server.speech.seccomp import refuse_calls

OPEN_FILES = 64
"""The audio, the PCM, a pipe or two, and room for imports."""
NICENESS = 5
"""Decoding may wait for the recogniser and the API, not the other way round."""

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_SIGKILL = 9
_CLONE_NEWUSER, _CLONE_NEWNET = 0x1000_0000, 0x4000_0000
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION = 0x2008_0522


_SYSTEM = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/nix/store"),
    *("/etc/ld.so.cache", "/dev/null", "/dev/urandom"),
)
"""Libraries, and what they read."""


@dataclass(frozen=True, slots=True)
class Confinement:
    """What the kernel granted beside the limits, which it always does."""

    files: bool = False
    """No file can be opened but what was asked for and the libraries."""
    calls: bool = False
    """No connection, no other program, no hand on other processes."""


def withdraw() -> bool:
    """Give away what is given away whatever there will be to do. Call it in the child, before `confine`.

    Whether it has a network of its own now, with nothing in it.
    """
    with suppress(OSError, AttributeError):
        os.nice(NICENESS)
    if sys.platform != "linux":
        return False
    _die_with_parent()
    network = _leave_network()
    _drop_privileges()
    return network


def confine(*, cpu_seconds: float, memory_bytes: int, file_bytes: int, may_read: Iterable[Path] = ()) -> Confinement:
    """Bind this process, which has withdrawn, for the rest of its life. Call it from its only thread.

    `cpu_seconds` and `memory_bytes` count from now, on top of what the process has used and mapped; no file it
    writes grows past `file_bytes`. Past its memory it sees `MemoryError`, past its time SIGXCPU ends it. It can open
    no file but `may_read` and libraries, and connect to nothing, as far as the kernel knows how; away from Linux only
    the limits remain.
    """
    _limit(cpu_seconds, memory_bytes, file_bytes)
    if sys.platform != "linux":
        return Confinement()
    return Confinement(files=only_read((*may_read, *_libraries())), calls=refuse_calls())


def _libraries() -> Iterator[Path]:
    """Where Python may look for code late. Not all of its path: that may hold the folder the server was started in."""
    yield from map(Path, _SYSTEM)
    yield Path(sys.base_prefix, "lib")
    yield Path(os.__file__).parent
    yield Path(__file__).parents[1]
    yield from (Path(path) for path in sys.path if path.endswith("-packages"))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    parent = os.getppid()
    _libc().prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # It died before the kernel knew that we care.
        os._exit(1)


def _leave_network() -> bool:
    """Root may simply leave; others need a user namespace of their own, in which they own nothing."""
    unshare = _libc().unshare
    return bool(unshare(_CLONE_NEWNET) == 0 or unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0)


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
