"""An engine without a model: it hears one word a second, and fails on request, in the recogniser's own process.

`Options.prompt` says what it does: nothing for good work, else one of the modes below. A mode followed by a path
(`crash:/tmp/x`) happens only as long as that file exists, and removes it first.
"""

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stt_server.errors import EngineFailed
from stt_server.speech.engines import Capabilities
from stt_server.types import Audio, Hypothesis, Options, Token, Word


@dataclass
class SecondsEngine:
    """Hears `w<second>` at each whole second of the file that lies in the window."""

    delay: float = 0.0
    """Seconds of work a window."""
    capabilities = Capabilities(
        languages=("en",), word_times=True, confidences=True, logprobs=True, prompt=True, translate=False
    )

    def recognise(self, windows: Sequence[Audio], options: Options) -> list[Hypothesis]:
        """One hypothesis for each window."""
        mode, _, path = (options.prompt or "").partition(":")
        if mode and (not path or _take(Path(path))):
            _misbehave(mode, windows)
        time.sleep(self.delay)
        return [_listen(window) for window in windows]


def _take(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def _misbehave(mode: str, windows: Sequence[Audio]) -> None:
    if mode == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    elif mode == "hang":
        time.sleep(3600)
    elif mode == "devour":
        eaten = []
        while True:
            eaten.append(bytearray(64 * 1024 * 1024))
    elif mode == "refuse" or any(_refused(mode, window) for window in windows):
        raise EngineFailed
    elif mode == "bug":
        raise ZeroDivisionError


def _refused(mode: str, window: Audio) -> bool:
    return (mode == "refuse-long" and window.duration > 9.5) or (mode == "refuse-first" and window.start < 10)


def _listen(window: Audio) -> Hypothesis:
    first, last = int(window.start) + 1, int(window.start + window.duration)
    words = tuple(Word(f"w{second}", second - 0.2, second + 0.2, 1.0) for second in range(first, last))
    return Hypothesis(words, tuple(Token(i, f" {word.text}", word.start, -0.1) for i, word in enumerate(words)))


def load_seconds(delay: float = 0.0) -> SecondsEngine:
    """Load the engine; picklable, as the recogniser process needs it."""
    return SecondsEngine(delay)


@dataclass
class WindowsEngine(SecondsEngine):
    """Hears one word in each window: the whole second in which it begins."""

    def recognise(self, windows: Sequence[Audio], options: Options) -> list[Hypothesis]:
        """One hypothesis for each window."""
        time.sleep(self.delay)
        middles = [window.start + window.duration / 2 for window in windows]
        return [Hypothesis((Word(f"w{int(middle)}", middle, middle, 1.0),)) for middle in middles]


def load_windows(delay: float = 0.0) -> WindowsEngine:
    """Load the engine that names windows."""
    return WindowsEngine(delay)


def load_broken() -> SecondsEngine:
    """An engine whose process dies while it loads."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError
