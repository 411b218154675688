"""The application: its parts, its life, and the one table that knows what an error is in HTTP."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import cast

import httpx
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route

from stt_server import __version__
from stt_server.errors import (
    BadRequest,
    Busy,
    Internal,
    MethodNotAllowed,
    NotFound,
    StartupError,
    SttError,
    Temporary,
    TooLarge,
    TooSlow,
    Unauthorized,
    Unavailable,
    UpstreamFailed,
)
from stt_server.jobs.fetch import Fetcher
from stt_server.jobs.queue import Queue
from stt_server.jobs.recogniser import Recogniser
from stt_server.jobs.retention import Retention
from stt_server.jobs.spool import Spool
from stt_server.jobs.stores import Store, open_store
from stt_server.jobs.workers import off_loop
from stt_server.settings import Settings
from stt_server.speech.engines import Engine, load
from stt_server.speech.models import Installed, find_model, verify
from stt_server.speech.processor import Kernels
from stt_server.web import system, transcriptions
from stt_server.web.auth import Keys
from stt_server.web.census import Census
from stt_server.web.limits import Limits, MeteredTranscriber
from stt_server.web.middleware import Cors, Frame, Guard
from stt_server.web.schemas import ErrorBody, error_body
from stt_server.web.services import Services

log = logging.getLogger(__name__)

LoadEngine = Callable[..., Engine]
"""Called as `load(folder, threads=n)` in the recogniser process, so it must be picklable."""

STATUS: tuple[tuple[type[SttError], int], ...] = (
    (BadRequest, 400),
    (Unauthorized, 401),
    (NotFound, 404),
    (MethodNotAllowed, 405),
    (TooSlow, 408),
    (TooLarge, 413),
    (Busy, 429),
    (Internal, 500),
    (UpstreamFailed, 502),
    (Unavailable, 503),
)
"""Family -> HTTP. The only place that knows."""


# -- Errors ----------------------------------------------------------------------------------------


def refusal(error: SttError) -> JSONResponse:
    """An error as an answer."""
    status = next((number for family, number in STATUS if isinstance(error, family)), None)
    if status is None:
        # Meant for the operator: it may name files.
        log.error("cannot answer", exc_info=error)
        error, status = Internal(), 500
    headers = {}
    if isinstance(error, Temporary):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    if status == 500:
        # The SDKs send everything from 500 up again: what failed here fails again.
        headers["x-should-retry"] = "false"
    return JSONResponse(error_body(error).model_dump(), status, headers)


async def _on_error(_: Request, error: Exception) -> Response:
    return refusal(cast("SttError", error))


async def _on_invalid(_: Request, error: Exception) -> Response:
    """What FastAPI itself finds wrong with a request."""
    first = cast("RequestValidationError", error).errors()[0]
    return refusal(BadRequest(f"{first['msg']}.", param=str(first["loc"][-1])))


async def _on_unknown_route(request: Request, error: Exception) -> Response:
    """What the router finds wrong."""
    found = cast("HTTPException", error)
    where = f"{request.method} {request.url.path}"
    if found.status_code == 405:
        answer = refusal(MethodNotAllowed(f"{where}: this address does not answer that method."))
        answer.headers["Allow"] = _methods(request)
    elif found.status_code == 404:
        answer = refusal(NotFound(f"{where}: there is nothing at this address."))
    else:
        answer = refusal(BadRequest(found.detail))
    return answer


def _methods(request: Request) -> str:
    """All that the address answers. The router itself names those of its first route only."""
    routes = [*transcriptions.router.routes, *system.router.routes, *request.app.routes]
    there = [
        route.methods or ()
        for route in routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
    ]
    return ", ".join(sorted({method for methods in there for method in methods}))


# -- Parts -----------------------------------------------------------------------------------------


@asynccontextmanager
async def _services(
    settings: Settings, load_engine: LoadEngine, transport: httpx.AsyncBaseTransport | None
) -> AsyncIterator[Services]:
    """Everything built, none of it started. Raises `StartupError`."""
    keys = read_keys(settings)
    found = await off_loop(find_model, settings.model_path, settings.model_name)
    model = await off_loop(verify, found)
    spool = await _open_spool(settings.spool_path)
    async with AsyncExitStack() as stack:
        store = await open_store(settings.db_path)
        stack.push_async_callback(store.close)
        limits = Limits(
            requests_per_minute=settings.requests_per_minute, audio_seconds_per_day=settings.audio_seconds_per_day
        )
        yield Services(
            settings=settings,
            model=model,
            store=store,
            spool=spool,
            queue=_queue(settings, model, store, spool, limits, load_engine, crowded=keys.several),
            fetcher=make_fetcher(settings, transport),
            keys=keys,
            limits=limits,
            census=Census(store),
        )


async def _open_spool(folder: Path) -> Spool:
    try:
        return await off_loop(Spool, folder)
    except OSError as error:
        raise StartupError(f"The folder {folder} cannot be made: {error.strerror}. Set DB_PATH.") from error


def read_keys(settings: Settings) -> Keys:
    """Who may call. Raises `StartupError`."""
    return Keys((key.get_secret_value() for key in settings.api_keys), required=settings.auth == "on")


def make_fetcher(settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> Fetcher:
    """What fetches a `url`. Raises `StartupError`."""
    return Fetcher(
        timeout_secs=settings.fetch_timeout_secs,
        max_bytes=settings.max_upload_bytes,
        allow_hosts=settings.fetch_allow_hosts,
        insecure_hosts=settings.fetch_insecure_hosts,
        ca_bundle=settings.fetch_ca_bundle,
        transport=transport,
    )


def _queue(
    settings: Settings,
    model: Installed,
    store: Store,
    spool: Spool,
    limits: Limits,
    load_engine: LoadEngine,
    *,
    crowded: bool,
) -> Queue:
    kernels = Kernels(settings.kernels)
    load_model = partial(load_engine, model.folder, threads=settings.threads, kernels=kernels)
    recogniser = Recogniser(load_model, threads=settings.threads)
    transcriber = MeteredTranscriber(
        recogniser,
        spool,
        model=model.name,
        max_duration=settings.max_audio_duration_secs,
        threads=settings.threads,
        limits=limits,
    )
    return Queue(
        store,
        spool,
        recogniser,
        transcriber,
        max_size=settings.max_queue_size,
        threads=settings.threads,
        # Where several tenants must get along, none of them fills the queue.
        max_share=max(1, settings.max_queue_size // 2) if crowded else None,
    )


# -- Life ------------------------------------------------------------------------------------------


def create_app(
    settings: Settings, *, load_engine: LoadEngine = load, transport: httpx.AsyncBaseTransport | None = None
) -> FastAPI:
    """The whole server as an ASGI application. `transport` stands in for the network when a `url` is fetched."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with _services(settings, load_engine, transport) as services:
            app.state.services = services
            retention = Retention(services.store, text_days=settings.text_retention_days)
            sweeping = asyncio.create_task(retention.run())
            try:
                recogniser = await services.queue.start()
                recogniser.add_done_callback(partial(_note_failure, app))
                yield
            finally:
                await services.queue.stop()
                sweeping.cancel()
                await asyncio.gather(sweeping, return_exceptions=True)

    app = FastAPI(
        title="stt-server",
        version=__version__,
        summary="Speech to text on ordinary processors.",
        lifespan=lifespan,
        # The pages that show the description load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        # Behind a proxy with TLS they would lead to plain HTTP.
        redirect_slashes=False,
        middleware=[
            Middleware(Frame),
            Middleware(Cors, origins=settings.cors_origins),
            Middleware(Guard, refusal=refusal),
        ],
        exception_handlers={
            SttError: _on_error,
            RequestValidationError: _on_invalid,
            HTTPException: _on_unknown_route,
        },
        responses={"4XX": {"model": ErrorBody}, "5XX": {"model": ErrorBody}},
    )
    app.state.failure = None
    app.include_router(transcriptions.router)
    app.include_router(system.router)
    return app


def _note_failure(app: FastAPI, recogniser: asyncio.Task[None]) -> None:
    """The recogniser is given up: whoever runs the server ends it, for a restart to try again."""
    if recogniser.cancelled():
        return
    error = recogniser.exception()
    if not isinstance(error, StartupError):
        log.error("recogniser ended", exc_info=error)
        error = StartupError("The recogniser ended by a fault of its own. The log says why.")
    app.state.failure = error
