"""Jobs in one SQLite file: the durable store of a single process.

Three tables carry the truth (`migrations`): `jobs`, their `transcripts`, and `keys`, which says for each key the
current job and the forced one that is pending. Deleting a job takes its transcript and its place in `keys` along.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from aiosqlite import Connection

from stt_server.errors import JobNotFound, SttError
from stt_server.jobs.stores import Admitted, Counts, Sweep
from stt_server.jobs.stores.database import BUSY_SECS, Database, Parameters, run
from stt_server.jobs.stores.records import columns_of, columns_of_key, job_of, ms_of, time_of
from stt_server.jobs.workers import off_loop
from stt_server.speech.codec import dump
from stt_server.types import Job, JobError, JobStatus, Key, Transcript

log = logging.getLogger(__name__)

READ_EVERY_MS = 3_600_000
"""A read is written down when the last one noted is older: a client that polls must not cost a synced write each
time. `expire` spares texts for so much longer."""
EXPIRE_BATCH = 200
"""Texts erased in one transaction; other writes get their turn in between."""

_BY_ID = """
    SELECT jobs.*, body FROM jobs LEFT JOIN transcripts USING (seq) WHERE tenant = :tenant AND id = :id
"""
_CURRENT = """
    SELECT jobs.*, body FROM keys JOIN jobs ON jobs.seq = keys.current LEFT JOIN transcripts USING (seq)
    WHERE keys.tenant = :tenant AND keys.user_uuid = :user_uuid AND keys.message_id = :message_id
"""
_STANDING = """
    SELECT jobs.*, body FROM keys JOIN jobs ON jobs.seq IN (keys.current, keys.pending)
    LEFT JOIN transcripts USING (seq)
    WHERE keys.tenant = :tenant AND keys.user_uuid = :user_uuid AND keys.message_id = :message_id
    ORDER BY jobs.seq = keys.current DESC
"""
_QUEUED = "SELECT *, NULL AS body FROM jobs WHERE status = 'queued' ORDER BY seq"
_INSERT = """
    INSERT INTO jobs (id, tenant, user_uuid, message_id, status, options, response_format, container, created_ms)
    VALUES (:id, :tenant, :user_uuid, :message_id, 'queued', :options, :response_format, :container, :created_ms)
    RETURNING *, NULL AS body
"""
_CLAIM = """
    INSERT INTO keys (tenant, user_uuid, message_id, current) VALUES (:tenant, :user_uuid, :message_id, :seq)
    ON CONFLICT DO UPDATE SET pending = :seq
"""
_START = """
    UPDATE jobs SET status = 'processing', attempt = attempt + 1, started_ms = :now
    WHERE id = :id AND status = 'queued' RETURNING *, NULL AS body
"""
_END = """
    UPDATE jobs SET status = :status, completed_ms = :now, kept_ms = :kept, duration = :duration,
        error_code = :code, error_message = :message, options = json_remove(options, '$.prompt', '$.keyterms')
    WHERE id = :id AND attempt = :attempt AND status IN ('processing', :or_from)
    RETURNING seq, tenant, user_uuid, message_id
"""
_REQUEUE = """
    UPDATE jobs SET status = 'queued' WHERE id = :id AND attempt = :attempt AND status = 'processing' RETURNING id
"""
_TAKE_KEY = "UPDATE keys SET current = pending, pending = NULL WHERE pending = :seq RETURNING current"
_DROP_FAILED = """
    DELETE FROM jobs
    WHERE tenant = :tenant AND user_uuid = :user_uuid AND message_id = :message_id AND status = 'failed'
"""
_DROP_OTHERS = """
    DELETE FROM jobs
    WHERE tenant = :tenant AND user_uuid = :user_uuid AND message_id = :message_id AND seq != :seq
"""
_ERASE = """
    DELETE FROM jobs WHERE seq IN (
        SELECT seq FROM jobs WHERE tenant = :tenant AND id = :id
        UNION
        SELECT others.seq FROM jobs JOIN keys ON keys.current = jobs.seq
        JOIN jobs AS others USING (tenant, user_uuid, message_id)
        WHERE jobs.tenant = :tenant AND jobs.id = :id
    ) RETURNING id
"""
_ERASE_USER = "DELETE FROM jobs WHERE tenant = :tenant AND user_uuid = :user_uuid RETURNING id"
_DROP_STALE = """
    DELETE FROM transcripts
    WHERE seq IN (SELECT seq FROM jobs WHERE kept_ms < :before ORDER BY kept_ms, seq LIMIT :limit)
"""
_MARK_STALE = """
    UPDATE jobs SET kept_ms = NULL
    WHERE seq IN (SELECT seq FROM jobs WHERE kept_ms < :before ORDER BY kept_ms, seq LIMIT :limit)
    RETURNING seq
"""
_NOTE_READ = "UPDATE jobs SET kept_ms = ?2 WHERE seq = ?1 AND kept_ms < ?2"
_LAST_SWEEP = "SELECT name, value FROM meta WHERE name IN ('sweep_at', 'trusted_from')"
_RECORD_SWEEP = "INSERT OR REPLACE INTO meta (name, value) VALUES ('sweep_at', :at), ('trusted_from', :trusted_from)"


def _utc_now() -> datetime:
    return datetime.now(UTC)


class SqliteStore:
    """A `Store`. Make one with `await SqliteStore.open(path)`."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._sweep: Sweep | None = None
        self._reads: dict[int, int] = {}
        """Reads to be noted: seq to milliseconds."""
        self._noting: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, path: Path, *, clock: Callable[[], datetime] = _utc_now, busy_secs: float = BUSY_SECS) -> Self:
        """Open the database. Raises `StoreBroken`."""
        store = cls(await Database.open(path, busy_secs=busy_secs), clock)
        try:
            found = {row["name"]: time_of(row["value"]) for row in await store._database.read(_LAST_SWEEP)}
        except BaseException:
            await store.close()
            raise
        store._sweep = Sweep(found["sweep_at"], found["trusted_from"]) if found else None
        return store

    # -- Submissions --------------------------------------------------------------------------------

    async def admit(self, job: Job, *, force: bool = False) -> Admitted:
        """One winner per key."""
        columns = columns_of(job)

        async def work(connection: Connection) -> tuple[sqlite3.Row, bool]:
            known = _known(await run(connection, _STANDING, columns), force=force)
            if known:
                return known, False
            await run(connection, _DROP_FAILED, columns)
            [row] = await run(connection, _INSERT, columns)
            await run(connection, _CLAIM, columns | {"seq": row["seq"]})
            return row, True

        row, created = await self._database.write(work)
        return Admitted(await job_of(row), created)

    async def find(self, key: Key, *, force: bool = False) -> Job | None:
        """What `admit` would answer with."""
        known = _known(await self._database.read(_STANDING, columns_of_key(key)), force=force)
        return await job_of(known) if known else None

    # -- Reading ------------------------------------------------------------------------------------

    async def get(self, tenant: str, job_id: str) -> Job:
        """By id."""
        found = await self._read(_BY_ID, {"tenant": tenant, "id": job_id})
        if found is None:
            raise JobNotFound
        return found

    async def lookup(self, key: Key) -> Job | None:
        """By key."""
        return await self._read(_CURRENT, columns_of_key(key))

    async def _read(self, sql: str, parameters: Parameters) -> Job | None:
        for row in await self._database.read(sql, parameters):
            self._note_read(row)
            return await job_of(row)
        return None

    async def counts(self) -> Counts:
        """From the index alone."""
        found = await self._database.read("SELECT status, count(*) AS jobs FROM jobs GROUP BY status")
        jobs = {row["status"]: row["jobs"] for row in found}
        completed, failed = jobs.get(JobStatus.COMPLETED, 0), jobs.get(JobStatus.FAILED, 0)
        total = sum(jobs.values())
        return Counts(total, completed, failed, pending=total - completed - failed)

    # -- Moves --------------------------------------------------------------------------------------

    async def start(self, job_id: str) -> Job | None:
        """To processing."""
        found = await self._run(_START, {"id": job_id, "now": ms_of(self._clock())})
        return await job_of(found[0]) if found else None

    async def complete(self, job_id: str, attempt: int, transcript: Transcript) -> bool:
        """To completed."""
        body = await off_loop(dump, transcript)
        end = self._end(job_id, attempt, JobStatus.COMPLETED)
        end |= {"kept": self._kept_ms(), "duration": transcript.duration}

        async def work(connection: Connection) -> bool:
            for row in await run(connection, _END, end):
                await run(connection, "INSERT INTO transcripts VALUES (?, ?)", (row["seq"], body))
                if await run(connection, _TAKE_KEY, dict(row)):
                    await run(connection, _DROP_OTHERS, dict(row))
                return True
            return False

        return await self._database.write(work)

    async def fail(self, job_id: str, attempt: int, error: JobError) -> bool:
        """To failed."""
        # What came from outside may hold what UTF-8 cannot, and the job must end all the same.
        message = error.message.encode(errors="replace").decode()
        end = self._end(job_id, attempt, JobStatus.FAILED)
        end |= {"or_from": JobStatus.QUEUED, "code": error.code, "message": message}

        async def work(connection: Connection) -> bool:
            for row in await run(connection, _END, end):
                await run(connection, "UPDATE keys SET pending = NULL WHERE pending = ?", (row["seq"],))
                return True
            return False

        return await self._database.write(work)

    def _end(self, job_id: str, attempt: int, status: JobStatus) -> dict[str, Any]:
        """Parameters of `_END`."""
        nothing = dict.fromkeys(("or_from", "kept", "duration", "code", "message"))
        return nothing | {"id": job_id, "attempt": attempt, "status": status, "now": ms_of(self._clock())}

    async def requeue(self, job_id: str, attempt: int) -> bool:
        """Back to queued."""
        return bool(await self._run(_REQUEUE, {"id": job_id, "attempt": attempt}))

    async def recover(self) -> list[Job]:
        """All back to queued."""
        # No write where none is needed: a full disk must not keep the server from starting.
        if await self._database.read("SELECT 1 FROM jobs WHERE status = 'processing' LIMIT 1"):
            await self._run("UPDATE jobs SET status = 'queued' WHERE status = 'processing'")
        return [await job_of(row) for row in await self._database.read(_QUEUED)]

    # -- Forgetting ---------------------------------------------------------------------------------

    async def erase(self, tenant: str, job_id: str) -> list[str]:
        """By id."""
        found = await self._run(_ERASE, {"tenant": tenant, "id": job_id}, scrub=True)
        return [row["id"] for row in found]

    async def erase_user(self, tenant: str, user_uuid: str) -> list[str]:
        """By user."""
        found = await self._run(_ERASE_USER, {"tenant": tenant, "user_uuid": user_uuid}, scrub=True)
        return [row["id"] for row in found]

    async def expire(self, before: datetime) -> int:
        """In batches."""
        total = 0
        while erased := await self._expire_some(ms_of(before) - READ_EVERY_MS):
            total += erased
        return total

    async def _expire_some(self, before_ms: int) -> int:
        stale = {"before": before_ms, "limit": EXPIRE_BATCH}
        reads = dict(self._reads)

        async def work(connection: Connection) -> int:
            # What was read a moment ago must count, noted or not.
            await self._write_reads(connection, reads)
            await run(connection, _DROP_STALE, stale)
            return len(await run(connection, _MARK_STALE, stale))

        erased = await self._database.write(work, scrub=True)
        self._noted(reads)
        return erased

    async def last_sweep(self) -> Sweep | None:
        """As read at start or recorded since."""
        return self._sweep

    async def record_sweep(self, sweep: Sweep) -> None:
        """In the database and here."""
        await self._run(_RECORD_SWEEP, {"at": ms_of(sweep.at), "trusted_from": ms_of(sweep.trusted_from)})
        self._sweep = sweep

    async def close(self) -> None:
        """Note the last reads; close."""
        if self._noting:
            await self._noting
        await self._database.close()

    async def _run(self, sql: str, parameters: Parameters = (), *, scrub: bool = False) -> list[sqlite3.Row]:
        """One statement in a transaction of its own."""
        return await self._database.write(lambda connection: run(connection, sql, parameters), scrub=scrub)

    # -- When a text was read -----------------------------------------------------------------------

    def _kept_ms(self) -> int:
        """Now, but not before the last sweep: a clock that was set back must not age what is stored meanwhile."""
        now = self._clock()
        return ms_of(max(now, self._sweep.at) if self._sweep else now)

    def _note_read(self, row: sqlite3.Row) -> None:
        now = self._kept_ms()
        if row["kept_ms"] is None or now - row["kept_ms"] < READ_EVERY_MS:
            return
        self._reads[row["seq"]] = now
        # In the background and many at once: a reader must not wait for a full or locked disk.
        if not self._noting or self._noting.done():
            self._noting = asyncio.create_task(self._note_reads())

    async def _note_reads(self) -> None:
        while reads := dict(self._reads):
            try:
                await self._database.write(lambda connection: self._write_reads(connection, reads))
            except SttError as error:
                log.warning("reads not noted yet", extra={"why": error.code, "reads": len(reads)})
                return
            self._noted(reads)

    async def _write_reads(self, connection: Connection, reads: dict[int, int]) -> None:
        async with connection.executemany(_NOTE_READ, list(reads.items())):
            pass

    def _noted(self, reads: dict[int, int]) -> None:
        for seq, when in reads.items():
            if self._reads.get(seq) == when:
                del self._reads[seq]


def _known(standing: list[sqlite3.Row], *, force: bool) -> sqlite3.Row | None:
    """Which of a key's jobs answers a submission. `standing`: its current job, then the pending one."""
    if not standing or standing[0]["status"] == JobStatus.FAILED:
        return None
    if not force or standing[0]["status"] != JobStatus.COMPLETED:
        return standing[0]
    return standing[1] if len(standing) > 1 else None
