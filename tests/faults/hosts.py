"""Hosts that a `url` may point to: an honest one, many that are not, and one that must never be visited."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import parse_qs, urlsplit

from tests.sounds import SAMPLE

AUDIO = SAMPLE.read_bytes()
PATIENCE_SECS = 20.0
"""How long the slow ones go on at most."""

Behaviour = Callable[[socket.socket, str], None]


def _head(*lines: str, status: str = "200 OK") -> bytes:
    return "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *lines, "")).encode()


def _honest(client: socket.socket, _: str) -> None:
    client.sendall(_head(f"Content-Length: {len(AUDIO)}") + AUDIO)


def _drip(client: socket.socket, data: bytes) -> None:
    end = time.monotonic() + PATIENCE_SECS
    while time.monotonic() < end:
        client.sendall(data)
        time.sleep(0.05)


def _stall(client: socket.socket, _: str) -> None:
    client.settimeout(PATIENCE_SECS)
    client.recv(1)


def _flood(client: socket.socket, data: bytes) -> None:
    end = time.monotonic() + PATIENCE_SECS
    while time.monotonic() < end:
        client.sendall(data)


def _trickle_headers(client: socket.socket, _: str) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    _drip(client, b"y")


def _trickle_body(client: socket.socket, _: str) -> None:
    client.sendall(_head(f"Content-Length: {len(AUDIO)}") + AUDIO[:1000])
    _drip(client, b"y")


def _stall_in_the_body(client: socket.socket, url: str) -> None:
    client.sendall(_head(f"Content-Length: {len(AUDIO)}") + AUDIO[:1000])
    _stall(client, url)


def _loop(client: socket.socket, url: str) -> None:
    client.sendall(_head(f"Location: {url}", "Content-Length: 0", status="302 Found"))


def _slow_loop(client: socket.socket, url: str) -> None:
    time.sleep(1)
    _loop(client, url)


def _redirect(client: socket.socket, url: str) -> None:
    """Wherever `?to=` says, or to the honest one."""
    [location] = parse_qs(urlsplit(url).query).get("to", ["/honest"])
    client.sendall(_head(f"Location: {location}", "Content-Length: 0", status="302 Found"))


def _endless(client: socket.socket, _: str) -> None:
    client.sendall(_head("Transfer-Encoding: chunked") + b"%x\r\n" % len(AUDIO) + AUDIO + b"\r\n")
    _flood(client, b"10000\r\n" + bytes(0x10000) + b"\r\n")


def _crumbs(client: socket.socket, _: str) -> None:
    client.sendall(_head("Transfer-Encoding: chunked"))
    _flood(client, b"1\r\nx\r\n" * 10_000)


def _endless_headers(client: socket.socket, _: str) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\n")
    _flood(client, b"X: y\r\n" * 10_000)


def _raw(data: bytes) -> Behaviour:
    return lambda client, _: client.sendall(data)


BEHAVIOURS: dict[str, Behaviour] = {
    "honest": _honest,
    "redirect": _redirect,
    # Slow.
    "stall": _stall,
    "stall-in-the-body": _stall_in_the_body,
    "trickle-headers": _trickle_headers,
    "trickle-body": _trickle_body,
    "slow-loop": _slow_loop,
    # Without end.
    "loop": _loop,
    "endless": _endless,
    "endless-headers": _endless_headers,
    "crumbs": _crumbs,
    # Lies.
    "short": _raw(_head(f"Content-Length: {len(AUDIO) + 1}") + AUDIO),
    "huge": _raw(_head("Content-Length: 99999999999") + AUDIO),
    "two-lengths": _raw(_head("Content-Length: 10", "Content-Length: 20") + AUDIO),
    "no-http": _raw(b"220 mail.example ESMTP\r\n"),
    "nothing": _raw(b""),
    "part": _raw(_head(f"Content-Length: {len(AUDIO)}", status="206 Partial Content") + AUDIO),
    "gone": _raw(_head("Content-Length: 4", status="404 Not Found") + b"gone"),
    "broken": _raw(_head("Content-Length: 4", status="500 Oops") + b"oops"),
    "page": _raw(_head("Content-Type: audio/wav", "Content-Length: 15") + b"<html>no</html>"),
    "empty": _raw(_head("Content-Length: 0")),
    "packed": _raw(_head("Content-Encoding: gzip", f"Content-Length: {len(AUDIO)}") + AUDIO),
    "nowhere": _raw(_head("Location: gopher://x/", "Content-Length: 0", status="302 Found")),
}
"""By the first word of the address asked for."""


class Host:
    """Answers as the address asks it to, and remembers what was asked."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.port: int = listener.getsockname()[1]
        self.visits: list[str] = []
        """First lines of requests; empty for a connection that sent none."""

    def url(self, path: str) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}/{path}"

    def run(self) -> None:
        """Serve until the listener is closed."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            client.settimeout(PATIENCE_SECS)
            visit = len(self.visits)
            self.visits.append("")
            request = b""
            while b"\r\n\r\n" not in request:
                request += client.recv(4096)
            self.visits[visit] = request.partition(b"\r\n")[0].decode()
            path = self.visits[visit].split()[1]
            BEHAVIOURS.get(urlsplit(path).path.split("/")[1], BEHAVIOURS["gone"])(client, path)


@contextmanager
def hosting(address: str = "", port: int = 0) -> Iterator[Host]:
    """A host at an address of this machine, at all of IPv4 by default."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family, dualstack_ipv6=address == "::") as listener:
        host = Host(listener)
        thread = threading.Thread(target=host.run, daemon=True)
        thread.start()
        yield host
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
