"""The queue with its real parts: store, spool, decode children and the recogniser process; only the model is a fake."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from stt_server.errors import BadAudio, EngineFailed, QueueFull, ShuttingDown, WorkerCrashed
from stt_server.jobs.queue import Queue
from stt_server.jobs.recogniser import LoadEngine, Recogniser
from stt_server.jobs.recording import Transcriber
from stt_server.jobs.spool import Spool
from stt_server.jobs.stores import Admitted, Store, open_store
from stt_server.jobs.tickets import Ticket
from stt_server.types import DEFAULT_TENANT, Job, JobStatus, Key, Options
from tests.fakes import load_seconds, load_windows
from tests.sounds import paused_wav, silent_wav, speech_wav


@dataclass
class Bench:
    queue: Queue
    store: Store
    spool: Spool
    recogniser: Recogniser

    async def submit(self, audio: bytes, message: str = "m1", *, prompt: str | None = None) -> Admitted:
        job = Job(
            id=str(uuid.uuid4()),
            key=Key(DEFAULT_TENANT, "user", message),
            options=Options("m", prompt=prompt),
            response_format="json",
            container="wav",
            created_at=datetime.now(UTC),
        )
        with self.queue.reserve() as slot:
            self.queue.part(job.id).write_bytes(audio)
            return await self.queue.submit(slot, job, force=False)

    async def call(self, audio: bytes, *, prompt: str | None = None) -> Ticket:
        name = str(uuid.uuid4())
        with self.queue.reserve() as slot:
            self.queue.part(name).write_bytes(audio)
            return await self.queue.enqueue(slot, name, "wav", Options("m", prompt=prompt))

    async def ended(self, job_id: str) -> Job:
        async with asyncio.timeout(30):
            while True:
                job = await self.store.get(DEFAULT_TENANT, job_id)
                if job.status in (JobStatus.COMPLETED, JobStatus.FAILED):
                    return job
                await asyncio.sleep(0.02)

    def files(self) -> list[str]:
        return sorted(path.name for path in self.spool.folder.iterdir())

    async def emptied(self) -> None:
        """The last files go just after the result is stored."""
        async with asyncio.timeout(5):
            while self.files():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def bench(folder: Path, load: LoadEngine = load_seconds, *, max_size: int = 100) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        store = await open_store(folder / "jobs.db")
        stack.push_async_callback(store.close)
        spool = Spool(folder / "spool")
        recogniser = Recogniser(load, threads=2)
        transcriber = Transcriber(recogniser, spool, model="fake", max_duration=3600, threads=2)
        queue = Queue(store, spool, recogniser, transcriber, max_size=max_size, threads=2)
        await queue.start()
        stack.push_async_callback(queue.stop)
        yield Bench(queue, store, spool, recogniser)


async def test_a_job_is_recognised_and_its_audio_goes(tmp_path: Path) -> None:
    """The transcript is stored with words and times; nothing is left in the spool."""
    async with bench(tmp_path) as b:
        admitted = await b.submit(speech_wav(30))
        assert admitted.created
        job = await b.ended(admitted.job.id)
        assert job.status is JobStatus.COMPLETED
        assert job.transcript is not None
        assert job.transcript.duration == pytest.approx(30, abs=0.1)
        heard = [int(word.text[1:]) for segment in job.transcript.segments for word in segment.words]
        assert heard == sorted(set(heard))
        assert len(heard) >= 27
        await b.emptied()


async def test_forty_submissions_of_one_key_make_one_job(tmp_path: Path) -> None:
    """All get the winner's id, and only the winner's audio is kept."""
    async with bench(tmp_path, partial(load_seconds, 0.5)) as b:
        outcomes = await asyncio.gather(*(b.submit(speech_wav(2)) for _ in range(40)))
        assert sum(outcome.created for outcome in outcomes) == 1
        assert len({outcome.job.id for outcome in outcomes}) == 1
        assert [name for name in b.files() if name.endswith(".audio")] == [f"{outcomes[0].job.id}.audio"]
        await b.ended(outcomes[0].job.id)


async def test_positions_are_distinct_and_fall(tmp_path: Path) -> None:
    """The first to wait is number one, and nobody's number ever grows."""
    async with bench(tmp_path, partial(load_seconds, 0.1)) as b:
        ids = [(await b.submit(speech_wav(1), f"m{i}")).job.id for i in range(12)]
        seen: dict[str, int] = {}
        while b.queue.waiting:
            positions = {job_id: at for job_id in ids if (at := b.queue.position(job_id))}
            assert sorted(positions.values()) == list(range(1, len(positions) + 1))
            assert all(at <= seen.get(job_id, at) for job_id, at in positions.items())
            seen |= positions
            await asyncio.sleep(0.02)
        for job_id in ids:
            await b.ended(job_id)


async def test_the_bound_holds_and_a_refusal_leaves_no_trace(tmp_path: Path) -> None:
    """Waiting and arriving recordings together never pass the bound; a place left unused is given back."""
    async with bench(tmp_path, partial(load_seconds, 0.3), max_size=3) as b:
        with b.queue.reserve(), b.queue.reserve(), b.queue.reserve():
            with pytest.raises(QueueFull) as caught:
                b.queue.reserve()
            assert caught.value.retry_after >= 1
        assert b.queue.reserved == 0
        accepted, refused = [], 0
        for i in range(20):
            try:
                accepted.append((await b.submit(speech_wav(1), f"m{i}")).job.id)
            except QueueFull:
                refused += 1
            assert b.queue.waiting <= 3
        assert refused > 0
        assert (await b.store.counts()).total == len(accepted)
        for job_id in accepted:
            assert (await b.ended(job_id)).status is JobStatus.COMPLETED
        await b.emptied()


async def test_a_stop_loses_nothing(tmp_path: Path) -> None:
    """Jobs in hand and waiting are finished by the next start, under the same ids."""
    async with bench(tmp_path, partial(load_seconds, 1)) as b:
        ids = [(await b.submit(speech_wav(3), f"m{i}")).job.id for i in range(8)]
        await asyncio.sleep(0.3)
    async with bench(tmp_path) as b:
        assert [(await b.ended(job_id)).status for job_id in ids] == [JobStatus.COMPLETED] * 8
        assert (await b.store.counts()).total == 8
        await b.emptied()


async def test_a_caller_hears_the_pieces_and_the_whole(tmp_path: Path) -> None:
    """The pieces in order are the transcript's words; nothing is left behind."""
    async with bench(tmp_path) as b:
        ticket = await b.call(speech_wav(60))
        pieces = [word async for part in ticket.parts() for word in part.words]
        transcript = await ticket.result()
        assert pieces == [word for segment in transcript.segments for word in segment.words]
        assert len(pieces) > 50
        await b.emptied()


async def test_a_caller_overtakes_a_long_job(tmp_path: Path) -> None:
    """Somebody who waits in the call is served while a long job goes on."""
    async with bench(tmp_path, partial(load_seconds, 0.2)) as b:
        long = await b.submit(speech_wav(900))
        async with asyncio.timeout(20):
            while not b.queue.progress(long.job.id):
                await asyncio.sleep(0.02)
        ticket = await b.call(speech_wav(3))
        await ticket.result()
        assert (await b.store.get(DEFAULT_TENANT, long.job.id)).status is JobStatus.PROCESSING
        assert 0 < b.queue.progress(long.job.id) < 1
        await b.ended(long.job.id)


async def test_a_caller_who_leaves_frees_everything(tmp_path: Path) -> None:
    """Closing a ticket stops its work, waiting or in hand, and removes its files."""
    async with bench(tmp_path, partial(load_seconds, 0.2)) as b:
        tickets = [await b.call(speech_wav(60)) for _ in range(20)]
        await asyncio.sleep(0.2)
        for ticket in tickets:
            ticket.close()
        await b.emptied()
        assert b.queue.waiting == 0
        assert not b.queue.processing


async def test_silence_is_not_recognised(tmp_path: Path) -> None:
    """Silence gives an empty text without a window being computed."""
    async with bench(tmp_path) as b:
        transcript = await (await b.call(silent_wav(30), prompt="bug")).result()
        assert (transcript.text, transcript.gaps, transcript.duration) == ("", (), 30.0)


async def test_bad_audio_fails_its_job_and_its_caller(tmp_path: Path) -> None:
    """A job keeps code and message; a caller gets the error itself."""
    async with bench(tmp_path) as b:
        rubbish = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(100)
        job = await b.ended((await b.submit(rubbish)).job.id)
        assert job.status is JobStatus.FAILED
        assert job.error is not None
        assert job.error.code == BadAudio.code
        with pytest.raises(BadAudio):
            await (await b.call(rubbish)).result()
        await b.emptied()


async def test_a_window_the_engine_refuses_is_a_gap(tmp_path: Path) -> None:
    """What cannot be recognised is reported, never skipped in silence; nothing recognised at all is an error."""
    async with bench(tmp_path) as b:
        with pytest.raises(EngineFailed):
            await (await b.call(speech_wav(5), prompt="refuse")).result()
        transcript = await (await b.call(speech_wav(60), prompt="refuse-first")).result()
        assert [gap.start for gap in transcript.gaps] == [pytest.approx(0, abs=1)]
        assert transcript.text.endswith("w59")


async def test_a_window_that_is_too_long_is_halved(tmp_path: Path) -> None:
    """An engine that fails on long windows only still gives the words."""
    async with bench(tmp_path) as b:
        transcript = await (await b.call(speech_wav(14), prompt="refuse-long")).result()
        assert transcript.gaps == ()
        heard = [int(word.text[1:]) for segment in transcript.segments for word in segment.words]
        assert heard == sorted(set(heard))
        assert len(heard) >= 11


async def test_one_crash_is_forgiven(tmp_path: Path) -> None:
    """A window that kills the recogniser once is recognised the second time."""
    once = tmp_path / "once"
    once.touch()
    async with bench(tmp_path / "bench") as b:
        transcript = await (await b.call(speech_wav(5), prompt=f"crash:{once}")).result()
        assert transcript.text.startswith("w1")


async def test_a_recording_that_always_crashes_fails_alone(tmp_path: Path) -> None:
    """Three crashes fail it with `worker_crashed`; others are served by the process that comes back."""
    async with bench(tmp_path) as b:
        poison = await b.submit(speech_wav(5), "poison", prompt="crash")
        good = await b.submit(speech_wav(5), "good")
        job = await b.ended(poison.job.id)
        assert job.error is not None
        assert job.error.code == WorkerCrashed.code
        assert (await b.ended(good.job.id)).status is JobStatus.COMPLETED


async def test_an_erased_job_stops(tmp_path: Path) -> None:
    """Erasing a job in hand and one that waits ends both; their files go and nothing is stored."""
    async with bench(tmp_path, partial(load_seconds, 0.2)) as b:
        ids = [(await b.submit(speech_wav(60), f"m{i}")).job.id for i in range(8)]
        await asyncio.sleep(0.3)
        erased = await b.store.erase_user(DEFAULT_TENANT, "user")
        assert sorted(erased) == sorted(ids)
        b.queue.abandon(*erased)
        await b.emptied()
        assert (await b.store.counts()).total == 0


async def test_a_queue_that_stops_says_so(tmp_path: Path) -> None:
    """Callers who wait, and those who come, are told to try again."""
    async with bench(tmp_path, partial(load_seconds, 5)) as b:
        ticket = await b.call(speech_wav(5))
        await asyncio.sleep(0.2)
        await b.queue.stop()
        with pytest.raises(ShuttingDown):
            await ticket.result()
        with pytest.raises(ShuttingDown):
            b.queue.reserve()


TWO_HALVES = paused_wav(5, 5, pause=0.8)


async def test_a_caller_alone_gets_both_cores(tmp_path: Path) -> None:
    """A recording of one window is recognised in two, cut in its pause, while nothing else is."""
    async with bench(tmp_path, load_windows) as b:
        await b.recogniser.wait_until_ready()
        transcript = await (await b.call(TWO_HALVES)).result()
        assert transcript.text == "w2 w8"
        assert transcript.gaps == ()


async def test_under_load_windows_stay_whole(tmp_path: Path) -> None:
    """Where every core has its work, parts would only cost more."""
    async with bench(tmp_path, partial(load_windows, 0.5)) as b:
        await b.submit(speech_wav(400))
        async with asyncio.timeout(30):
            while not b.recogniser.ready or b.recogniser.free:
                await asyncio.sleep(0.02)
        assert (await (await b.call(TWO_HALVES)).result()).text == "w5"


async def test_what_is_kept_does_not_depend_on_the_load(tmp_path: Path) -> None:
    """A job's windows are the same, however idle the server; and so are those of a longer recording."""
    async with bench(tmp_path, load_windows) as b:
        await b.recogniser.wait_until_ready()
        job = await b.ended((await b.submit(TWO_HALVES)).job.id)
        assert job.transcript is not None
        assert job.transcript.text == "w5"
        longer = paused_wav(5, 5, 20, pause=0.8)
        waited_for = await (await b.call(longer)).result()
        kept = await b.ended((await b.submit(longer, "longer")).job.id)
        assert kept.transcript is not None
        assert kept.transcript.text == waited_for.text
        assert len(waited_for.text.split()) >= 2


async def test_a_deaf_part_is_a_gap(tmp_path: Path) -> None:
    """Of a recording in two parts, one that cannot be heard is reported and the other is kept."""
    async with bench(tmp_path) as b:
        await b.recogniser.wait_until_ready()
        transcript = await (await b.call(paused_wav(12, 12, pause=0.8), prompt="refuse-first")).result()
        assert [gap.end for gap in transcript.gaps] == [pytest.approx(12.4, abs=0.3)]
        assert transcript.text.startswith("w1")
