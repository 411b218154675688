"""Random histories of every store against a model of thirty lines."""

import asyncio
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from hypothesis.strategies import booleans, data, integers, sampled_from

from stt_server.errors import JobNotFound
from stt_server.jobs.stores import Counts
from stt_server.types import Job, JobStatus, Key
from tests.jobs.stores.conftest import STORES
from tests.jobs.stores.samples import OOPS, Clock, a_job, a_key, a_transcript

QUEUED, PROCESSING, COMPLETED, FAILED = JobStatus
KEYS = [a_key("1"), a_key("2"), a_key("1", user="other"), a_key("1", tenant="another")]


@dataclass
class Kept:
    """What the model knows of a job."""

    key: Key
    status: JobStatus = QUEUED
    attempt: int = 0


@dataclass
class Model:
    """A store of dictionaries."""

    jobs: dict[str, Kept] = field(default_factory=dict)
    current: dict[Key, str] = field(default_factory=dict)
    pending: dict[Key, str] = field(default_factory=dict)

    def answer(self, key: Key, *, force: bool) -> str | None:
        current = self.current.get(key)
        if current is None or self.jobs[current].status is FAILED:
            return None
        return self.pending.get(key) if force and self.jobs[current].status is COMPLETED else current

    def admit(self, job: Job) -> None:
        for other in [job_id for job_id, kept in self.jobs.items() if kept.key == job.key and kept.status is FAILED]:
            self.erase(other)
        (self.pending if job.key in self.current else self.current)[job.key] = job.id
        self.jobs[job.id] = Kept(job.key)

    def complete(self, job_id: str) -> None:
        key = self.jobs[job_id].key
        self.jobs[job_id].status = COMPLETED
        if self.pending.get(key) == job_id:
            self.jobs = {other: kept for other, kept in self.jobs.items() if kept.key != key or other == job_id}
            self.current[key] = self.pending.pop(key)

    def fail(self, job_id: str) -> None:
        self.jobs[job_id].status = FAILED
        self.pending = {key: other for key, other in self.pending.items() if other != job_id}

    def erase(self, job_id: str) -> set[str]:
        key = self.jobs[job_id].key
        everything = {other for other, kept in self.jobs.items() if kept.key == key}
        erased = everything if self.current.get(key) == job_id else {job_id}
        self.jobs = {other: kept for other, kept in self.jobs.items() if other not in erased}
        self.current = {key: other for key, other in self.current.items() if other not in erased}
        self.pending = {key: other for key, other in self.pending.items() if other not in erased}
        return erased


class Histories(RuleBasedStateMachine):
    """Everything callers, workers and restarts may do, in any order."""

    opener: Any

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.model = Model()
        self.gone: set[tuple[str, str]] = set()
        self._open()

    def _open(self) -> None:
        self.store = self.runner.run(self.opener(Path(self.folder.name), Clock()))

    def teardown(self) -> None:
        self.runner.run(self.store.close())
        self.runner.close()
        self.folder.cleanup()

    @rule(key=sampled_from(KEYS), force=booleans())
    def admit(self, key: Key, force: bool) -> None:
        expected = self.model.answer(key, force=force)
        found = self.runner.run(self.store.find(key, force=force))
        assert (found.id if found else None) == expected
        job = a_job(key)
        admitted = self.runner.run(self.store.admit(job, force=force))
        assert (admitted.job.id, admitted.created) == ((expected, False) if expected else (job.id, True))
        if admitted.created:
            self.model.admit(job)

    def _some(self, draw: Any) -> str:
        return str(draw.draw(sampled_from(sorted(self.model.jobs, key=list(self.model.jobs).index))))

    @precondition(lambda self: self.model.jobs)
    @rule(draw=data())
    def start(self, draw: Any) -> None:
        job_id = self._some(draw)
        kept = self.model.jobs[job_id]
        started = self.runner.run(self.store.start(job_id))
        assert (started is not None) == (kept.status is QUEUED)
        if started:
            kept.status, kept.attempt = PROCESSING, kept.attempt + 1
            assert started.attempt == kept.attempt

    @precondition(lambda self: self.model.jobs)
    @rule(draw=data(), late=integers(0, 1))
    def complete(self, draw: Any, late: int) -> None:
        job_id = self._some(draw)
        kept = self.model.jobs[job_id]
        done = self.runner.run(self.store.complete(job_id, kept.attempt - late, a_transcript(job_id)))
        assert done == (kept.status is PROCESSING and not late)
        if done:
            self.model.complete(job_id)

    @precondition(lambda self: self.model.jobs)
    @rule(draw=data(), late=integers(0, 1))
    def fail(self, draw: Any, late: int) -> None:
        job_id = self._some(draw)
        kept = self.model.jobs[job_id]
        done = self.runner.run(self.store.fail(job_id, kept.attempt - late, OOPS))
        assert done == (kept.status in {QUEUED, PROCESSING} and not late)
        if done:
            self.model.fail(job_id)

    @precondition(lambda self: self.model.jobs)
    @rule(draw=data())
    def requeue(self, draw: Any) -> None:
        job_id = self._some(draw)
        kept = self.model.jobs[job_id]
        done = self.runner.run(self.store.requeue(job_id, kept.attempt))
        assert done == (kept.status is PROCESSING)
        if done:
            kept.status = QUEUED

    @precondition(lambda self: self.model.jobs)
    @rule(draw=data())
    def erase(self, draw: Any) -> None:
        job_id = self._some(draw)
        tenant = self.model.jobs[job_id].key.tenant
        erased = set(self.runner.run(self.store.erase(tenant, job_id)))
        assert erased == self.model.erase(job_id)
        self.gone |= {(tenant, other) for other in erased}

    @rule(key=sampled_from(KEYS))
    def erase_user(self, key: Key) -> None:
        theirs = [
            job_id
            for job_id, kept in self.model.jobs.items()
            if (kept.key.tenant, kept.key.user_uuid) == (key.tenant, key.user_uuid)
        ]
        assert set(self.runner.run(self.store.erase_user(key.tenant, key.user_uuid))) == set(theirs)
        for job_id in theirs:
            if job_id in self.model.jobs:
                self.model.erase(job_id)

    @rule()
    def restart(self) -> None:
        self.runner.run(self.store.close())
        self._open()
        for kept in self.model.jobs.values():
            kept.status = QUEUED if kept.status is PROCESSING else kept.status
        waiting = [job_id for job_id, kept in self.model.jobs.items() if kept.status is QUEUED]
        assert [job.id for job in self.runner.run(self.store.recover())] == waiting

    @invariant()
    def what_is_read_is_what_the_model_says(self) -> None:
        self.runner.run(self._compare())

    async def _compare(self) -> None:
        for job_id, kept in self.model.jobs.items():
            job = await self.store.get(kept.key.tenant, job_id)
            assert Kept(job.key, job.status, job.attempt) == kept
            assert job.transcript == (a_transcript(job_id) if kept.status is COMPLETED else None)
            assert job.error == (OOPS if kept.status is FAILED else None)
        for key in KEYS:
            current = await self.store.lookup(key)
            assert (current.id if current else None) == self.model.current.get(key)
        for tenant, job_id in self.gone:
            with pytest.raises(JobNotFound):
                await self.store.get(tenant, job_id)
        of = [kept.status for kept in self.model.jobs.values()]
        done, failed = of.count(COMPLETED), of.count(FAILED)
        assert await self.store.counts() == Counts(len(of), done, failed, len(of) - done - failed)


@pytest.mark.parametrize("name", STORES)
def test_any_history_ends_as_the_model_says(name: str) -> None:
    """Submissions, force, work, crashes and erasure in any order: no job is lost, doubled or shown wrongly."""
    machine = type("Machine", (Histories,), {"opener": staticmethod(STORES[name])})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
