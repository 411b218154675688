"""The server as a process: its socket, its signals, its exit status."""

import asyncio
import logging
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import uvicorn
from fastapi import FastAPI

from stt_server import __version__, logs
from stt_server.errors import StartupError
from stt_server.settings import LOOPBACK, Settings, forget_environment, ignored_settings
from stt_server.web.app import create_app
from stt_server.web.protocol import PatientProtocol
from stt_server.web.services import Services

log = logging.getLogger(__name__)

GRACE_SECS = 4.0
"""After SIGTERM, callers who wait have so long to get their answer. Then they are told to come back."""
GRACEFUL_SECS = 5
"""After that, uvicorn waits no longer. Docker kills after ten seconds."""
OPEN_FILES = 8192
"""Wanted: each connection is one, and each upload another. The usual limit is 1024."""
HEADER_BYTES = 64 * 1024
"""Of all headers of a request together."""
BACKLOG = 2048
"""Connections that may wait to be accepted."""


def run(settings: Settings) -> int:
    """Serve until stopped; the exit status."""
    logs.configure(settings.log_level, settings.log_format)
    for name in ("uvicorn.error", "python_multipart"):
        logging.getLogger(name).setLevel(logging.ERROR)  # a broken request is the client's, and is answered
    _warn(settings)
    forget_environment()
    _allow_files()
    try:
        asyncio.run(serve(settings))
    except StartupError as error:
        log.error("cannot serve", extra={"why": error.message, "code": error.code})
        return 1
    return 0


async def serve(
    settings: Settings,
    *,
    make_app: Callable[[Settings], FastAPI] = create_app,
    protocol: type[PatientProtocol] = PatientProtocol,
    stop: asyncio.Event | None = None,
    on_address: Callable[[str], None] | None = None,
) -> None:
    """Serve until `stop` is set, or SIGTERM or SIGINT comes. Raises `StartupError`, at start or when the model fails.

    `on_address` is told the address once requests are answered.
    """
    stop = stop or asyncio.Event()
    app = make_app(settings)
    # Clients that come while the parts are built wait in the socket's backlog instead of being refused.
    with _signals(stop), _listener(settings) as listener:
        async with app.router.lifespan_context(app):
            services: Services = app.state.services
            server = _Server(_config(app, protocol), app, stop)
            address = _address(listener)
            _announce(address, services)
            if on_address:
                on_address(address)
            await server.serve(sockets=[listener])
            if app.state.failure:
                raise app.state.failure
    log.info("stopped")


def _announce(address: str, services: Services) -> None:
    model = services.model
    facts = {"model": model.name, "embedded": model.embedded, "verified": model.verified}
    log.info(
        "listening", extra={"address": address, **facts, "threads": services.settings.threads, "version": __version__}
    )


def _warn(settings: Settings) -> None:
    if names := ignored_settings():
        log.warning("settings without effect here", extra={"names": ",".join(names)})
    if settings.host not in LOOPBACK and (settings.auth == "off" or not settings.api_keys):
        log.warning("everybody who reaches this address may use it", extra={"host": settings.host})


def _allow_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """From the first moment, so that a server that is still starting ends in order too."""
    loop = asyncio.get_running_loop()
    taken = []
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(RuntimeError, ValueError):  # only the main thread has signals
            loop.add_signal_handler(number, stop.set)
            taken.append(number)
    try:
        yield
    finally:
        for number in taken:
            loop.remove_signal_handler(number)


@contextmanager
def _listener(settings: Settings) -> Iterator[socket.socket]:
    try:
        family, _, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        # asyncio sets TCP_NODELAY only where the protocol is named; without it each answer waits 40 ms.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        raise _cannot_listen(settings, error) from error
    with listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError as error:
            raise _cannot_listen(settings, error) from error
        yield listener


def _cannot_listen(settings: Settings, error: OSError) -> StartupError:
    return StartupError(f"Cannot listen on {settings.host}, port {settings.port}: {error.strerror}.")


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _config(app: FastAPI, protocol: type[PatientProtocol]) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        loop="asyncio",
        lifespan="off",  # the caller has it: it must know why a start failed
        log_config=None,
        access_log=False,
        server_header=False,
        # Nothing here depends on a client's address, so nobody is believed about it.
        proxy_headers=False,
        forwarded_allow_ips=[],
        timeout_keep_alive=5,
        timeout_graceful_shutdown=GRACEFUL_SECS,
        h11_max_incomplete_event_size=HEADER_BYTES,
    )


class _Server(uvicorn.Server):
    """Stops for a signal, for `stop`, and when the model has failed for good."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, stop: asyncio.Event) -> None:
        super().__init__(config)
        self._app = app
        self._stop = stop

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing: they have been captured. uvicorn would raise them again at the end, and spoil the exit status."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop now."""
        await super().on_tick(counter)
        return self._stop.is_set() or self._app.state.failure is not None

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let those who wait have their answers, for a while."""
        log.info("stopping")
        refusing = asyncio.create_task(self._refuse())
        await super().shutdown(sockets)
        refusing.cancel()

    async def _refuse(self) -> None:
        await asyncio.sleep(GRACE_SECS)
        await self._app.state.services.queue.stop()
