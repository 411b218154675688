"""The database of the server this one replaces, taken over in place.

Both generations of it, one in Rust and one in Python, had the one table `transcriptions`; the latter added
`last_lookup`. It kept texts without words or times, and its unfinished jobs lost their audio with the process.
"""

import logging
import math
import sqlite3
import time
from typing import Any
from uuid import uuid4

import aiosqlite

from stt_server.errors import AudioLost, FailedBefore
from stt_server.jobs.workers import off_loop
from stt_server.logs import redact
from stt_server.speech.codec import dump
from stt_server.types import DEFAULT_TENANT, JobStatus, Segment, Transcript

log = logging.getLogger(__name__)

BATCH = 500
"""Rows taken over at a time."""
UNKNOWN = "unknown"
"""Model of a text whose model nobody wrote down."""
LATEST = 253_402_300_799
"""The last second of year 9999; what is later cannot be shown."""

_NEEDED = frozenset({"id", "user_uuid", "message_id", "status", "text", "created_at"})
_INSERT_JOB = f"""
    INSERT INTO jobs (seq, id, tenant, user_uuid, message_id, status, options, response_format, container,
                      created_ms, completed_ms, kept_ms, duration, error_code, error_message)
    VALUES (:seq, :id, '{DEFAULT_TENANT}', :user_uuid, :message_id, :status, '{{"model":"{UNKNOWN}"}}', 'json', '',
            :created_ms, :completed_ms, :kept_ms, :duration, :error_code, :error_message)
    ON CONFLICT DO NOTHING
"""  # noqa: S608 -- constants
_CLAIM_KEY = """
    INSERT INTO keys (tenant, user_uuid, message_id, current)
    SELECT tenant, user_uuid, message_id, seq FROM jobs WHERE seq = :seq AND :keyed
    ON CONFLICT (tenant, user_uuid, message_id) DO UPDATE SET current = excluded.current
    WHERE (SELECT status FROM jobs WHERE seq = keys.current) = 'failed'
"""
_DROP_LOSER = """
    DELETE FROM jobs WHERE seq = :seq AND :keyed AND NOT EXISTS (SELECT 1 FROM keys WHERE current = :seq)
"""
_INSERT_BODY = "INSERT INTO transcripts (seq, body) SELECT seq, :body FROM jobs WHERE seq = :seq AND :body NOTNULL"


async def present(connection: aiosqlite.Connection) -> bool:
    """The table is there, with the columns it always had."""
    found = await connection.execute_fetchall("SELECT name FROM pragma_table_info('transcriptions')")
    return {name for (name,) in found} >= _NEEDED


async def take_over(connection: aiosqlite.Connection) -> None:
    """Move every row to the tables of today and drop the old one. Part of the caller's transaction."""
    [(seq,)] = await connection.execute_fetchall("SELECT coalesce(max(seq), 0) FROM jobs")
    first, now = seq + 1, time.time()
    # Rows are taken whatever they hold: these files have no second reader that would ever complain.
    connection.text_factory = lambda raw: raw.decode(errors="replace")
    try:
        async with connection.execute("SELECT * FROM transcriptions") as cursor:
            while batch := list(await cursor.fetchmany(BATCH)):
                jobs = await off_loop(_convert, batch, seq + 1, now)
                seq += len(jobs)
                for statement in (_INSERT_JOB, _CLAIM_KEY, _DROP_LOSER, _INSERT_BODY):
                    async with connection.executemany(statement, jobs):
                        pass
    finally:
        connection.text_factory = str
    await connection.execute_fetchall("DROP TABLE transcriptions")
    [(taken,)] = await connection.execute_fetchall("SELECT count(*) FROM jobs WHERE seq >= ?", (first,))
    log.info("old database taken over", extra={"rows": seq + 1 - first, "taken": taken})


def _convert(batch: list[sqlite3.Row], seq: int, now: float) -> list[dict[str, Any]]:
    return [_job(dict(row), seq + i, now) for i, row in enumerate(batch)]


def _job(row: dict[str, Any], seq: int, now: float) -> dict[str, Any]:
    status, text = _outcome(row), _text(row["text"])
    user_uuid, message_id = _text(row["user_uuid"]) or "", _text(row["message_id"]) or ""
    created, completed = _seconds(row["created_at"]), _seconds(row.get("completed_at"))
    times = (created, completed, _seconds(row.get("last_lookup")))
    kept = min(now, max((t for t in times if t is not None), default=now))
    duration = _duration(row.get("duration"))
    has_text = status is JobStatus.COMPLETED and text is not None
    return {
        "seq": seq,
        "id": _text(row["id"]) or str(uuid4()),
        "user_uuid": user_uuid,
        "message_id": message_id,
        "keyed": bool(user_uuid and message_id),
        "status": status,
        "created_ms": _ms(now if created is None else created),
        "completed_ms": _ms(completed),
        "kept_ms": _ms(kept) if has_text else None,
        "duration": duration if status is JobStatus.COMPLETED else None,
        "body": dump(_transcript(text, duration or 0.0)) if has_text and text is not None else None,
        **_error(row, status),
    }


def _outcome(row: dict[str, Any]) -> JobStatus:
    return JobStatus.COMPLETED if row["status"] == JobStatus.COMPLETED else JobStatus.FAILED


def _error(row: dict[str, Any], status: JobStatus) -> dict[str, str | None]:
    if status is JobStatus.COMPLETED:
        return {"error_code": None, "error_message": None}
    if row["status"] != JobStatus.FAILED:
        return {"error_code": AudioLost.code, "error_message": AudioLost().message}
    message = _text(row.get("error"))
    # Its messages came from libraries and could hold a URL with its token.
    return {
        "error_code": FailedBefore.code,
        "error_message": redact(message) if message else FailedBefore().message,
    }


def _transcript(text: str, duration: float) -> Transcript:
    text = text.strip()
    segments = (Segment(text, 0.0, duration),) if text else ()
    return Transcript(segments, duration, language=None, model=UNKNOWN)


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _seconds(value: object) -> float | None:
    if not isinstance(value, int | float) or not 0 <= value <= LATEST:
        return None
    return float(value)


def _duration(value: object) -> float | None:
    if not isinstance(value, int | float) or not 0 <= value < math.inf:
        return None
    return float(value)


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1000)
