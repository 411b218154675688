"""The small model, loaded once, in each form it can come in."""

from collections.abc import Callable
from pathlib import Path

import pytest

from stt_server.speech.engines import Engine, load
from stt_server.speech.processor import multiplies_exactly
from tests.assets import TINY_MODEL
from tests.speech.engines import models
from tests.speech.engines.lean.exports import Export, write

FORMS: dict[str, Callable[[Path], Path]] = {
    "sherpa-onnx": lambda folder: TINY_MODEL,
    "sherpa-onnx, one row": models.one_row_decoder,
    "sherpa-onnx, rewritten": models.rewritten,
    "onnx-asr": models.onnx_asr_layout,
}


@pytest.fixture(scope="session", params=FORMS)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Every engine there is: what holds for one must hold for all."""
    if "rewritten" in request.param and not multiplies_exactly():
        pytest.skip("the fast kernels overflow on this processor")
    return load(FORMS[request.param](tmp_path_factory.mktemp("model") / "model"), threads=2)


@pytest.fixture(scope="session")
def tiny() -> Engine:
    """The small model as it is."""
    return load(TINY_MODEL, threads=2)


@pytest.fixture(scope="session")
def onnx_asr_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model in onnx-asr's layout."""
    return models.onnx_asr_layout(tmp_path_factory.mktemp("onnx-asr") / "model")


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small encoder like the published ones."""
    if not multiplies_exactly():
        pytest.skip("the fast kernels overflow on this processor")
    return write(tmp_path_factory.mktemp("published"), Export(biases=True))
