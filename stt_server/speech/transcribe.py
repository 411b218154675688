"""The recipe: decode, find speech, cut, recognise, join, divide into sentences.

`prepare` and `assemble` are its two ends, wherever the recognition between them runs; `transcribe` is all of it in
one process.
"""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from stt_server.errors import EngineFailed
from stt_server.speech.attempts import Outcome, attempts
from stt_server.speech.audio import decode, read_window
from stt_server.speech.chunking import Cutter, Window
from stt_server.speech.engines import Engine
from stt_server.speech.joining import Joiner, concatenate
from stt_server.speech.language import guess_language
from stt_server.speech.segments import segment
from stt_server.speech.sniff import SNIFF_BYTES, sniff
from stt_server.speech.vad import SpeechDetector
from stt_server.types import SAMPLE_RATE, Hypothesis, Options, Span, Transcript

log = logging.getLogger(__name__)

REPORT_SECS = 10.0
"""Seconds of audio between two signs of life."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The end of a recording was reached."""

    duration: float
    """Seconds decoded."""


Preparation = Callable[[Path, str, Path], Iterator[Window | Prepared | float]]
"""`prepare` as it is called here, and perhaps run elsewhere: with the path of the samples, and its bound known."""


def prepare(path: Path, container: str, pcm: BinaryIO, *, max_duration: float) -> Iterator[Window | Prepared | float]:
    """Decode a recording into `pcm` (16 kHz mono PCM16, little-endian) and cut it, in flat memory.

    Yields windows as soon as they are certain, their samples readable by then; about every ten seconds of audio the
    seconds decoded so far; at the end `Prepared`. Raises what `decode` raises.
    """
    detector, cutter = SpeechDetector(), Cutter()
    samples, reported = 0, 0.0
    for block in decode(path, container, max_duration=max_duration):
        pcm.write(block.astype("<i2", copy=False).tobytes())
        samples += len(block)
        if windows := cutter.feed(detector.feed(block), now=detector.settled):
            pcm.flush()
            yield from windows
        if samples / SAMPLE_RATE - reported >= REPORT_SECS:
            reported = samples / SAMPLE_RATE
            yield reported
    pcm.flush()
    duration = samples / SAMPLE_RATE
    yield from cutter.feed(detector.finish(), now=detector.settled)
    yield from cutter.finish(duration)
    yield Prepared(duration)


def assemble(
    hypothesis: Hypothesis, *, duration: float, options: Options, model: str, gaps: tuple[Span, ...]
) -> Transcript:
    """All that was heard as a transcript. Raises `EngineFailed` when there was speech and none could be recognised."""
    if gaps and not hypothesis.words:
        raise EngineFailed
    segments = segment(hypothesis.words, hypothesis.tokens)
    text = " ".join(part.text for part in segments)
    language = options.language or hypothesis.language or guess_language(text)
    return Transcript(segments, duration, language, model, tuple(sorted(gaps, key=lambda gap: gap.start)))


def transcribe(
    path: Path,
    engine: Engine,
    options: Options,
    *,
    max_duration: float,
    threads: int,
    on_progress: Callable[[float], None] | None = None,
    filename: str | None = None,
    preparation: Preparation | None = None,
) -> Transcript:
    """Transcribe a file, `threads` windows at a time, in this process; its decoding where `preparation` has it done.

    `on_progress` is called with what part of the speech is done, [0, 1], once the file is decoded.
    Raises `BadAudio` and its kin, and `EngineFailed`.
    """
    with path.open("rb") as file:
        container = sniff(file.read(SNIFF_BYTES), filename or path.name)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="window")
    with TemporaryDirectory(prefix="stt-") as folder:
        try:
            run = _Run(Path(folder) / "pcm", engine, options)
            run.start((preparation or _here(max_duration))(path, container, run.pcm), pool)
            heard = run.collect(on_progress or (lambda _: None))
        finally:
            pool.shutdown(cancel_futures=True)
    return assemble(heard, duration=run.duration, options=options, model=options.model, gaps=tuple(run.gaps))


def _here(max_duration: float) -> Preparation:
    def run(path: Path, container: str, pcm: Path) -> Iterator[Window | Prepared | float]:
        with pcm.open("wb") as samples:
            yield from prepare(path, container, samples, max_duration=max_duration)

    return run


@dataclass
class _Run:
    """One file on its way through this process."""

    pcm: Path
    engine: Engine
    options: Options
    duration: float = 0.0
    gaps: list[Span] = field(default_factory=list)
    windows: list[tuple[Window, Future[Outcome]]] = field(default_factory=list)

    def start(self, items: Iterator[Window | Prepared | float], pool: ThreadPoolExecutor) -> None:
        """Decode the file; its windows are being recognised meanwhile."""
        for item in items:
            if isinstance(item, Window):
                self.windows.append((item, pool.submit(self._persist, item)))
            elif isinstance(item, Prepared):
                self.duration = item.duration

    def collect(self, on_progress: Callable[[float], None]) -> Hypothesis:
        """Wait for the windows, in order."""
        joiner, heard, done = Joiner(), [], 0.0
        total = sum(window.owned.duration for window, _ in self.windows)
        for window, future in self.windows:
            outcome = future.result()
            heard.append(joiner.add(window, outcome.hypothesis))
            self.gaps += outcome.gaps
            done += window.owned.duration
            on_progress(min(1.0, done / total))
        return concatenate([*heard, joiner.finish()])

    def _persist(self, window: Window) -> Outcome:
        """Recognise one window, as often and in as many parts as it takes."""
        steps = attempts(window)
        wanted = next(steps)
        while True:
            try:
                wanted = steps.send(self._attempt(wanted))
            except StopIteration as end:
                outcome: Outcome = end.value
                return outcome

    def _attempt(self, window: Window) -> Hypothesis | None:
        try:
            return self.engine.recognise([read_window(self.pcm, window.span)], self.options)[0]
        except EngineFailed as error:
            log.warning("window failed", extra={"start": window.span.start, "error": str(error)})
            return None
