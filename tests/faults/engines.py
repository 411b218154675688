"""How the fake engine is loaded here. Apart, so that a recogniser process need not import a whole server."""

import time
from pathlib import Path

from stt_server.speech.processor import Kernels
from tests.fakes import SecondsEngine


def load_slowly(folder: Path, *, threads: int, kernels: Kernels, loading: float, delay: float) -> SecondsEngine:
    """The fake engine, after so many seconds; each window takes `delay`."""
    time.sleep(loading)
    return SecondsEngine(delay)
