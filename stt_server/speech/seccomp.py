"""Linux's seccomp: system calls that no decoder needs, refused for the rest of a process's life.

No new connection, no other program, no hand on another process, and little of the kernel to attack. It also holds
where a container's rules leave the network in place.
"""

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass

REFUSED = {
    # Connections; the server's own fork server is one socket away.
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "sendto": (44, 206),
    "sendmsg": (46, 211),
    "sendmmsg": (307, 269),
    # Programs and processes.
    "execve": (59, 221),
    "execveat": (322, 281),
    "fork": (57, -1),
    "vfork": (58, -1),
    # Other processes of the same user: the server.
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "ioprio_set": (251, 30),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # Parts of the kernel that attacks go through.
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "unshare": (272, 97),
    "setns": (308, 268),
}
"""System calls and their numbers, as in `Machine`; -1 where a processor has none of the name."""

SPECIAL = {
    "ioctl": (16, 29),
    "clone": (56, 220),
    "clone3": (435, 435),
    "prlimit64": (302, 261),
    "setpriority": (141, 140),
}
"""Refused in part."""

_LOAD, _IF_EQUAL, _IF_LEAST, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST, _SECOND = 0, 4, 16, 24
"""Where a filter finds what it judges: the two arguments' lower halves, on machines that begin with those."""
_ALLOW, _FAIL = 0x7FFF_0000, 0x0005_0000
_CLONE_THREAD = 0x0001_0000
_X32 = 0x4000_0000
"""The same calls by other numbers, on x86."""
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2


@dataclass(frozen=True, slots=True)
class Machine:
    """A processor, as the kernel names it to a filter."""

    column: int
    """Of the numbers above."""
    native: int
    narrow: int
    """Its 32-bit programs, whose calls have other numbers: a way around the filter."""


MACHINES = {"x86_64": Machine(0, 0xC000_003E, 0x4000_0003), "aarch64": Machine(1, 0xC000_00B7, 0x4000_0028)}


def refuse_calls() -> bool:
    """Refuse this thread the calls above. Needs `no_new_privs`. False where that is not to be had."""
    machine = MACHINES.get(os.uname().machine)
    if machine is None or sys.maxsize < 1 << 32:
        return False
    program = filter_for(machine)
    code = ctypes.create_string_buffer(program, len(program))
    pointer = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    return bool(ctypes.CDLL(None).prctl(_PR_SET_SECCOMP, _MODE_FILTER, pointer, 0, 0) == 0)


def filter_for(machine: Machine) -> bytes:
    """The filter, eight bytes an instruction."""
    return b"".join(_program(machine))


def _program(machine: Machine) -> Iterator[bytes]:
    # Each question jumps over what follows it when the answer is no.
    yield _step(_LOAD, _ARCHITECTURE)
    yield _step(_IF_EQUAL, machine.native, yes=3)
    yield _step(_IF_EQUAL, machine.narrow, no=1)
    yield _fail(errno.EPERM)
    yield _step(_RETURN, _ALLOW)  # an emulator, which makes calls of another processor
    yield _step(_LOAD, _NUMBER)
    yield _step(_IF_LEAST, _X32, no=1)
    yield _fail(errno.EPERM)
    for refused in (numbers[machine.column] for numbers in REFUSED.values()):
        if refused >= 0:
            yield from (_step(_IF_EQUAL, refused, no=1), _fail(errno.EPERM))
    number = {name: numbers[machine.column] for name, numbers in SPECIAL.items()}
    # A terminal takes what is pushed into it for typed. Python asks files whether they are one, and takes a no.
    yield from (_step(_IF_EQUAL, number["ioctl"], no=1), _fail(errno.ENOTTY))
    # Its flags are out of sight. libc then takes the older call.
    yield from (_step(_IF_EQUAL, number["clone3"], no=1), _fail(errno.ENOSYS))
    yield from _only(number["clone"], _FIRST, _IF_ANY_BIT, _CLONE_THREAD)
    yield from _only(number["prlimit64"], _FIRST, _IF_EQUAL, 0)  # itself
    yield from _only(number["setpriority"], _SECOND, _IF_EQUAL, 0)
    yield _step(_RETURN, _ALLOW)


def _only(number: int, argument: int, question: int, wanted: int) -> Iterator[bytes]:
    """This call with that argument, or not at all."""
    yield _step(_IF_EQUAL, number, no=4)
    yield _step(_LOAD, argument)
    yield _step(question, wanted, no=1)
    yield _step(_RETURN, _ALLOW)
    yield _fail(errno.EPERM)


def _step(operation: int, value: int, *, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", operation, yes, no, value)


def _fail(number: int) -> bytes:
    return _step(_RETURN, _FAIL | number)
