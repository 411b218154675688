"""The parts of the long run: each yields what it found, as it finds it."""

import asyncio
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from tests.assets import TINY_MODEL
from tests.faults import fuzz
from tests.faults.campaign import Campaign
from tests.faults.crowd import questions, submission
from tests.faults.histories import live_histories
from tests.faults.server import FakeServer, Launcher
from tests.faults.test_crash_points import EVERYTHING, stop_at_every_step
from tests.real.process import ROUTE, ServerProcess
from tests.sounds import SAMPLE, SAMPLE_TEXT, speech_wav
from tests.web.live import until


@dataclass(frozen=True)
class Finding:
    """One line of the table."""

    what: str
    measured: str
    promised: str
    kept: bool


@dataclass(frozen=True)
class Run:
    """What a part may need."""

    launcher: Launcher
    folder: Path
    scale: float
    """1 for all of it."""

    def part(self, whole: int) -> int:
        """As much of it as is wanted."""
        return max(1, round(whole * self.scale))

    def place(self, name: str) -> Path:
        """A new folder."""
        folder = self.folder / name
        folder.mkdir()
        return folder


def rank(values: Sequence[float], share: float) -> float:
    """The value that so large a share does not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def below(what: str, seconds: Sequence[float], limit: float) -> Finding:
    """A finding about times."""
    p99 = rank(seconds, 0.99)
    measured = f"p50 {rank(seconds, 0.5):.3f} s, p99 {p99:.3f} s, longest {max(seconds):.3f} s, of {len(seconds)}"
    return Finding(what, measured, f"p99 < {limit} s", p99 < limit)


# -- The parts --------------------------------------------------------------------------------------


def kills(run: Run) -> Iterator[Finding]:
    """1,000 jobs by four clients, 50 kills, the small real model."""
    if not TINY_MODEL.is_dir():
        yield Finding("kills", "no small model on this machine", "", False)
        return
    folder = run.place("kills")
    began = time.monotonic()
    # Clients are quicker than a busy machine: a full queue is not what is tried here.
    campaign = Campaign(lambda: ServerProcess(folder, MAX_QUEUE_SIZE="10000"), SAMPLE.read_bytes(), SAMPLE_TEXT, seed=1)
    report = campaign.run(jobs=run.part(1000), kills=run.part(50))
    seconds = time.monotonic() - began
    yield Finding(
        f"{report.jobs:,} jobs acknowledged, {report.kills} kills",
        f"{len(report.problems)} lost, doubled, renamed or risen; {seconds:.0f} s",
        "0",
        not report.problems,
    )
    for problem in report.problems[:10]:
        yield Finding("kills", problem, "", False)


def steps(run: Run) -> Iterator[Finding]:
    """Every numbered step of admission, completion, force and erasure, by kill and by power cut, twice."""
    for act, expected in EVERYTHING:
        stops = 0
        for how in ("kill", "cut"):
            for again in range(run.part(2)):
                found = stop_at_every_step(run.launcher, run.place(f"{act.__name__}-{how}-{again}"), how, act())
                assert found == expected, found
                stops += len(found)
        yield Finding(
            f"{act.__name__.lower()} stopped at each of {len(expected)} steps", f"{stops} stops", "holds", True
        )


def queue(run: Run) -> Iterator[Finding]:
    """10,000 jobs in the queue: how fast they are taken, found, taken up again; and then all are done."""
    count, folder = run.part(10_000), run.place("queue")
    settings: dict[str, Any] = {"MAX_QUEUE_SIZE": str(count), "LOG_LEVEL": "info"}
    with FakeServer(run.launcher, folder, loading=100_000, **settings) as server:
        before = _resident_mb(server.pid)
        jobs, taken = asyncio.run(_submit_many(server, count))
        yield below(f"acknowledgement, 16 clients, up to {count:,} in the queue", taken, 1.5)
        asked = [_timed(partial(server.job, job_id)) for job_id in jobs[:: max(1, count // 500)]]
        yield below("status of a job", asked, 0.5)
        asked = [_timed(lambda: server.http.get(f"{ROUTE}/status")) for _ in range(200)]
        yield below("status of the queue", asked, 0.5)
        grown = _resident_mb(server.pid) - before
        yield Finding("memory of the server process", f"{grown:+.0f} MB", "+200 MB", grown < 200)
        asked = [_timed(lambda: server.http.get(f"{ROUTE}/{jobs[-1]}")) for _ in range(50)]
        positions = [server.job(job_id)["queue_position"] for job_id in jobs[:: max(1, count // 100)]]
    began = time.monotonic()
    with FakeServer(run.launcher, folder, loading=100_000, **settings) as server:
        seconds = time.monotonic() - began
        yield Finding("restart, until it answers", f"{seconds:.1f} s", "< 30 s", seconds < 30)
        after = [server.job(job_id)["queue_position"] for job_id in jobs[:: max(1, count // 100)]]
        yield Finding(
            "positions after a kill", "the same" if after == positions else "others", "the same", after == positions
        )
    began = time.monotonic()
    with FakeServer(run.launcher, folder, **settings) as server:
        while not server.quiet():
            time.sleep(1)
        seconds = time.monotonic() - began
        texts = {server.lookup(str(i))["text"] for i in range(count)}
        yield Finding(
            f"{count:,} jobs done",
            f"{count / seconds:.0f} a second, {len(texts)} wording",
            "1 wording",
            len(texts) == 1,
        )


async def _submit_many(server: ServerProcess, count: int) -> tuple[list[str], list[float]]:
    audio, numbers = speech_wav(1.5), iter(range(count))
    jobs, seconds = [""] * count, [0.0] * count

    async def client(http: httpx.AsyncClient) -> None:
        for number in numbers:
            began = time.monotonic()
            answer = await submission(audio, str(number))(http)
            seconds[number] = time.monotonic() - began
            jobs[number] = answer.json()["job_id"]

    async with httpx.AsyncClient(base_url=server.http.base_url, timeout=60, trust_env=False) as http:
        await asyncio.gather(*(client(http) for _ in range(16)))
    return jobs, seconds


def lookups(run: Run) -> Iterator[Finding]:
    """500 lookups at once, and single health probes, while the machine transcribes."""
    with ServerProcess(run.place("lookups")) as server:
        done = server.submit(SAMPLE.read_bytes(), "done")["job_id"]
        server.wait([done])
        for i in range(8):
            server.submit(speech_wav(3600), f"long-{i}")
        probes = [_timed(lambda: server.http.get("/health")) for _ in range(run.part(1000))]
        yield below("health while transcribing", probes, 0.5)
        told = [
            answer
            for _ in range(run.part(10))
            for answer in questions(server, f"{ROUTE}/lookup?user_uuid=user&message_id=done", 500)
        ]
        good = sum(answer.status == 200 for answer in told)
        yield Finding("500 lookups at once: answered 200", f"{good} of {len(told)}", "all", good == len(told))
        yield below("500 lookups at once", [answer.seconds for answer in told], 3)
        assert server.http.get(f"{ROUTE}/status").json()["processing"]


def histories(run: Run) -> Iterator[Finding]:
    """10,000 random histories of queue, store and spool against a model."""
    count = run.part(10_000)
    began = time.monotonic()
    live_histories(count, seed=1_000_000)
    yield Finding(
        f"{count:,} random histories", f"all as the model says; {time.monotonic() - began:.0f} s", "all", True
    )


def patience(run: Run) -> Iterator[Finding]:
    """What hangs, with the patience that the server really has. All at once: it is mostly waiting."""
    yield from _beside(run, _hung_decoder, _locked_database, *([_hung_recogniser] if run.scale == 1 else []))


def _hung_decoder(run: Run) -> Finding:
    with FakeServer(run.launcher, run.place("hung decoder"), own_forkserver=True) as server:
        from tests.faults.test_children import decoding

        job_id = server.submit(speech_wav(3600), "m")["job_id"]
        for pid in until(lambda: decoding(server)):
            os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        server.wait([job_id])
        seconds = time.monotonic() - began
        code = server.http.get(f"{ROUTE}/{job_id}/result").json()["error"]["code"]
        return Finding("a decoder that hangs", f"{code} after {seconds:.0f} s", "failed within 25 s", seconds < 25)


def _hung_recogniser(run: Run) -> Finding:
    with FakeServer(run.launcher, run.place("hung recogniser"), own_forkserver=True) as server:
        job_id = server.submit(speech_wav(3), "m", prompt="hang")["job_id"]
        began = time.monotonic()
        server.wait([job_id], 900)
        seconds = time.monotonic() - began
        code = server.http.get(f"{ROUTE}/{job_id}/result").json()["error"]["code"]
        promised = "worker_crashed, after 3 times 60 s and 4 times its window"
        return Finding("a window that hangs", f"{code} after {seconds:.0f} s", promised, seconds < 3 * 75)


def _locked_database(run: Run) -> Finding:
    with FakeServer(run.launcher, run.place("locked")) as server:  # noqa: SIM117 -- the second needs the first
        with closing(sqlite3.connect(server.spool.parent / "jobs.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            ids = {"user_uuid": "user", "message_id": "m"}
            began = time.monotonic()
            answer = server.http.post(ROUTE, data=ids, files={"file": speech_wav(1)})
            seconds = time.monotonic() - began
    promised = "503 after 10 s"
    return Finding(
        "a database that stays locked", f"{answer.status_code} after {seconds:.1f} s", promised, 9 < seconds < 11
    )


def _beside(run: Run, *checks: Callable[[Run], Finding]) -> list[Finding]:
    found: list[Finding] = []
    threads = [threading.Thread(target=lambda check=check: found.append(check(run))) for check in checks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(found) < len(checks):
        found.append(Finding("patience", "a check failed; see above", "", False))
    return found


def mutants(run: Run) -> Iterator[Finding]:
    """Half an hour of mutated headers through the sniffer, the decoder and a live server."""
    report = fuzz.fuzz(1800 * run.scale, seed=int(time.time()))
    faults = report["faults"]
    assert isinstance(faults, list)
    what = f"{report['mutants']:,} mutants in {1800 * run.scale:.0f} s, seed {report['seed']}"
    measured = f"{len(faults)} faults; slowest {report['slowest_secs']} s, {report['grown_mb']} MB"
    yield Finding(what, measured, "0 faults, 20 s, 400 MB", not faults)
    for fault in faults[:10]:
        yield Finding("mutants", str(fault), "", False)


def _timed(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


def _resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


PARTS: dict[str, Callable[[Run], Iterator[Finding]]] = {
    part.__name__: part for part in (kills, steps, queue, lookups, histories, patience, mutants)
}
"""A new one is run by being listed."""
