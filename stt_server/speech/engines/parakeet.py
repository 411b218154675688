"""NVIDIA Parakeet TDT on ONNX Runtime."""

import json
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from stt_server.errors import EngineFailed, ModelBroken
from stt_server.speech.engines import Capabilities
from stt_server.speech.engines.features import HOP, Float32, LogMel
from stt_server.speech.engines.graphs import Graph
from stt_server.speech.engines.keyterms.boosting import search_for
from stt_server.speech.engines.keyterms.branches import Writing
from stt_server.speech.engines.keyterms.lexicon import Lexicon, compile_terms
from stt_server.speech.engines.keyterms.spelling import Speller
from stt_server.speech.engines.layout import Layout, find_layout
from stt_server.speech.engines.networks import Encoder, open_transducer
from stt_server.speech.engines.prepared import Choice, choose, prepare
from stt_server.speech.engines.tdt import Transducer, search
from stt_server.speech.engines.vocabulary import Vocabulary, read_vocabulary
from stt_server.speech.engines.words import read_hypothesis
from stt_server.speech.processor import Kernels
from stt_server.types import Audio, Hypothesis, Options

log = logging.getLogger(__name__)

_TAIL = 0.5
"""Seconds of quiet after the sound: where it ends abruptly, the last word is lost without (macparakeet#615)."""
_SHORTEST = 1.0
"""Seconds, quiet included; the first encoder layers need some context."""
_QUIET = 0.05
"""Quantile over time that stands for a window's own background."""

DURATIONS = 5
"""The joint guesses 0 to 4 frames, in every Parakeet published."""

_V3_LANGUAGES = (
    "bg", "cs", "da", "de", "el", "en", "es", "et", "fi", "fr", "hr", "hu", "it",
    "lt", "lv", "mt", "nl", "pl", "pt", "ro", "ru", "sk", "sl", "sv", "uk",
)  # fmt: skip
_V3_TOKENS = 8193


class Parakeet:
    """A loaded model."""

    def __init__(
        self,
        encoder: Encoder,
        transducer: Transducer,
        vocabulary: Vocabulary,
        capabilities: Capabilities,
        *,
        mels: int,
        subsampling: int,
        threads: int,
    ) -> None:
        self.capabilities = capabilities
        self._features = LogMel(mels)
        self._encoder = encoder
        self._transducer = transducer
        self._vocabulary = vocabulary
        self._writing = Writing(vocabulary)
        # Compiled once for the many windows of a recording; several recordings may be in hand.
        self._terms = lru_cache(maxsize=16)(partial(compile_terms, speller=Speller(vocabulary)))
        self._frame = subsampling * HOP
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="engine")

    def recognise(self, windows: Sequence[Audio], options: Options) -> list[Hypothesis]:
        """One hypothesis per window.

        Of the options only the terms count: Parakeet finds the language by itself and cannot be told it.
        """
        terms = self._terms(options)
        return list(self._pool.map(lambda window: self._recognise(window, terms), windows))

    def _recognise(self, window: Audio, terms: Lexicon) -> Hypothesis:
        vocabulary = self._vocabulary
        encoded = self._encode(window)
        if terms:
            found = search_for(encoded, self._transducer, self._writing, terms)
        else:
            found = search(encoded, self._transducer, tokens=len(vocabulary.texts), blank=vocabulary.blank)
        return read_hypothesis(found, vocabulary, window, frame=self._frame)

    def _encode(self, window: Audio) -> Float32:
        # One window a run, although equal lengths could share one: batches gain 10-25 % at best, and
        # the int8 graphs scale a whole batch together, so a window's words would depend on its neighbours.
        features = self._features(window.samples)
        return self._encoder(with_quiet_tail(features)) if features.size else features.T


def with_quiet_tail(features: Float32) -> Float32:
    """Let the window's own background go on for a while, as features.

    Zeros appended to the sound would shift its mean and deviation, and so the features of the words
    themselves: 0.4 s of them can empty a transcript (NeMo#15757).
    """
    frames = max(round(_TAIL / HOP), round(_SHORTEST / HOP) - features.shape[1])
    rank = int(_QUIET * features.shape[1])
    quiet = np.partition(features, rank, axis=1)[:, rank : rank + 1]
    return np.concatenate([features, np.repeat(quiet, frames, axis=1)], axis=1)


# -- Loading ---------------------------------------------------------------------------------------


def load_parakeet(folder: Path, *, threads: int, may_prepare: bool, kernels: Kernels = Kernels.AUTO) -> Parakeet:
    """Open the model in a folder and put a second of silence through it. Raises `ModelBroken`."""
    layout = find_layout(folder)
    vocabulary = read_vocabulary(layout.tokens)
    choice = prepare(folder, kernels=kernels) if may_prepare else choose(layout.encoder, kernels=kernels)
    encoder = _open_encoder(choice, layout)
    facts = _facts(layout, encoder.graph)
    if (normalisation := facts.get("normalize_type", "per_feature")) != "per_feature":
        raise ModelBroken(f"{layout.encoder.name} wants features normalised by '{normalisation}': not supported.")
    mels = encoder.graph.size(0, 1) or _number(facts, "feat_dim") or _number(facts, "features_size")
    if mels is None:
        raise ModelBroken(f"{layout.encoder.name} does not say how many mel bands it takes.")
    try:
        transducer = open_transducer(layout, blank=vocabulary.blank)
        _check_fit(layout, encoder, transducer, vocabulary, mels)
    except EngineFailed as error:
        raise ModelBroken(f"The model in {folder} does not run: {error.__cause__ or error}") from error
    return Parakeet(
        encoder,
        transducer,
        vocabulary,
        _capabilities(facts, vocabulary),
        mels=mels,
        subsampling=_number(facts, "subsampling_factor") or 8,
        threads=threads,
    )


def _open_encoder(choice: Choice, layout: Layout) -> Encoder:
    """The encoder's graph that was chosen; a prepared one that does not load must not cost the model."""
    log.info("encoder chosen", extra={"file": choice.path.name, "why": str(choice.why)})
    try:
        return Encoder(choice.path)
    except ModelBroken as broken:
        if choice.path == layout.encoder:
            raise
        log.warning("the prepared encoder does not load", extra={"error": broken.message})
        return Encoder(layout.encoder)


def _facts(layout: Layout, encoder: Graph) -> Mapping[str, str]:
    """What the model says of itself: the encoder's metadata, and config.json in onnx-asr's layout."""
    if layout.config is None or not layout.config.is_file():
        return encoder.metadata
    try:
        config = json.loads(layout.config.read_text(encoding="utf-8"))
        return {**{key: str(value) for key, value in dict(config).items()}, **encoder.metadata}
    except (OSError, ValueError, TypeError) as error:
        raise ModelBroken(f"{layout.config.name} cannot be read: {error}") from error


def _number(facts: Mapping[str, str], key: str) -> int | None:
    text = facts.get(key, "")
    return int(text) if text.isdecimal() and int(text) > 0 else None


def _check_fit(layout: Layout, encoder: Encoder, transducer: Transducer, vocabulary: Vocabulary, mels: int) -> None:
    """See that the files belong together, since a wrong blank would yield fluent nonsense, not an error."""
    frames = encoder(np.zeros((mels, round(_SHORTEST / HOP)), np.float32))
    scores = len(transducer.join(frames[0], transducer.start()))
    tokens = len(vocabulary.texts)
    if scores == tokens:
        raise ModelBroken(f"{(layout.joiner or layout.decoder).name} guesses no durations: not a TDT model.")
    if scores != tokens + DURATIONS:
        raise ModelBroken(
            f"{layout.tokens.name} has {tokens} tokens and {(layout.joiner or layout.decoder).name} scores"
            f" {scores - DURATIONS}: the files do not belong together."
        )


def _capabilities(facts: Mapping[str, str], vocabulary: Vocabulary) -> Capabilities:
    """The languages a model names itself ("en,fr"), else v3's, known by its vocabulary, else English as in v2."""
    named = tuple(facts.get("languages", "").replace(",", " ").split())
    known = _V3_LANGUAGES if len(vocabulary.texts) == _V3_TOKENS else ("en",)
    return Capabilities(
        languages=named or known,
        word_times=True,
        confidences=True,
        logprobs=True,
        prompt=True,
        translate=False,
    )
