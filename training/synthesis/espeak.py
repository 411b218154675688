"""espeak-ng within this process, through its C library: hundreds of times faster than real time.

The library keeps its state in globals: one thread a process. Functions, structures and numbers are those of its
header `speak_lib.h`, version 1.51.
"""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from training.corpus import Mark
from training.synthesis.spoken import Spoken, spelled
from training.voices import Manner

_SYNCHRONOUS = 2
_PHONEME_EVENTS = 1
_UTF8 = 1
_CHARACTERS = 1
_RATE, _PITCH = 1, 3
_LIST_END, _WORD, _PHONEME = 0, 1, 7


class _Name(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position_ms", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Name),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True, slots=True)
class _Heard:
    """An event of the synthesis."""

    kind: int
    seconds: float
    position: int
    """Of a word, in the text: characters from 1."""
    phoneme: str


class Espeak:
    """The library, ready to speak. Every voice of every language, those of mbrola (`mb-…`) included."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libespeak-ng.so.1")
        if self._library.espeak_Initialize(_SYNCHRONOUS, 0, None, _PHONEME_EVENTS) < 0:
            raise OSError("libespeak-ng cannot find its data")
        self._callback = _Callback(self._hear)  # kept, or it would be freed under the library's feet
        self._library.espeak_SetSynthCallback(self._callback)
        self._pieces: list[bytes] = []
        self._events: list[_Heard] = []

    def speak(self, text: str, voice: str, manner: Manner) -> Spoken:
        """The text, with the start of each phoneme and each word."""
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise ValueError(f"espeak-ng has no voice {voice!r}")
        usual = 125 if voice.startswith("mb-") else 150  # words a minute, as the library counts them
        self._library.espeak_SetParameter(_RATE, round(usual * manner.speed), 0)
        self._library.espeak_SetParameter(_PITCH, round(50 + 30 * manner.pitch), 0)
        self._pieces, self._events = [], []
        encoded = text.encode() + b"\0"
        self._library.espeak_Synth(encoded, len(encoded), 0, _CHARACTERS, 0, _UTF8, None, None)
        samples = np.frombuffer(b"".join(self._pieces), "<i2").astype(np.float32) / np.float32(32768)
        rate = self._library.espeak_ng_GetSampleRate()
        if voice.startswith("mb-"):  # the times are those of espeak-ng's plan, 40 ms from what mbrola makes of it
            return Spoken.of(samples, rate)
        return Spoken.of(samples, rate, list(self._phonemes()), list(self._words(text)))

    def _hear(self, samples: object, count: int, events: object) -> int:
        """Called by the library with each piece of sound. 0 is "go on"."""
        if count:
            self._pieces.append(ctypes.string_at(samples, count * 2))  # type: ignore[arg-type]
        for event in events:  # type: ignore[attr-defined]
            if event.type == _LIST_END:
                break
            seconds = event.audio_position_ms / 1000
            phoneme = event.id.string.decode(errors="replace") if event.type == _PHONEME else ""
            self._events.append(_Heard(event.type, seconds, event.text_position, phoneme))
        return 0

    def _phonemes(self) -> Iterator[Mark]:
        """Without those that take no time: the nameless end of a clause, `(en)` before a foreign word."""
        for event in self._events:
            if event.kind == _PHONEME and event.phoneme and event.phoneme[0] != "(":
                yield Mark(f"espeak:{event.phoneme}", event.seconds)

    def _words(self, text: str) -> Iterator[Mark]:
        """One mark for each word, where the library tells: it says some pairs ("of the") as one."""
        words = spelled(text)
        told: set[int] = set()
        for event in self._events:
            if event.kind == _WORD:
                index = sum(first < event.position for first, _ in words) - 1
                if index >= 0 and index not in told:
                    told.add(index)
                    yield Mark(words[index][1], event.seconds)
