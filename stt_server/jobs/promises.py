"""A job of the store being worked on: started, recognised, and its end written down, whatever happens meanwhile."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from stt_server.errors import Internal, SttError, Temporary
from stt_server.jobs.recording import Recording, Transcriber
from stt_server.jobs.stores import Store
from stt_server.types import Job, JobError, Transcript

log = logging.getLogger(__name__)
T = TypeVar("T")

RETRY_SECS = 5.0
"""Longest wait before trying again what failed for a passing reason: a full disk, a locked database."""


class Promise:
    """An acknowledged job on its way to its end. Every write is fenced by the attempt it belongs to."""

    def __init__(self, job: Job, store: Store, transcriber: Transcriber) -> None:
        tenant = job.key.tenant
        self.recording = Recording(job.id, job.container, job.options, urgent=False, seq=job.seq, tenant=tenant)
        self._store = store
        self._transcriber = transcriber

    def refuse(self) -> None:
        """Nobody waits in the call; the row keeps the promise."""

    async def run(self) -> None:
        """Work on it to its end, or find that it was erased."""
        began = time.monotonic()
        job = await _insist(lambda: self._store.start(self.recording.id))
        if job is None:
            return
        outcome = await self._transcribe()
        if isinstance(outcome, Transcript):
            kept = await _insist(lambda: self._store.complete(job.id, job.attempt, outcome))
        else:
            error = JobError(outcome.code, outcome.message)
            kept = await _insist(lambda: self._store.fail(job.id, job.attempt, error))
        log.info(
            "job ended" if kept else "job ended, but nobody wants its result",
            extra={
                "job_id": job.id,
                "tenant": job.key.tenant,
                "outcome": "completed" if isinstance(outcome, Transcript) else outcome.code,
                "audio_seconds": round(outcome.duration, 1) if isinstance(outcome, Transcript) else None,
                "seconds": round(time.monotonic() - began, 2),
            },
        )

    async def _transcribe(self) -> Transcript | SttError:
        while True:
            try:
                return await self._transcriber.transcribe(self.recording)
            except Temporary as error:
                log.warning("job waits", extra={"job_id": self.recording.id, "why": error.code})
                await asyncio.sleep(min(RETRY_SECS, error.retry_after))
            except SttError as error:
                return error
            except Exception:
                log.exception("job failed", extra={"job_id": self.recording.id})
                return Internal()


async def _insist(write: Callable[[], Awaitable[T]]) -> T:
    """Write until the store takes it: a result that cost minutes is not lost to a disk that is full for one."""
    while True:
        try:
            return await write()
        except Temporary as error:
            log.warning("store refuses", extra={"why": error.code})
            await asyncio.sleep(min(RETRY_SECS, error.retry_after))
