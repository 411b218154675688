"""Sound for tests: the spoken sample of the repository, as long as it is needed."""

import io
import wave
from pathlib import Path

import numpy as np

SAMPLE = Path(__file__).parents[1] / "samples" / "voicemail.wav"
SAMPLE_TEXT = SAMPLE.with_suffix(".txt").read_text().strip()


def speech_wav(seconds: float) -> bytes:
    """A WAV file of somebody who speaks all the time, 8 kHz PCM16."""
    with wave.open(str(SAMPLE)) as clip:
        samples = np.frombuffer(clip.readframes(clip.getnframes()), np.int16)
    return wav(np.resize(samples, int(seconds * 8000)))


def paused_wav(*pieces: float, pause: float) -> bytes:
    """A WAV file of somebody who pauses between pieces of so many seconds, 8 kHz PCM16."""
    with wave.open(str(SAMPLE)) as clip:
        samples = np.frombuffer(clip.readframes(clip.getnframes()), np.int16)
    quiet = np.zeros(int(pause * 8000), np.int16)
    spoken = [np.concatenate([np.resize(samples, int(seconds * 8000)), quiet]) for seconds in pieces]
    return wav(np.concatenate(spoken))


def silent_wav(seconds: float) -> bytes:
    """A WAV file of nothing, 8 kHz PCM16."""
    return wav(np.zeros(int(seconds * 8000), np.int16))


def wav(samples: np.ndarray[tuple[int], np.dtype[np.int16]]) -> bytes:
    """Samples at 8 kHz as a WAV file."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(samples.tobytes())
    return buffer.getvalue()
