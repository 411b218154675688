"""A `Job` and its row: how the one becomes the other."""

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any

from stt_server.jobs.workers import off_loop
from stt_server.speech.codec import load
from stt_server.types import Job, JobError, JobStatus, Key, Options

LARGE_BODY = 32_768
"""Characters from which a stored transcript is parsed off the event loop: about a millisecond's work."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def job_of(row: sqlite3.Row) -> Job:
    """The job of a row of `jobs` with the `body` of its transcript, or NULL, beside it."""
    body = row["body"]
    transcript = None
    if body is not None:
        transcript = await off_loop(load, body) if len(body) >= LARGE_BODY else load(body)
    return Job(
        id=row["id"],
        key=Key(row["tenant"], row["user_uuid"], row["message_id"]),
        options=_load_options(row["options"]),
        response_format=row["response_format"],
        container=row["container"],
        created_at=time_of(row["created_ms"]),
        status=JobStatus(row["status"]),
        seq=row["seq"],
        attempt=row["attempt"],
        started_at=_time_or_none(row["started_ms"]),
        completed_at=_time_or_none(row["completed_ms"]),
        transcript=transcript,
        error=JobError(row["error_code"], row["error_message"]) if row["error_code"] else None,
        duration=row["duration"],
    )


def columns_of(job: Job) -> dict[str, Any]:
    """What is known of a job when it is submitted."""
    return columns_of_key(job.key) | {
        "id": job.id,
        "options": _dump_options(job.options),
        "response_format": job.response_format,
        "container": job.container,
        "created_ms": ms_of(job.created_at),
    }


def columns_of_key(key: Key) -> dict[str, str]:
    """Its three columns."""
    return {"tenant": key.tenant, "user_uuid": key.user_uuid, "message_id": key.message_id}


def ms_of(when: datetime) -> int:
    """Milliseconds since 1970, rounded down."""
    return (when - _EPOCH) // timedelta(milliseconds=1)


def time_of(milliseconds: int) -> datetime:
    """The time of so many milliseconds since 1970."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def _time_or_none(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else time_of(milliseconds)


def _dump_options(options: Options) -> str:
    fields = {
        "model": options.model,
        "language": options.language,
        "prompt": options.prompt,
        "keyterms": options.keyterms,
    }
    return json.dumps({name: value for name, value in fields.items() if value})


def _load_options(text: str) -> Options:
    fields = json.loads(text)
    return Options(
        model=fields.get("model", ""),
        language=fields.get("language"),
        prompt=fields.get("prompt"),
        keyterms=tuple(fields.get("keyterms", ())),
    )
