"""The recognisers that are compared, each behind the same call: a WAV file in, how many tokens were written out.

Each is imported where it is used: they run in processes of their own, and two of them bring an ONNX Runtime.
"""

import time
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stt_server.speech.engines.layout import find_layout
from stt_server.types import Options

_LONGEST = 4 * 3600.0
_OPTIONS = Options(model="")


@dataclass(frozen=True, slots=True)
class Heard:
    """What came out for a clip."""

    tokens: int
    seconds: float
    """As the recogniser's own process sees it."""


Recogniser = Callable[[Path], Heard]


def _timed(recognise: Callable[[Path], int]) -> Recogniser:
    def run(path: Path) -> Heard:
        began = time.perf_counter()
        tokens = recognise(path)
        return Heard(tokens, time.perf_counter() - began)

    return run


def ours(folder: Path, threads: int) -> Recogniser:
    """All of the server's way but HTTP and the queue: decode, find speech, cut, recognise, join."""
    from stt_server.speech.engines import load
    from stt_server.speech.transcribe import transcribe

    engine = load(folder, threads=threads)

    def recognise(path: Path) -> int:
        transcript = transcribe(path, engine, _OPTIONS, max_duration=_LONGEST, threads=threads)
        return sum(len(segment.tokens) for segment in transcript.segments)

    return _timed(recognise)


def parts(folder: Path, threads: int) -> Recogniser:
    """Decoding and inference alone, of which each request has to have its share. Everything else is overhead."""
    from stt_server.speech.audio import read_window
    from stt_server.speech.chunking import Window
    from stt_server.speech.engines import load
    from stt_server.speech.transcribe import prepare

    engine = load(folder, threads=threads)

    def recognise(path: Path) -> Heard:
        with TemporaryDirectory() as temporary:
            pcm = Path(temporary) / "pcm"
            began = time.perf_counter()
            with pcm.open("wb") as file:
                items = list(prepare(path, "wav", file, max_duration=_LONGEST))
            spans = [item.span for item in items if isinstance(item, Window)]
            heard = [engine.recognise([read_window(pcm, span)], _OPTIONS)[0] for span in spans]
            return Heard(sum(len(one.tokens) for one in heard), time.perf_counter() - began)

    return recognise


def sherpa_onnx(folder: Path, threads: int) -> Recogniser:
    """All samples of a clip at once, through its own front end and its loop in C++."""
    import sherpa_onnx as library

    layout = find_layout(folder)
    recogniser = library.OfflineRecognizer.from_transducer(
        *map(str, (layout.encoder, layout.decoder, layout.joiner)),
        tokens=str(layout.tokens),
        num_threads=threads,
        model_type="nemo_transducer",
    )

    def recognise(path: Path) -> int:
        stream = recogniser.create_stream()
        stream.accept_waveform(16_000, _samples(path))
        recogniser.decode_stream(stream)
        return len(stream.result.tokens)

    return _timed(recognise)


def onnx_asr(folder: Path, threads: int) -> Recogniser:
    """All samples of a clip at once, through NeMo's front end and a loop in Python."""
    import onnx_asr as library
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    model: Any = library.load_model("nemo-conformer-tdt", folder, quantization="int8", sess_options=options)
    timed = model.with_timestamps()

    def recognise(path: Path) -> int:
        return len(timed.recognize(_samples(path), sample_rate=16_000).tokens)

    return _timed(recognise)


def _samples(path: Path) -> NDArray[np.float32]:
    with wave.open(str(path)) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return pcm.astype(np.float32) / np.float32(32_768)


ENGINES: dict[str, Callable[[Path, int], Recogniser]] = {
    "ours": ours,
    "parts": parts,
    "sherpa-onnx": sherpa_onnx,
    "onnx-asr": onnx_asr,
}
