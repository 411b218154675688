"""What the server promises when it is killed, stopped, or loses its children. A real process, a real model."""

import os
import random
import signal
import subprocess
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.assets import needs_model
from tests.real.process import ROUTE, ServerProcess
from tests.sounds import SAMPLE, SAMPLE_TEXT, speech_wav

pytestmark = needs_model

JOBS, KILLS = 40, 4
"""In this suite; the claim of 1,000 jobs and 50 kills is the long run of the fault suite."""


def test_kill_at_any_instant_loses_nothing(tmp_path: Path) -> None:
    """What was acknowledged before a `kill -9` ends as completed, once, under its own id, with nothing left over."""
    chance, acknowledged = random.Random(1), dict[str, str]()
    for round_ in range(KILLS):
        with ServerProcess(tmp_path) as server:

            def submit(server: ServerProcess = server, round_: int = round_) -> None:
                try:
                    for i in range(JOBS // KILLS):
                        message = f"{round_}-{i}"
                        acknowledged[message] = server.submit(SAMPLE.read_bytes(), message)["job_id"]
                except (httpx.HTTPError, RuntimeError):
                    pass  # killed before the answer: nothing was promised

            sender = threading.Thread(target=submit)
            sender.start()
            time.sleep(chance.uniform(0.02, 0.4))
            server.kill()
            sender.join()
    assert acknowledged
    with ServerProcess(tmp_path) as server:
        jobs = server.wait(list(acknowledged.values()))
        assert {job["text"] for job in jobs.values()} == {SAMPLE_TEXT}
        for message, job_id in acknowledged.items():
            assert server.submit(SAMPLE.read_bytes(), message)["job_id"] == job_id
        while server.http.get(f"{ROUTE}/status").json()["processing"]:
            time.sleep(0.05)
        # Kept without an answer: at most one a kill, whose row was written and whose answer was cut off.
        stats = server.http.get("/health").json()["db_stats"]
        assert len(acknowledged) <= stats["total"] <= len(acknowledged) + KILLS
        assert list(server.spool.iterdir()) == []


def test_a_stop_is_quick_and_in_order(tmp_path: Path) -> None:
    """SIGTERM in the middle of work: exit status 0 within ten seconds; the next start finishes the work."""
    with ServerProcess(tmp_path) as server:
        long = server.submit(speech_wav(1800), "long")["job_id"]
        waiting = [server.submit(SAMPLE.read_bytes(), f"m{i}")["job_id"] for i in range(5)]
        began = time.monotonic()
        assert server.terminate() == 0
        assert time.monotonic() - began < 10
    with ServerProcess(tmp_path) as server:
        jobs = server.wait([long, *waiting])
        assert {job["status"] for job in jobs.values()} == {"completed"}
        assert jobs[long]["duration"] == pytest.approx(1800, abs=0.1)


def test_results_in_every_format_outlive_a_restart(tmp_path: Path) -> None:
    """A transcript is stored whole: any format comes out of it later, the submission's by default."""
    formats = ("json", "text", "srt", "vtt", "verbose_json")
    with ServerProcess(tmp_path) as server:
        job_id = server.submit(SAMPLE.read_bytes(), "m", response_format="srt")["job_id"]
        server.wait([job_id])
        path = f"{ROUTE}/{job_id}/result"
        before = {name: server.http.get(path, params={"response_format": name}).content for name in formats}
    with ServerProcess(tmp_path) as server:
        assert {name: server.http.get(path, params={"response_format": name}).content for name in formats} == before
        assert server.http.get(path).content == before["srt"]
    assert b"-->" in before["srt"]
    assert len(set(before.values())) == len(formats)


def test_the_server_outlives_its_children(tmp_path: Path) -> None:
    """Every child killed in the middle of work: jobs are finished all the same and the server never stops answering."""
    with ServerProcess(tmp_path) as server:
        jobs = [server.submit(speech_wav(300), f"m{i}")["job_id"] for i in range(4)]
        while not server.http.get(f"{ROUTE}/status").json()["processing"]:
            time.sleep(0.01)
        for _ in range(2):
            time.sleep(0.3)
            for pid in _recognisers(server):
                os.kill(pid, signal.SIGKILL)
            assert server.http.get("/health/live").status_code == 200
        assert {job["status"] for job in server.wait(jobs).values()} == {"completed"}


def _recognisers(server: ServerProcess) -> list[int]:
    """Process ids that the server has named in its log as its recogniser."""
    lines = [line for line in server.log.splitlines() if "recogniser ready" in line]
    pids = [int(line.rpartition("pid=")[2]) for line in lines]
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_no_process_outlives_the_server(tmp_path: Path) -> None:
    """After `kill -9` of the server alone, its children end by themselves."""
    with ServerProcess(tmp_path) as server:
        server.submit(speech_wav(900), "m")
        family = _family(server.pid)
        assert len(family) > 1
        server.kill()
        deadline = time.monotonic() + 10
        while alive := [pid for pid in family if Path(f"/proc/{pid}").exists()]:
            assert time.monotonic() < deadline, alive
            time.sleep(0.05)


def _family(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in (line.split() for line in found.splitlines())}
    family = [pid]
    for member in family:
        family += [child for child, parent in parents.items() if parent == member]
    return family
