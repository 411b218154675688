"""HTTP by hand: bytes that no client library would send, and every answer that comes back."""

import json
import re
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self

from tests.real.process import ServerProcess
from tests.web.live import Part, multipart

CHUNKED = b"Transfer-Encoding: chunked\r\n"
SHAPE = {"message", "type", "param", "code"}
"""Keys of every error."""


@dataclass(frozen=True)
class Answer:
    """One answer."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def code(self) -> str | None:
        """What went wrong, None when nothing did. Fails unless the answer has the one shape and an id."""
        assert re.fullmatch(r"req_[0-9a-f]{32}", self.headers["x-request-id"]), self
        if self.status < 400:
            return None
        assert self.headers["content-type"] == "application/json", self
        error = json.loads(self.body)["error"]
        assert set(error) == SHAPE, self
        assert error["message"], self
        return str(error["code"])


class Wire:
    """A bare connection, read answer by answer."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._received = b""

    @classmethod
    @contextmanager
    def to(cls, server: ServerProcess, *, seconds: float = 20) -> Iterator[Self]:
        """A new connection, on which nothing takes longer than `seconds`."""
        address = ("127.0.0.1", server.http.base_url.port or 80)
        with socket.create_connection(address, timeout=seconds) as connection:
            yield cls(connection)

    def send(self, data: bytes) -> None:
        """Send. That the server has closed already is no error: it has said why."""
        with suppress(ConnectionError):
            self.socket.sendall(data)

    def answer(self) -> Answer | None:
        """The next answer, None when the server has closed."""
        while b"\r\n\r\n" not in self._received:
            if not self._more():
                assert not self._received, "closed in the middle of an answer's head"
                return None
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        status = int(first.split()[1])
        length = int(headers.get("content-length", 0))
        while len(self._received) < length and self._more():
            pass
        assert len(self._received) >= length, "closed in the middle of an answer"
        body, self._received = self._received[:length], self._received[length:]
        return Answer(status, headers, body)

    def answers(self) -> list[Answer]:
        """Everything that comes until the server closes, or has answered a last, well-formed request."""
        found: list[Answer] = []
        while answer := self.answer():
            if answer.status == 100:
                continue
            if b"GET /the-end" in answer.body:
                return found
            found.append(answer)
            if len(found) == 1 and answer.headers.get("connection") != "close":
                self.send(b"GET /the-end HTTP/1.1\r\nHost: x\r\n\r\n")
        return found

    def waiting(self) -> bool:
        """There is something to read."""
        return bool(select.select([self.socket], [], [], 0)[0])

    def reset(self) -> None:
        """Break off, as a crashed client does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def _more(self) -> bool:
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            return False
        self._received += data
        return bool(data)


def form(*parts: Part) -> tuple[bytes, bytes]:
    """A multipart body, and the head of its request up to where its length or framing is told."""
    body, kind = multipart(*parts)
    return body, b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Type: " + kind.encode() + b"\r\n"


def sized(head: bytes, body: bytes, *, length: int | None = None) -> bytes:
    """A request with the length of its body, or with another."""
    return head + b"Content-Length: %d\r\n\r\n" % (len(body) if length is None else length) + body


def chunks(*parts: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """Parts in chunked framing."""
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + end


def told(answer: Any) -> str | None:
    """The code of an `httpx` answer, checked like `Answer.code`."""
    return Answer(
        answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, answer.content
    ).code
