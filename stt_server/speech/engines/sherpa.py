"""Whisper, Zipformer, Moonshine and NeMo's CTC models, run by sherpa-onnx.

The package is optional. It ends the process on files that do not fit, so they are looked at before it gets them.
"""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from stt_server.errors import EngineFailed, ModelBroken
from stt_server.speech.engines import Capabilities
from stt_server.speech.engines.families import (
    MOONSHINE,
    NEMO_CTC,
    TOKENS,
    TRANSDUCER,
    WHISPER,
    Found,
    check_files,
    find_family,
)
from stt_server.speech.engines.fit import languages, read_symbols
from stt_server.speech.engines.onnxfile import Header
from stt_server.speech.engines.tdt import Emission
from stt_server.speech.engines.vocabulary import Vocabulary
from stt_server.speech.engines.words import read_hypothesis
from stt_server.types import SAMPLE_RATE, Audio, Hypothesis, Options, Word

log = logging.getLogger(__name__)

_SHORTEST = 0.1
"""Seconds. Whisper's front end crashes on less than a hundredth; nobody says anything in a tenth."""
_LEAST = 0.5
"""Seconds. What is shorter is followed by silence: the first layers of every family need some context."""
_WHISPERS_LONGEST = 29.5
"""Seconds. What goes beyond, sherpa-onnx leaves out and only logs."""
_FRAME = 0.01
"""Seconds. The times it gives are multiples of it."""
_LONGEST_TOKEN = 32
"""Frames. Only where tokens begin is given: each lasts until the next, at most as long as one of Parakeet can."""

Recogniser = Any
"""sherpa_onnx.OfflineRecognizer."""


class Sherpa:
    """A loaded model. `threads` windows are recognised at a time, each by one thread."""

    def __init__(self, found: Found, recogniser: Recogniser, capabilities: Capabilities, *, threads: int) -> None:
        self.capabilities = capabilities
        self._recogniser = recogniser
        self._vocabulary, self._ids = _vocabulary(read_symbols(found.files[TOKENS]))
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="sherpa")

    def recognise(self, windows: Sequence[Audio], options: Options) -> list[Hypothesis]:
        """One hypothesis per window. Only Whisper minds the options, and of them the language."""
        return list(self._pool.map(lambda window: self._hear(window, options), windows))

    def _hear(self, window: Audio, options: Options) -> Hypothesis:  # noqa: ARG002
        return self._read(self._decode(window), window) if window.duration >= _SHORTEST else Hypothesis()

    def _decode(self, window: Audio) -> Any:
        try:
            stream = self._recogniser.create_stream()
            missing = max(0, round(_LEAST * SAMPLE_RATE) - len(window.samples))
            stream.accept_waveform(SAMPLE_RATE, np.pad(window.samples, (0, missing)) if missing else window.samples)
            self._recogniser.decode_stream(stream)
            return stream.result
        except RuntimeError as error:
            raise EngineFailed from error

    def _read(self, result: Any, window: Audio) -> Hypothesis:
        emissions = self._emissions(result) if self.capabilities.word_times else None
        if emissions is None:
            return _without_times(result.text, window)
        heard = read_hypothesis(emissions, self._vocabulary, window, frame=_FRAME)
        if self.capabilities.confidences:
            return heard
        return Hypothesis(tuple(replace(word, confidence=None) for word in heard.words))

    def _emissions(self, result: Any) -> list[Emission] | None:
        """The tokens with their times. None where they do not spell the text, as those of single bytes do not."""
        ids = [self._ids.get(token) for token in result.tokens]
        if "".join(result.tokens).split() != result.text.split() or len(result.timestamps) != len(ids):
            return None
        frames = [round(time / _FRAME) for time in result.timestamps]
        lengths = [min(after - before, _LONGEST_TOKEN) for before, after in pairwise([*frames, 1 << 31])]
        logprobs = result.ys_log_probs if self.capabilities.logprobs else [0.0] * len(ids)
        rows = zip(ids, frames, lengths, logprobs, strict=True)
        return [
            Emission(id_, frame, length, min(logprob, 0.0)) for id_, frame, length, logprob in rows if id_ is not None
        ]


class Whisper(Sherpa):
    """A loaded Whisper. It can be told the language, else says which one it heard.

    sherpa-onnx keeps the language in the recogniser, so one window at a time is recognised, by all threads.
    """

    def __init__(
        self, found: Found, recogniser: Recogniser, capabilities: Capabilities, *, told: Sequence[str]
    ) -> None:
        super().__init__(found, recogniser, capabilities, threads=1)
        self._config = recogniser.config
        self._languages = frozenset(told)

    def _hear(self, window: Audio, options: Options) -> Hypothesis:
        if window.duration < _SHORTEST:
            return Hypothesis()
        if window.duration > _WHISPERS_LONGEST:
            raise EngineFailed(f"Whisper hears no more than {_WHISPERS_LONGEST} seconds at once.")
        # A language that it does not know would end the process.
        self._tell(options.language if options.language in self._languages else "")
        result = self._decode(window)
        if self._languages and not result.lang:
            raise EngineFailed("Whisper gave no result.")  # sherpa-onnx has logged why
        return replace(self._read(result, window), language=result.lang or None)

    def _tell(self, language: str | None) -> None:
        whisper = self._config.model_config.whisper
        if whisper.language != language:
            whisper.language = language
            self._recogniser.recognizer.set_config(self._config)


def _without_times(text: str, window: Audio) -> Hypothesis:
    """Words of which only the window is known."""
    end = window.start + window.duration
    return Hypothesis(tuple(Word(word, window.start, end, exact=False) for word in text.split()))


def _vocabulary(symbols: Mapping[int, str]) -> tuple[Vocabulary, dict[str, int]]:
    """The texts by number, and the numbers by what sherpa-onnx shows: a space for the mark of a word's beginning."""
    shown = {number: f" {symbol[1:]}" if symbol.startswith("▁") else symbol for number, symbol in symbols.items()}
    texts = tuple(shown.get(number) for number in range(max(symbols, default=-1) + 1))
    return Vocabulary(texts, blank=-1), {text: number for number, text in shown.items()}


# -- Loading ---------------------------------------------------------------------------------------


def load_sherpa(found: Found, *, threads: int) -> Sherpa:
    """Open the model and put a second of noise through it. Raises `ModelBroken`."""
    headers = check_files(found)
    try:
        import sherpa_onnx
    except ImportError as error:
        raise ModelBroken(
            f"{found.folder} holds a {found.family.title} model. Those run in the package sherpa-onnx, which is not"
            " installed here: pip install 'stt-server[sherpa]'."
        ) from error
    log.info("sherpa-onnx loads", extra={"family": found.family.name, "folder": str(found.folder)})
    try:
        engine = _open(sherpa_onnx.OfflineRecognizer, found, headers, threads)
        engine.recognise([_noise()], Options(model=""))
    except (RuntimeError, ValueError, EngineFailed) as error:
        raise ModelBroken(f"The model in {found.folder} does not run: {error.__cause__ or error}") from error
    return engine


def rehearse(found: Found) -> None:
    """Load the model in a process of its own, for those who cannot do without theirs. Raises `ModelBroken`."""
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(_load_and_forget, found.folder).result()
    except BrokenProcessPool as error:
        raise ModelBroken(
            f"The model in {found.folder} ends the process that loads it: its files are not what sherpa-onnx takes for"
            f" a {found.family.title} model."
        ) from error


def _load_and_forget(folder: Path) -> None:
    if (found := find_family(folder)) is not None:
        load_sherpa(found, threads=1)


def _open(opener: Any, found: Found, headers: Mapping[str, Header], threads: int) -> Sherpa:
    files = {role: str(path) for role, path in found.files.items()}
    if found.family is WHISPER:
        told = languages(headers["encoder"])
        recogniser = opener.from_whisper(**files, language="", num_threads=threads)
        return Whisper(found, recogniser, _capabilities(found, told or ("en",)), told=told)
    recogniser = {
        TRANSDUCER.name: opener.from_transducer,
        MOONSHINE.name: opener.from_moonshine,
        NEMO_CTC.name: opener.from_nemo_ctc,
    }[found.family.name](**files, num_threads=1)
    return Sherpa(found, recogniser, _capabilities(found, ()), threads=threads)


def _capabilities(found: Found, understood: tuple[str, ...]) -> Capabilities:
    """What is known of the family. None of the models but Whisper names its languages."""
    return Capabilities(
        languages=understood,
        word_times=found.family.word_times,
        confidences=found.family.confidences,
        logprobs=found.family.confidences,
        prompt=False,
        translate=False,
    )


def _noise() -> Audio:
    return Audio(np.random.default_rng(0).normal(0, 0.01, SAMPLE_RATE).astype(np.float32))
