"""How much one key may ask for: requests a minute, seconds of audio a day. Kept in memory, per process."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from stt_server.errors import RateLimited
from stt_server.jobs.recogniser import Recogniser
from stt_server.jobs.recording import Recording, Transcriber
from stt_server.jobs.spool import Spool
from stt_server.types import Transcript
from stt_server.web.auth import Caller

Clock = Callable[[], float]


@dataclass
class Bucket:
    """An allowance that fills up again evenly. It may be overdrawn: then it refuses until it is positive again."""

    size: float
    period: float
    """Seconds in which an empty bucket fills."""
    clock: Clock
    _level: float = field(init=False)
    _at: float = field(init=False)

    def __post_init__(self) -> None:
        self._level, self._at = self.size, self.clock()

    @property
    def level(self) -> float:
        """What is left now."""
        now = self.clock()
        self._level = min(self.size, self._level + (now - self._at) * self.size / self.period)
        self._at = now
        return self._level

    def take(self, amount: float) -> None:
        """Take some, whether or not there is enough."""
        self._level = self.level - amount

    def wait(self, amount: float) -> float:
        """Seconds until there is so much; 0 when there is."""
        return max(0.0, (amount - self.level) * self.period / self.size)


class Limits:
    """The allowances of all keys. Without limits, everything passes."""

    def __init__(
        self, *, requests_per_minute: int | None, audio_seconds_per_day: int | None, clock: Clock = time.monotonic
    ) -> None:
        self._sizes = {"requests": (requests_per_minute, 60.0), "audio-seconds": (audio_seconds_per_day, 86_400.0)}
        self._clock = clock
        self._buckets: dict[tuple[str, str], Bucket] = {}
        self._owing: dict[str, Caller] = {}

    def _bucket(self, caller: Caller, kind: str) -> Bucket | None:
        size, period = self._sizes[kind]
        if size is None:
            return None
        return self._buckets.setdefault((caller.name, kind), Bucket(size, period, self._clock))

    def headers(self, caller: Caller) -> Callable[[], dict[str, str]]:
        """What to tell the caller when the answer begins."""
        buckets = {kind: self._bucket(caller, kind) for kind in self._sizes}
        return lambda: {
            f"x-ratelimit-{what}-{kind}": value
            for kind, bucket in buckets.items()
            if bucket
            for what, value in _told(bucket).items()
        }

    def count(self, caller: Caller) -> None:
        """One more request. Raises `RateLimited`."""
        if bucket := self._bucket(caller, "requests"):
            if wait := bucket.wait(1):
                raise RateLimited("Too many requests per minute with this key.", retry_after=wait)
            bucket.take(1)

    def check_audio(self, caller: Caller) -> None:
        """Before audio is taken in. Raises `RateLimited` when the day's allowance is used up."""
        bucket = self._bucket(caller, "audio-seconds")
        if bucket and bucket.level <= 0:
            raise RateLimited("The day's seconds of audio of this key are used up.", retry_after=bucket.wait(1))

    def expect(self, recording_id: str, caller: Caller) -> None:
        """This recording will be charged to the caller; its length shows only when it is decoded."""
        if self._bucket(caller, "audio-seconds"):
            self._owing[recording_id] = caller

    def settle(self, recording_id: str, seconds: float) -> None:
        """This recording is done, or will never be."""
        caller = self._owing.pop(recording_id, None)
        if caller and (bucket := self._bucket(caller, "audio-seconds")):
            bucket.take(seconds)


def _told(bucket: Bucket) -> dict[str, str]:
    return {
        "limit": f"{bucket.size:.0f}",
        "remaining": f"{max(0, math.floor(bucket.level))}",
        "reset": f"{math.ceil(bucket.wait(bucket.size))}s",
    }


class MeteredTranscriber(Transcriber):
    """Charges each recording to who sent it. After a restart, the jobs taken up again are free."""

    def __init__(
        self, recogniser: Recogniser, spool: Spool, *, model: str, max_duration: float, threads: int, limits: Limits
    ) -> None:
        super().__init__(recogniser, spool, model=model, max_duration=max_duration, threads=threads)
        self._limits = limits

    async def transcribe(self, recording: Recording) -> Transcript:
        """Transcribe, then charge."""
        seconds = 0.0
        try:
            transcript = await super().transcribe(recording)
            seconds = transcript.duration
            return transcript
        finally:
            self._limits.settle(recording.id, seconds)
