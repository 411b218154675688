"""A disk with no room: a limit on the files of the live server, and a small real disk where the system grants one."""

import resource
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self

import pytest

from stt_server.jobs.spool import RESERVE_BYTES, WORK_RESERVE_BYTES
from tests.faults.pressure import limited
from tests.faults.server import FakeServer, Launcher
from tests.real.process import ROUTE, ServerProcess
from tests.sounds import speech_wav
from tests.speech import craft
from tests.web.live import until

AUDIO = speech_wav(3)
TEXT = "w1 w2"
SMALL = speech_wav(0.2)
"""Fits where the database's next page does not."""


def largest_file(server: ServerProcess, size: int) -> AbstractContextManager[None]:
    """No file of the server may be larger during the block; its children write as before."""
    return limited(server.pid, resource.RLIMIT_FSIZE, size)


def refused(server: ServerProcess, audio: bytes, **ids: str) -> None:
    """New work is answered 503, when to come again, in the usual shape."""
    answer = server.http.post(ROUTE, data=ids, files={"file": audio})
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) >= 1
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.json()["error"]["code"] == "storage_full"


def looks_fine(server: ServerProcess, done: str) -> None:
    """Whatever needs no room works."""
    assert server.job(done)["text"] == TEXT
    assert server.http.get(f"{ROUTE}/{done}/result", params={"response_format": "srt"}).status_code == 200
    assert server.lookup("done")["text"] == TEXT
    assert server.submit(AUDIO, "done")["job_id"] == done
    assert server.http.get("/health").status_code == 200
    assert server.http.get(f"{ROUTE}/status").status_code == 200


def rows(server: ServerProcess) -> Any:
    """How many jobs there are."""
    return server.http.get("/health").json()["db_stats"]["total"]


@pytest.mark.parametrize(("size", "audio"), [(1, AUDIO), (8000, SMALL)], ids=["nothing", "no row"])
def test_a_full_disk(launcher: Launcher, tmp_path: Path, size: int, audio: bytes) -> None:
    """New work is refused, reading goes on, work in hand waits with its result, and room heals all of it."""
    with FakeServer(launcher, tmp_path, delay=0.5) as server:
        done = server.submit(AUDIO, "done")["job_id"]
        server.wait([done])
        in_hand = server.submit(AUDIO, "in hand")["job_id"]
        until(lambda: server.job(in_hand)["status"] == "processing")
        with largest_file(server, size):
            for i in range(3):
                refused(server, audio, user_uuid="user", message_id=f"refused-{i}")
                looks_fine(server, done)
            if size == 1:
                refused(server, audio)
            else:
                # A caller who waits needs a file, but no row.
                assert server.http.post(ROUTE, files={"file": audio}).status_code == 200
            until(lambda: list(server.spool.glob("*.pcm")) == [])
            assert server.job(in_hand)["status"] == "processing"
        assert server.wait([in_hand])[in_hand]["text"] == TEXT
        assert [server.lookup(f"refused-{i}") for i in range(3)] == [{"found": False}] * 3
        until(server.quiet)
        assert rows(server) == 2
        after = server.submit(AUDIO, "refused-0")["job_id"]
        assert server.wait([after])[after]["text"] == TEXT


def test_a_kill_on_a_full_disk(launcher: Launcher, tmp_path: Path) -> None:
    """A result that could not be stored is made again; nothing acknowledged is lost, nothing refused appears."""
    with FakeServer(launcher, tmp_path, delay=0.5) as server:
        in_hand = server.submit(AUDIO, "in hand")["job_id"]
        until(lambda: server.job(in_hand)["status"] == "processing")
        with largest_file(server, 8000):
            until(lambda: "storage_full" in server.log or list(server.spool.glob("*.pcm")) == [])
            refused(server, SMALL, user_uuid="user", message_id="refused")
            server.kill()
    with FakeServer(launcher, tmp_path) as server:
        assert server.wait([in_hand])[in_hand]["text"] == TEXT
        assert server.lookup("refused") == {"found": False}
        until(server.quiet)


# -- A real disk ------------------------------------------------------------------------------------

ROOM = 24 * 1024 * 1024
"""Beside the reserve."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    size = f"size={RESERVE_BYTES + ROOM}"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("nobody but root may mount a disk")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """A file that takes all the room there is."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file, pytest.raises(OSError, match="No space"):  # noqa: PT012
        while True:
            file.write(bytes(shutil.disk_usage(disk).free or 4096))
    return filler


def test_a_small_disk(launcher: Launcher, tmp_path: Path, small_disk: Path) -> None:
    """Filled to the last byte while jobs are in hand, even over a restart: they wait, and room heals all of it."""
    where: dict[str, Any] = {"DB_PATH": str(small_disk / "data" / "jobs.db")}
    with FakeServer(launcher, tmp_path, delay=0.05, **where) as server:
        done = server.submit(AUDIO, "done")["job_id"]
        server.wait([done])
        in_hand = server.submit(speech_wav(600), "in hand")["job_id"]
        until(lambda: server.job(in_hand)["status"] == "processing")
        filler = fill(small_disk)
        refused(server, AUDIO, user_uuid="user", message_id="refused")
        refused(server, AUDIO)
        looks_fine(server, done)
        assert server.job(in_hand)["status"] == "processing"
    fill(small_disk)
    with FakeServer(launcher, tmp_path, **where) as server:
        server.ready()
        looks_fine(server, done)
        refused(server, AUDIO, user_uuid="user", message_id="refused")
        filler.unlink()
        assert server.wait([in_hand])[in_hand]["duration"] == 600
        until(server.quiet)
        assert rows(server) == 2
        assert server.lookup("refused") == {"found": False}


def test_uploads_leave_room(launcher: Launcher, tmp_path: Path, small_disk: Path) -> None:
    """However many arrive at once, the reserve stays for the database: what fits is kept, the rest refused."""
    large = speech_wav(250)  # 4 MB
    told: list[int] = []

    def submit(i: int) -> None:
        ids = {"user_uuid": "user", "message_id": str(i)}
        told.append(server.http.post(ROUTE, data=ids, files={"file": large}).status_code)

    with FakeServer(launcher, tmp_path, loading=60, DB_PATH=str(small_disk / "data" / "jobs.db")) as server:
        clients = [threading.Thread(target=submit, args=(i,)) for i in range(12)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        assert set(told) == {200, 503}
        assert sum(server.lookup(str(i))["found"] for i in range(12)) == told.count(200)
        assert len(list(server.spool.glob("*.audio"))) == told.count(200)
        assert shutil.disk_usage(small_disk).free > RESERVE_BYTES // 2


def test_samples_leave_room(launcher: Launcher, tmp_path: Path, small_disk: Path) -> None:
    """A small file that is an hour long does not fill the disk with its samples: its caller is told to come again, its
    job waits for room while others are served, and completes once there is some."""
    long = craft.silent_flac(3600)
    samples = 3601 * 16_000 * 2
    with (
        FakeServer(launcher, tmp_path, delay=0.05, DB_PATH=str(small_disk / "data" / "jobs.db")) as server,
        Emptiest(small_disk) as disk,
    ):
        waits = server.submit(long, "long")["job_id"]
        until(lambda: "job waits" in server.log)
        answer = server.http.post(ROUTE, files={"file": long})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage_full")
        assert int(answer.headers["retry-after"]) >= 1
        until(lambda: shutil.disk_usage(small_disk).free > RESERVE_BYTES + len(AUDIO))  # its decoder has ended
        beside = server.submit(AUDIO, "beside")["job_id"]
        assert server.wait([beside])[beside]["text"] == TEXT
        assert server.job(waits)["status"] == "processing"
        assert disk.least_free() > WORK_RESERVE_BYTES // 2
        size = f"remount,size={RESERVE_BYTES + ROOM + samples}"
        subprocess.run(["mount", "-o", size, str(small_disk)], check=True)
        assert server.wait([waits], 180)[waits]["duration"] == pytest.approx(3600, abs=1)
        until(server.quiet)


class Emptiest(threading.Thread):
    """Watches the room on a disk during a block."""

    def __init__(self, disk: Path) -> None:
        super().__init__(daemon=True)
        self._disk = disk
        self._least = shutil.disk_usage(disk).free
        self._enough = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self.join()

    def run(self) -> None:
        while not self._enough.wait(0.005):
            self._least = min(self._least, shutil.disk_usage(self._disk).free)

    def least_free(self) -> int:
        """The least there was."""
        return self._least
