"""The nouns everything else is said in.

Times are float seconds from the start of the audio; clock times are aware UTC.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
"""Hz. The only rate past the decoder: Parakeet's front end takes no other."""

DEFAULT_TENANT = "default"
"""Whose jobs they are when no key says otherwise."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time."""

    start: float
    end: float

    @property
    def duration(self) -> float:
        """Seconds from start to end."""
        return self.end - self.start


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """One window of sound, always mono at `SAMPLE_RATE`."""

    samples: NDArray[np.float32]
    """Shape (n,), in [-1, 1]."""
    start: float = 0.0
    """Where the window lies in the file."""

    @property
    def duration(self) -> float:
        """Seconds of sound."""
        return len(self.samples) / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Token:
    """One piece of the model's vocabulary, as it was emitted."""

    id: int
    """Row in the model's tokens file."""
    text: str
    """With its leading space when it begins a word."""
    start: float
    logprob: float
    """Natural logarithm of the probability, at most 0."""


@dataclass(frozen=True, slots=True)
class Word:
    """One written word, with the punctuation that touches it."""

    text: str
    start: float
    end: float
    confidence: float | None = None
    """[0, 1]; None when the engine cannot tell."""
    speaker: str | None = None
    exact: bool = True
    """False: it was said somewhere between start and end; the engine cannot tell where."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What an engine heard in one window, in times of the whole file."""

    words: tuple[Word, ...] = ()
    tokens: tuple[Token, ...] = ()
    language: str | None = None
    """ISO 639-1 code, if the engine tells."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A sentence, or what stands between two pauses."""

    text: str
    """Without surrounding spaces."""
    start: float
    end: float
    words: tuple[Word, ...] = ()
    """Empty where their times are not known: by an engine that cannot tell, in a database that kept no words."""
    tokens: tuple[Token, ...] = ()
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """Everything known about what was said in one file."""

    segments: tuple[Segment, ...]
    duration: float
    """Of the decoded audio, not of the last word."""
    language: str | None
    """ISO 639-1 code: what was asked for, else a guess from the text, else None."""
    model: str
    gaps: tuple[Span, ...] = ()
    """Stretches with speech that could not be recognised."""

    @property
    def text(self) -> str:
        """All that was said, on one line."""
        return " ".join(segment.text for segment in self.segments)


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked of the recogniser, validated."""

    model: str
    language: str | None = None
    """ISO 639-1 code, lower case."""
    prompt: str | None = None
    keyterms: tuple[str, ...] = ()


class JobStatus(StrEnum):
    """Where a job stands. `MOVES` says what may follow."""

    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


MOVES: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.QUEUED: frozenset({JobStatus.PROCESSING, JobStatus.FAILED}),
    JobStatus.PROCESSING: frozenset({JobStatus.QUEUED, JobStatus.COMPLETED, JobStatus.FAILED}),
    JobStatus.COMPLETED: frozenset(),
    JobStatus.FAILED: frozenset(),
}
"""The legal moves. A job goes back to the queue when its process dies."""


@dataclass(frozen=True, slots=True)
class Key:
    """The caller's own name for a recording: one job answers it."""

    tenant: str
    user_uuid: str
    message_id: str


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed, kept so that asking later gives the same answer."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Job:
    """One acknowledged recording. Its row is the promise; its audio lies in the spool under its id."""

    id: str
    """uuid4."""
    key: Key
    options: Options
    response_format: str
    """Asked for at submission; the result's query may ask for another."""
    container: str
    """Name of the sniffed audio format, a key of `speech.sniff.CONTAINERS`."""
    created_at: datetime
    status: JobStatus = JobStatus.QUEUED
    seq: int = 0
    """Order of admission; given by the store."""
    attempt: int = 0
    """How often it was started. A result of an earlier attempt is thrown away."""
    started_at: datetime | None = None
    completed_at: datetime | None = None
    transcript: Transcript | None = field(default=None, repr=False)
    """None until completed, and again once retention has erased it."""
    error: JobError | None = None
    duration: float | None = None
    """Seconds of audio. None until completed; stays when the transcript is erased."""
