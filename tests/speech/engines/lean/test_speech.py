"""The embedded model hears the same with a lean encoder."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from stt_server.speech.audio import decode
from stt_server.speech.engines import load
from stt_server.speech.engines.forms import Form, make
from stt_server.speech.models import EMBEDDED
from stt_server.speech.processor import multiplies_exactly
from stt_server.types import Audio, Options

CLIPS = sorted((Path(__file__).parents[4] / "samples").glob("*.wav"))


@pytest.mark.skipif(not multiplies_exactly(), reason="the fast kernels are not known to be exact on this processor")
def test_the_same_words_are_heard(tmp_path: Path) -> None:
    """In every sample: the same tokens; a word begins and ends within a frame of where it did, since in short
    windows some positions are rounded to another step."""
    lean = tmp_path / "lean"
    shutil.copytree(EMBEDDED, lean, copy_function=shutil.copyfile)
    (lean / "encoder.int8.onnx").unlink()
    assert make(EMBEDDED / "encoder.int8.onnx", lean, lambda _: None).form is Form.LEAN
    engines = [load(folder, threads=1, may_prepare=False) for folder in (EMBEDDED, lean)]
    assert CLIPS
    for clip in CLIPS:
        blocks = list(decode(clip, "wav", max_duration=60))
        window = Audio(np.concatenate(blocks).astype(np.float32) / np.float32(32_768))
        [one], [other] = (engine.recognise([window], Options(model="embedded")) for engine in engines)
        assert [word.text for word in one.words] == [word.text for word in other.words]
        assert len(one.words) > 3
        for mine, theirs in zip(one.words, other.words, strict=True):
            assert abs(mine.start - theirs.start) < 0.081
            assert abs(mine.end - theirs.end) < 0.081
