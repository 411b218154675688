"""A host of model files on the loopback: redirects to its CDN, ranges, ETags, and whatever goes wrong with them."""

import hashlib
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread


@dataclass
class Hub:
    """What it serves and how. Change the fields between requests."""

    base: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    """Path without the first slash -> content."""
    ranges: bool = True
    """Ranges are honoured."""
    tags: bool = True
    """Answers carry a strong ETag, and If-Range is honoured."""
    lengths: bool = True
    """Answers carry their length; else they end with the connection."""
    statuses: list[int] = field(default_factory=list)
    """Answered first, one a request."""
    cuts: list[int] = field(default_factory=list)
    """One a request: the connection breaks after so many bytes of the body."""
    stalls: list[int] = field(default_factory=list)
    """One a request: silence after so many bytes of the body, until `released`."""
    released: Event = field(default_factory=Event)
    asked: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    """Path, Range and If-Range of every request that reached the CDN."""
    sent: int = 0
    """Bytes of bodies."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self) -> None:
        if not self.path.startswith("/cdn/"):
            self.send_response(302)
            self.send_header("Location", f"{self.hub.base}/cdn{self.path}?signature=secret")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path = self.path.removeprefix("/cdn/").partition("?")[0]
        self.hub.asked.append((path, self.headers["Range"], self.headers["If-Range"]))
        if self.hub.statuses:
            self._refuse(self.hub.statuses.pop(0))
        elif path not in self.hub.files:
            self._refuse(404)
        else:
            self._serve(self.hub.files[path])

    def _refuse(self, status: int, total: int | None = None) -> None:
        self.send_response(status)
        if total is not None:
            self.send_header("Content-Range", f"bytes */{total}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _serve(self, content: bytes) -> None:
        tag = f'"{hashlib.md5(content).hexdigest()}"'
        begin = self._begin(tag)
        if begin >= len(content) > 0:
            self._refuse(416, len(content))
            return
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        if self.hub.tags:
            self.send_header("ETag", tag)
        if self.hub.lengths:
            self.send_header("Content-Length", str(len(content) - begin))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        self._send(content[begin:])

    def _begin(self, tag: str) -> int:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        changed = self.hub.tags and self.headers["If-Range"] not in (None, tag)
        return int(asked[1]) if asked and self.hub.ranges and not changed else 0

    def _send(self, body: bytes) -> None:
        if self.hub.cuts:
            body = body[: self.hub.cuts.pop(0)]
            self.close_connection = True
        stall = self.hub.stalls.pop(0) if self.hub.stalls else len(body)
        self.hub.sent += len(body[:stall])
        self.wfile.write(body[:stall])
        self.wfile.flush()
        if stall < len(body):
            self.hub.released.wait(30)
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is what some tests are about."""


@contextmanager
def open_hub(tls: ssl.SSLContext | None = None) -> Iterator[Hub]:
    """A hub that answers until the block is left."""
    hub = Hub()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    hub.base = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        hub.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
