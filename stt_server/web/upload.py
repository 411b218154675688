"""A file on its way into the spool: counted, sniffed and written in large pieces off the event loop."""

from contextlib import suppress
from typing import BinaryIO

from stt_server.errors import TooLarge
from stt_server.jobs.spool import Spool, full_disk
from stt_server.jobs.workers import off_loop
from stt_server.speech.sniff import SNIFF_BYTES, sniff

CHUNK_BYTES = 512 * 1024
"""Kept in memory until written: handing work to a thread costs more than writing a few kilobytes."""


class Upload:
    """One file. Nothing is written before its first bytes have been recognised."""

    def __init__(self, spool: Spool, name: str, *, filename: str, max_bytes: int) -> None:
        self.container = ""
        self.size = 0
        """Bytes received."""
        self._spool = spool
        self._path = spool.part(name)
        self._filename = filename
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._file: BinaryIO | None = None

    async def write(self, data: bytes) -> None:
        """Take the next bytes. Raises `TooLarge`, `BadAudio` and `StorageFull`."""
        self.size += len(data)
        if self.size > self._max_bytes:
            raise TooLarge(f"The file is larger than this server accepts ({self._max_bytes} bytes).")
        self._buffer += data
        if not self.container and len(self._buffer) >= SNIFF_BYTES:
            self._sniff()
        if len(self._buffer) >= CHUNK_BYTES:
            await self._flush()

    async def finish(self) -> None:
        """Write what is left. Raises like `write`."""
        if not self.container:
            self._sniff()
        await self._flush(last=True)

    async def adopt(self, filename: str | None) -> None:
        """Look at a file that others have written in its place. Raises `BadAudio`."""
        self._filename = filename or ""
        self._buffer += await off_loop(self._head)
        self._sniff()

    @property
    def absent(self) -> bool:
        """A form whose file was not chosen sends one without name and content."""
        return not self._filename and not self.size

    async def remove(self) -> None:
        """Remove what was written, unless it has been taken over."""
        await off_loop(self._remove)

    def _sniff(self) -> None:
        self.container = sniff(bytes(self._buffer[:SNIFF_BYTES]), self._filename)

    async def _flush(self, *, last: bool = False) -> None:
        data, self._buffer = self._buffer, bytearray()
        await off_loop(self._append, data, last=last)

    def _append(self, data: bytearray, *, last: bool) -> None:
        self._spool.check_free(len(data))
        with full_disk():
            if self._file is None:
                self._file = self._path.open("wb", buffering=CHUNK_BYTES)
            self._file.write(data)
            if last:
                self._file.close()

    def _head(self) -> bytes:
        with self._path.open("rb") as file:
            return file.read(SNIFF_BYTES)

    def _remove(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # what could not be written is not wanted any more
                self._file.close()
        self._path.unlink(missing_ok=True)
