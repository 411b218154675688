"""What every store promises."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from stt_server.errors import JobNotFound
from stt_server.jobs.stores import Counts, Store, Sweep
from stt_server.types import MOVES, Job, JobError, JobStatus, Options
from tests.jobs.stores.conftest import Opener
from tests.jobs.stores.samples import OOPS, START, Clock, a_job, a_key, a_transcript, completed, failed

CROWD = 40


async def processing(store: Store, job: Job | None = None) -> Job:
    admitted = await store.admit(job or a_job())
    started = await store.start(admitted.job.id)
    assert started
    return started


async def gone(store: Store, job: Job) -> bool:
    try:
        await store.get(job.key.tenant, job.id)
    except JobNotFound:
        return True
    return False


# -- Submissions ------------------------------------------------------------------------------------


async def test_a_job_is_kept_as_it_was_submitted(store: Store) -> None:
    """Everything said at submission comes back, from the answer and from every way of reading."""
    job = a_job()
    admitted = await store.admit(job)
    assert admitted.created
    assert admitted.job == replace(job, seq=admitted.job.seq)
    assert admitted.job.seq > 0
    assert await store.get("default", job.id) == admitted.job
    assert await store.lookup(job.key) == admitted.job
    assert await store.find(job.key) == admitted.job


async def test_options_left_out_stay_left_out(store: Store) -> None:
    """Nothing is made up for what was not asked."""
    job = replace(a_job(), options=Options("parakeet"))
    assert (await store.admit(job)).job.options == Options("parakeet")


async def test_a_result_is_kept_whole(store: Store, clock: Clock) -> None:
    """Words, times, confidences, tokens and gaps come back; prompt and keyterms have served and are gone."""
    job = await processing(store)
    clock.step(seconds=5)
    assert await store.complete(job.id, job.attempt, a_transcript())
    read = await store.get("default", job.id)
    assert read.transcript == a_transcript()
    assert (read.status, read.duration, read.error) == (JobStatus.COMPLETED, 12.34, None)
    assert (read.started_at, read.completed_at) == (START, START + timedelta(seconds=5))
    assert read.options == Options("parakeet", language="fr")


async def test_a_large_result_is_kept_whole(store: Store) -> None:
    """An hour of words takes the same way as a sentence."""
    text = " ".join(f"mot{i}" for i in range(9_000))
    job = await completed(store, text=text)
    assert job.transcript == a_transcript(text)


async def test_a_failure_is_kept_so_that_asking_later_gives_the_same_answer(store: Store) -> None:
    """Code and message come back, even where the message holds what UTF-8 cannot."""
    job = await processing(store)
    assert await store.fail(job.id, job.attempt, JobError("invalid_audio", "no \udce9 here"))
    read = await store.get("default", job.id)
    assert read.error == JobError("invalid_audio", "no ? here")
    assert (read.status, read.transcript, read.completed_at) == (JobStatus.FAILED, None, START)


@pytest.mark.parametrize("moves", [0, 1, 2])
async def test_a_known_key_is_answered_with_its_job(store: Store, moves: int) -> None:
    """Queued, processing or completed: a second submission creates nothing."""
    first = (await store.admit(a_job())).job
    if moves > 0:
        await store.start(first.id)
    if moves > 1:
        await store.complete(first.id, 1, a_transcript())
    assert (await store.find(first.key)) == (await store.get("default", first.id))
    again = await store.admit(a_job())
    assert (again.job.id, again.created) == (first.id, False)
    assert again.job == await store.get("default", first.id)
    assert (await store.counts()).total == 1


async def test_a_failed_job_is_replaced_by_the_next_submission(store: Store) -> None:
    """Sending a failed recording again tries again, under a new id; the old id is unknown from then on."""
    old = await failed(store)
    assert await store.find(old.key) is None
    assert await store.lookup(old.key) == old
    new = await store.admit(a_job())
    assert new.created
    assert await gone(store, old)
    assert await store.lookup(old.key) == new.job
    assert await store.counts() == Counts(1, 0, 0, 1)


@pytest.mark.parametrize("force", [False, True])
async def test_one_winner_however_many_come_at_once(store: Store, force: bool) -> None:
    """Forty submissions of one key make one job, and all are told its id."""
    if force:
        await completed(store)
    crowd = await asyncio.gather(*(store.admit(a_job(), force=force) for _ in range(CROWD)))
    assert sum(admitted.created for admitted in crowd) == 1
    assert len({admitted.job.id for admitted in crowd}) == 1


async def test_a_crowd_of_keys_is_admitted_in_one_order(store: Store) -> None:
    """Every key gets its job, and `seq` is distinct and rises."""
    jobs = [a_job(a_key(str(i))) for i in range(CROWD)]
    crowd = await asyncio.gather(*(store.admit(job) for job in jobs))
    order = [admitted.job.seq for admitted in crowd]
    assert order == sorted(set(order))
    assert [job.id for job in await store.recover()] == [job.id for job in jobs]


async def test_a_place_in_the_order_is_never_given_twice(store: Store) -> None:
    """A job admitted after the last one was erased still comes after it."""
    first = (await store.admit(a_job())).job
    await store.erase("default", first.id)
    assert (await store.admit(a_job())).job.seq > first.seq


# -- Force ------------------------------------------------------------------------------------------


async def test_the_old_result_stays_readable_until_the_forced_one_is_there(store: Store) -> None:
    """Lookups and plain submissions see the old result; the swap is one step; then the old id is unknown."""
    old = await completed(store, text="avant")
    forced = await store.admit(a_job(), force=True)
    assert forced.created
    job = await store.start(forced.job.id)
    assert job
    assert await store.lookup(old.key) == old
    assert (await store.admit(a_job())).job == old
    assert await store.get("default", job.id) == job
    assert await store.complete(job.id, job.attempt, a_transcript("après"))
    new = await store.lookup(old.key)
    assert new
    assert new.id == job.id
    assert new.transcript == a_transcript("après")
    assert await gone(store, old)
    assert await store.counts() == Counts(1, 1, 0, 0)


async def test_a_second_force_joins_the_pending_one(store: Store) -> None:
    """No work is done twice at a time; once it is done, force works again."""
    old = await completed(store)
    assert await store.find(old.key, force=True) is None
    pending = (await store.admit(a_job(), force=True)).job
    assert await store.find(old.key, force=True) == pending
    again = await store.admit(a_job(), force=True)
    assert (again.job, again.created) == (pending, False)
    await store.start(pending.id)
    assert not (await store.admit(a_job(), force=True)).created
    await store.complete(pending.id, 1, a_transcript())
    assert (await store.admit(a_job(), force=True)).created


async def test_force_on_an_unfinished_first_job_joins_it(store: Store) -> None:
    """There is no old result to replace yet, so the job under way is the answer."""
    first = (await store.admit(a_job(), force=True)).job
    again = await store.admit(a_job(), force=True)
    assert (again.job, again.created) == (first, False)
    assert await store.find(first.key, force=True) == first


async def test_a_failed_force_keeps_the_old_result(store: Store) -> None:
    """The forced job says by its id why it failed, until the next force takes its place."""
    old = await completed(store)
    forced = await processing_forced(store)
    assert await store.fail(forced.id, forced.attempt, OOPS)
    assert await store.lookup(old.key) == old
    assert not (await store.admit(a_job())).created
    assert (await store.get("default", forced.id)).error == OOPS
    next_try = await store.admit(a_job(), force=True)
    assert next_try.created
    assert await gone(store, forced)
    assert not await gone(store, old)


async def processing_forced(store: Store) -> Job:
    job = (await store.admit(a_job(), force=True)).job
    started = await store.start(job.id)
    assert started
    return started


async def test_a_forced_job_that_was_put_back_still_takes_the_key(store: Store) -> None:
    """A crash in between changes nothing."""
    old = await completed(store)
    forced = await processing_forced(store)
    assert await store.requeue(forced.id, forced.attempt)
    again = await store.start(forced.id)
    assert again
    assert await store.complete(forced.id, again.attempt, a_transcript("après"))
    current = await store.lookup(old.key)
    assert current
    assert current.id == forced.id


# -- Moves ------------------------------------------------------------------------------------------


async def _to(store: Store, status: JobStatus) -> Job:
    job = (await store.admit(a_job())).job
    if status is JobStatus.QUEUED:
        return job
    started = await store.start(job.id)
    assert started
    if status is JobStatus.COMPLETED:
        await store.complete(job.id, 1, a_transcript())
    if status is JobStatus.FAILED:
        await store.fail(job.id, 1, OOPS)
    return await store.get("default", job.id)


async def _move(store: Store, job: Job, status: JobStatus) -> bool:
    if status is JobStatus.PROCESSING:
        return await store.start(job.id) is not None
    if status is JobStatus.QUEUED:
        return await store.requeue(job.id, job.attempt)
    if status is JobStatus.COMPLETED:
        return await store.complete(job.id, job.attempt, a_transcript("autre"))
    return await store.fail(job.id, job.attempt, JobError("other", "another error"))


@pytest.mark.parametrize("after", JobStatus)
@pytest.mark.parametrize("before", JobStatus)
async def test_exactly_the_legal_moves_are_made(store: Store, before: JobStatus, after: JobStatus) -> None:
    """The table of moves is the store's law; what it does not list changes nothing."""
    job = await _to(store, before)
    moved = await _move(store, job, after)
    assert moved == (after in MOVES[before])
    read = await store.get("default", job.id)
    assert read.status == (after if moved else before)
    if not moved:
        assert read == job


async def test_a_late_result_of_an_earlier_attempt_is_thrown_away(store: Store) -> None:
    """Only the current attempt may end or requeue a job."""
    job = await processing(store)
    assert job.attempt == 1
    await store.requeue(job.id, 1)
    second = await store.start(job.id)
    assert second
    assert (second.attempt, second.seq) == (2, job.seq)
    assert not await store.complete(job.id, 1, a_transcript())
    assert not await store.fail(job.id, 1, OOPS)
    assert not await store.requeue(job.id, 1)
    assert await store.get("default", job.id) == second
    assert await store.complete(job.id, 2, a_transcript())


async def test_an_erased_job_takes_no_move(store: Store) -> None:
    """What was erased while it was worked on does not come back."""
    job = await processing(store)
    assert await store.erase("default", job.id) == [job.id]
    assert not await store.complete(job.id, job.attempt, a_transcript())
    assert not await store.fail(job.id, job.attempt, OOPS)
    assert not await store.requeue(job.id, job.attempt)
    assert await store.start(job.id) is None
    assert await store.lookup(job.key) is None
    assert await store.counts() == Counts(0, 0, 0, 0)


async def test_a_restart_takes_up_what_is_unfinished(
    store: Store, opener: Opener, tmp_path: Path, clock: Clock
) -> None:
    """Processing becomes queued at its old place, attempts counted; what has ended is left alone."""
    jobs = [(await store.admit(a_job(a_key(str(i))))).job for i in range(4)]
    for job in jobs[:3]:
        await store.start(job.id)
    await store.complete(jobs[0].id, 1, a_transcript())
    await store.close()
    later = await opener(tmp_path, clock)
    try:
        left = await later.recover()
        assert [(job.id, job.seq, job.attempt) for job in left] == [
            (jobs[1].id, jobs[1].seq, 1),
            (jobs[2].id, jobs[2].seq, 1),
            (jobs[3].id, jobs[3].seq, 0),
        ]
        assert {job.status for job in left} == {JobStatus.QUEUED}
        assert (await later.get("default", jobs[0].id)).transcript == a_transcript()
    finally:
        await later.close()


# -- Tenants ----------------------------------------------------------------------------------------


async def test_tenants_do_not_see_each_other(store: Store) -> None:
    """The same ids of another tenant are another recording; another tenant's job is not there at all."""
    mine = await completed(store, a_key(tenant="mine"))
    theirs = await store.admit(a_job(a_key(tenant="theirs")))
    assert theirs.created
    assert await store.lookup(a_key(tenant="nobody")) is None
    with pytest.raises(JobNotFound):
        await store.get("theirs", mine.id)
    assert await store.erase("theirs", mine.id) == []
    assert await store.erase_user("theirs", "user") == [theirs.job.id]
    assert await store.get("mine", mine.id) == mine


@pytest.mark.parametrize("job_id", ["", "x", "../../etc/passwd", "' OR 1=1 --", "\x00", "é" * 9_999])
async def test_an_id_that_never_was_is_not_found(store: Store, job_id: str) -> None:
    """Also one that could not be an id."""
    await store.admit(a_job())
    with pytest.raises(JobNotFound):
        await store.get("default", job_id)
    assert await store.erase("default", job_id) == []


# -- Erasure ----------------------------------------------------------------------------------------


async def test_erasing_is_for_good_and_repeatable(store: Store) -> None:
    """After it the key is free; doing it twice does no harm."""
    job = await completed(store)
    assert await store.erase("default", job.id) == [job.id]
    assert await store.erase("default", job.id) == []
    assert await gone(store, job)
    assert (await store.admit(a_job())).created


async def test_erasing_the_result_takes_its_forced_twin_along(store: Store) -> None:
    """Otherwise the words would come back by themselves."""
    old = await completed(store)
    forced = await processing_forced(store)
    assert sorted(await store.erase("default", old.id)) == sorted([old.id, forced.id])
    assert not await store.complete(forced.id, forced.attempt, a_transcript())
    assert await store.lookup(old.key) is None


async def test_erasing_a_pending_forced_job_leaves_the_old_result(store: Store) -> None:
    """Who calls off the second try keeps the first."""
    old = await completed(store)
    forced = await processing_forced(store)
    assert await store.erase("default", forced.id) == [forced.id]
    assert await store.lookup(old.key) == old
    assert (await store.admit(a_job(), force=True)).created


async def test_erasing_a_user_erases_all_of_theirs_and_nothing_else(store: Store) -> None:
    """Finished, waiting, failed and forced jobs; of this user alone."""
    await completed(store, a_key("1"))
    await store.admit(a_job(a_key("1")), force=True)
    await store.admit(a_job(a_key("2")))
    await failed(store, a_key("3"))
    other = await completed(store, a_key("1", user="other"))
    assert len(await store.erase_user("default", "user")) == 4
    assert await store.erase_user("default", "user") == []
    assert await store.counts() == Counts(1, 1, 0, 0)
    assert await store.lookup(other.key) == other


# -- Retention --------------------------------------------------------------------------------------


async def test_an_expired_text_goes_and_the_rest_of_the_job_stays(store: Store, clock: Clock) -> None:
    """Status, times and duration can still be read; the key is still answered; a second pass finds nothing."""
    job = await completed(store)
    waiting = (await store.admit(a_job(a_key("waiting")))).job
    clock.step(days=400)
    assert await store.expire(clock.now - timedelta(days=365)) == 1
    assert await store.expire(clock.now - timedelta(days=365)) == 0
    read = await store.get("default", job.id)
    assert read == replace(job, transcript=None)
    assert read.duration == 12.34
    assert not (await store.admit(a_job())).created
    assert await store.get("default", waiting.id) == waiting


async def test_a_text_is_never_expired_early(store: Store, clock: Clock) -> None:
    """What was stored at the limit or after it stays."""
    job = await completed(store)
    assert await store.expire(START) == 0
    assert (await store.get("default", job.id)).transcript
    assert await store.expire(START + timedelta(hours=1, milliseconds=1)) == 1


async def test_no_reading_is_too_soon_after_another_to_count(store: Store, clock: Clock) -> None:
    """However a store saves work on readings, each one keeps the text."""
    job = await completed(store)
    for _ in range(5):
        clock.step(minutes=50)
        await store.get("default", job.id)
        assert await store.expire(clock.now - timedelta(minutes=1)) == 0
    assert (await store.get("default", job.id)).transcript


@pytest.mark.parametrize("way", ["get", "lookup"])
async def test_reading_a_text_keeps_it(store: Store, clock: Clock, way: str) -> None:
    """Its time counts from the last reading, by id or by key, and that holds over a restart."""
    job = await completed(store)
    unread = await completed(store, a_key("unread"))
    clock.step(days=200)
    await (store.get("default", job.id) if way == "get" else store.lookup(job.key))
    clock.step(days=200)
    assert await store.expire(clock.now - timedelta(days=300)) == 1
    assert (await store.get("default", unread.id)).transcript is None
    assert (await store.get("default", job.id)).transcript == job.transcript


async def test_only_reading_the_text_keeps_it(store: Store, clock: Clock) -> None:
    """Submitting the recording again does not."""
    job = await completed(store)
    clock.step(days=200)
    await store.find(job.key)
    await store.admit(a_job())
    clock.step(days=200)
    assert await store.expire(clock.now - timedelta(days=300)) == 1


async def test_many_texts_expire_in_one_pass(store: Store, clock: Clock) -> None:
    """More than fit into one transaction."""
    for i in range(450):
        job = a_job(a_key(str(i)))
        await store.admit(job)
        await store.start(job.id)
        await store.complete(job.id, 1, a_transcript("mot"))
    clock.step(days=2)
    assert await store.expire(clock.now - timedelta(days=1)) == 450


async def test_a_clock_set_back_does_not_age_what_is_stored_meanwhile(store: Store, clock: Clock) -> None:
    """Machines without a battery wake up in the past: what they store counts from the last pass at least."""
    await store.record_sweep(Sweep(START, START))
    clock.step(days=-400)
    job = await completed(store)
    assert job.completed_at == clock.now
    assert await store.expire(START) == 0
    assert (await store.get("default", job.id)).transcript


async def test_the_last_sweep_is_remembered(store: Store, opener: Opener, tmp_path: Path, clock: Clock) -> None:
    """Across a restart too."""
    assert await store.last_sweep() is None
    sweep = Sweep(START, START + timedelta(hours=1))
    await store.record_sweep(Sweep(START - timedelta(hours=1), START))
    await store.record_sweep(sweep)
    assert await store.last_sweep() == sweep
    await store.close()
    later = await opener(tmp_path, clock)
    assert await later.last_sweep() == sweep
    await later.close()


# -- Counting ---------------------------------------------------------------------------------------


async def test_jobs_are_counted_by_how_they_stand(store: Store) -> None:
    """Queued and processing are pending."""
    assert await store.counts() == Counts(0, 0, 0, 0)
    await completed(store, a_key("1"))
    await failed(store, a_key("2"))
    await processing(store, a_job(a_key("3")))
    await store.admit(a_job(a_key("4", tenant="another")))
    assert await store.counts() == Counts(4, 1, 1, 2)
