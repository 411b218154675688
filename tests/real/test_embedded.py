"""The model that comes with the program: whole, small, and it hears what is said."""

from pathlib import Path

import numpy as np
import pytest
from onnx_asr.preprocessors.numpy_preprocessor import NemoPreprocessorNumpy

from stt_server.speech.audio import decode
from stt_server.speech.engines import load
from stt_server.speech.engines.layout import find_layout
from stt_server.speech.engines.networks import Encoder, open_transducer
from stt_server.speech.engines.tdt import search
from stt_server.speech.engines.vocabulary import read_vocabulary
from stt_server.speech.models import EMBEDDED, find_model, verify
from stt_server.speech.transcribe import transcribe
from stt_server.types import Options
from tests.speech.engines.models import load_onnx_asr, onnx_asr_layout

SAMPLES = Path(__file__).parents[2] / "samples"
CLIPS = sorted(SAMPLES.glob("*.wav"))
MOST_BYTES = 12_000_000
"""What a clone may carry."""


def said(clip: Path) -> str:
    return clip.with_suffix(".txt").read_text(encoding="utf-8").strip()


def sound(clip: Path) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    blocks = list(decode(clip, "wav", max_duration=60))
    return np.concatenate(blocks).astype(np.float32) / np.float32(32_768)


def test_it_is_used_where_no_other_is(tmp_path: Path) -> None:
    """Without a download it is found, its files are those of its list, and its name is not Parakeet's."""
    found = verify(find_model(tmp_path / "none"))
    assert (found.embedded, found.verified, found.name) == (True, True, "parakeet-tdt-embedded")
    assert (found.owned_by, found.licence) == ("stt-server", "MIT")


def test_it_is_small() -> None:
    """A clone stays quick."""
    assert sum(path.stat().st_size for path in EMBEDDED.rglob("*")) < MOST_BYTES


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.stem)
def test_it_hears_what_is_said(clip: Path) -> None:
    """Letter by letter, in both languages, as the server transcribes."""
    engine = load(EMBEDDED, threads=1)
    transcript = transcribe(clip, engine, Options(model=""), max_duration=60, threads=1)
    assert transcript.text == said(clip)
    assert transcript.language == ("fr" if "french" in clip.stem else "en")


def test_the_tokens_are_onnx_asrs(tmp_path: Path) -> None:
    """onnx-asr finds the same tokens at the same times, from the same features."""
    folder = onnx_asr_layout(tmp_path / "model", source=EMBEDDED)
    layout = find_layout(folder)
    vocabulary = read_vocabulary(layout.tokens)
    encoder, transducer = Encoder(layout.encoder), open_transducer(layout, blank=vocabulary.blank)
    onnx_asr, front_end = load_onnx_asr(folder), NemoPreprocessorNumpy("nemo80")
    for clip in CLIPS:
        samples = sound(clip)
        features, lengths = front_end(samples[None], np.array([len(samples)]))
        encoded = encoder(features[0, :, : lengths[0]])
        found = search(encoded, transducer, tokens=len(vocabulary.texts), blank=vocabulary.blank)
        theirs = onnx_asr.recognize(samples)
        assert [vocabulary.texts[emission.token] for emission in found] == theirs.tokens
        assert [emission.frame * 0.08 for emission in found] == pytest.approx(theirs.timestamps)


def test_sherpa_onnx_loads_it() -> None:
    """And hears the same, through its own front end."""
    import sherpa_onnx  # loads a second ONNX Runtime

    recogniser = sherpa_onnx.OfflineRecognizer.from_transducer(
        *(str(EMBEDDED / f"{part}.int8.onnx") for part in ("encoder", "decoder", "joiner")),
        tokens=str(EMBEDDED / "tokens.txt"),
        feature_dim=80,
        model_type="nemo_transducer",
    )
    for clip in CLIPS:
        stream = recogniser.create_stream()
        stream.accept_waveform(16_000, sound(clip))
        recogniser.decode_stream(stream)
        assert stream.result.text.strip() == said(clip)
