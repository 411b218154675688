"""What is around every request: its id and log line, the headers browsers need, and the last handler of errors.

Plain ASGI, because `BaseHTTPMiddleware` hides a client's leaving from what is inside it.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stt_server.errors import Internal, ShuttingDown, SttError, Unavailable
from stt_server.logs import request_id

log = logging.getLogger(__name__)

EXPOSED = ", ".join(
    [
        "x-request-id, openai-processing-ms, openai-version, retry-after, x-should-retry",
        *(
            f"x-ratelimit-{what}-{kind}"
            for kind in ("requests", "audio-seconds")
            for what in ("limit", "remaining", "reset")
        ),
    ]
)
"""Headers that a page's script may read beside the few that it always may."""


def new_request_id() -> str:
    """As OpenAI writes them; users quote it, and the log has it."""
    return f"req_{uuid4().hex}"


class Frame:
    """Outermost: every answer carries its request's id, every request leaves one line in the log."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.monotonic()
        name = new_request_id()
        # The server's task lives no longer than its request: nothing to reset.
        request_id.set(name)
        state = scope.setdefault("state", {})
        status: int | None = None

        async def framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = name
                headers["openai-version"] = "2020-10-01"
                headers["openai-processing-ms"] = str(_ms_since(began))
                if (more := state.get("headers")) is not None:
                    headers.update(more())
            await send(message)

        try:
            await self.app(scope, receive, framed)
        finally:
            route = getattr(scope.get("route"), "path", None)
            log.log(
                logging.DEBUG if (route or "").startswith("/health") else logging.INFO,
                "request",
                extra={
                    "method": scope["method"],
                    "route": route,  # the template: a path may hold ids, a query tokens
                    "status": status,
                    "ms": _ms_since(began),
                    "tenant": state.get("tenant"),
                },
            )


def _ms_since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


class Cors:
    """Lets pages of listed origins read every answer, errors included. No cookies, hence never credentials."""

    def __init__(self, app: ASGIApp, origins: Iterable[str]) -> None:
        self.app = app
        self.origins = frozenset(origin.rstrip("/").lower() for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or not self.origins:
            await self.app(scope, receive, send)
            return
        request = Headers(scope=scope)
        allowed = self._allowed(request.get("origin"))
        if allowed and scope["method"] == "OPTIONS" and "access-control-request-method" in request:
            await _preflight(request, allowed)(scope, receive, send)
            return

        async def opened(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.add_vary_header("Origin")
                if allowed:
                    headers["Access-Control-Allow-Origin"] = allowed
                    headers["Access-Control-Expose-Headers"] = EXPOSED
            await send(message)

        await self.app(scope, receive, opened)

    def _allowed(self, origin: str | None) -> str | None:
        if origin is None:
            return None
        return "*" if "*" in self.origins else origin if origin.lower() in self.origins else None


def _preflight(request: Headers, allowed: str) -> Response:
    """The SDKs add headers of their own, so whatever is asked for is allowed."""
    headers = {
        "Access-Control-Allow-Origin": allowed,
        "Access-Control-Allow-Methods": "GET, HEAD, POST, DELETE, OPTIONS",
        "Access-Control-Allow-Headers": request.get("access-control-request-headers", "Authorization, Content-Type"),
        "Access-Control-Max-Age": "600",
        "Vary": "Origin, Access-Control-Request-Headers",
    }
    if request.get("access-control-request-private-network") == "true":
        headers["Access-Control-Allow-Private-Network"] = "true"
    return Response(status_code=204, headers=headers)


class Guard:
    """Innermost: whatever goes wrong is answered in the one error shape."""

    def __init__(self, app: ASGIApp, refusal: Callable[[SttError], Response]) -> None:
        self.app = app
        self.refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        error: SttError
        try:
            _check_crowd(scope)
            await self.app(scope, receive, watched)
            return
        except ClientDisconnect:
            return
        except SttError as ours:
            error = ours
        except asyncio.CancelledError:
            error = ShuttingDown(retry_after=5)  # the server stops waiting for its requests
        except Exception:
            if started:
                raise  # the server breaks the connection off, so that nobody takes the piece for the whole
            log.exception("request failed")
            error = Internal()
        if not started:
            await self.refusal(error)(scope, receive, send)


def _check_crowd(scope: Scope) -> None:
    """Connections beyond the limit are told so; whether the server lives is answered all the same."""
    if scope["state"].get("crowded") and not scope["path"].startswith("/health"):
        raise Unavailable("Too many connections.", retry_after=2)
