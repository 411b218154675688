"""Keys, tenants and limits of a whole server, by many callers at once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.server import FakeServer, Launcher
from tests.faults.wire import told
from tests.real.process import ROUTE
from tests.sounds import speech_wav
from tests.web.live import until

AUDIO = speech_wav(2)
ACME, ACME_TOO, GLOBEX = "k-acme", "k-acme-too", "k-globex"
KEYS = f"acme:{ACME},acme:sha256:{sha256(ACME_TOO.encode()).hexdigest()},globex:{GLOBEX}"
PLACES = 12
PER_MINUTE = 30


def ask(server: FakeServer, key: str, method: str, path: str = "", **more: Any) -> httpx.Response:
    """One request with a key."""
    return server.http.request(method, ROUTE + path, headers={"Authorization": f"Bearer {key}"}, **more)


def submit(server: FakeServer, key: str, message: str, **fields: str) -> httpx.Response:
    """Submit a job."""
    ids = {"user_uuid": "user", "message_id": message, **fields}
    return ask(server, key, "POST", data=ids, files={"file": AUDIO})


@pytest.fixture(scope="module")
def server(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeServer]:
    with FakeServer(launcher, tmp_path_factory.mktemp("tenants"), API_KEYS=KEYS) as server:
        yield server.ready()


def test_a_foreign_job_does_not_exist(server: FakeServer) -> None:
    """To another tenant it is what was never there, to the letter, in every way of asking; the same tenant's other
    key opens it."""
    job = submit(server, ACME, "m1").json()["job_id"]
    nothing = "00000000-0000-4000-8000-000000000000"
    for path in ("/{}", "/{}/result", "/{}/result?response_format=srt"):
        until(lambda path=path: ask(server, ACME_TOO, "GET", path.format(job)).status_code == 200)  # type: ignore[misc]
        foreign, absent = (ask(server, GLOBEX, "GET", path.format(name)) for name in (job, nothing))
        assert (foreign.status_code, told(foreign)) == (404, "job_not_found")
        assert foreign.content == absent.content
    ids = {"user_uuid": "user", "message_id": "m1"}
    assert ask(server, GLOBEX, "GET", "/lookup", params=ids).json() == {"found": False}
    assert ask(server, GLOBEX, "DELETE", f"/{job}").json() == {"deleted": 0}
    assert ask(server, GLOBEX, "DELETE", params={"user_uuid": "user"}).json() == {"deleted": 0}
    theirs = submit(server, GLOBEX, "m1", force="true").json()
    assert (theirs["cached"], theirs["job_id"] == job) == (False, False)
    assert ask(server, GLOBEX, "DELETE", params={"user_uuid": "user"}).json() == {"deleted": 1}
    assert ask(server, ACME, "GET", "/lookup", params=ids).json()["job_id"] == job


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer k", "Basic a2V5", f"Bearer acme:{ACME}"])
def test_without_a_key_nothing_is_read(server: FakeServer, authorization: str) -> None:
    """An upload without a key is refused before its body."""
    with server.http.stream("POST", ROUTE, headers={"Authorization": authorization}, content=_never()) as answer:
        answer.read()
        assert (answer.status_code, told(answer)) == (401, "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"


def _never() -> Iterator[bytes]:
    yield b"--XX\r\n"


def test_the_minutes_requests_are_exact(launcher: Launcher, tmp_path: Path) -> None:
    """Of many at once exactly as many pass as the key may ask, whatever they ask; the others learn when to come back,
    and another key is not concerned."""
    limit = str(PER_MINUTE)
    with (
        FakeServer(launcher, tmp_path, API_KEYS=KEYS, REQUESTS_PER_MINUTE=limit) as server,
        ThreadPoolExecutor(20) as pool,
    ):
        paths = ["/status", "/lookup?user_uuid=u&message_id=m", "/unknown", "/unknown/result"] * PER_MINUTE
        answers = list(pool.map(lambda path: ask(server, ACME, "GET", path), paths))
        refused = [answer for answer in answers if answer.status_code == 429]
        assert PER_MINUTE <= len(answers) - len(refused) <= PER_MINUTE + 2  # it fills up as time goes by
        for answer in answers:
            told(answer)
            assert answer.headers["x-ratelimit-limit-requests"] == limit
            assert 0 <= int(answer.headers["x-ratelimit-remaining-requests"]) < PER_MINUTE
            assert answer.headers["x-ratelimit-reset-requests"].endswith("s")
        for answer in refused:
            assert told(answer) == "rate_limit_exceeded"
            assert 1 <= int(answer.headers["retry-after"]) <= 60
            assert answer.headers["x-ratelimit-remaining-requests"] == "0"
        assert ask(server, ACME_TOO, "GET", "/status").status_code == 200
        assert server.http.get("/health/live").status_code == 200


def fill(server: FakeServer, *keys: str) -> list[str]:
    """Submit with the keys, many at once and then one by one, until there is no place left; the jobs' ids."""
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda i: submit(server, keys[i % len(keys)], f"many-{i}"), range(2 * PLACES)))
    answers += [submit(server, keys[0], f"more-{i}") for i in range(PLACES)]
    assert {told(answer) for answer in answers} == {None, "queue_full"}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers if answer.status_code == 429)
    return [answer.json()["job_id"] for answer in answers if answer.status_code == 200]


def waiting(server: FakeServer) -> int:
    """How many recordings wait."""
    return int(ask(server, ACME, "GET", "/status").json()["queue_length"])


def test_no_tenant_fills_the_queue(launcher: Launcher, tmp_path: Path) -> None:
    """One tenant's keys together hold half of it, waiting or arriving, after a restart too; the other half is open."""

    def start() -> FakeServer:
        return FakeServer(launcher, tmp_path, loading=60, API_KEYS=KEYS, MAX_QUEUE_SIZE=str(PLACES))

    with start() as server:
        jobs = fill(server, ACME, ACME_TOO)
        assert waiting(server) == PLACES // 2
        assert submit(server, GLOBEX, "m1").status_code == 200
    with start() as server:
        fill(server, ACME_TOO)
        assert submit(server, ACME_TOO, "many-0").json()["cached"] is True
        assert submit(server, GLOBEX, "m2").status_code == 200
        assert waiting(server) <= PLACES // 2 + 2
        for job in jobs:
            assert ask(server, ACME, "GET", f"/{job}").json()["status"] in ("queued", "processing")


def test_a_single_tenant_has_all_of_it(launcher: Launcher, tmp_path: Path) -> None:
    """Where there is nobody to get along with, the queue is whole."""
    keys = f"acme:{ACME},acme:{ACME_TOO}"
    with FakeServer(launcher, tmp_path, loading=60, API_KEYS=keys, MAX_QUEUE_SIZE=str(PLACES)) as server:
        fill(server, ACME, ACME_TOO)
        assert waiting(server) == PLACES
