"""Each file is decoded in a child process of its own: hostile bytes never reach the server's own memory.

The child decodes, finds speech and cuts windows (`speech.transcribe.prepare`), and writes the samples beside the
audio. It ends with its file. A hang or too much memory is the file's fault and is not tried again; a crash may be, or
it was the system that needed memory.
"""

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

from stt_server.errors import AudioLost, BadAudio, BadRequest, Internal, StorageFull, SttError, Unavailable
from stt_server.jobs import reports
from stt_server.jobs.spool import DISK_FULL, full_disk
from stt_server.jobs.turns import TURN_SECS
from stt_server.jobs.workers import Child, ChildGone, begin, to_its_end
from stt_server.speech.chunking import Window
from stt_server.speech.confine import confine, withdraw
from stt_server.speech.transcribe import Preparation, Prepared, prepare
from stt_server.types import SAMPLE_RATE

log = logging.getLogger(__name__)

STALL_SECS = 20
"""A child that says nothing for so long hangs: it speaks at least every ten seconds of audio, decoded in
milliseconds."""
MEMORY_BYTES = 512 * 1024 * 1024
"""Address space a child may take beside what its libraries map."""
PATIENCE = 5
"""What a child that takes longer than its turn adds to its niceness: many of them go on beside each other, and the
recogniser must not wait for them."""
CPU_SECS = 60.0
"""Processor time of a child, beside a tenth of the longest audio's duration."""
MAX_STARTS = 3
"""Children given up before they had their orders."""
GAVE_UP = "The audio could not be decoded: the decoder gave up on it."


class DecoderDied(Exception):  # not an error of the tree: who asked for the decoding decides what it means
    """The child ended before its file did."""


class Decoder:
    """Starts the children. One always stands ready: a caller does not wait for a process to start."""

    def __init__(self, *, max_duration: float) -> None:
        self._max_duration = max_duration
        self._spare: asyncio.Task[Child] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def warm_up(self) -> None:
        """Have a child ready."""
        self._spare = asyncio.create_task(Child.start(_child))
        await asyncio.wait({self._spare})

    async def close(self) -> None:
        """End the child that is ready, and wait for those that are ending."""
        spare, self._spare = self._spare, None
        if spare and not spare.cancelled():
            with suppress(Unavailable):
                self._end(await spare)
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def decode(self, audio: Path, container: str, pcm: Path) -> AsyncGenerator[Window | Prepared | float]:
        """Decode `audio` into `pcm`: windows as they are cut, seconds decoded so far, at the end `Prepared`.

        Raises `BadAudio`, `AudioTooLong`, `AudioTooShort`, `AudioLost`, `StorageFull`, `Unavailable`,
        `Internal`, and `DecoderDied`.
        """
        await to_its_end(_make_empty, pcm)
        child = await self._give((audio, container, pcm, self._max_duration))
        windows = count()
        try:
            while True:
                item = await _next(child, self._max_duration)
                if isinstance(item, Window) and item.index != next(windows):
                    raise BadAudio
                if isinstance(item, SttError):
                    raise item
                yield item
                if isinstance(item, Prepared):
                    return
        finally:
            self._end(child)

    async def _give(self, order: tuple[Path, str, Path, float]) -> Child:
        """A child that has its orders. Raises `Unavailable`."""
        for _ in range(MAX_STARTS):
            child = await self._next_child()
            try:
                await child.send(order)
            except ChildGone:
                self._end(child)  # something killed it while it stood there
            except BaseException:
                self._end(child)
                raise
            else:
                return child
        raise Unavailable(retry_after=5)

    async def _next_child(self) -> Child:
        spare, self._spare = self._spare, asyncio.create_task(Child.start(_child))
        if spare:
            with suppress(Unavailable):
                return await spare
        return await Child.start(_child)

    def _end(self, child: Child) -> None:
        """End a child without waiting for it: but it writes nothing any more."""
        child.kill()
        task = asyncio.create_task(child.close())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


def _make_empty(pcm: Path) -> None:
    """Only the server makes the file: a child that is being killed could make it again after its removal."""
    with full_disk():
        pcm.open("wb").close()


async def _next(child: Child, longest: float) -> reports.Report:
    try:
        return reports.load(await child.receive_bytes_within(STALL_SECS, most=reports.MOST_BYTES), longest=longest)
    except TimeoutError:
        log.warning("decoder stalled")
        raise BadAudio("The audio could not be decoded: the decoder did not get on with it.") from None
    except ValueError:
        log.error("decoder says what it never would: a file may have taken it over")
        raise BadAudio from None
    except ChildGone:
        log.warning("decoder died", extra={"exit_status": child.exit_status})
        raise DecoderDied from None


def _child(pipe: Connection) -> None:
    withdraw()  # now, while nobody waits for it
    try:
        audio, container, pcm, max_duration = pipe.recv()
    except (EOFError, OSError):
        return  # it was never needed
    patient = False
    try:
        with pcm.open("r+b") as samples:
            confine(
                cpu_seconds=CPU_SECS + max_duration / 10,
                memory_bytes=MEMORY_BYTES,
                file_bytes=int((max_duration + 60) * SAMPLE_RATE * 2),
                may_read=(audio,),
            )
            for item in prepare(audio, container, samples, max_duration=max_duration):
                pipe.send_bytes(reports.dump(item))
                if not patient and time.process_time() > TURN_SECS:
                    patient = True
                    os.nice(PATIENCE)
    except ConnectionError:
        return  # the server no longer wants it
    except Exception as error:
        pipe.send_bytes(reports.dump(_ours(error)))


def _ours(error: Exception) -> SttError:
    if isinstance(error, BadRequest):
        return error
    if isinstance(error, FileNotFoundError):
        return AudioLost()
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return StorageFull(retry_after=30)
    if isinstance(error, MemoryError):
        return BadAudio("The audio could not be decoded: it asks for too much memory.")
    # A fault of ours, not of the file. The traceback must be made here: it does not travel.
    log.error("decoder failed", exc_info=error)
    return Internal()


# -- Without an event loop --------------------------------------------------------------------------


@contextmanager
def decoding_apart(*, max_duration: float) -> Iterator[Preparation]:
    """Decoding in children for who has no event loop of his own. Call it early: they are made ready meanwhile."""
    begin()
    with asyncio.Runner() as runner:
        decoder = Decoder(max_duration=max_duration)

        def prepare_apart(audio: Path, container: str, pcm: Path) -> Iterator[Window | Prepared | float]:
            items = decoder.decode(audio, container, pcm)
            try:
                while (item := runner.run(anext(items, None))) is not None:
                    yield item
            except DecoderDied:
                raise BadAudio(GAVE_UP) from None
            finally:
                runner.run(items.aclose())

        try:
            yield prepare_apart
        finally:
            runner.run(decoder.close())
