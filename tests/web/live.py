"""The real server on a real socket, in a thread of its own; only the model may be a fake."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from stt_server.settings import Settings
from stt_server.speech.processor import Kernels
from stt_server.web.app import create_app
from stt_server.web.protocol import PatientProtocol
from stt_server.web.serve import serve
from tests.fakes import SecondsEngine

Part = tuple[str, str | bytes] | tuple[str, tuple[str | None, bytes, str | None]]
"""A form's field: name and text, or name and (file name, content, content type)."""


def load_fake(folder: Path, *, threads: int, kernels: Kernels = Kernels.AUTO, delay: float = 0.0) -> SecondsEngine:
    """An engine for any folder that looks like a model."""
    return SecondsEngine(delay)


def fake_app(settings: Settings, *, delay: float = 0.0, **more: Any) -> FastAPI:
    """The application around the fake engine."""
    return create_app(settings, load_engine=partial(load_fake, delay=delay), **more)


def fake_model(folder: Path) -> Path:
    """Files that pass for a model as long as nobody loads them."""
    folder.mkdir(exist_ok=True)
    for name in ("encoder.int8.onnx", "decoder.int8.onnx", "joiner.int8.onnx", "tokens.txt"):
        (folder / name).write_bytes(b"not a model")
    return folder


class Live:
    """A running server and a client of it."""

    def __init__(self, settings: Settings, make_app: Callable[[Settings], FastAPI], protocol: type[PatientProtocol]):
        self.settings = settings
        self.address = ""
        self._make_app = make_app
        self._protocol = protocol
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        await serve(
            self.settings,
            make_app=self._make_app,
            protocol=self._protocol,
            stop=self._stop,
            on_address=self._answering,
        )

    def _answering(self, address: str) -> None:
        self.address = address
        self._started.set()

    def start(self) -> None:
        """Start, and wait until it has an address. Raises what keeps it from starting."""
        self._thread.start()
        assert self._started.wait(30)
        if self._failure:
            raise self._failure
        self.http = httpx.Client(base_url=self.address, timeout=30, trust_env=False)

    def stop(self) -> None:
        """Stop as for SIGTERM."""
        if self._thread.is_alive():
            self.begin_stop()
            self._thread.join(20)
        self.http.close()
        assert not self._thread.is_alive()
        if self._failure:
            raise self._failure

    def begin_stop(self) -> None:
        """Stop as for SIGTERM, without waiting for it."""
        self._loop.call_soon_threadsafe(self._stop.set)

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    @property
    def spool(self) -> list[str]:
        """Names of the files in the spool."""
        return sorted(path.name for path in self.settings.spool_path.iterdir())

    def post(self, *parts: Part, path: str = "/v1/audio/transcriptions", **headers: str) -> httpx.Response:
        """Send a form, its parts in this order."""
        body, kind = multipart(*parts)
        return self.http.post(path, content=body, headers={"Content-Type": kind, **headers})

    def job(self, audio: bytes, message: str = "m1", *more: Part, user: str = "u1", **headers: str) -> Any:
        """Submit a job; the answer's body."""
        ids: list[Part] = [("user_uuid", user), ("message_id", message)]
        answer = self.post(*ids, *more, ("file", ("a.wav", audio, "audio/wav")), **headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def get(self, path: str, **headers: str) -> Any:
        """The body of an answer that must be good."""
        answer = self.http.get(path, headers=headers)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def ended(self, job_id: str, **headers: str) -> Any:
        """A job once it is completed or failed."""
        return until(lambda: (job := self.job_at(job_id, **headers))["status"] in ("completed", "failed") and job)

    def job_at(self, job_id: str, **headers: str) -> Any:
        """A job's body."""
        return self.get(f"/v1/audio/transcriptions/{job_id}", **headers)

    @contextmanager
    def socket(self) -> Iterator[socket.socket]:
        """A bare connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            yield connection


def multipart(*parts: Part) -> tuple[bytes, str]:
    """A body and its content type."""
    body = b""
    for name, value in parts:
        body += b'--XX\r\nContent-Disposition: form-data; name="' + name.encode() + b'"'
        if isinstance(value, tuple):
            filename, content, kind = value
            body += b'; filename="' + filename.encode() + b'"' if filename is not None else b""
            body += b"\r\nContent-Type: " + kind.encode() if kind else b""
        else:
            content = value.encode() if isinstance(value, str) else value
        body += b"\r\n\r\n" + content + b"\r\n"
    return body + b"--XX--\r\n", "multipart/form-data; boundary=XX"


def until(what: Callable[[], Any], seconds: float = 30) -> Any:
    """What the function returns once it is true."""
    deadline = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return value


def read_answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the next answer on a bare connection."""
    received = b""
    while b"\r\n\r\n" not in received:
        more = connection.recv(65536)
        if not more:
            raise ConnectionError(f"closed after {received!r}")
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    return int(first.split()[1]), headers, body
