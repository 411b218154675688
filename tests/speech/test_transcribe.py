"""The whole recipe, on real speech and on long recordings."""

import csv
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from stt_server.errors import AudioTooLong, AudioTooShort, BadAudio, EngineFailed
from stt_server.speech.audio import read_window
from stt_server.speech.chunking import Window
from stt_server.speech.engines import Capabilities, Engine, load
from stt_server.speech.transcribe import Prepared, assemble, prepare, transcribe
from stt_server.types import SAMPLE_RATE, Audio, Hypothesis, Options, Span, Transcript, Word
from tests.assets import TINY_MODEL, needs_assets, needs_model
from tests.speech.clips import Samples, clip_names, read_audio, read_clip, silence, write_wav
from tests.speech.test_vad import detect, uncovered

OPTIONS = Options(model="test")


class Namer:
    """An engine that hears one word in each window: the second it begins at. Deaf to windows around some times."""

    capabilities = Capabilities(
        languages=("en",), word_times=True, confidences=False, logprobs=False, prompt=False, translate=False
    )

    def __init__(self, deaf_at: Sequence[float] = (), deaf_below: float = 0.0) -> None:
        self.deaf_at = deaf_at
        self.deaf_below = deaf_below
        """Even there it hears windows shorter than this."""
        self.heard: list[Audio] = []

    def recognise(self, windows: Sequence[Audio], options: Options) -> list[Hypothesis]:
        """One word a window."""
        self.heard += windows
        for audio in windows:
            deaf = any(audio.start <= at < audio.start + audio.duration for at in self.deaf_at)
            if deaf and audio.duration >= self.deaf_below:
                raise EngineFailed
        middles = [audio.start + audio.duration / 2 for audio in windows]
        return [Hypothesis((Word(f"w{middle:.0f}", middle, middle + 0.2),)) for middle in middles]


def write_long(path: Path, seconds: float) -> tuple[float, list[Span]]:
    """Real clips with pauses of 0.1 to 5 s until it is so long; its duration, and where speech is."""
    chance = np.random.default_rng(11)
    names = [name for name in clip_names() if not name.startswith(("long/", "diar/"))]
    parts: list[Samples] = []
    spans, now = [], 0.0
    while now < seconds:
        clip = read_clip(names[int(chance.integers(len(names)))], 20)
        pause = silence(float(chance.uniform(0.1, 5)))
        spans += [Span(now + span.start, now + span.end) for span in detect(clip)]
        parts += [clip, pause]
        now += (len(clip) + len(pause)) / SAMPLE_RATE
    return write_wav(path, parts), spans


# -- Its first end -----------------------------------------------------------------------------------


@needs_assets
def test_ten_minutes_are_cut_without_loss(tmp_path: Path) -> None:
    """All speech of a long recording lies in windows of bounded length, readable when they are announced."""
    duration, speech = write_long(tmp_path / "long.wav", 600)
    windows: list[Window] = []
    signs: list[float] = []
    pcm_path = tmp_path / "pcm"
    with pcm_path.open("wb", buffering=1 << 24) as pcm:
        for item in prepare(tmp_path / "long.wav", "wav", pcm, max_duration=1000):
            if isinstance(item, Window):
                assert pcm_path.stat().st_size >= int(item.span.end * SAMPLE_RATE) * 2
                windows.append(item)
            elif isinstance(item, Prepared):
                assert item.duration == pytest.approx(duration)
            else:
                signs.append(item)
    assert isinstance(item, Prepared), "the last word is how long it was"
    assert pcm_path.stat().st_size == round(duration * SAMPLE_RATE) * 2
    assert all(5 < b - a < 15 for a, b in pairwise([0, *signs, duration]))
    assert uncovered(speech, [window.owned for window in windows]) < 0.005 * sum(span.duration for span in speech)
    assert max(window.span.duration for window in windows) <= 30
    comfortable = sum(window.span.duration for window in windows if 9 <= window.span.duration <= 21.5)
    assert comfortable > 0.6 * sum(window.span.duration for window in windows)
    assert sum(window.span.duration for window in windows) < 0.93 * duration, "long silence is left out"


@needs_assets
def test_the_first_window_comes_while_the_file_is_decoded(tmp_path: Path) -> None:
    """The recogniser does not wait for the end of a long file."""
    write_long(tmp_path / "long.wav", 300)
    with (tmp_path / "pcm").open("wb") as pcm:
        for item in prepare(tmp_path / "long.wav", "wav", pcm, max_duration=1000):
            if isinstance(item, Window):
                break
        assert pcm.tell() / 2 / SAMPLE_RATE < 60


MEASURE = """
import resource, sys
from pathlib import Path
from stt_server.speech.transcribe import prepare
with open(sys.argv[2], "wb") as pcm:
    count = sum(1 for _ in prepare(Path(sys.argv[1]), "wav", pcm, max_duration=1e6))
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@needs_assets
def test_memory_does_not_follow_the_length(tmp_path: Path) -> None:
    """Twenty minutes take no more memory than one."""
    clip = read_clip("long/voxpopuli-en-000.ogg", 60)

    def megabytes(minutes: int) -> int:
        path = tmp_path / f"{minutes}.wav"
        write_wav(path, [clip] * minutes)
        command = [sys.executable, "-c", MEASURE, str(path), str(tmp_path / "pcm")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        count, peak = done.stdout.split()
        assert int(count) > 5 * minutes
        return int(peak)

    assert megabytes(20) - megabytes(1) < 10


# -- Its last end ------------------------------------------------------------------------------------


def test_nothing_heard_is_an_empty_transcript() -> None:
    """No words make no segments, and no guess at the language."""
    transcript = assemble(Hypothesis(), duration=3.0, options=OPTIONS, model="m", gaps=())
    assert transcript == Transcript((), 3.0, None, "m")


def test_a_hole_is_never_silent() -> None:
    """Gaps are reported in order; when there is nothing else, it is an error and no empty success."""
    said = Hypothesis((Word("Hello.", 0, 1),))
    gaps = (Span(40, 60), Span(20, 30))
    assert assemble(said, duration=60, options=OPTIONS, model="m", gaps=gaps).gaps == gaps[::-1]
    with pytest.raises(EngineFailed):
        assemble(Hypothesis(), duration=60, options=OPTIONS, model="m", gaps=gaps)


def test_the_language_asked_for_is_kept() -> None:
    """A guess never overrules what the caller said, nor what the engine heard; without their word the text tells."""
    said = Hypothesis(tuple(Word(text, n, n + 1) for n, text in enumerate(["Bonjour,", "comment", "allez-vous", "?"])))
    asked = Options(model="m", language="de")
    assert assemble(said, duration=9, options=asked, model="m", gaps=()).language == "de"
    assert assemble(said, duration=9, options=OPTIONS, model="m", gaps=()).language == "fr"
    heard = replace(said, language="oc")
    assert assemble(heard, duration=9, options=OPTIONS, model="m", gaps=()).language == "oc"
    assert assemble(heard, duration=9, options=asked, model="m", gaps=()).language == "de"


# -- All of it ---------------------------------------------------------------------------------------


@needs_assets
@pytest.mark.parametrize("threads", [1, 3])
def test_every_window_is_heard_in_order(tmp_path: Path, threads: int) -> None:
    """Each window's words are there, in order, and progress goes from none to all."""
    write_long(tmp_path / "long.wav", 120)
    engine = Namer()
    progress: list[float] = []
    transcript = transcribe(
        tmp_path / "long.wav", engine, OPTIONS, max_duration=200, threads=threads, on_progress=progress.append
    )
    middles = sorted(audio.start + audio.duration / 2 for audio in engine.heard)
    assert transcript.text.split() == [f"w{middle:.0f}" for middle in middles]
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
    assert transcript.gaps == ()


@needs_assets
def test_a_window_that_fails_is_halved_before_it_is_given_up(tmp_path: Path) -> None:
    """Around a place where the engine fails, its neighbours stay, and a gap says how much is missing."""
    write_long(tmp_path / "long.wav", 120)
    whole = transcribe(tmp_path / "long.wav", Namer(), OPTIONS, max_duration=200, threads=2)
    deaf = Namer(deaf_at=[61.0])
    broken = transcribe(tmp_path / "long.wav", deaf, OPTIONS, max_duration=200, threads=2)
    assert len(broken.gaps) == 1
    assert broken.gaps[0].start <= 61.0 <= broken.gaps[0].end
    assert broken.gaps[0].duration < 15, "half a window, not all of it"
    far = [word.text for part in whole.segments for word in part.words if abs(word.start - 61) > 30]
    assert set(far) <= {word.text for part in broken.segments for word in part.words}
    patient = transcribe(
        tmp_path / "long.wav", Namer(deaf_at=[61.0], deaf_below=1e9), OPTIONS, max_duration=200, threads=2
    )
    assert patient.gaps == ()


@needs_assets
def test_an_engine_that_hears_nothing_at_all_is_an_error(tmp_path: Path) -> None:
    """A transcript made of nothing but gaps is a failure."""
    duration = write_wav(tmp_path / "jfk.wav", [read_clip("en/jfk_16k.wav")])
    with pytest.raises(EngineFailed):
        transcribe(tmp_path / "jfk.wav", Namer(np.arange(0, duration).tolist()), OPTIONS, max_duration=60, threads=1)


def test_silence_costs_nothing(tmp_path: Path) -> None:
    """Minutes of silence never reach the engine, and the duration is the file's."""
    write_wav(tmp_path / "silence.wav", [silence(200)])
    engine = Namer()
    transcript = transcribe(tmp_path / "silence.wav", engine, OPTIONS, max_duration=300, threads=1)
    assert engine.heard == []
    assert (transcript.text, transcript.duration) == ("", 200.0)


def test_what_cannot_be_decoded_is_told(tmp_path: Path) -> None:
    """Errors of the file come through as they are."""
    path = tmp_path / "file.wav"
    path.write_bytes(b"not audio at all")
    with pytest.raises(BadAudio):
        transcribe(path, Namer(), OPTIONS, max_duration=60, threads=1)
    write_wav(path, [silence(61)])
    with pytest.raises(AudioTooLong):
        transcribe(path, Namer(), OPTIONS, max_duration=60, threads=1)
    write_wav(path, [silence(0.05)])
    with pytest.raises(AudioTooShort):
        transcribe(path, Namer(), OPTIONS, max_duration=60, threads=1)


# -- With a real model -------------------------------------------------------------------------------


def known_sentences(engine: Engine) -> list[tuple[Samples, str]]:
    """What the small model knows by heart, but for those it gets wrong with a moment of silence around."""
    with (TINY_MODEL / "samples" / "transcripts.tsv").open(encoding="utf-8") as table:
        rows = [(read_audio(TINY_MODEL / "samples" / row[0]), row[1]) for row in csv.reader(table, delimiter="\t")]
    quiet = silence(0.35)
    heard = [engine.recognise([_audio(np.concatenate([quiet, clip, quiet]))], OPTIONS)[0] for clip, _ in rows]
    known = [row for row, one in zip(rows, heard, strict=True) if " ".join(w.text for w in one.words) == row[1]]
    assert len(known) >= 4
    return known


def _audio(samples: Samples) -> Audio:
    return Audio(samples.astype(np.float32) / np.float32(32768))


@needs_model
def test_a_long_recording_says_what_was_said(tmp_path: Path) -> None:
    """Many sentences with pauses between them come out exactly, in order, each at its time."""
    engine = load(TINY_MODEL, threads=2)
    known, chance = known_sentences(engine), np.random.default_rng(5)
    parts, expected, now = [silence(1)], [], 1.0
    for _ in range(40):
        clip, text = known[int(chance.integers(len(known)))]
        expected.append((text, now, now + len(clip) / SAMPLE_RATE))
        parts += [clip, silence(float(chance.uniform(2.6, 5)))]
        now += (len(parts[-2]) + len(parts[-1])) / SAMPLE_RATE
    duration = write_wav(tmp_path / "long.wav", parts)
    transcript = transcribe(tmp_path / "long.wav", engine, OPTIONS, max_duration=1000, threads=2)
    assert [part.text for part in transcript.segments] == [text for text, _, _ in expected]
    assert transcript.duration == pytest.approx(duration)
    for part, (_, start, end) in zip(transcript.segments, expected, strict=True):
        assert start - 0.2 <= part.start <= part.end <= end + 0.3
    words = [word for part in transcript.segments for word in part.words]
    assert all(a.end <= b.start for a, b in pairwise(words))


def test_windows_read_what_was_written(tmp_path: Path) -> None:
    """The samples of a window are those of the recording at its time."""
    samples = np.arange(-16000, 16000).astype(np.int16)
    write_wav(tmp_path / "ramp.wav", [samples])
    with (tmp_path / "pcm").open("wb") as pcm:
        assert list(prepare(tmp_path / "ramp.wav", "wav", pcm, max_duration=60)) == [Prepared(2.0)]
    audio = read_window(tmp_path / "pcm", Span(0.5, 1.5))
    np.testing.assert_array_equal(np.rint(audio.samples * 32768), samples[8000:24000])
