"""Jobs, transcripts and a clock to test stores with."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from stt_server.jobs.stores import Store
from stt_server.types import Hypothesis, Job, JobError, Key, Options, Segment, Span, Token, Transcript, Word

START = datetime(2026, 11, 20, 12, 0, 0, 123_000, tzinfo=UTC)
OOPS = JobError("engine_failed", "The recogniser failed on this audio.")


class Clock:
    """A wall clock that moves only when it is told to."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def step(self, **time: float) -> None:
        self.now += timedelta(**time)


def a_key(name: str = "1", *, user: str = "user", tenant: str = "default") -> Key:
    return Key(tenant, user, f"message-{name}")


def a_job(key: Key | None = None) -> Job:
    options = Options("parakeet", language="fr", prompt="Wazo, calld", keyterms=("aperçu", "Ωmega"))
    return Job(str(uuid4()), key or a_key(), options, "srt", "wav", START)


def a_transcript(text: str = "Bonjour à tous.") -> Transcript:
    words = tuple(Word(w, i / 2, i / 2 + 0.4, 0.9) for i, w in enumerate(text.split()))
    heard = Hypothesis(words, (Token(7, " Bon", 0.08, -0.011),))
    segment = Segment(text, 0.0, words[-1].end, heard.words, heard.tokens)
    return Transcript((segment,), 12.34, "fr", "parakeet", (Span(3.0, 4.5),))


async def completed(store: Store, key: Key | None = None, text: str = "Bonjour à tous.", *, force: bool = False) -> Job:
    """A job on its whole way, as it is read afterwards."""
    job = (await store.admit(a_job(key), force=force)).job
    started = await store.start(job.id)
    assert started
    assert await store.complete(job.id, started.attempt, a_transcript(text))
    return await store.get(job.key.tenant, job.id)


async def failed(store: Store, key: Key | None = None) -> Job:
    """A job that failed while it waited."""
    job = (await store.admit(a_job(key))).job
    assert await store.fail(job.id, job.attempt, OOPS)
    return await store.get(job.key.tenant, job.id)
