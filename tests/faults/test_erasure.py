"""Erased is gone from the disk: every file the server has is searched for the words."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.assets import needs_model
from tests.faults.wire import told
from tests.real.process import ROUTE, ServerProcess
from tests.sounds import SAMPLE, SAMPLE_TEXT, speech_wav
from tests.web.live import until

pytestmark = needs_model

VOICEMAIL = SAMPLE.read_bytes()
SPOKEN = {b"phone", b"nine", b"three"}
"""Words of the sample that nothing of ours is called by."""
ASKED = b"xylophone"
"""A word of the prompt."""
USER, OTHER = "user-5a1c", "user-77e0"
HOUR_MS = 3_600_000


def found(folder: Path, *words: bytes) -> dict[str, set[bytes]]:
    """Which of the words are in which file below the folder, in any case."""
    texts = {path: path.read_bytes().lower() for path in sorted(folder.rglob("*")) if path.is_file()}
    return {path.name: hits for path, text in texts.items() if (hits := {word for word in words if word in text})}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path) as server:
        yield server
        assert found(tmp_path, *SPOKEN, ASKED).keys() <= {"jobs.db", "jobs.db-wal"}


def completed(server: ServerProcess, message: str, user: str = USER) -> str:
    """Submit the sample with a prompt, and wait for its text; the job's id."""
    job_id = server.submit(VOICEMAIL, message, user_uuid=user, prompt=ASKED.decode())["job_id"]
    assert server.wait([job_id])[job_id]["text"] == SAMPLE_TEXT
    return str(job_id)


def delete(server: ServerProcess, path: str = "", **query: str) -> int:
    """Erase; how many jobs."""
    answer = server.http.request("DELETE", ROUTE + path, params=query)
    assert told(answer) is None
    return int(answer.json()["deleted"])


def test_an_erased_job_is_gone_from_the_disk(server: ServerProcess, tmp_path: Path) -> None:
    """Its words, its prompt, its ids and its audio: while the server runs, from the database and its log too. What was
    not erased is still there."""
    erased, kept = completed(server, "message-e4"), completed(server, "message-k7", OTHER)
    assert set().union(*found(tmp_path, *SPOKEN).values()) >= SPOKEN
    assert delete(server, f"/{erased}") == 1
    assert delete(server, f"/{erased}") == 0
    assert found(tmp_path / "data", erased.encode(), b"message-e4", USER.encode(), ASKED) == {}
    assert told(server.http.get(f"{ROUTE}/{erased}/result")) == "job_not_found"
    assert server.job(kept)["text"] == SAMPLE_TEXT
    assert delete(server, f"/{kept}") == 1
    assert found(tmp_path / "data", *SPOKEN, ASKED, OTHER.encode()) == {}


def test_an_erased_user_is_gone_from_the_disk(server: ServerProcess, tmp_path: Path) -> None:
    """All of the user's jobs, whatever their state, and a forced one's old text; and nobody else's."""
    kept = completed(server, "m1", OTHER)
    for message in ("m1", "m2"):
        completed(server, message)
    mine = {"user_uuid": USER, "prompt": ASKED.decode()}
    forced = server.submit(VOICEMAIL, "m2", force="true", **mine)["job_id"]
    long = server.submit(speech_wav(900), "m3", **mine)["job_id"]
    waiting = [server.submit(speech_wav(60), f"w{i}", **mine) for i in range(9)]
    until(lambda: server.job(long)["status"] == "processing")
    # The forced one is counted beside the old one until it replaces it.
    assert delete(server, user_uuid=USER) - len(waiting) in (3, 4)
    assert delete(server, user_uuid=USER) == 0
    until(lambda: list(server.spool.iterdir()) == [])
    assert found(tmp_path / "data", USER.encode(), forced.encode(), ASKED) == {}
    assert delete(server, f"/{kept}") == 1
    assert found(tmp_path / "data", *SPOKEN) == {}
    assert completed(server, "m1") not in (kept, long)  # the ids are free again


def test_an_expired_text_is_gone_from_the_disk(tmp_path: Path) -> None:
    """What nobody has read for longer than `TEXT_RETENTION_DAYS` goes at the next pass; the rest stays, and so does
    the job's row, which says what became of its text."""
    with ServerProcess(tmp_path) as server:
        old, new = completed(server, "old"), completed(server, "new", OTHER)
        assert server.terminate() == 0
    with sqlite3.connect(tmp_path / "data" / "jobs.db") as database:
        database.execute("UPDATE jobs SET kept_ms = kept_ms - ? WHERE id = ?", (50 * HOUR_MS, old))
    database.close()
    with ServerProcess(tmp_path, TEXT_RETENTION_DAYS="2") as server:
        until(lambda: server.job(old)["text"] is None)
        assert told(server.http.get(f"{ROUTE}/{old}/result")) == "text_expired"
        assert server.job(new)["text"] == SAMPLE_TEXT
        assert delete(server, f"/{new}") == 1
        until(lambda: found(tmp_path, *SPOKEN, ASKED) == {})
        assert server.job(old)["duration"] > 3


def test_callers_without_ids_leave_nothing(server: ServerProcess, tmp_path: Path) -> None:
    """A transcript that was only an answer was never on the disk."""
    for fields in ({}, {"stream": "true"}, {"response_format": "verbose_json"}):
        fields = {"prompt": ASKED.decode(), **fields}
        answer = server.http.post(ROUTE, data=fields, files={"file": VOICEMAIL})
        assert "phone" in answer.text
    until(lambda: list(server.spool.iterdir()) == [])
    assert found(tmp_path, *SPOKEN, ASKED) == {}
