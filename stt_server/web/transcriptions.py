"""One route, two callers: OpenAI's waits in the call, a job comes back for its text. And all that is asked of jobs."""

from datetime import UTC, datetime

from fastapi import APIRouter, Request, status
from starlette.responses import Response

from stt_server.errors import BadRequest, JobFailed, TextExpired, UnsupportedOption
from stt_server.types import Job, JobStatus, Key
from stt_server.web.answers import streamed, whole
from stt_server.web.arrival import Arrival
from stt_server.web.form import Form, check_format, check_id
from stt_server.web.schemas import (
    FORM,
    DeletedBody,
    FoundBody,
    JobBody,
    NotFoundBody,
    QueueBody,
    Submitted,
    found_body,
    job_body,
)
from stt_server.web.services import Authenticated, Parts, Services
from stt_server.web.waiting import unless_gone

router = APIRouter(prefix="/v1/audio")


@router.post("/transcriptions", response_model=Submitted, openapi_extra=FORM)
async def transcribe(request: Request, services: Parts, caller: Authenticated) -> Response | Submitted:
    """Transcribe audio. With `user_uuid` and `message_id`: take it in as a job."""
    async with Arrival(services, caller, request) as arrival:
        if known := await arrival.receive():
            return _submitted(services, known, created=False)
        services.limits.expect(arrival.id, caller)
        if arrival.key:
            return await _submit(services, arrival, arrival.key)
        return await _answer(services, arrival, request)


async def _submit(services: Services, arrival: Arrival, key: Key) -> Submitted:
    job = Job(
        id=arrival.id,
        key=key,
        options=arrival.wanted.options,
        response_format=arrival.wanted.response_format,
        container=arrival.container,
        created_at=datetime.now(UTC),
    )
    admitted = await services.queue.submit(arrival.slot, job, force=arrival.force)
    return _submitted(services, admitted.job, created=admitted.created)


def _submitted(services: Services, job: Job, *, created: bool) -> Submitted:
    if not created:
        message = "Transcription already exists"
        return Submitted(job_id=job.id, status=job.status, queue_position=None, message=message, cached=True)
    return Submitted(
        job_id=job.id,
        status=JobStatus.QUEUED,
        queue_position=services.queue.position(job.id) or 1,  # it may have been started already
        message="Transcription queued",
        cached=False,
    )


async def _answer(services: Services, arrival: Arrival, request: Request) -> Response:
    wanted = arrival.wanted
    ticket = await services.queue.enqueue(arrival.slot, arrival.id, arrival.container, wanted.options)
    try:
        if wanted.stream:
            return await streamed(request, ticket, wanted.rendering)
        transcript = await unless_gone(request.receive, ticket.result())
    except BaseException:
        ticket.close()
        raise
    return await whole(transcript, wanted.response_format, wanted.rendering)


@router.post("/translations", include_in_schema=False)
async def translate(_: Authenticated) -> Response:
    """Refuse: the model writes what it hears, in the language it hears."""
    raise UnsupportedOption("This server does not translate. Use /v1/audio/transcriptions.")


@router.get("/transcriptions/lookup")
async def lookup(request: Request, services: Parts, caller: Authenticated) -> FoundBody | NotFoundBody:
    """Whether a recording is known, and its text."""
    key = Key(caller.tenant, _queried_id(request, "user_uuid"), _queried_id(request, "message_id"))
    job = await services.store.lookup(key)
    return found_body(job) if job else NotFoundBody()


@router.get("/transcriptions/status")
async def queue_status(services: Parts, _: Authenticated) -> QueueBody:
    """The queue at this moment."""
    queue = services.queue
    return QueueBody(queue_length=queue.waiting, processing=queue.processing, max_queue_size=queue.max_size)


@router.get("/transcriptions/{job_id}")
async def job_status(job_id: str, services: Parts, caller: Authenticated) -> JobBody:
    """Where a job stands, and its text."""
    return _described(services, await services.store.get(caller.tenant, job_id))


def _described(services: Services, job: Job) -> JobBody:
    queue = services.queue
    return job_body(job, queue_position=queue.position(job.id), progress=queue.progress(job.id))


@router.get("/transcriptions/{job_id}/result", response_model=JobBody)
async def job_result(
    job_id: str, request: Request, response: Response, services: Parts, caller: Authenticated
) -> Response | JobBody:
    """A job's transcript in any format: 202 with the job until it is done, 400 when it failed."""
    job = await services.store.get(caller.tenant, job_id)
    form = Form()
    for name, value in request.query_params.multi_items():
        form.add(name, value)
    response_format = check_format(form.get("response_format"), job.response_format)
    rendering = form.rendering()
    if job.error:
        raise JobFailed(job.error.message, reason=job.error.code)
    if job.status is not JobStatus.COMPLETED:
        response.status_code = status.HTTP_202_ACCEPTED
        return _described(services, job)
    if job.transcript is None:
        raise TextExpired
    return await whole(job.transcript, response_format, rendering)


@router.delete("/transcriptions/{job_id}")
async def erase(job_id: str, services: Parts, caller: Authenticated) -> DeletedBody:
    """Erase a job: its text, its audio, its row. Repeatable."""
    return _forgotten(services, await services.store.erase(caller.tenant, job_id))


@router.delete("/transcriptions")
async def erase_user(request: Request, services: Parts, caller: Authenticated) -> DeletedBody:
    """Erase everything of a user. Repeatable."""
    if "message_id" in request.query_params:
        raise BadRequest(
            "This erases everything of the user. Erase one recording by its job's id, or leave `message_id` out.",
            param="message_id",
        )
    return _forgotten(services, await services.store.erase_user(caller.tenant, _queried_id(request, "user_uuid")))


def _forgotten(services: Services, job_ids: list[str]) -> DeletedBody:
    services.queue.abandon(*job_ids)
    for job_id in job_ids:
        services.limits.settle(job_id, 0)
    return DeletedBody(deleted=len(job_ids))


def _queried_id(request: Request, name: str) -> str:
    return check_id(name, request.query_params.get(name, ""))
