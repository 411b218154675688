"""Where jobs are kept: the one truth of what was promised.

A store is durable: when one of its methods returns, what it says survives a power cut. It is also the only place
that knows which job answers a key. Every method may raise `StorageBusy` or `StorageFull`: nothing has changed then.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from stt_server.types import Job, JobError, Key, Transcript


@dataclass(frozen=True, slots=True)
class Admitted:
    """What a submission is answered with."""

    job: Job
    """The job that stands for the key now."""
    created: bool
    """It is the one submitted; False when it was there before."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many jobs there are, of all tenants."""

    total: int
    completed: int
    failed: int
    pending: int
    """Queued or processing."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """A pass of retention, by the wall clock of its time."""

    at: datetime
    trusted_from: datetime
    """Nothing may be erased before: the clock had jumped."""


class Store(Protocol):
    """The protocol of every store.

    A key has one current job, which lookups and submissions see. Only `force` on a completed one gives it a second,
    pending job beside it, which takes its place by completing. Moves follow `types.MOVES`; one that is not legal
    changes nothing and is answered None or False.
    """

    async def admit(self, job: Job, *, force: bool = False) -> Admitted:
        """Take in a queued job, unless its key is answered already. One winner, however many come at once.

        Without `force` a job that is unfinished or completed is the answer. With it only an unfinished one is: the
        first job of the key, or the pending one. A failed job is replaced and its row deleted.
        """

    async def find(self, key: Key, *, force: bool = False) -> Job | None:
        """The job that `admit` would answer with instead of a new one. Not a reading of its text."""

    async def get(self, tenant: str, job_id: str) -> Job:
        """A job of this tenant. Raises `JobNotFound`. Counts as reading its text."""

    async def lookup(self, key: Key) -> Job | None:
        """The current job of a key: the old result while a forced one is pending. Counts as reading its text."""

    async def start(self, job_id: str) -> Job | None:
        """Queued to processing, one attempt more; None when it does not wait (any more)."""

    async def complete(self, job_id: str, attempt: int, transcript: Transcript) -> bool:
        """Processing to completed; False when this attempt is not the current one, or the job was erased.

        A forced job becomes the current one of its key, and the row of the old one is deleted. Prompt and keyterms
        have served and are forgotten.
        """

    async def fail(self, job_id: str, attempt: int, error: JobError) -> bool:
        """Queued or processing to failed, fenced like `complete`. A failed forced job leaves the old result."""

    async def requeue(self, job_id: str, attempt: int) -> bool:
        """Processing to queued, fenced like `complete`: same place in the order, same count of attempts."""

    async def recover(self) -> list[Job]:
        """At start: nothing is processing any more. All queued jobs, in order."""

    async def erase(self, tenant: str, job_id: str) -> list[str]:
        """Delete a job for good, its bytes too; the ids deleted, none when there was no such job.

        The current job of a key takes all others of the key along. A pending one goes alone: the old result stays.
        """

    async def erase_user(self, tenant: str, user_uuid: str) -> list[str]:
        """Delete everything of a user for good, bytes too; the ids deleted."""

    async def expire(self, before: datetime) -> int:
        """Erase the texts neither stored nor read since, bytes too; how many. Late by up to an hour, never early.

        The jobs stay completed, with their times and durations, but without transcript.
        """

    async def last_sweep(self) -> Sweep | None:
        """The sweep recorded last."""

    async def record_sweep(self, sweep: Sweep) -> None:
        """Remember a sweep across restarts. No text counts as stored or read before it, whatever the clock says."""

    async def counts(self) -> Counts:
        """How many jobs there are."""

    async def close(self) -> None:
        """Finish what is being written and let go of the files."""


async def open_store(path: Path) -> Store:
    """Open the database, making or migrating it as needed. Raises `StoreBroken`, naming it.

    A database of the server this one replaces is taken over in place.
    """
    from stt_server.jobs.stores.sqlite import SqliteStore

    return await SqliteStore.open(path)
