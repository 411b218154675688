"""Databases of the server before this one, both generations, taken over in place."""

import asyncio
import logging
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from stt_server.errors import AudioLost, FailedBefore
from stt_server.jobs.stores import Counts, open_store
from stt_server.jobs.stores.sqlite import SqliteStore
from stt_server.types import Job, JobError, JobStatus, Key, Segment, Transcript
from tests.jobs.stores.samples import Clock, a_job, completed
from tests.jobs.stores.test_sqlite import found_on_disk

RUST = """
    CREATE TABLE transcriptions (
        id TEXT PRIMARY KEY, user_uuid TEXT NOT NULL, message_id TEXT NOT NULL,
        status TEXT NOT NULL DEFAULT 'queued', text TEXT, duration REAL, error TEXT,
        created_at INTEGER NOT NULL, completed_at INTEGER
    );
    CREATE UNIQUE INDEX idx_user_message ON transcriptions(user_uuid, message_id);
    CREATE INDEX idx_status ON transcriptions(status);
    CREATE INDEX idx_created_at ON transcriptions(created_at);
"""
PYTHON = """
    CREATE TABLE transcriptions (
        id TEXT PRIMARY KEY, user_uuid TEXT NOT NULL, message_id TEXT NOT NULL, status TEXT NOT NULL,
        text TEXT, duration REAL, error TEXT, created_at INTEGER NOT NULL, completed_at INTEGER,
        last_lookup INTEGER, UNIQUE(user_uuid, message_id)
    );
    CREATE INDEX idx_user_message ON transcriptions(user_uuid, message_id);
    CREATE INDEX idx_last_lookup ON transcriptions(last_lookup);
"""
LOOSE = """
    CREATE TABLE transcriptions (
        id, user_uuid, message_id, status, text, duration, error, created_at, completed_at, last_lookup
    );
"""
GENERATIONS = {"rust": RUST, "python": PYTHON}
THEN = 1_760_000_000
VOICEMAIL = "Bonjour, c'est Élodie. Rappelez-moi à 14 h 30, s'il vous plaît."


def write(path: Path, schema: str, *rows: dict[str, Any]) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.executescript(schema)
        insert(database, *rows)


def insert(database: sqlite3.Connection, *rows: dict[str, Any]) -> None:
    for row in rows:
        columns = ", ".join(row)
        values = ", ".join("?" * len(row))
        database.execute(f"INSERT INTO transcriptions ({columns}) VALUES ({values})", list(row.values()))
    database.commit()


def row(message: str, status: str = "completed", **fields: Any) -> dict[str, Any]:
    return {
        "id": str(uuid4()),
        "user_uuid": "u-1",
        "message_id": message,
        "status": status,
        "created_at": THEN,
    } | fields


async def taken_over(path: Path, *, now: datetime | None = None) -> SqliteStore:
    return await SqliteStore.open(path, clock=Clock(now or datetime.now(UTC)))


async def the_job(store: SqliteStore, message: str) -> Job:
    job = await store.lookup(Key("default", "u-1", message))
    assert job
    return job


@pytest.fixture(params=GENERATIONS)
def schema(request: pytest.FixtureRequest) -> str:
    return GENERATIONS[request.param]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "transcriptions.db"


async def test_everything_known_is_kept(path: Path, schema: str) -> None:
    """Ids, keys, texts, durations, times and failures; a text becomes one segment without words."""
    rows = [
        row("done", text=VOICEMAIL, duration=7.25, completed_at=THEN + 9),
        row("silent", text="", duration=3.0, completed_at=THEN + 5),
        row("forgotten", text=None, duration=4.0, completed_at=THEN + 5),
        row("failed", "failed", error="Audio too long: 9.5 minutes. Maximum allowed: 8 minutes."),
        row("nameless", "failed"),
        row("waiting", "queued"),
        row("begun", "processing"),
    ]
    write(path, schema, *rows)
    store = await taken_over(path)
    jobs = {r["message_id"]: await the_job(store, r["message_id"]) for r in rows}
    assert {m: (job.id, int(job.created_at.timestamp())) for m, job in jobs.items()} == {
        r["message_id"]: (r["id"], THEN) for r in rows
    }
    done = jobs["done"]
    assert done.transcript == Transcript((Segment(VOICEMAIL, 0.0, 7.25),), 7.25, None, "unknown")
    assert done.completed_at == datetime.fromtimestamp(THEN + 9, UTC)
    assert done.duration == 7.25
    assert jobs["silent"].transcript == Transcript((), 3.0, None, "unknown")
    assert (jobs["forgotten"].status, jobs["forgotten"].transcript) == (JobStatus.COMPLETED, None)
    assert jobs["forgotten"].duration == 4.0
    long = JobError("legacy", "Audio too long: 9.5 minutes. Maximum allowed: 8 minutes.")
    assert jobs["failed"].error == long
    assert jobs["nameless"].error == JobError(FailedBefore.code, FailedBefore().message)
    for lost in (jobs["waiting"], jobs["begun"]):
        assert lost.error == JobError(AudioLost.code, AudioLost().message)
    assert await store.counts() == Counts(7, 3, 4, 0)
    assert await store.recover() == []
    await store.close()


async def test_finished_ones_answer_and_lost_ones_are_tried_again(path: Path, schema: str) -> None:
    """A known recording is answered without audio; one that was lost or failed gets a new job."""
    write(path, schema, row("done", text=VOICEMAIL, duration=7.25), row("begun", "processing"), row("bad", "failed"))
    store = await taken_over(path)
    assert not (await store.admit(a_job(Key("default", "u-1", "done")))).created
    assert (await store.admit(a_job(Key("default", "u-1", "begun")))).created
    assert (await store.admit(a_job(Key("default", "u-1", "bad")))).created
    assert await store.counts() == Counts(3, 1, 0, 2)
    await store.close()


async def test_it_happens_once(path: Path, schema: str) -> None:
    """The next start finds an ordinary database of today."""
    write(path, schema, row("done", text=VOICEMAIL))
    first = await taken_over(path)
    job = await the_job(first, "done")
    await first.close()
    second = await taken_over(path)
    assert await the_job(second, "done") == job
    await second.close()
    with closing(sqlite3.connect(path)) as database:
        assert not database.execute("SELECT 1 FROM sqlite_schema WHERE name = 'transcriptions'").fetchall()
        assert not database.execute("SELECT 1 FROM meta").fetchall()


async def test_erased_texts_do_not_linger_in_the_old_pages(path: Path, schema: str) -> None:
    """Neither what is erased now nor what the old server had only marked as deleted."""
    rows = [row(str(i), text=f"Blumenkohl {i} " * (i % 90), duration=1.0) for i in range(300)]
    write(path, schema, row("keep", text="Rosenkohl"), *rows)
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE transcriptions SET text = NULL WHERE length(text) > 200")
        database.execute("DELETE FROM transcriptions WHERE rowid % 7 = 0")
        database.commit()
        database.execute("DELETE FROM transcriptions WHERE length(text) > 100")
        database.commit()
    store = await taken_over(path)
    left = [r for r in rows if await store.lookup(Key("default", "u-1", r["message_id"]))]
    assert left
    for r in left:
        await store.erase("default", r["id"])
    assert found_on_disk(path.parent, "Blumenkohl") == []
    assert found_on_disk(path.parent, "Rosenkohl") == ["transcriptions.db"]
    await store.close()


async def test_no_row_is_bad_enough_to_stop_it(path: Path) -> None:
    """Whatever a row holds, the others are taken over and it is as far as it makes sense."""
    nothing = dict.fromkeys(("id", "user_uuid", "message_id", "status", "text", "created_at"))
    rows: list[dict[str, Any]] = [
        nothing,
        row("times", text="a", created_at=10**17, completed_at=-(10**15), last_lookup="gestern", duration=float("inf")),
        row("text", text=b"caf\xe9", duration="long", created_at="früher"),
        row("number", text=42, duration=-1.0, id=7),
        row("status", "weird", text="half", error=b"\xff"),
        row("error", "failed", error="https://pbx/recording?token=s3cr3t failed"),
        row("id", text="b", id="not-a-uuid"),
        row("", text="no message"),
        row("null", text="zero\x00byte", created_at=None),
    ]
    write(path, LOOSE, *rows, row("good", text=VOICEMAIL, duration=7.25))
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE transcriptions SET text = CAST(text AS TEXT) WHERE message_id = 'text'")
        database.commit()
    now = datetime(2026, 11, 20, tzinfo=UTC)
    store = await taken_over(path, now=now)
    assert (await the_job(store, "good")).transcript
    times = await the_job(store, "times")
    assert abs(times.created_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert (times.completed_at, times.duration) == (None, None)
    text = (await the_job(store, "text")).transcript
    assert text == Transcript((Segment("caf\ufffd", 0.0, 0.0),), 0.0, None, "unknown")
    assert (await store.get("default", "7")).transcript
    assert (await the_job(store, "status")).error == JobError(AudioLost.code, AudioLost().message)
    error = (await the_job(store, "error")).error
    assert error
    assert "s3cr3t" not in error.message
    assert (await store.get("default", "not-a-uuid")).key.message_id == "id"
    assert (await the_job(store, "null")).transcript
    assert (await store.counts()).total == len(rows) + 1
    await store.close()


async def test_a_pair_has_one_job_whatever_the_old_file_says(path: Path) -> None:
    """Where the unique index had been lost, a result beats a failure."""
    write(
        path,
        LOOSE,
        row("pair", "failed", error="x"),
        row("pair", text="the result"),
        row("pair", text="another result"),
        row("pair", "queued"),
    )
    store = await taken_over(path)
    job = await the_job(store, "pair")
    assert job.transcript
    assert job.transcript.text == "the result"
    assert (await store.counts()).completed == 1
    await store.close()


async def test_texts_keep_the_age_they_had(path: Path) -> None:
    """Retention counts from the old server's last look-up, or from when it stored the text."""
    now = datetime.fromtimestamp(THEN, UTC) + timedelta(days=500)
    read = THEN + 400 * 86_400
    write(path, PYTHON, row("unread", text="a", completed_at=THEN), row("read", text="b", last_lookup=read))
    store = await taken_over(path, now=now)
    assert await store.expire(now - timedelta(days=365)) == 1
    assert (await the_job(store, "unread")).transcript is None
    assert (await the_job(store, "read")).transcript
    await store.close()


async def test_the_file_becomes_the_owners_alone(path: Path, schema: str) -> None:
    """The old server made it readable for everybody."""
    write(path, schema, row("done", text=VOICEMAIL))
    path.chmod(0o644)
    store = await taken_over(path)
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
    await store.close()


async def test_a_file_with_the_table_and_no_rows_is_taken_over(path: Path, schema: str) -> None:
    """An old server that was only tried out."""
    write(path, schema)
    store = await taken_over(path)
    assert await store.counts() == Counts(0, 0, 0, 0)
    await store.close()


async def test_what_the_old_server_did_in_between_is_taken_over_too(path: Path) -> None:
    """Somebody goes back to it for a week and comes forward again: nothing of either is lost or doubled."""
    store = await taken_over(path)
    ours = await completed(store, Key("default", "u-1", "both"))
    await store.close()
    write(path, PYTHON, row("both", text="theirs"), row("new", text=VOICEMAIL))
    store = await taken_over(path)
    assert await the_job(store, "both") == ours
    assert (await the_job(store, "new")).transcript
    assert await store.counts() == Counts(2, 2, 0, 0)
    await store.close()


LOCK = """
import sqlite3, sys, time
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
time.sleep(1)
database.execute("COMMIT")
"""
OPEN = """
import asyncio, pathlib, sys
from stt_server.jobs.stores import open_store
async def main():
    await (await open_store(pathlib.Path(sys.argv[1]))).close()
asyncio.run(main())
"""


async def test_an_old_server_that_is_still_writing_is_waited_for(path: Path) -> None:
    """The take-over begins when its lock is gone."""
    write(path, PYTHON, row("done", text=VOICEMAIL))
    old = await asyncio.create_subprocess_exec(sys.executable, "-c", LOCK, path, stdout=asyncio.subprocess.PIPE)
    assert old.stdout
    assert await old.stdout.readline()
    try:
        store = await open_store(path)
    finally:
        await old.communicate()
    assert (await store.counts()).completed == 1
    await store.close()


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


async def test_kill_9_in_the_middle_changes_nothing(path: Path) -> None:
    """The take-over is one transaction: what was old is old, and the next start does it all."""
    write(path, PYTHON, *(row(str(i), text=VOICEMAIL * 5, duration=1.0) for i in range(10_000)))
    log = path.with_name(path.name + "-wal")
    server = await asyncio.create_subprocess_exec(sys.executable, "-c", OPEN, path)
    async with asyncio.timeout(60):
        # The cache is smaller than the rows, so the log grows long before the commit.
        while _size(log) < 1_000_000 and server.returncode is None:
            await asyncio.sleep(0)
    assert server.returncode is None, "it was done before it could be killed"
    server.kill()
    await server.wait()
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM transcriptions").fetchall() == [(10_000,)]
    store = await taken_over(path)
    assert await store.counts() == Counts(10_000, 10_000, 0, 0)
    await store.close()


async def test_the_log_says_how_many_and_no_word(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One line for the operator, without texts."""
    write(path, PYTHON, row("done", text=VOICEMAIL))
    with caplog.at_level(logging.DEBUG, "stt_server"):
        await (await taken_over(path)).close()
    [line] = [record for record in caplog.records if record.getMessage() == "old database taken over"]
    assert (vars(line)["rows"], vars(line)["taken"]) == (1, 1)
    assert "Élodie" not in caplog.text
