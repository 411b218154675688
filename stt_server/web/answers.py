"""Transcripts as answers: rendered off the event loop, or streamed in pieces as they become certain."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from stt_server.errors import SttError
from stt_server.jobs.tickets import Ticket
from stt_server.jobs.workers import off_loop
from stt_server.speech.formats import FORMATS, Rendering, delta, logprobs
from stt_server.types import Hypothesis, Transcript
from stt_server.web.schemas import error_body
from stt_server.web.waiting import unless_gone


async def whole(transcript: Transcript, response_format: str, rendering: Rendering) -> Response:
    """The transcript in a format. Four hours of speech take a good second: off the event loop."""
    body = await off_loop(_render, transcript, response_format, rendering)
    return Response(body, media_type=FORMATS[response_format].media_type)


def _render(transcript: Transcript, response_format: str, rendering: Rendering) -> bytes:
    body = FORMATS[response_format].render(transcript, rendering)
    return (body if isinstance(body, str) else _json(body)).encode()


def _json(body: Mapping[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


async def streamed(request: Request, ticket: Ticket, rendering: Rendering) -> "EventStream":
    """Server-sent events, once there is something to send: what fails before is an ordinary error."""
    parts = ticket.parts()
    first = await unless_gone(request.receive, anext(parts, None))
    return EventStream(ticket, parts, first, rendering)


class EventStream(Response):
    """`transcript.text.delta` for each piece, `transcript.text.done` with the whole text, `[DONE]`."""

    media_type = "text/event-stream"

    def __init__(
        self, ticket: Ticket, parts: AsyncIterator[Hypothesis], first: Hypothesis | None, rendering: Rendering
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._ticket = ticket
        self._parts = parts
        self._first = first
        self._rendering = rendering

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Send it all, unless the client leaves."""
        try:
            await unless_gone(receive, self._send(send))
        finally:
            self._ticket.close()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for frame in self._frames():
            await send({"type": "http.response.body", "body": frame.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _frames(self) -> AsyncIterator[str]:
        try:
            async for event in self._deltas():
                yield _frame(event)
            yield await off_loop(_done, await self._ticket.result(), self._rendering)
            yield "data: [DONE]\n\n"
        except SttError as error:
            yield _frame(error_body(error).model_dump())

    async def _deltas(self) -> AsyncIterator[dict[str, Any]]:
        nothing_yet = True
        async for part in self._all_parts():
            if text := delta(part.words, first=nothing_yet):
                nothing_yet = False
                more = {"logprobs": logprobs(part.tokens)} if self._rendering.logprobs else {}
                yield {"type": "transcript.text.delta", "delta": text, **more}

    async def _all_parts(self) -> AsyncIterator[Hypothesis]:
        if self._first is not None:
            yield self._first
            async for part in self._parts:
                yield part


def _done(transcript: Transcript, rendering: Rendering) -> str:
    """As OpenAI's: its `usage` could only be in tokens, so there is none."""
    body = FORMATS["json"].render(transcript, rendering)
    assert isinstance(body, dict)
    return _frame({"type": "transcript.text.done"} | {name: value for name, value in body.items() if name != "usage"})


def _frame(event: Mapping[str, Any]) -> str:
    return f"data: {_json(event)}\n\n"
