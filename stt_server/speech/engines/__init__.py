"""What turns sound into words: one protocol, one file per engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from stt_server.speech.processor import Kernels
from stt_server.types import Audio, Hypothesis, Options


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can tell and be told. What it cannot do must be refused or said, never faked."""

    languages: tuple[str, ...]
    """ISO 639-1 codes of what it understands; empty if the model does not say."""
    word_times: bool
    confidences: bool
    logprobs: bool
    prompt: bool
    """Whether `Options.prompt` and `Options.keyterms` change the result."""
    translate: bool


class Engine(Protocol):
    """A loaded model."""

    @property
    def capabilities(self) -> Capabilities:
        """What this model can do."""

    def recognise(self, windows: Sequence[Audio], options: Options) -> list[Hypothesis]:
        """One hypothesis per window, in times of the whole file. Any thread may call, several at once.

        Raises `EngineFailed`; then nothing is known about any of the windows.
        """


def load(folder: Path, *, threads: int, may_prepare: bool = True, kernels: Kernels = Kernels.AUTO) -> Engine:
    """Load the model in a folder; at most `threads` windows of a call are recognised at a time.

    Where this machine gains by it, a faster form of the model is made first, unless it is there or may not be made.
    Raises `ModelBroken`, which says what is wrong with which file. Takes seconds and, for Parakeet,
    a gigabyte: load it in the process that recognises, not in the one that answers.
    """
    # Imported late: naming the protocol must not cost onnxruntime's start, and sherpa-onnx brings another one.
    from stt_server.speech.engines.families import find_family

    if (found := find_family(folder)) is not None:
        from stt_server.speech.engines.sherpa import load_sherpa

        return load_sherpa(found, threads=threads)
    from stt_server.speech.engines.parakeet import load_parakeet

    return load_parakeet(folder, threads=threads, may_prepare=may_prepare, kernels=kernels)
