"""What the SQLite store promises beyond the contract: crashes, locks, full disks, damaged files, erased bytes."""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from aiosqlite import Connection

from stt_server.errors import StorageBusy, StoreBroken
from stt_server.jobs.stores import open_store
from stt_server.jobs.stores.database import Database, run
from stt_server.jobs.stores.migrations import MIGRATIONS
from stt_server.jobs.stores.sqlite import SqliteStore
from stt_server.types import JobStatus
from tests.jobs.stores.samples import OOPS, Clock, a_job, a_key, a_transcript, completed

SECRET = "Zwetschgendatschi"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "jobs.db"


@pytest.fixture
async def store(path: Path, clock: Clock) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(path, clock=clock, busy_secs=0.5)
    yield store
    await store.close()


@contextmanager
def foreign(path: Path, *statements: str) -> Iterator[sqlite3.Connection]:
    """Another program at the same file."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        for statement in statements:
            other.execute(statement).fetchall()
        yield other


def child(part: str, path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.jobs.stores.child", part, str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])


def killed_after(part: str, path: Path, *, lines: int) -> list[str]:
    """What a child had said when it was killed, at any instant after so many lines."""
    with child(part, path) as process:
        assert process.stdout
        said = [process.stdout.readline().strip() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        return said + process.stdout.read().split("\n")[:-1]


def found_on_disk(folder: Path, word: str) -> list[str]:
    return [file.name for file in folder.rglob("*") if file.is_file() and word.encode() in file.read_bytes()]


# -- Crashes ----------------------------------------------------------------------------------------


async def test_what_was_acknowledged_survives_kill_9(path: Path) -> None:
    """Every id a caller was told is there afterwards, once, in order; at most the one in hand is there beside."""
    said: list[str] = []
    for lines in (1, 40):
        said = killed_after("promise", path, lines=lines)
        store = await open_store(path)
        kept = [job.id for job in await store.recover()]
        assert kept[: len(said)] == said
        assert len(set(kept)) == len(kept) <= len(said) + 1
        await store.erase_user("default", "user")
        await store.close()


async def test_a_forced_result_is_swapped_in_or_not_at_all(path: Path) -> None:
    """Killed at any instant, the key has one current job with its text: the last one acknowledged, or the next."""
    said = killed_after("swap", path, lines=25)
    store = await open_store(path)
    current = await store.lookup(a_key())
    assert current
    assert current.transcript
    assert current.transcript.text in {f"version {len(said) - 1}", f"version {len(said)}"}
    left = await store.recover()
    assert (await store.counts()).total == 1 + len(left) <= 2
    await store.close()


async def test_commits_reach_the_disk_before_they_are_acknowledged(path: Path) -> None:
    """A write-ahead log synced at every commit; deleted content is zeroed; nothing spills to a temporary file."""
    database = await Database.open(path)

    async def pragmas(connection: Connection) -> dict[str, object]:
        names = ("journal_mode", "synchronous", "secure_delete", "foreign_keys", "temp_store", "busy_timeout")
        return {name: (await run(connection, f"PRAGMA {name}"))[0][0] for name in names}

    assert await database.write(pragmas) == {
        "journal_mode": "wal",
        "synchronous": 2,
        "secure_delete": 1,
        "foreign_keys": 1,
        "temp_store": 2,
        "busy_timeout": 250,
    }
    await database.close()


async def test_work_that_fails_leaves_nothing_behind(path: Path) -> None:
    """A transaction is whole or was never there, and the next one is not disturbed."""
    database = await Database.open(path)

    async def work(connection: Connection) -> None:
        await run(connection, "INSERT INTO meta VALUES ('half', 1)")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.write(work)
    assert await database.read("SELECT * FROM meta") == []
    await database.write(lambda connection: run(connection, "INSERT INTO meta VALUES ('whole', 1)"))
    assert len(await database.read("SELECT * FROM meta")) == 1
    await database.close()


async def test_callers_who_leave_tear_nothing_apart(store: SqliteStore) -> None:
    """Submissions cancelled at any step are whole or not there, and the store works on."""
    jobs = [a_job(a_key(str(i))) for i in range(30)]
    tasks = [asyncio.create_task(store.admit(job)) for job in jobs]
    for i, task in enumerate(tasks):
        await asyncio.sleep(0.0002 * (i % 5))
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (await store.admit(a_job(a_key("after")))).created
    kept = await store.recover()
    assert len(kept) == (await store.counts()).pending
    for job in kept:
        assert await store.lookup(job.key) == job


# -- Locks ------------------------------------------------------------------------------------------


async def test_writes_wait_for_a_lock_of_three_seconds_and_reads_do_not(path: Path) -> None:
    """A backup tool that locks the database delays submissions; nobody is refused, and lookups go on."""
    store = await open_store(path)
    job = await completed(store, a_key("read"))
    with foreign(path, "BEGIN IMMEDIATE") as other:
        began = time.monotonic()
        waiting = [asyncio.create_task(store.admit(a_job(a_key(str(i))))) for i in range(20)]
        await asyncio.sleep(0.05)
        assert await store.lookup(job.key) == job
        assert (await store.counts()).total == 1
        assert time.monotonic() - began < 1
        await asyncio.sleep(3)
        assert not any(task.done() for task in waiting)
        other.execute("ROLLBACK")
        admitted = await asyncio.gather(*waiting)
        assert all(one.created for one in admitted)
    await store.close()


async def test_a_longer_lock_is_answered_busy(store: SqliteStore, path: Path) -> None:
    """All who wait are told within the one timeout, not one after the other; afterwards all is well."""
    with foreign(path, "BEGIN IMMEDIATE"):
        began = time.monotonic()
        crowd = (store.admit(a_job(a_key(str(i)))) for i in range(20))
        answers = await asyncio.gather(*crowd, return_exceptions=True)
        assert {type(answer) for answer in answers} == {StorageBusy}
        assert time.monotonic() - began < 2.0
    assert (await store.counts()).total == 0
    assert (await store.admit(a_job())).created


async def test_a_stop_does_not_wait_for_a_lock(path: Path) -> None:
    """What waits for another program is told that the database is busy, well within a container's grace."""
    store = await open_store(path)
    with foreign(path, "BEGIN IMMEDIATE"):
        waiting = [asyncio.create_task(store.admit(a_job(a_key(str(i))))) for i in range(5)]
        await asyncio.sleep(0.1)
        began = time.monotonic()
        await store.close()
        assert time.monotonic() - began < 3
        assert {type(answer) for answer in await asyncio.gather(*waiting, return_exceptions=True)} == {StorageBusy}


async def test_a_read_is_noted_even_when_the_database_was_locked_meanwhile(
    store: SqliteStore, path: Path, clock: Clock
) -> None:
    """The reader is answered at once, and the text read is not erased by a pass that comes later."""
    job = await completed(store)
    clock.step(days=300)
    with foreign(path, "BEGIN IMMEDIATE"):
        assert (await store.lookup(job.key)) == job
        await asyncio.sleep(0.7)
    clock.step(days=300)
    assert await store.expire(clock.now - timedelta(days=365)) == 0


async def test_a_second_server_is_refused(store: SqliteStore, path: Path) -> None:
    """Two servers would run each other's jobs; the second one says why it does not start."""
    with pytest.raises(StoreBroken, match="in use by another server") as caught:
        await SqliteStore.open(path, busy_secs=0.2)
    assert str(path) in caught.value.message
    assert (await store.admit(a_job())).created


async def test_a_server_that_is_ending_is_waited_for(path: Path) -> None:
    """A restart that overlaps works."""
    first = await open_store(path)
    second = asyncio.create_task(open_store(path))
    await asyncio.sleep(0.2)
    await first.close()
    await (await second).close()


# -- A full disk ------------------------------------------------------------------------------------


async def test_a_full_disk_refuses_new_work_and_nothing_else(path: Path) -> None:
    """What does not fit is refused and leaves no trace, reading goes on, and space heals it without a restart."""
    process = await asyncio.to_thread(child, "starve", path)
    said, _ = await asyncio.to_thread(process.communicate)
    assert process.returncode == 0
    assert int(said.split()[1]) > 0
    store = await open_store(path)
    assert (await store.counts()).completed == 2
    await store.close()


# -- Files ------------------------------------------------------------------------------------------


async def test_the_database_and_its_folder_are_made_for_the_owner_alone(store: SqliteStore, path: Path) -> None:
    """Voicemails are nobody else's business."""
    await store.admit(a_job())
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert modes == {"jobs.db": 0o600, "jobs.db-wal": 0o600, "jobs.db-shm": 0o600, "jobs.db.lock": 0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700


def _sqlite(path: Path, *statements: str) -> None:
    with foreign(path, *statements):
        pass


def _garbage(path: Path) -> None:
    path.write_bytes(os.urandom(20_000))


def _letter(path: Path) -> None:
    path.write_text("Dear operator,\nthis is not a database.\n")


def _other_program(path: Path) -> None:
    _sqlite(path, "CREATE TABLE customers (name)", "INSERT INTO customers VALUES ('Wazo')")


def _other_table_of_that_name(path: Path) -> None:
    _sqlite(path, "CREATE TABLE transcriptions (id, whatever)")


def _other_application(path: Path) -> None:
    _sqlite(path, "PRAGMA application_id = 7", "PRAGMA user_version = 1", "CREATE TABLE jobs (id)")


def _cut_off(path: Path) -> None:
    _other_program(path)
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize(
    "make", [_garbage, _letter, _other_program, _other_table_of_that_name, _other_application, _cut_off]
)
async def test_a_file_that_is_not_our_database_is_refused_and_left_alone(tmp_path: Path, make: object) -> None:
    """The message names the file, and not a byte of it changes."""
    path = tmp_path / "jobs.db"
    assert callable(make)
    make(path)
    before = path.read_bytes()
    with pytest.raises(StoreBroken) as caught:
        await open_store(path)
    assert str(path) in caught.value.message
    assert path.read_bytes() == before


async def test_a_database_of_a_newer_server_is_refused_and_left_alone(path: Path) -> None:
    """Going back to an older server needs the older database."""
    await (await open_store(path)).close()
    _sqlite(path, f"PRAGMA user_version = {len(MIGRATIONS) + 1}", "CREATE TABLE later (x)")
    before = path.read_bytes()
    with pytest.raises(StoreBroken, match="newer server") as caught:
        await open_store(path)
    assert str(path) in caught.value.message
    assert path.read_bytes() == before


async def test_a_damaged_database_is_refused_and_left_alone(path: Path) -> None:
    """One page overwritten in the middle is noticed at start."""
    store = await open_store(path)
    for i in range(200):
        await store.admit(a_job(a_key(str(i))))
    await store.close()
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 4096] = b"\xa5" * 4096
    path.write_bytes(content)
    with pytest.raises(StoreBroken, match=r"damaged|malformed") as caught:
        await open_store(path)
    assert str(path) in caught.value.message
    assert path.read_bytes() == content


async def test_what_cannot_be_a_file_is_refused(tmp_path: Path) -> None:
    """A folder in its place; a file where its folder should be."""
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "jobs.db"):
        with pytest.raises(StoreBroken) as caught:
            await open_store(path)
        assert str(path) in caught.value.message


async def test_an_empty_file_is_a_new_database(path: Path) -> None:
    """As a container's volume may bring it."""
    path.parent.mkdir()
    path.touch()
    store = await open_store(path)
    assert (await store.admit(a_job())).created
    await store.close()


async def test_tables_of_a_replication_tool_are_no_stranger(path: Path) -> None:
    """Litestream keeps its own tables in the file."""
    path.parent.mkdir()
    _sqlite(path, "CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)")
    await (await open_store(path)).close()


# -- Erased bytes -----------------------------------------------------------------------------------


async def test_erased_words_are_gone_from_the_disk(store: SqliteStore, path: Path) -> None:
    """By job and by user, short and long texts, the queued job's prompt too: no file holds them any more."""
    long = f"{SECRET} " * 5_000
    jobs = [await completed(store, a_key(str(i)), text) for i, text in enumerate((SECRET, long, long, SECRET))]
    await store.admit(a_job(a_key("queued", user=SECRET)))
    await completed(store, a_key("other", user="other"), "Quark")
    assert found_on_disk(path.parent, SECRET)
    await store.erase("default", jobs[0].id)
    await store.erase("default", jobs[1].id)
    await store.erase_user("default", "user")
    await store.erase_user("default", SECRET)
    assert found_on_disk(path.parent, SECRET) == []
    assert found_on_disk(path.parent, "Quark")


async def test_expired_words_are_gone_from_the_disk(store: SqliteStore, path: Path, clock: Clock) -> None:
    """Retention erases bytes, not only answers; prompts went when their jobs ended."""
    await completed(store, text=SECRET)
    job = (await store.admit(a_job(a_key("failed")))).job
    await store.fail(job.id, 0, OOPS)
    clock.step(days=2)
    assert await store.expire(clock.now - timedelta(days=1)) == 1
    assert found_on_disk(path.parent, SECRET) == []
    assert found_on_disk(path.parent, "Wazo, calld") == []


async def test_bytes_a_reader_holds_back_go_with_the_next_pass(store: SqliteStore, path: Path, clock: Clock) -> None:
    """A backup tool that reads for hours delays the wiping, not the answer."""
    job = await completed(store, text=SECRET)
    with foreign(path, "BEGIN", "SELECT count(*) FROM jobs"):
        began = time.monotonic()
        assert await store.erase("default", job.id) == [job.id]
        assert time.monotonic() - began < 2
        assert await store.lookup(job.key) is None
    assert found_on_disk(path.parent, SECRET)
    assert await store.expire(clock.now) == 0
    assert found_on_disk(path.parent, SECRET) == []


async def test_bytes_erased_just_before_a_crash_go_at_the_next_start(store: SqliteStore, path: Path) -> None:
    """A log left behind is emptied before anything else."""
    job = await completed(store, text=SECRET)
    with foreign(path, "BEGIN", "SELECT count(*) FROM jobs"):
        await store.erase("default", job.id)
        # The disk as a crash would leave it.
        crashed = path.parent.parent / "crashed"
        shutil.copytree(path.parent, crashed)
    assert found_on_disk(crashed, SECRET)
    later = await open_store(crashed / path.name)
    assert found_on_disk(crashed, SECRET) == []
    await later.close()


async def test_a_caller_who_leaves_does_not_stop_the_wiping(store: SqliteStore, path: Path) -> None:
    """Cancelled at any step, a job that is gone has left no bytes."""
    for step in range(30):
        job = await completed(store, text=SECRET)
        task = asyncio.create_task(store.erase("default", job.id))
        await asyncio.sleep(step * 0.0001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.admit(a_job(a_key("behind")))
        if await store.lookup(job.key) is None:
            assert found_on_disk(path.parent, SECRET) == []
        await store.erase("default", job.id)


# -- Reads that cost nothing ------------------------------------------------------------------------


async def test_polling_writes_nothing(store: SqliteStore, path: Path, clock: Clock) -> None:
    """Reading a text every two seconds for an hour costs no synced write, and one after it."""
    job = await completed(store)
    writes = (path.parent / "jobs.db-wal").stat().st_size
    for _ in range(30):
        clock.step(minutes=1)
        await store.get("default", job.id)
        await asyncio.sleep(0)
    assert (path.parent / "jobs.db-wal").stat().st_size == writes
    clock.step(hours=1)
    await asyncio.gather(*(store.get("default", job.id) for _ in range(100)))
    await store.admit(a_job(a_key("behind")))
    with foreign(path) as other:
        [(kept,)] = other.execute("SELECT kept_ms FROM jobs WHERE kept_ms NOTNULL")
    assert kept == clock.now.timestamp() * 1000


async def test_every_status_of_the_code_is_one_of_the_database(store: SqliteStore) -> None:
    """The table's CHECK and `JobStatus` name the same four."""
    statement = " ".join(statement for migration in MIGRATIONS for statement in migration)
    assert all(f"'{status}'" in statement for status in JobStatus)
    job = await completed(store, text="fin")
    assert job.transcript == a_transcript("fin")
