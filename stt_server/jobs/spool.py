"""The folder of audio being worked on.

`<id>.part` while it arrives, `<id>.audio` once it is whole, `<id>.pcm` while it is recognised. Nothing else knows
these names. All functions here touch the disk: call them off the event loop.
"""

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stt_server.errors import StorageFull

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""How the system says that a file cannot grow."""
RESERVE_BYTES = 64 * 1024 * 1024
"""Free space that uploads never eat into: the database and the operator need it."""
WORK_RESERVE_BYTES = RESERVE_BYTES // 2
"""Free space that samples never eat into either. Less, so that a spool full of uploads can still be worked off."""


@contextmanager
def full_disk() -> Iterator[None]:
    """Turn what a full disk says into `StorageFull`."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise StorageFull(retry_after=30) from error
        raise


def require_room(folder: Path, free_bytes: int) -> None:
    """Raise `StorageFull` when less is free. A folder that somebody has cleared away is made again."""
    try:
        free = shutil.disk_usage(folder).free
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        free = shutil.disk_usage(folder).free
    if free < free_bytes:
        raise StorageFull(retry_after=30)


class Spool:
    """One folder, made when it is missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def part(self, name: str) -> Path:
        """Where a file lies while it arrives."""
        return self.folder / f"{name}.part"

    def audio(self, name: str) -> Path:
        """Where a whole file lies."""
        return self.folder / f"{name}.audio"

    def pcm(self, name: str) -> Path:
        """Where its samples lie while they are recognised: 16 kHz mono s16le."""
        return self.folder / f"{name}.pcm"

    def keep(self, name: str, *, durable: bool) -> Path:
        """Turn the part into the whole file; `durable` survives a power cut from here on. Raises `StorageFull`."""
        part, audio = self.part(name), self.audio(name)
        with full_disk():
            if durable:
                _sync(part)
            part.replace(audio)
            if durable:
                _sync(self.folder)
        return audio

    def discard(self, name: str) -> None:
        """Remove everything of this name."""
        for path in (self.part(name), self.audio(name), self.pcm(name)):
            path.unlink(missing_ok=True)

    def sweep(self, live: Iterable[str]) -> int:
        """Remove every file that no live job owns; how many there were. For start-up only."""
        keep = {self.audio(name) for name in live}
        stray = [path for path in self.folder.iterdir() if path.is_file() and path not in keep]
        for path in stray:
            path.unlink(missing_ok=True)
        return len(stray)

    def missing(self, live: Iterable[str]) -> set[str]:
        """Live jobs whose audio is not there."""
        return {name for name in live if not self.audio(name).is_file()}

    def check_free(self, more_bytes: int = 0) -> None:
        """Raise `StorageFull` when `more_bytes` would eat into the reserve."""
        require_room(self.folder, RESERVE_BYTES + more_bytes)

    def check_work(self, more_bytes: int = 0) -> None:
        """Raise `StorageFull` when `more_bytes` of samples would eat into their reserve."""
        require_room(self.folder, WORK_RESERVE_BYTES + more_bytes)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
