"""Health, models, and the published description."""

import asyncio
import sqlite3
import time
from functools import partial
from pathlib import Path
from typing import cast

from stt_server import __version__
from stt_server.errors import StorageBusy
from stt_server.jobs.stores import Counts, Store
from stt_server.speech.processor import Kernels
from stt_server.web.app import create_app
from stt_server.web.census import Census
from stt_server.web.schemas import FORM_FIELDS
from tests.fakes import SecondsEngine
from tests.sounds import speech_wav
from tests.web.conftest import Start
from tests.web.live import Live, load_fake, until


def test_health(live: Live) -> None:
    """The fields of the server that this one replaces, and the truth about the model."""
    body = live.get("/health")
    assert body == {
        "status": "healthy",
        "model": "model",
        "embedded": False,
        "verified": False,
        "owned_by": "unknown",
        "version": __version__,
        "queue_length": 0,
        "db_stats": body["db_stats"],
    }
    assert set(body["db_stats"]) == {"total", "completed", "failed", "pending"}
    assert all(isinstance(number, int) for number in body["db_stats"].values())


def test_health_takes_head(live: Live) -> None:
    """Load balancers ask with HEAD."""
    for path in ("/health", "/health/live", "/health/ready"):
        answer = live.http.head(path)
        assert (answer.status_code, answer.content) == (200, b"")


def slow_start(folder: Path, *, threads: int, kernels: Kernels) -> SecondsEngine:
    """A model that takes its time to load."""
    time.sleep(1.5)
    return load_fake(folder, threads=threads, kernels=kernels)


def test_alive_before_ready(start: Start) -> None:
    """While the model loads the server lives, is not ready, and takes jobs in."""
    live = start(partial(create_app, load_engine=slow_start))
    assert live.http.get("/health/live").json() == {"status": "alive"}
    for path in ("/health", "/health/ready"):
        answer = live.http.get(path)
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "model_loading"
        assert int(answer.headers["retry-after"]) >= 1
    job = live.job(speech_wav(2))
    assert live.ended(job["job_id"])["text"] == "w1"
    assert live.http.get("/health/ready").json() == {"status": "ready"}
    assert live.get("/health")["db_stats"] == {"total": 1, "completed": 1, "failed": 0, "pending": 0}


def test_health_with_a_locked_database(start: Start) -> None:
    """Somebody else's lock on the database makes requests wait; it does not make the server look dead."""
    live = start()
    until(lambda: live.http.get("/health").status_code == 200)
    database = sqlite3.connect(live.settings.db_path)
    database.execute("BEGIN EXCLUSIVE")
    try:
        for _ in range(3):
            began = time.monotonic()
            assert live.http.get("/health").status_code == 200
            assert time.monotonic() - began < 1
    finally:
        database.rollback()
        database.close()
    assert live.job(speech_wav(2))["cached"] is False


class Stuck:
    """The part of a store that health asks, on a bad day."""

    stuck: Exception | None = None

    async def counts(self) -> Counts:
        if isinstance(self.stuck, TimeoutError):
            await asyncio.sleep(60)
        if self.stuck:
            raise self.stuck
        return Counts(3, 1, 1, 1)


async def test_the_last_known_numbers() -> None:
    """A database that hangs or refuses costs health half a second, not its answer."""
    store = Stuck()
    census = Census(cast("Store", store))
    assert await census.counts() == Counts(3, 1, 1, 1)
    for store.stuck in (TimeoutError(), StorageBusy()):
        async with asyncio.timeout(1):
            assert await census.counts() == Counts(3, 1, 1, 1)


def test_models(live: Live) -> None:
    """The installed model and every alias; an id with a slash, encoded or not, is asked for whole."""
    listed = live.get("/v1/models")
    assert listed["object"] == "list"
    assert {"parakeet-tdt", "whisper-1", "model"} <= {entry["id"] for entry in listed["data"]}
    for entry in listed["data"]:
        assert set(entry) == {"id", "object", "created", "owned_by"}
        assert live.get(f"/v1/models/{entry['id']}") == entry
    for name in ("org/name", "org%2Fname", "x"):
        answer = live.http.get(f"/v1/models/{name}")
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "model_not_found"
        assert "parakeet-tdt" in answer.json()["error"]["message"]


def test_the_description(live: Live) -> None:
    """It names every address, every field and which have no effect; no page loads scripts from elsewhere."""
    schema = live.get("/openapi.json")
    assert {
        "/v1/audio/transcriptions",
        "/v1/audio/transcriptions/lookup",
        "/v1/audio/transcriptions/status",
        "/v1/audio/transcriptions/{job_id}",
        "/v1/audio/transcriptions/{job_id}/result",
        "/v1/models",
        "/v1/models/{model_id}",
        "/health",
        "/health/live",
        "/health/ready",
    } == set(schema["paths"])
    body = schema["paths"]["/v1/audio/transcriptions"]["post"]["requestBody"]
    assert set(body["content"]["multipart/form-data"]["schema"]["properties"]) == set(FORM_FIELDS)
    for name in ("temperature", "chunking_strategy"):
        assert "no effect" in FORM_FIELDS[name]["description"].lower(), name
    for path in ("/docs", "/redoc"):
        assert live.http.get(path).status_code == 404
