"""A recording whose caller waits in the call: promised to nobody else, so it has no row and no second life."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

from stt_server.errors import Internal, ShuttingDown, SttError
from stt_server.jobs.recording import Recording, Transcriber
from stt_server.types import Hypothesis, Transcript

log = logging.getLogger(__name__)


class Ticket:
    """What the caller holds: the pieces as they become certain, then the whole."""

    def __init__(self, recording: Recording, transcriber: Transcriber, abandon: Callable[[str], None]) -> None:
        self.recording = recording
        recording.on_part = self._take
        self._transcriber = transcriber
        self._abandon = abandon
        self._parts: asyncio.Queue[Hypothesis | None] = asyncio.Queue()
        self._done: asyncio.Future[Transcript] = asyncio.get_running_loop().create_future()
        self._done.add_done_callback(self._close)

    async def result(self) -> Transcript:
        """Wait for the transcript. Raises what went wrong."""
        return await asyncio.shield(self._done)

    async def parts(self) -> AsyncIterator[Hypothesis]:
        """Sealed words and tokens, in order. Raises what went wrong."""
        while (part := await self._parts.get()) is not None:
            yield part
        await self.result()

    def close(self) -> None:
        """The caller has the answer, or has gone: work that is left stops after the window in hand."""
        self._abandon(self.recording.id)

    def refuse(self) -> None:
        """The server stops."""
        if not self._done.done():
            self._done.set_exception(ShuttingDown(retry_after=5))

    async def run(self) -> None:
        """Work on it to its end."""
        try:
            transcript = await self._transcriber.transcribe(self.recording)
        except SttError as error:
            self._fail(error)
        except Exception:
            log.exception("recording failed", extra={"id": self.recording.id})
            self._fail(Internal())
        else:
            if not self._done.done():
                self._done.set_result(transcript)

    def _fail(self, error: SttError) -> None:
        if not self._done.done():
            self._done.set_exception(error)

    def _take(self, part: Hypothesis) -> None:
        self._parts.put_nowait(part)

    def _close(self, done: asyncio.Future[Transcript]) -> None:
        self._parts.put_nowait(None)
        done.exception()  # the caller may have gone; nobody else needs to hear of it
