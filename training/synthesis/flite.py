"""flite within this process, through its C library. English only.

A sentence is an "utterance" of relations, lists of items whose features are read by path, as in Festival, from which
flite descends: of a segment, `R:SylStructure.parent.parent.R:Token.parent.name` is the name of its token.
"""

import ctypes
from collections.abc import Iterator

import numpy as np

from training.corpus import Mark
from training.synthesis.spoken import Spoken, spelled
from training.voices import Manner

_FIRST_SEGMENT = b"R:Token.daughter1.R:SylStructure.daughter1.daughter1.R:Segment.p.end"
"""Of a token: when the segment before its first one ends."""


class _Wave(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_char_p),
        ("rate", ctypes.c_int),
        ("count", ctypes.c_int),
        ("channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    )


class _Voice(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("features", ctypes.c_void_p))


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL("libflite.so.1", ctypes.RTLD_GLOBAL)  # for the voices look up their functions in it
    pointers = {
        "flite_synth_text": [ctypes.c_char_p, ctypes.c_void_p],
        "utt_relation": [ctypes.c_void_p, ctypes.c_char_p],
        "relation_head": [ctypes.c_void_p],
        "item_next": [ctypes.c_void_p],
    }
    for name, arguments in pointers.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, ctypes.c_void_p
    library.utt_wave.argtypes, library.utt_wave.restype = [ctypes.c_void_p], ctypes.POINTER(_Wave)
    library.delete_utterance.argtypes = [ctypes.c_void_p]
    library.feat_set_float.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_float]
    library.flite_ffeature_float.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    library.flite_ffeature_float.restype = ctypes.c_float
    library.flite_ffeature_string.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    library.flite_ffeature_string.restype = ctypes.c_char_p
    library.flite_init()
    for dependency in ("libflite_cmulex.so.1", "libflite_usenglish.so.1"):
        ctypes.CDLL(dependency, ctypes.RTLD_GLOBAL)
    return library


class Flite:
    """The library, ready to speak."""

    def __init__(self) -> None:
        self._library = _library()
        self._voices: dict[str, ctypes.c_void_p] = {}

    def speak(self, text: str, voice: str, manner: Manner) -> Spoken:
        """The text, with the start of each phoneme and, if flite takes the words as they stand, of each word."""
        known = self._voice(voice)
        features = ctypes.cast(known, ctypes.POINTER(_Voice)).contents.features
        self._library.feat_set_float(features, b"duration_stretch", 1 / manner.speed)
        self._library.feat_set_float(features, b"f0_shift", 1 + 0.25 * manner.pitch)  # the voice rms ignores it
        utterance = self._library.flite_synth_text(text.encode(), known)
        try:
            wave = self._library.utt_wave(utterance).contents
            samples = np.ctypeslib.as_array(wave.samples, (wave.count,)).astype(np.float32) / np.float32(32768)
            phonemes, words = list(self._phonemes(utterance)), list(self._words(utterance, text))
            return Spoken.of(samples, wave.rate, phonemes, words)
        finally:
            self._library.delete_utterance(utterance)

    def _voice(self, name: str) -> ctypes.c_void_p:
        if name not in self._voices:
            register = getattr(ctypes.CDLL(f"libflite_cmu_us_{name}.so.1"), f"register_cmu_us_{name}")
            register.argtypes, register.restype = [ctypes.c_char_p], ctypes.c_void_p
            self._voices[name] = ctypes.c_void_p(register(None))
        return self._voices[name]

    def _items(self, utterance: int, relation: bytes) -> Iterator[int]:
        item = self._library.relation_head(self._library.utt_relation(utterance, relation))
        while item:
            yield item
            item = self._library.item_next(item)

    def _phonemes(self, utterance: int) -> Iterator[Mark]:
        """The last silence is planned longer than the kal voices say it; all other times hold."""
        start = 0.0
        for segment in self._items(utterance, b"Segment"):
            yield Mark(f"flite:{self._library.flite_ffeature_string(segment, b'name').decode()}", start)
            start = self._library.flite_ffeature_float(segment, b"end")

    def _words(self, utterance: int, text: str) -> Iterator[Mark]:
        words, tokens = spelled(text), list(self._items(utterance, b"Token"))
        if len(words) == len(tokens):
            for (_, word), token in zip(words, tokens, strict=True):
                yield Mark(word, self._library.flite_ffeature_float(token, _FIRST_SEGMENT))
