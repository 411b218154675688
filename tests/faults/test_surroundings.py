"""What lies around a running server goes away: temporary files, its folders, its database, files and threads to be
had, the reader of its log."""

import os
import resource
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from stt_server.jobs.queue import JOBS_BESIDE_THREADS
from tests.assets import TINY_MODEL, needs_model
from tests.faults.pressure import limited, mapped_bytes
from tests.faults.server import FakeServer, Launcher
from tests.faults.wire import told
from tests.real.process import ROUTE, ServerProcess
from tests.sounds import SAMPLE, SAMPLE_TEXT, speech_wav
from tests.web.live import until

AUDIO = speech_wav(3)
TEXT = "w1 w2"


def call(server: ServerProcess, audio: bytes = AUDIO) -> httpx.Response:
    """A caller who waits."""
    return server.http.post(ROUTE, files={"file": audio})


def clear(folder: Path) -> None:
    """Remove all that is in it."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


@needs_model
def test_temporary_files_are_cleared_away(tmp_path: Path) -> None:
    """As some systems do with what is ten days old: neither callers nor jobs notice, nor does a new recogniser."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    with ServerProcess(tmp_path, TMPDIR=str(folder)) as server:
        server.ready()
        recogniser = server.recogniser()
        for i in range(3):
            clear(folder)
            job = server.submit(SAMPLE.read_bytes(), str(i))["job_id"]
            assert call(server, SAMPLE.read_bytes()).json()["text"] == SAMPLE_TEXT
            assert server.wait([job])[job]["text"] == SAMPLE_TEXT
        clear(folder)
        os.kill(recogniser, 9)
        job = server.submit(SAMPLE.read_bytes(), "last")["job_id"]
        assert server.wait([job])[job]["text"] == SAMPLE_TEXT


def test_the_spool_is_cleared_away(launcher: Launcher, tmp_path: Path) -> None:
    """New recordings find a folder; a job whose audio was in it is told to be lost."""
    with FakeServer(launcher, tmp_path, delay=0.5) as server:
        lost = [server.submit(AUDIO, f"lost-{i}")["job_id"] for i in range(4 + JOBS_BESIDE_THREADS)][-1]
        shutil.rmtree(server.spool)
        assert call(server).json()["text"] == TEXT
        job = server.submit(AUDIO, "next")["job_id"]
        assert server.wait([job])[job]["text"] == TEXT
        assert server.wait([lost])[lost]["status"] == "failed"
        assert told(server.http.get(f"{ROUTE}/{lost}/result")) == "audio_lost"
        assert "Traceback" not in server.log


@pytest.mark.parametrize("replaced", [False, True], ids=["removed", "replaced"])
def test_the_database_is_taken_away(launcher: Launcher, tmp_path: Path, replaced: bool) -> None:
    """Nothing is acknowledged that no start would find again; the log says why. The next start takes what is there."""
    with FakeServer(launcher, tmp_path) as server:
        done = server.submit(AUDIO, "done")["job_id"]
        server.wait([done])
        until(server.quiet)
        server.terminate()
    database = tmp_path / "data" / "jobs.db"
    backup = shutil.copyfile(database, tmp_path / "backup.db")
    with FakeServer(launcher, tmp_path) as server:
        for path in database.parent.glob("jobs.db*"):
            if path.suffix != ".lock":
                path.unlink()
        if replaced:
            backup.replace(database)
        ids = {"user_uuid": "user", "message_id": "new"}
        answer = server.http.post(ROUTE, data=ids, files={"file": AUDIO})
        assert (answer.status_code, told(answer)) == (500, "internal_error")
        assert "removed or replaced while in use" in server.log
        assert call(server).json()["text"] == TEXT
        until(lambda: not list(server.spool.iterdir()))
    with FakeServer(launcher, tmp_path) as server:
        assert server.lookup("done")["found"] is replaced
        assert server.lookup("new") == {"found": False}
        job = server.submit(AUDIO, "new")["job_id"]
        assert server.wait([job])[job]["text"] == TEXT


def test_no_file_to_be_opened(launcher: Launcher, tmp_path: Path) -> None:
    """Who comes then is told to come again, health is answered, the job in hand waits; later all is well."""
    with FakeServer(launcher, tmp_path, own_forkserver=True) as server:
        server.ready()
        call(server)
        until(server.quiet)
        files = len(list(Path(f"/proc/{server.pid}/fd").iterdir()))
        with limited(server.pid, resource.RLIMIT_NOFILE, files):
            ids = {"user_uuid": "user", "message_id": "new"}
            codes = [told(server.http.post(ROUTE, data=ids, files={"file": AUDIO})) for _ in range(3)]
            codes += [told(call(server)) for _ in range(3)]
            assert set(codes) <= {"unavailable", "storage_busy", None}
            assert server.http.get("/health/live").status_code == 200
        until(lambda: call(server).status_code == 200)
        job = server.submit(AUDIO, "new")["job_id"]
        assert server.wait([job])[job]["text"] == TEXT


def test_no_thread_to_be_had(launcher: Launcher, tmp_path: Path) -> None:
    """A job that was acknowledged is not failed for want of memory or a thread: it waits."""
    with FakeServer(launcher, tmp_path, own_forkserver=True, loading=1) as server:
        jobs = [server.submit(AUDIO, str(i))["job_id"] for i in range(8)]
        with limited(server.pid, resource.RLIMIT_AS, mapped_bytes(server.pid) + (1 << 20)):
            until(lambda: server.http.get("/health/ready").status_code == 200)
            for i in range(8, 16):
                with suppress(httpx.HTTPError, AssertionError):  # it may not even be able to answer
                    jobs.append(server.submit(AUDIO, str(i))["job_id"])
        assert {(job["status"], job["text"]) for job in server.wait(jobs).values()} == {("completed", TEXT)}


@needs_model
def test_a_log_that_nobody_reads(tmp_path: Path) -> None:
    """Lines are lost, requests are not; whoever reads again finds new ones."""
    environment: dict[str, Any] = {"PORT": "0", "MODEL_PATH": str(TINY_MODEL), "DB_PATH": str(tmp_path / "jobs.db")}
    command = [str(Path(sys.executable).parent / "stt-server"), "serve"]
    with subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.PIPE) as server:
        assert server.stderr
        read = b""
        while b"recogniser ready" not in read:
            read += os.read(server.stderr.fileno(), 4096)
        address = read.partition(b"address=")[2].split()[0].decode()
        with httpx.Client(base_url=address, timeout=20, trust_env=False) as http:
            for _ in range(1500):
                assert http.get("/v1/models").status_code == 200
            assert http.post(ROUTE, files={"file": SAMPLE.read_bytes()}).json()["text"] == SAMPLE_TEXT
            while len(os.read(server.stderr.fileno(), 4096)) == 4096:
                pass
            http.get(ROUTE + "/status")
        server.terminate()
        assert b"stopped" in server.stderr.read()
        assert server.wait(20) == 0
