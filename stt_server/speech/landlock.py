"""Linux's Landlock: from here on a process opens few files, whoever it runs as. Nothing undoes it."""

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""System calls; of the same numbers on every processor."""
_ASK_VERSION = 1
_PATH_BENEATH = 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FILE_RIGHTS = (0, 13, 14, 15, 15, 16)
"""How many rights over files each version knows, from reading to truncating."""
_TCP, _TCP_SINCE = 0b11, 4
"""To bind and to connect."""
_SCOPES, _SCOPES_SINCE = 0b11, 6
"""Abstract sockets and signals stay among processes that are bound alike."""


def only_read(paths: Iterable[Path]) -> bool:
    """Let this thread open these files, and what lies in these folders, to read; nothing else, and no TCP.

    What is open stays so, and no process outside can be traced or looked into. Needs `no_new_privs`. False where the
    kernel has no Landlock; paths that are not there are left out.
    """
    version = max(0, _call(_CREATE_RULESET, None, 0, _ASK_VERSION))
    if not version:
        return False
    rules = _call(_CREATE_RULESET, *_everything(version), 0)
    if rules < 0:
        return False
    try:
        for path in paths:
            _allow(rules, path)
        return _call(_RESTRICT_SELF, rules, 0) == 0
    finally:
        os.close(rules)


def _everything(version: int) -> tuple[bytes, int]:
    """All that a version can forbid, and the size of saying so."""
    files = (1 << _FILE_RIGHTS[min(version, len(_FILE_RIGHTS) - 1)]) - 1
    words = [files]
    if version >= _TCP_SINCE:
        words.append(_TCP)
    if version >= _SCOPES_SINCE:
        words.append(_SCOPES)
    return struct.pack(f"={len(words)}Q", *words), 8 * len(words)


def _allow(rules: int, path: Path) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rights = _READ_FILE | _READ_DIR if path.is_dir() else _READ_FILE
        _call(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", rights, opened), 0)
    finally:
        os.close(opened)


def _call(number: int, *arguments: int | bytes | None) -> int:
    """A system call that libc has no name for; -1 when it fails."""
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    return int(call(*(ctypes.c_long(a) if isinstance(a, int) else a for a in (number, *arguments))))
