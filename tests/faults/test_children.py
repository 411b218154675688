"""The server's children killed, stopped, starved: each costs an attempt of a job at most, never the service."""

import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.assets import needs_model
from tests.faults.family import family
from tests.faults.pressure import limited, mapped_bytes, stopped
from tests.faults.server import FakeServer, Launcher
from tests.faults.wire import Wire, form, sized
from tests.real.process import ROUTE, ServerProcess
from tests.sounds import SAMPLE, SAMPLE_TEXT, speech_wav
from tests.web.live import until

AUDIO = speech_wav(3)
TEXT = "w1 w2"


@pytest.fixture
def server(launcher: Launcher, tmp_path: Path) -> Iterator[FakeServer]:
    """A server with a fork server of its own, that does not wait long for what hangs."""
    with FakeServer(launcher, tmp_path, delay=0.03, own_forkserver=True, hurry=True) as server:
        server.ready()
        yield server
        assert server.alive, server.log


def kill(pid: int) -> None:
    """End a process, unless it has ended by itself meanwhile."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def all_completed(server: ServerProcess, job_ids: list[str], text: str = TEXT) -> bool:
    """They have this text once they have ended."""
    return {(job["status"], job["text"]) for job in server.wait(job_ids).values()} == {("completed", text)}


def fork_server(server: ServerProcess) -> int:
    """The process that the others are forked from."""
    return int(until(lambda: next((pid for pid in family(server.pid)[1:] if _is_fork_server(pid)), None)))


def decoders(server: ServerProcess) -> list[int]:
    """All children but the recogniser; one of them always stands ready."""
    return [pid for pid in family(fork_server(server))[1:] if pid != server.recogniser()]


def decoding(server: ServerProcess) -> list[int]:
    """Decoders that have a file in hand."""
    return [pid for pid in decoders(server) if any(path.endswith(".pcm") for path in _open_files(pid))]


def _open_files(pid: int) -> list[str]:
    try:
        return [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return []


def _is_fork_server(pid: int) -> bool:
    try:
        return b"forkserver import main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


# -- The recogniser ---------------------------------------------------------------------------------


def test_a_recogniser_that_is_killed(server: FakeServer) -> None:
    """In the middle of work, again and again: a new one takes over, every job completes, and all is answered."""
    jobs = [server.submit(AUDIO, str(i))["job_id"] for i in range(20)]
    for _ in range(3):
        pid = server.recogniser()
        kill(pid)
        began = time.monotonic()
        assert server.http.get("/health/live").status_code == 200
        assert server.http.get(f"{ROUTE}/status").status_code == 200
        until(lambda pid=pid: server.recogniser() != pid)  # type: ignore[misc]
        assert time.monotonic() - began < 5
    assert all_completed(server, jobs)


def test_an_idle_recogniser_that_is_killed(server: FakeServer) -> None:
    """However often: whoever kills it is to blame, not the model."""
    for _ in range(8):
        pid = server.recogniser()
        kill(pid)
        until(lambda pid=pid: server.recogniser() != pid)  # type: ignore[misc]
    assert all_completed(server, [server.submit(AUDIO, "m")["job_id"]])


def test_a_window_that_kills_the_recogniser(server: FakeServer) -> None:
    """Three times, then its job fails with `worker_crashed`; the jobs beside it complete."""
    poison = server.submit(AUDIO, "poison", prompt="crash")["job_id"]
    others = [server.submit(AUDIO, str(i))["job_id"] for i in range(6)]
    assert all_completed(server, others)
    assert server.wait([poison])[poison]["status"] == "failed"
    answer = server.http.get(f"{ROUTE}/{poison}/result")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "worker_crashed")
    assert server.log.count("window killed the recogniser") == 3


def test_a_caller_whose_window_kills_the_recogniser(server: FakeServer) -> None:
    """Is told so, and that sending it again does not help."""
    answer = server.http.post(ROUTE, data={"prompt": "crash"}, files={"file": AUDIO})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "worker_crashed")
    assert answer.headers["x-should-retry"] == "false"


def test_a_window_that_hangs(server: FakeServer) -> None:
    """It is ended, three times, and then fails like one that crashes. Others are served meanwhile."""
    stuck = server.submit(AUDIO, "stuck", prompt="hang")["job_id"]
    assert all_completed(server, [server.submit(AUDIO, str(i))["job_id"] for i in range(6)])
    assert server.wait([stuck])[stuck]["status"] == "failed"
    assert server.http.get(f"{ROUTE}/{stuck}/result").json()["error"]["code"] == "worker_crashed"


def test_a_recogniser_that_is_stopped(server: FakeServer) -> None:
    """A process that does not move at all is ended too; its windows go to the next one."""
    job_id = server.submit(AUDIO, "m")["job_id"]
    with stopped(server.recogniser()):
        assert server.http.get(f"{ROUTE}/{job_id}").status_code == 200
        assert all_completed(server, [job_id])


def test_a_recogniser_without_memory(server: FakeServer) -> None:
    """An engine that asks for more than there is fails its own job; the process and all others go on."""
    pid = server.recogniser()
    with limited(pid, resource.RLIMIT_AS, mapped_bytes(pid) + (256 << 20)):
        greedy = server.submit(AUDIO, "greedy", prompt="devour")["job_id"]
        others = [server.submit(AUDIO, str(i))["job_id"] for i in range(4)]
        assert server.wait([greedy])[greedy]["status"] == "failed"
        assert all_completed(server, others)
    assert server.recogniser() == pid


@needs_model
def test_a_real_model_without_memory(tmp_path: Path) -> None:
    """Whatever the native code does then: the job ends, the server answers, and with memory all is well again."""
    with ServerProcess(tmp_path, THREADS="2") as server:
        server.ready()
        pid = server.recogniser()
        with limited(pid, resource.RLIMIT_AS, mapped_bytes(pid) + (8 << 20)):
            job_id = server.submit(speech_wav(60), "starved")["job_id"]
            assert server.wait([job_id])[job_id]["status"] in ("completed", "failed")
        assert all_completed(server, [server.submit(SAMPLE.read_bytes(), "fed")["job_id"]], SAMPLE_TEXT)


def test_no_recogniser_outlives_the_server(launcher: Launcher, tmp_path: Path) -> None:
    """Not even with a window that hangs, and answers that the server did not live to read."""
    with FakeServer(launcher, tmp_path, delay=0.3) as server:
        server.ready()
        server.submit(AUDIO, "hangs", prompt="hang")
        server.submit(AUDIO, "answers")
        until(lambda: len(list(server.spool.glob("*.pcm"))) == 2)
        recogniser = server.recogniser()
        os.kill(server.pid, signal.SIGSTOP)
        time.sleep(0.6)
        server.kill()
        until(lambda: not Path(f"/proc/{recogniser}").exists(), 5)


def test_no_loading_recogniser_outlives_the_server(launcher: Launcher, tmp_path: Path) -> None:
    """Nor one that has been loading its model for ages."""
    with FakeServer(launcher, tmp_path, loading=1000, own_forkserver=True) as server:
        until(lambda: len(family(server.pid)) >= 4)
        children = family(server.pid)
        server.kill()
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), 5)


# -- The decoders -----------------------------------------------------------------------------------


def test_a_decoder_that_is_killed_as_it_stands_ready(server: FakeServer) -> None:
    """The next recording gets another one."""
    for i in range(5):
        for pid in decoders(server):
            kill(pid)
        assert all_completed(server, [server.submit(AUDIO, str(i))["job_id"]])


def test_a_decoder_that_is_killed_once(server: FakeServer) -> None:
    """The system may have needed its memory: the file is decoded again."""
    job_id = server.submit(speech_wav(1800), "m")["job_id"]
    os.kill(until(lambda: decoding(server))[0], signal.SIGKILL)
    job = server.wait([job_id])[job_id]
    assert (job["status"], job["duration"]) == ("completed", 1800)
    heard = [int(word[1:]) for word in job["text"].split()]
    assert heard == sorted(set(heard))
    assert len(heard) > 1600


def test_a_decoder_that_dies_again(server: FakeServer) -> None:
    """Then it is the file's fault, and only that file's."""
    job_id = server.submit(speech_wav(3600), "m")["job_id"]
    while server.job(job_id)["status"] != "failed":
        for pid in decoding(server):
            kill(pid)
    assert server.http.get(f"{ROUTE}/{job_id}/result").json()["error"]["code"] == "invalid_audio"
    assert all_completed(server, [server.submit(AUDIO, "next")["job_id"]])


def test_a_decoder_that_hangs(server: FakeServer) -> None:
    """Its file is given up; the recordings beside it are served."""
    job_id = server.submit(speech_wav(3600), "m")["job_id"]
    with stopped(*until(lambda: decoding(server))):
        assert all_completed(server, [server.submit(AUDIO, "beside")["job_id"]])
        assert server.wait([job_id])[job_id]["status"] == "failed"
    until(server.quiet)
    assert server.http.get(f"{ROUTE}/{job_id}/result").json()["error"]["code"] == "invalid_audio"


def test_callers_who_leave_at_any_moment(server: FakeServer) -> None:
    """Whatever is being started or fed for them then, no process and no file is left of it."""
    server.http.post(ROUTE, files={"file": AUDIO})
    until(server.quiet)
    members = len(family(server.pid))
    body, head = form(("file", ("a.wav", AUDIO, None)))
    for i in range(60):
        with Wire.to(server) as wire:
            wire.send(sized(head, body))
            time.sleep(i / 2000)
    until(server.quiet)
    until(lambda: len(family(server.pid)) <= members)


# -- All of them ------------------------------------------------------------------------------------


def test_a_fork_server_that_is_killed(server: FakeServer) -> None:
    """What it has forked goes on, and another one is there for the next child, the recogniser's included."""
    jobs = []
    for i in range(3):
        jobs += [server.submit(AUDIO, f"{i}-{j}")["job_id"] for j in range(5)]
        os.kill(fork_server(server), signal.SIGKILL)
        jobs += [server.submit(AUDIO, f"{i}-after-{j}")["job_id"] for j in range(5)]
    recogniser = server.recogniser()
    os.kill(recogniser, signal.SIGKILL)
    jobs += [server.submit(AUDIO, "last")["job_id"]]
    assert all_completed(server, jobs)
    assert server.recogniser() != recogniser


def test_a_hung_recogniser_of_a_dead_fork_server(server: FakeServer) -> None:
    """It is ended all the same."""
    server.submit(AUDIO, "hangs", prompt="hang")
    os.kill(fork_server(server), signal.SIGKILL)
    recogniser = server.recogniser()
    until(lambda: not Path(f"/proc/{recogniser}").exists())
    assert all_completed(server, [server.submit(AUDIO, "next")["job_id"]])


def test_the_kernel_takes_the_children_first(server: FakeServer) -> None:
    """When memory runs out, one of them is ended before the server is."""
    server.http.post(ROUTE, files={"file": AUDIO})

    def worth(pid: int) -> int:
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

    for pid in (server.recogniser(), *until(lambda: decoders(server))):
        assert worth(pid) > worth(server.pid)


def test_everything_killed_but_the_server(server: FakeServer) -> None:
    """It starts all that it needs again."""
    jobs = [server.submit(AUDIO, str(i))["job_id"] for i in range(10)]
    for pid in family(server.pid)[1:]:
        kill(pid)
    assert all_completed(server, [*jobs, server.submit(AUDIO, "after")["job_id"]])


def test_a_pause(server: FakeServer) -> None:
    """A container that is paused, or a machine that sleeps, longer than anything may hang: all goes on as it was."""
    long = server.submit(speech_wav(1800), "long")["job_id"]
    until(lambda: decoding(server))
    with stopped(*family(server.pid)):
        time.sleep(4)
    job = server.wait([long])[long]
    assert (job["status"], job["duration"]) == ("completed", 1800)
    assert "hangs" not in server.log
    assert "stalled" not in server.log
