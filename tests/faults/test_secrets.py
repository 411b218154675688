"""Canaries: secrets and spoken words go in by every way there is, and come out nowhere."""

import hashlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.assets import needs_model
from tests.faults.bombs import BOMBS
from tests.faults.hosts import Host, hosting
from tests.faults.wire import CHUNKED, Wire, chunks, form, sized, told
from tests.real.process import ROUTE, ServerProcess
from tests.sounds import SAMPLE, speech_wav
from tests.web.live import until

pytestmark = needs_model

VOICEMAIL = SAMPLE.read_bytes()
SPOKEN = (b"phone", b"nine six")
KEY, HASHED_KEY, WRONG_KEY = "kanary-key-1", "kanary-key-2", "kanary-key-3"
TOKEN, PASSWORD, SIGNATURE = "kanary-token", "kanary-password", "kanary-signature"
PROMPT, KEYTERM, FILENAME = "kanary-prompt", "kanary-keyterm", "kanary-filename"
USER, MESSAGE = "kanary-user", "kanary-message"
CANARY = b"kanary"
"""In all of them."""


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with hosting() as host:
        yield host


@pytest.fixture
def server(host: Host, tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(
        tmp_path,
        LOG_LEVEL="debug",
        LOG_FORMAT="json",
        API_KEYS=f"acme:{KEY},globex:sha256:{hashlib.sha256(HASHED_KEY.encode()).hexdigest()}",
        FETCH_ALLOW_HOSTS=f"127.0.0.1:{host.port}",
        FETCH_TIMEOUT_SECS="0.7",
        MAX_AUDIO_DURATION_SECS="600",
        CORS_ORIGINS="https://page.example",
    ) as server:
        yield server


class Visitor:
    """Sends requests full of secrets, and keeps every answer that is no transcript."""

    def __init__(self, server: ServerProcess, host: Host) -> None:
        self._server = server
        self._host = host
        self.answers: list[httpx.Response] = []

    def url(self, path: str) -> str:
        """An address of the host, with every secret that an address can hold."""
        query = f"token={TOKEN}&X-Amz-Signature={SIGNATURE}"
        return f"http://bob:{PASSWORD}@127.0.0.1:{self._host.port}/{path}?{query}#{TOKEN}"

    def ask(
        self, method: str, path: str = ROUTE, *, key: str = KEY, keep: bool = True, **more: object
    ) -> httpx.Response:
        """One request."""
        headers = {"Authorization": f"Bearer {key}", "Origin": "https://page.example", "Cookie": f"session={TOKEN}"}
        answer = self._server.http.request(method, path, headers=headers, **more)  # type: ignore[arg-type]
        if keep:
            self.answers.append(answer)
        return answer

    def wait(self, job: str, status: str = "completed") -> None:
        """Wait until a job has come so far."""
        until(lambda: self.ask("GET", f"{ROUTE}/{job}", keep=False).json()["status"] == status)

    def files(self) -> None:
        """As every kind of caller."""
        files = {"file": (FILENAME + ".wav", VOICEMAIL, "audio/" + TOKEN)}
        fields = {"prompt": f"{PROMPT} phone nine six", "keywords[]": KEYTERM, "api_key": KEY, TOKEN: TOKEN}
        for response_format in ("json", "text", "srt", "verbose_json"):
            fields["response_format"] = response_format
            answer = self.ask("POST", files=files, data=fields, keep=False)
            assert answer.status_code == 200
            assert "phone" in answer.text
        fields |= {"response_format": "text", "stream": "true"}
        assert "phone" in self.ask("POST", files=files, data=fields, keep=False).text
        del fields["stream"]
        jobs = []
        for message in (MESSAGE, MESSAGE + "-2"):
            ids = {"user_uuid": USER, "message_id": message}
            jobs.append(self.ask("POST", files=files, data={**fields, **ids}).json()["job_id"])
            self.ask("POST", files=files, data={**fields, **ids, "force": "true"})
            self.ask("GET", f"{ROUTE}/lookup", params=ids, keep=False)
        for job in jobs:
            self.wait(job)
            self.ask("GET", f"{ROUTE}/{job}/result", keep=False)
            self.ask("GET", f"{ROUTE}/{job}/result", key=HASHED_KEY)

    def urls(self) -> None:
        """Good, bad and refused, for every kind of caller, with the address in every field that could take one."""
        assert self.ask("POST", data={"url": self.url("honest")}, keep=False).status_code == 200
        paths = ("gone", "broken", "stall", "short", "loop", "page", "no-http", "packed")
        urls = [self.url(path) for path in paths]
        urls += [self.url("redirect").replace("?", f"?to=http://x:{PASSWORD}@127.0.0.1:1/{TOKEN}&")]
        urls += [
            f"http://{PASSWORD}:{TOKEN}@127.0.0.1:1/",
            f"ftp://x:{PASSWORD}@y/{TOKEN}",
            f"http://127.0.0.1\\{TOKEN}",
        ]
        urls += [
            f"http://nothing.invalid/{TOKEN}",
            f"http://[{TOKEN}]/",
            f"https://127.0.0.1:{self._host.port}/{TOKEN}",
        ]
        for i, url in enumerate(urls):
            self.ask("POST", data={"url": url})
            self.ask("POST", data={"url": url, "user_uuid": USER, "message_id": f"{MESSAGE}-u{i}"})
            self.ask("POST", files={"file": ("", b"")}, data={"url": url, "prompt": PROMPT})
        job = self.ask("POST", data={"url": self.url("honest"), "user_uuid": USER, "message_id": f"{MESSAGE}-url"})
        self.wait(job.json()["job_id"])

    def wrongs(self) -> None:
        """Wrong keys, keys in the wrong place, wrong everything."""
        for name in ("api_key", "key", "token", "access_token"):
            self.ask("GET", "/v1/models", key=WRONG_KEY, params={name: KEY})
            self.ask("POST", params={name: KEY, "url": self.url("gone")}, data={"url": self.url("gone")}, key=WRONG_KEY)
            self.ask("GET", f"{ROUTE}/status", params={name: TOKEN})
        for data in (b"", VOICEMAIL[:20], b"RIFF" + CANARY * 9, BOMBS["1 Hz"](), BOMBS["ten hours of silence"]()):
            files = {"file": (FILENAME + ".wav", data)}
            self.ask("POST", files=files, data={"prompt": PROMPT})
            ids = {"user_uuid": USER, "message_id": f"{MESSAGE}-{len(data)}"}
            self.ask("POST", files=files, data={"prompt": PROMPT, **ids})
        self.ask("POST", files={"file": VOICEMAIL}, data={"temperature": "9", "prompt": PROMPT})
        self.ask("DELETE", f"{ROUTE}/00000000-0000-0000-0000-000000000000")
        self.ask("OPTIONS", "/v1/models", params={"token": TOKEN})

    def broken(self) -> None:
        """HTTP that breaks off, with secrets in its pieces."""
        body, head = form(("prompt", PROMPT), ("file", (FILENAME, VOICEMAIL, None)))
        head += f"Authorization: Bearer {KEY}\r\nX-Api-Key: {KEY}\r\n".encode()
        get = f"GET /v1/models?api_key={KEY} HTTP/1.1\r\nHost: {TOKEN}\r\nAuthorization: Bearer {KEY}".encode()
        for data in (
            head + CHUNKED + b"\r\n" + chunks(body[:300], end=b"zz\r\n"),
            head + CHUNKED + b"\r\n" + chunks(body[:300]),
            sized(head, body[:300]),
            get + b"\0\r\n\r\n",
            get + b"\r\n" + CANARY + b"\r\n\r\n",
            get + b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        ):
            with Wire.to(self._server) as wire:
                wire.send(data)
                for answer in wire.answers():
                    assert CANARY not in answer.body
        with Wire.to(self._server) as wire:
            wire.send(sized(head, body[:-100], length=len(body)))
            wire.reset()

    def crashes(self) -> None:
        """The recogniser killed in the middle of a recording with a prompt."""
        files = {"file": (FILENAME + ".wav", speech_wav(300))}
        ids = {"user_uuid": USER, "message_id": f"{MESSAGE}-crash", "prompt": PROMPT}
        job = self.ask("POST", files=files, data=ids).json()["job_id"]
        self.wait(job, "processing")
        for line in self._server.log.splitlines():
            if '"recogniser ready"' in line:
                with suppress(ProcessLookupError):
                    os.kill(json.loads(line)["pid"], signal.SIGKILL)
        self.wait(job)


def test_secrets_and_words_come_out_nowhere(server: ServerProcess, host: Host, tmp_path: Path) -> None:
    """At the most talkative level: not in the log, not in an answer but the transcript's own, not in the name of a
    file; and no token, password or key in any file at all."""
    visitor = Visitor(server, host)
    names: set[str] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            names.update(path.name for path in (tmp_path / "data").rglob("*"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for visit in (visitor.files, visitor.urls, visitor.wrongs, visitor.broken, visitor.crashes):
            visit()
    finally:
        done.set()
        watcher.join()
    log = server.log.lower().encode()
    for line in log.splitlines():
        assert isinstance(json.loads(line), dict)
    assert b'"request_id"' in log
    for word in (CANARY, *SPOKEN):
        assert word not in log, log[max(0, log.index(word) - 900) : log.index(word) + 100]
    assert not [name for name in names if CANARY.decode() in name]
    assert [name for name in names if name.endswith(".audio")]
    secrets = [secret.encode() for secret in (KEY, HASHED_KEY, WRONG_KEY, TOKEN, PASSWORD, SIGNATURE, FILENAME)]
    for path in (tmp_path / "data").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert not [secret for secret in secrets if secret in content], path
    for answer in visitor.answers:
        told = (answer.text + str(answer.headers)).lower()
        assert not [secret for secret in (*secrets, PROMPT.encode(), *SPOKEN) if secret.decode() in told], told
    assert {answer.status_code for answer in visitor.answers} >= {200, 400, 401, 404, 502}


def test_nobody_is_reported_to(tmp_path: Path) -> None:
    """A library that would tell its maker about this machine gathers nothing: neither in its home nor beside."""
    home = tmp_path / "home"
    home.mkdir()
    with ServerProcess(tmp_path, HOME=str(home), TMPDIR=str(home)) as server:
        server.ready()
        assert told(server.http.post(ROUTE, files={"file": VOICEMAIL})) is None
        gathered = [path.name for path in home.rglob("*") if not path.is_dir() and not path.is_socket()]
        assert gathered == []


def test_the_log_of_an_ordinary_day_says_enough(server: ServerProcess, host: Host) -> None:
    """Beside what it hides: every request is in it with its id, status and time, and every job with its outcome."""
    visitor = Visitor(server, host)
    answer = visitor.ask("POST", files={"file": VOICEMAIL}, data={"user_uuid": USER, "message_id": MESSAGE})
    job_id = answer.json()["job_id"]
    visitor.wait(job_id)
    until(lambda: '"outcome"' in server.log)
    lines = [json.loads(line) for line in server.log.splitlines()]
    name = answer.headers["x-request-id"]
    [request] = [line for line in lines if line.get("request_id") == name and "status" in line]
    assert (request["method"], request["route"], request["status"], request["tenant"]) == ("POST", ROUTE, 200, "acme")
    [ended] = [line for line in lines if line.get("job_id") == job_id and "outcome" in line]
    assert (ended["outcome"], ended["tenant"], ended["audio_seconds"]) == ("completed", "acme", 3.8)
