"""The filter of system calls, judged by an independent library and by a small interpreter of its own."""

import ctypes
import ctypes.util
import errno
import struct

import pytest

from stt_server.speech.seccomp import MACHINES, REFUSED, SPECIAL, Machine, filter_for

ALLOW, FAIL = 0x7FFF_0000, 0x0005_0000
CLONE_THREAD, SIGCHLD = 0x10000, 17


def verdict(machine: Machine, number: int, *arguments: int, architecture: int | None = None) -> int:
    """What the kernel would do with a call: 0, or the error that it gets."""
    data = struct.pack("<iIQ6Q", number, architecture or machine.native, 0, *(*arguments, *[0] * 6)[:6])
    program, at, held = filter_for(machine), 0, 0
    while True:
        operation, yes, no, value = struct.unpack_from("<HBBI", program, 8 * at)
        at += 1
        if operation == 0x20:
            (held,) = struct.unpack_from("<I", data, value)
        elif operation == 0x06:
            assert value == ALLOW or value & ~0xFFF == FAIL
            return 0 if value == ALLOW else value & 0xFFF
        else:
            answers = {0x15: held == value, 0x35: held >= value, 0x45: bool(held & value)}
            at += yes if answers[operation] else no


@pytest.mark.parametrize("name", MACHINES)
def test_numbers(name: str) -> None:
    """They are those of the kernel, on every processor."""
    if not (path := ctypes.util.find_library("seccomp")):
        pytest.skip("no libseccomp to ask")
    resolve = ctypes.CDLL(path).seccomp_syscall_resolve_name_arch
    machine = MACHINES[name]
    for call, numbers in (REFUSED | SPECIAL).items():
        known = resolve(ctypes.c_uint32(machine.native), call.encode())
        assert max(known, -1) == numbers[machine.column], call


@pytest.mark.parametrize("name", MACHINES)
def test_every_number(name: str) -> None:
    """What is listed is refused and nothing else, whatever its arguments."""
    machine = MACHINES[name]
    refused = {numbers[machine.column] for numbers in REFUSED.values()}
    special = {numbers[machine.column] for numbers in SPECIAL.values()}
    for number in range(600):
        if number not in special:
            assert verdict(machine, number, 1, 1) == (errno.EPERM if number in refused else 0)


@pytest.mark.parametrize("name", MACHINES)
def test_calls_that_depend(name: str) -> None:
    """Threads, limits of its own and its own niceness remain; processes and those of others do not."""
    machine = MACHINES[name]
    number = {call: numbers[machine.column] for call, numbers in SPECIAL.items()}
    assert verdict(machine, number["clone"], CLONE_THREAD | 0x100) == 0
    assert verdict(machine, number["clone"], SIGCHLD) == errno.EPERM
    assert verdict(machine, number["clone3"]) == errno.ENOSYS
    assert verdict(machine, number["prlimit64"], 0) == 0
    assert verdict(machine, number["prlimit64"], 1) == errno.EPERM
    assert verdict(machine, number["setpriority"], 0, 0) == 0
    assert verdict(machine, number["setpriority"], 0, 1) == errno.EPERM
    assert verdict(machine, number["ioctl"], 2, 0x5412) == errno.ENOTTY


@pytest.mark.parametrize("name", MACHINES)
def test_ways_around(name: str) -> None:
    """The same calls by their 32-bit or x32 numbers are refused; those of another processor are an emulator's own."""
    machine = MACHINES[name]
    assert verdict(machine, 0, architecture=machine.narrow) == errno.EPERM
    assert verdict(machine, 0x4000_0000 | 41) == errno.EPERM
    assert verdict(machine, -1) == errno.EPERM
    [other] = [found for found in MACHINES.values() if found is not machine]
    assert verdict(machine, 0, architecture=other.native) == 0
