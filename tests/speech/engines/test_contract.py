"""What every engine promises, whatever family its model is of: Parakeet's own, and those that sherpa-onnx runs."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from stt_server.speech.engines import Engine, load
from stt_server.speech.engines.features import Float32
from stt_server.types import Audio, Hypothesis, Options
from tests.assets import TINY_MODEL
from tests.speech.engines.families import FAMILIES, tones, whisper
from tests.speech.engines.models import SAMPLES, speech, transcripts

SAID = ("low", "high low", "low low high", "high high low low high", "low high _ _ low")


@dataclass(frozen=True)
class Member:
    """An engine, and sounds of which the text is known."""

    engine: Engine
    known: list[tuple[Float32, str]]
    asked: Options

    def hear(self, *windows: Audio) -> list[Hypothesis]:
        return self.engine.recognise(windows, self.asked)


def text(hypothesis: Hypothesis) -> str:
    return " ".join(word.text for word in hypothesis.words)


def parakeet(folder: Path) -> Member:
    known = [(speech(SAMPLES / name), text) for name, text in transcripts().items()]
    return Member(load(TINY_MODEL, threads=2), known, Options("m"))


def of(write: Callable[[Path], Path]) -> Callable[[Path], Member]:
    # Whisper's threads share a window, which for so small a network is mostly waiting for each other.
    threads = 1 if write is whisper else 2
    known = [(tones(said), said.replace("_ ", "")) for said in SAID]
    return lambda folder: Member(load(write(folder / "model"), threads=threads), known, Options("m", language="en"))


MEMBERS = {"parakeet": parakeet} | {name: of(write) for name, write in FAMILIES.items()}


@pytest.fixture(scope="module", params=MEMBERS)
def member(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Member:
    return MEMBERS[request.param](tmp_path_factory.mktemp("member"))


def test_the_text_is_what_was_said(member: Member) -> None:
    """To the letter, for each sound alone."""
    for sound, said in member.known:
        assert text(member.hear(Audio(sound))[0]) == said


def test_windows_together_are_answered_in_order(member: Member) -> None:
    """Several windows in one call, of unequal length, and each answer is its window's."""
    found = member.hear(*(Audio(sound) for sound, _ in member.known))
    assert [text(hypothesis) for hypothesis in found] == [said for _, said in member.known]


def test_any_thread_may_call(member: Member) -> None:
    """Calls from several threads at once give exactly what they give one after another."""
    windows = [Audio(sound, 10.0 * n) for n, (sound, _) in enumerate(member.known * 6)]
    alone = [member.hear(window) for window in windows]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(member.hear, windows)) == alone


def test_times_lie_in_the_window_and_go_forward(member: Member) -> None:
    """Of a window anywhere in a file, and none past its end."""
    for sound, _ in member.known:
        window = Audio(sound, 3600.0)
        (found,) = member.hear(window)
        assert found.words
        assert all(3600 <= word.start <= word.end <= 3600 + window.duration for word in found.words)
        assert all(before.start <= after.start for before, after in pairwise(found.words))
        assert all(3600 <= token.start <= 3600 + window.duration for token in found.tokens)


def test_what_it_cannot_tell_is_left_out(member: Member) -> None:
    """Times, confidences and log-probabilities are there exactly where the capabilities say so."""
    can = member.engine.capabilities
    for sound, _ in member.known:
        window = Audio(sound, 7.0)
        (found,) = member.hear(window)
        assert {word.exact for word in found.words} == {can.word_times}
        assert {word.confidence is not None for word in found.words} == {can.confidences}
        assert bool(found.tokens) == can.logprobs
        if can.logprobs:
            assert "".join(token.text for token in found.tokens).strip() == text(found)
            assert all(token.logprob <= 0 for token in found.tokens)
        if not can.word_times:
            assert {(word.start, word.end) for word in found.words} == {(7.0, 7.0 + window.duration)}


@pytest.mark.parametrize("samples", [0, 1, 159, 160, 161, 1600, 4000])
def test_short_sound_is_taken(member: Member, samples: int) -> None:
    """A tenth of a second, or nothing at all, is answered, and does not end the process."""
    (found,) = member.hear(Audio(member.known[0][0][9600 : 9600 + samples], 7.0))
    assert all(7.0 <= word.start <= word.end <= 7.0 + samples / 16_000 for word in found.words)
    assert samples >= 160 or not found.words


@pytest.mark.parametrize("kind", ["silence", "noise", "clipping"])
def test_sound_without_speech_is_answered(member: Member, kind: str) -> None:
    """Digital silence, noise and overdriven sound end without error and within their time."""
    noise = np.random.default_rng(1).normal(0, 0.1, 32_000).astype(np.float32)
    sound = {"silence": 0 * noise, "noise": noise, "clipping": np.sign(noise)}[kind]
    (found,) = member.hear(Audio(sound))
    assert all(0 <= word.start <= word.end <= 2 for word in found.words)


def test_no_windows_no_answers(member: Member) -> None:
    """An empty call has an empty answer."""
    assert member.hear() == []
