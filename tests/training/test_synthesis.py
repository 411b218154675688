"""The synthesisers, as far as they are installed, and the shards made with them."""

import ctypes.util
import shutil
from pathlib import Path

import numpy as np
import pytest

from training.corpus import RATE, Mark, Shard, shards
from training.synthesis.shards import Sentence, Task, make, read
from training.synthesis.spoken import LONGEST_SILENCE, PEAK, Spoken, spelled
from training.voices import CASTS, HELD_OUT, TRAINING, Manner, draw

ENGLISH, FRENCH = "Hello, my well-known friend, how are you today?", "L'été dernier, nous étions à la plage."


def library(name: str, package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not ctypes.util.find_library(name), reason=f"needs {package}")


ESPEAK, FLITE = library("espeak-ng", "libespeak-ng1"), library("flite", "libflite1")
PICO = pytest.mark.skipif(not shutil.which("pico2wave"), reason="needs libttspico-utils")


def check(spoken: Spoken) -> None:
    """As loud as all others, without silence at the ends, marks in order and inside."""
    assert float(np.abs(spoken.samples).max()) == pytest.approx(PEAK, abs=1e-3)
    loud = np.flatnonzero(np.abs(spoken.samples) > 0.01 * PEAK)
    assert loud[0] <= LONGEST_SILENCE * RATE + 1
    assert len(spoken.samples) - loud[-1] <= LONGEST_SILENCE * RATE + 1
    for marks in (spoken.phonemes, spoken.words):
        times = [mark.start for mark in marks]
        assert times == sorted(times)
        assert all(0 <= time < len(spoken.samples) / RATE for time in times)


@ESPEAK
@pytest.mark.parametrize(("voice", "text"), [("en-us+f2", ENGLISH), ("fr+m3", FRENCH)])
def test_espeak_tells_phonemes_and_words(voice: str, text: str) -> None:
    """The marks name the words of the text as they stand there."""
    from training.synthesis.espeak import Espeak

    spoken = Espeak().speak(text, voice, Manner())
    check(spoken)
    assert len(spoken.phonemes) > 20
    assert [mark.name for mark in spoken.words] == text.split()


@ESPEAK
def test_espeak_reads_accents() -> None:
    """Text is taken as UTF-8: a letter with its accent is another sound than without."""
    from training.synthesis.espeak import Espeak

    espeak = Espeak()
    heard = {text: [mark.name for mark in espeak.speak(text, "fr", Manner()).phonemes] for text in ("pâtés", "pates")}
    assert heard["pâtés"] != heard["pates"]
    assert "espeak:e" in heard["pâtés"]


@ESPEAK
def test_an_unknown_voice_is_said() -> None:
    """Better no corpus than one spoken by whoever was there."""
    from training.synthesis.espeak import Espeak

    with pytest.raises(ValueError, match="nobody"):
        Espeak().speak("Hello.", "nobody", Manner())


@FLITE
@pytest.mark.parametrize("voice", ["slt", "rms", "awb", "kal16", "kal"])
def test_flite_tells_phonemes_and_words(voice: str) -> None:
    """Each voice, at 8 and at 16 kHz alike; a slow sentence is longer than a quick one."""
    from training.synthesis.flite import Flite

    flite = Flite()
    quick, slow = (flite.speak(ENGLISH, voice, Manner(speed)) for speed in (1.25, 0.8))
    check(quick)
    assert [mark.name for mark in quick.words] == ENGLISH.split()
    assert len(slow.samples) > 1.3 * len(quick.samples)


@PICO
@pytest.mark.parametrize(("voice", "text"), [("en-US", ENGLISH), ("en-GB", "A < B & C."), ("fr-FR", FRENCH)])
def test_pico_speaks(voice: str, text: str) -> None:
    """Signs of its markup are text to us."""
    from training.synthesis.pico import Pico

    check(Pico().speak(text, voice, Manner(0.9, 0.5)))


@ESPEAK
@FLITE
@PICO
def test_shards_come_out_the_same_and_are_not_made_twice(tmp_path: Path) -> None:
    """By seed, in any number of processes; a broken-off run goes on where it stopped."""
    sentences = (Sentence("en", ENGLISH), Sentence("fr", FRENCH)) * 4
    for name in ("first", "again"):
        list(make([Task(tmp_path / name, index, sentences, "training", 1) for index in (0, 1)], jobs=2))
    for kind in ("pcm", "jsonl"):
        for number in ("00000", "00001"):
            file = f"{number}.{kind}"
            assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()
    assert Task(tmp_path / "first", 1, sentences, "training", 1).done
    assert not Task(tmp_path / "first", 2, sentences, "training", 1).done
    made: list[Shard] = list(shards(tmp_path / "first"))
    assert [line.text for shard in made for line in shard.lines] == [sentence.text for sentence in sentences] * 2


def test_silence_goes_and_marks_follow() -> None:
    """A mark in what was cut off moves to the start; of several there, the last is what begins the utterance."""
    sound = np.zeros(3 * RATE, np.float32)
    sound[RATE : 2 * RATE] = 0.2
    marks = [Mark("x:_", 0.0), Mark("x:a", 0.5), Mark("x:b", 1.0), Mark("x:c", 1.5), Mark("x:_", 2.9)]
    spoken = Spoken.of(sound, RATE, marks)
    check(spoken)
    assert [(mark.name, mark.start) for mark in spoken.phonemes] == [("x:a", 0.0), ("x:b", 0.15), ("x:c", 0.65)]


def test_silence_alone_is_nothing() -> None:
    """A voice that says nothing leaves no utterance."""
    assert not len(Spoken.of(np.zeros(RATE, np.float32), RATE).samples)


def test_words_stand_where_they_are() -> None:
    """With their punctuation."""
    assert spelled("Oui, l'été !") == [(0, "Oui,"), (5, "l'été"), (11, "!")]


def test_sentences_are_read(tmp_path: Path) -> None:
    """Language, tab, text."""
    (tmp_path / "some.tsv").write_text("en\tHello.\nfr\tBonjour.\n", encoding="utf-8")
    assert read(tmp_path / "some.tsv", None) == [Sentence("en", "Hello."), Sentence("fr", "Bonjour.")]
    assert len(read(tmp_path / "some.tsv", 1)) == 1


def test_strangers_are_never_trained_with() -> None:
    """No voice held out is in training, and no voice of mbrola is, for its licence forbids more than evaluation."""
    for language, cast in TRAINING.items():
        known = {voice for _, voices in cast for voice in voices}
        assert known.isdisjoint(voice for _, voices in HELD_OUT[language] for voice in voices)
        assert not any(voice.name.startswith("mb-") for voice in known)


def test_voices_are_drawn_by_their_share() -> None:
    """Within 4 standard deviations of 2,000 draws."""
    rng = np.random.default_rng(0)
    drawn = [draw(CASTS["training"]["en"], rng)[0].synthesiser for _ in range(2_000)]
    for name, share in (("espeak", 0.30), ("flite", 0.45), ("pico", 0.25)):
        assert drawn.count(name) / 2_000 == pytest.approx(share, abs=4 * (share * (1 - share) / 2_000) ** 0.5)
