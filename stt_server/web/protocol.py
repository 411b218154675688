"""HTTP/1.1 with deadlines. uvicorn waits for ever for the rest of a request; this does not.

Its own answers (a broken request, a slow one) have the error shape of all others.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from stt_server.errors import BadHttp, SttError, TooSlow
from stt_server.web.app import refusal
from stt_server.web.middleware import new_request_id


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a client may take for what."""

    headers_secs: float = 10.0
    """From the first byte, or the connection's beginning, to the end of the headers."""
    window_secs: float = 30.0
    """A body's pace is judged over so long."""
    bytes_per_sec: float = 1000.0
    """Least pace of a body: a tenth of what a bad mobile connection manages."""
    body_secs: float = 7200.0
    """The whole body, whatever its pace."""
    linger_secs: float = 30.0
    """Bytes nobody wants are still taken for so long after the answer: a client that sends reads nothing, and
    closing on it would lose the answer."""
    reader_secs: float = 60.0
    """A client that takes nothing of its answer."""
    connections: int = 1000
    """Beyond these, connections are told that there are too many."""
    tick_secs: float = 1.0
    """How often a connection is looked at."""


CRUMB_BYTES = 32
"""A body in smaller chunks than this on average is refused. Each costs some 8 microseconds of the event loop, whatever
its size: two clients that send single bytes could keep it from everybody else."""
CRUMBS = 1024
"""So many chunks are looked at before that is said of a body: clients may begin with small ones."""


class StrictConnection(h11.Connection):
    """Refuses what h11 still takes: a body with two lengths, and one in crumbs."""

    _chunks = _bytes = 0
    """Of the body so far."""

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """The next event. Raises `h11.RemoteProtocolError`."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._chunks = self._bytes = 0
            names = {name for name, _ in event.headers}
            if {b"content-length", b"transfer-encoding"} <= names:
                # A proxy that goes by the other of the two sees another end, and other requests.
                raise h11.RemoteProtocolError("a body with a length and chunks")
        elif isinstance(event, h11.Data):
            self._chunks += event.chunk_start
            self._bytes += len(event.data)
            if self._chunks > CRUMBS and self._bytes < self._chunks * CRUMB_BYTES:
                raise h11.RemoteProtocolError("a body in crumbs")
        return event


class PatientProtocol(H11Protocol):
    """One connection. Subclass it to change its deadlines."""

    deadlines: ClassVar[Deadlines] = Deadlines()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        limit = self.config.h11_max_incomplete_event_size
        self.conn = StrictConnection(h11.SERVER) if limit is None else StrictConnection(h11.SERVER, limit)
        self._received = 0
        """Bytes so far."""
        self._phase = ""
        self._since = 0.0
        """When the phase began."""
        self._window = (0.0, 0)
        """When the window of the body began, and the bytes received until then."""
        self._unsent = 0
        """Bytes the client has yet to take."""
        self._ticking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(transport)
        if len(self.connections) > self.deadlines.connections:
            self.app_state = {**self.app_state, "crowded": True}
        self._tick()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self._ticking:
            self._ticking.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count, then parse."""
        self._received += len(data)
        super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        """Instead of plain text."""
        self._refuse(BadHttp(msg))

    # -- Deadlines ----------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._ticking = self.loop.call_later(self.deadlines.tick_secs, self._tick)
        now = self.loop.time()
        phase = self._look()
        unsent = self.transport.get_write_buffer_size()
        if phase != self._phase or (phase == "reader" and unsent != self._unsent):
            self._unsent = unsent
            self._phase, self._since, self._window = phase, now, (now, self._received)
        elif phase and self._expired(now):
            self._give_up()

    def _look(self) -> str:
        """What the client is slow at, if it is its turn."""
        if self.transport.is_closing() or self.flow.write_paused:
            return "reader"
        if self.conn.their_state is h11.SEND_BODY:
            answered = self.cycle is not None and self.cycle.response_complete
            return "linger" if answered else "body"
        if self.conn.their_state is h11.IDLE and self.timeout_keep_alive_task is None:
            return "headers"
        return ""

    def _expired(self, now: float) -> bool:
        if self._phase == "body":
            return self._body_expired(now)
        limit: float = getattr(self.deadlines, f"{self._phase}_secs")
        return now - self._since > limit

    def _body_expired(self, now: float) -> bool:
        began, before = self._window
        if now - began >= self.deadlines.window_secs:
            pace = (self._received - before) / (now - began)
            # When reading is paused, it is the server that is slow.
            if pace < self.deadlines.bytes_per_sec and not self.flow.read_paused:
                return True
            self._window = now, self._received
        return now - self._since > self.deadlines.body_secs

    def _give_up(self) -> None:
        if self._phase == "reader":
            self.transport.abort()
        elif self._phase == "linger" or (self._phase == "headers" and not self.conn.trailing_data[0]):
            self.transport.close()
        else:
            self._refuse(TooSlow())

    def _refuse(self, error: SttError) -> None:
        """Answer in the application's place, and close."""
        if self.cycle is not None:
            # To the application it looks as if the client had left: it must not answer too.
            self.cycle.disconnected = True
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()
            return
        answer = refusal(error)
        headers = [
            *answer.raw_headers,
            (b"x-request-id", new_request_id().encode()),
            (b"openai-version", b"2020-10-01"),
            (b"connection", b"close"),
        ]
        reason = STATUS_PHRASES[answer.status_code]
        for event in (
            h11.Response(status_code=answer.status_code, headers=headers, reason=reason),
            h11.Data(data=bytes(answer.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
