"""Bodies that go out as JSON, and what the published description says of the body that comes in."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from stt_server.errors import (
    AudioTooShort,
    BadAudio,
    BadUrl,
    Busy,
    Internal,
    JobFailed,
    RateLimited,
    SttError,
    TooLarge,
    Unavailable,
    UpstreamFailed,
    UrlDenied,
    UrlRefused,
)
from stt_server.speech.formats import FORMATS
from stt_server.types import Job, JobStatus
from stt_server.web.form import GRANULARITIES

_TYPES: tuple[tuple[type[SttError], str], ...] = (
    (RateLimited, "requests"),
    (Busy, "rate_limit_error"),
    (TooLarge, "server_error"),  # sic: OpenAI's
    (UpstreamFailed, "server_error"),
    (Unavailable, "server_error"),
    (Internal, "server_error"),
)
"""OpenAI's `type` of an error; all others are `invalid_request_error`."""

_PARAMS: tuple[tuple[type[SttError], str], ...] = (
    (BadAudio, "file"),
    (AudioTooShort, "file"),
    (BadUrl, "url"),
    (UrlRefused, "url"),
    (UrlDenied, "url"),
    (UpstreamFailed, "url"),
)
"""Which field is to blame where the error itself does not say."""


class ErrorFacts(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    """The field to blame."""
    code: str | None


class ErrorBody(BaseModel):
    """The body of every error."""

    error: ErrorFacts


def error_body(error: SttError) -> ErrorBody:
    """An error as OpenAI writes it, all four keys present."""
    kind = next((name for family, name in _TYPES if isinstance(error, family)), "invalid_request_error")
    param = error.param or next((name for family, name in _PARAMS if isinstance(error, family)), None)
    code = error.reason if isinstance(error, JobFailed) else error.code
    return ErrorBody(error=ErrorFacts(message=error.message, type=kind, param=param, code=code))


class Submitted(BaseModel):
    """A job was taken in, or was there already."""

    job_id: str
    status: JobStatus
    queue_position: int | None = Field(description="1 is the next one. Null for a job that was there already.")
    message: str
    cached: bool


class JobBody(BaseModel):
    """Where a job stands."""

    job_id: str
    status: JobStatus
    queue_position: int | None = Field(description="1 is the next one; null once it is worked on.")
    progress: float = Field(description="0 to 1.")
    user_uuid: str
    message_id: str
    text: str | None
    duration: float | None = Field(description="Seconds of the decoded audio; null until done.")
    error: str | None
    created_at: int = Field(description="Unix time.")


class NotFoundBody(BaseModel):
    """A lookup without result."""

    found: Literal[False] = False


class FoundBody(BaseModel):
    """A lookup with a result."""

    found: Literal[True] = True
    job_id: str
    status: JobStatus
    text: str | None
    duration: float | None
    error: str | None
    created_at: int


class QueueBody(BaseModel):
    """The queue at this moment."""

    queue_length: int = Field(description="Recordings that wait.")
    processing: bool
    max_queue_size: int


class DeletedBody(BaseModel):
    """What was erased."""

    deleted: int


class ModelBody(BaseModel):
    """One id that may be sent as `model`."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelsBody(BaseModel):
    """All of them."""

    object: Literal["list"] = "list"
    data: list[ModelBody]


class CountsBody(BaseModel):
    """Jobs in the database."""

    total: int
    completed: int
    failed: int
    pending: int


class HealthBody(BaseModel):
    """The server is ready, and with what model."""

    status: Literal["healthy"] = "healthy"
    model: str
    embedded: bool = Field(description="The small model that comes with the program is used.")
    verified: bool = Field(description="The model's files match their published checksums.")
    owned_by: str
    version: str
    queue_length: int
    db_stats: CountsBody


class AliveBody(BaseModel):
    """The process answers."""

    status: Literal["alive", "ready"]


def found_body(job: Job) -> FoundBody:
    """A job as a lookup shows it."""
    return FoundBody(
        job_id=job.id,
        status=job.status,
        text=job.transcript.text if job.transcript else None,
        duration=job.duration,
        error=job.error.message if job.error else None,
        created_at=int(job.created_at.timestamp()),
    )


def job_body(job: Job, *, queue_position: int | None, progress: float) -> JobBody:
    """A job as its own address shows it."""
    return JobBody(
        **found_body(job).model_dump(exclude={"found"}),
        queue_position=queue_position,
        progress=1.0 if job.status is JobStatus.COMPLETED else round(progress, 3),
        user_uuid=job.key.user_uuid,
        message_id=job.key.message_id,
    )


def _text(description: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", "description": description, **more}


def _list(description: str, items: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "array", "items": items or {"type": "string"}, "description": description}


FORM_FIELDS: dict[str, dict[str, Any]] = {
    "file": _text("The audio. Any common format, told by its bytes.", format="binary"),
    "url": _text("Where to fetch the audio, when no file is sent.", format="uri"),
    "user_uuid": _text("With `message_id`: makes this a job. 1 to 255 printable characters."),
    "message_id": _text("With `user_uuid`: makes this a job."),
    "force": {"type": "boolean", "description": "Transcribe a known job again; its result stays until then."},
    "model": _text("An id of `/v1/models`. Default: the installed one."),
    "language": _text("ISO 639 code or English name, for verbose_json. It does not steer the recognition."),
    "response_format": _text("Default json.", enum=list(FORMATS)),
    "timestamp_granularities[]": _list("For verbose_json.", {"type": "string", "enum": sorted(GRANULARITIES)}),
    "include[]": _list("For json.", {"type": "string", "enum": ["logprobs"]}),
    "stream": {"type": "boolean", "description": "Send the text in pieces, as server-sent events."},
    "temperature": {"type": "number", "minimum": 0, "maximum": 1, "description": "Has no effect."},
    "prompt": _text("Names and rare words that may be said: a list, or text with names in it. Nothing else counts."),
    "keywords[]": _list("Names and rare words that may be said. With the prompt's, up to 200 count."),
    "chunking_strategy": _text("Has no effect: long audio is always cut in pauses."),
}
"""Every field that is read, or accepted on purpose."""

FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"multipart/form-data": {"schema": {"type": "object", "properties": FORM_FIELDS}}},
    }
}
"""The body of a submission, for the published description: FastAPI never sees the form itself."""
