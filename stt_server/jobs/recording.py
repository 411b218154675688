"""One recording from its file to its transcript: decoded in a child, recognised window by window, joined.

A window that fails is tried again alone, then in halves, and what still fails is reported as a gap, never skipped.
A window that kills the recogniser three times by itself fails its recording.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

from stt_server.errors import BadAudio, EngineFailed, StorageFull, SttError, WorkerCrashed
from stt_server.jobs.decoding import GAVE_UP, Decoder, DecoderDied
from stt_server.jobs.recogniser import Recogniser, Task
from stt_server.jobs.schedule import Work
from stt_server.jobs.spool import Spool
from stt_server.jobs.turns import Turns
from stt_server.jobs.workers import off_loop, to_its_end
from stt_server.speech.attempts import Outcome, attempts, unite
from stt_server.speech.chunking import Window, divide
from stt_server.speech.joining import Joiner, concatenate
from stt_server.speech.language import guess_language
from stt_server.speech.transcribe import Prepared, assemble
from stt_server.types import DEFAULT_TENANT, Hypothesis, Options, Span, Transcript

log = logging.getLogger(__name__)

MAX_CRASHES = 3
"""Times one window may kill the recogniser, and one file its decoder."""


@dataclass(eq=False)
class Recording:
    """A file in the spool and what is wanted of it. Changes while it is worked on."""

    id: str
    container: str
    options: Options
    urgent: bool
    """Somebody waits in the call."""
    seq: int
    on_part: Callable[[Hypothesis], None] | None = field(default=None, repr=False)
    """Called with each sealed piece, in order."""
    told: bool = False
    """Somebody has heard a piece already."""
    tenant: str = DEFAULT_TENANT
    """Whose place in the queue it takes."""
    progress: float = 0.0
    """[0, 1]; 0 until the length is known."""
    least_bytes: int = 0
    """Its samples take more: so far they had come when the disk had no room for them."""

    def tell(self, part: Hypothesis) -> None:
        """Tell who listens."""
        if self.on_part:
            self.told = True
            self.on_part(part)


@dataclass(eq=False)
class _Run:
    """What is known of a recording while it is worked on."""

    recording: Recording
    pcm: Path
    work: Work[Task]
    joiner: Joiner = field(default_factory=Joiner)
    heard: list[Hypothesis] = field(default_factory=list)
    gaps: list[Span] = field(default_factory=list)
    duration: float = 0.0
    """Of the whole audio; 0 until it is decoded."""
    done: float = 0.0
    """Seconds whose windows are through."""

    def keep(self, part: Hypothesis) -> None:
        if part.words or part.tokens:
            self.heard.append(part)
            self.recording.tell(part)

    def advance(self, seconds: float) -> None:
        self.done += seconds
        if self.duration:
            self.recording.progress = min(1.0, self.done / self.duration)


class Transcriber:
    """Recordings in, transcripts out."""

    def __init__(self, recogniser: Recogniser, spool: Spool, *, model: str, max_duration: float, threads: int) -> None:
        self._recogniser = recogniser
        self._spool = spool
        self._model = model
        self._decoder = Decoder(max_duration=max_duration)
        # Apart, so that a caller who waits never waits for the decoding of a four-hour file.
        self._decoding = {urgent: Turns(threads) for urgent in (True, False)}

    async def warm_up(self) -> None:
        """Make the first recording as fast as the second."""
        await self._decoder.warm_up()
        await off_loop(guess_language, "Bonjour à tous.")  # its tables take a second to load

    async def close(self) -> None:
        """End what stands ready. Call it when nothing is being transcribed."""
        await self._decoder.close()

    async def transcribe(self, recording: Recording) -> Transcript:
        """Recognise the recording's file. Cancelling stops after the windows in hand.

        Raises `BadAudio` and its kin, `StorageFull`, `Unavailable`, `WorkerCrashed`, `Internal`.
        """
        for _ in range(MAX_CRASHES):
            try:
                return await self._transcribe(recording)
            except DecoderDied:
                # It may have been killed for want of memory: then the file is good. What was told cannot be taken back.
                if recording.told:
                    break
        raise BadAudio(GAVE_UP)

    async def _transcribe(self, recording: Recording) -> Transcript:
        work = Work[Task](recording.urgent, recording.seq)
        run = _Run(recording, self._spool.pcm(recording.id), work)
        try:
            async with asyncio.TaskGroup() as group:
                await self._decode(run, group)
        except* (SttError, DecoderDied) as errors:
            raise _first(errors) from None
        finally:
            self._recogniser.drop(work)
            await to_its_end(run.pcm.unlink, missing_ok=True)
        run.keep(run.joiner.finish())
        return await off_loop(
            assemble,
            concatenate(run.heard),
            duration=run.duration,
            options=recording.options,
            model=self._model,
            gaps=tuple(run.gaps),
        )

    async def _decode(self, run: _Run, group: asyncio.TaskGroup) -> None:
        recording = run.recording
        async with self._decoding[recording.urgent].turn():
            await off_loop(self._spool.check_work, recording.least_bytes)
            audio = self._spool.audio(recording.id)
            try:
                async with aclosing(self._decoder.decode(audio, recording.container, run.pcm)) as items:
                    await self._take(items, run, group)
            except StorageFull:
                recording.least_bytes = await off_loop(_size, run.pcm)
                raise

    async def _take(self, items: AsyncIterator[Window | Prepared | float], run: _Run, group: asyncio.TaskGroup) -> None:
        first: Window | None = None
        async for item in items:
            if isinstance(item, float):
                await off_loop(self._spool.check_work)
                continue
            if first:
                group.create_task(self._window(run, first, self._parts(run, first, item)))
                first = None
            if isinstance(item, Prepared):
                run.duration = item.duration
                run.advance(0)
            elif item.index == 0:
                first = item  # What comes after it says what is to become of it.
            else:
                group.create_task(self._window(run, item, [item]))

    def _parts(self, run: _Run, first: Window, following: Window | Prepared) -> list[Window]:
        """What the first window is recognised as.

        Whoever waits in the call for a recording of one window gets all cores that are idle. A job does not: what is
        kept never depends on the load. Nor does a longer recording, whose windows go on beside each other.
        """
        alone = run.recording.urgent and isinstance(following, Prepared)
        return divide(first, self._recogniser.free) if alone else [first]

    async def _window(self, run: _Run, window: Window, parts: list[Window]) -> None:
        outcome = await (self._persist(run, window) if len(parts) == 1 else self._persist_parts(run, parts))
        run.gaps += outcome.gaps
        run.keep(run.joiner.add(window, outcome.hypothesis))
        run.advance(window.owned.duration)

    async def _persist_parts(self, run: _Run, parts: list[Window]) -> Outcome:
        """Recognise one window in parts, all at once."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._persist(run, part)) for part in parts]
        return unite(parts, [task.result() for task in tasks])

    async def _persist(self, run: _Run, window: Window) -> Outcome:
        """Recognise one window, as often and in as many parts as it takes."""
        steps = attempts(window)
        wanted = next(steps)
        while True:
            heard = await self._attempt(run, wanted.span)
            try:
                wanted = steps.send(heard)
            except StopIteration as end:
                outcome: Outcome = end.value
                return outcome

    async def _attempt(self, run: _Run, span: Span) -> Hypothesis | None:
        known = {"id": run.recording.id, "start": round(span.start, 2)}
        for attempt in range(1, MAX_CRASHES + 1):
            try:
                return await self._recogniser.recognise(run.work, run.pcm, span, run.recording.options)
            except EngineFailed:
                log.warning("window failed", extra=known)
                return None
            except WorkerCrashed:
                log.error("window killed the recogniser", extra={**known, "attempt": attempt})
        raise WorkerCrashed


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _first(error: BaseException) -> BaseException:
    """The first error inside the group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
