"""What must never be logged, listened for during every test: keys, tokens and passwords of the tests, spoken words."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from stt_server.logs import JsonFormatter
from tests.sounds import SAMPLE_TEXT

SECRETS = ("s3cr3t", "hunter2", "t0ken-4711", "kanary", "k-acme", "k-bare", "k-hashed", "k-globex")
"""Keys, tokens and passwords that tests use. A new one belongs here."""
WORDS = ("four one five", "five two nine", "phone number", '"phone"')
"""Of the spoken sample. Those of the fake engine are too short to be told from other things."""


def check(log: str) -> None:
    """Fail when a log holds what it must not."""
    for line in log.splitlines():
        assert not [word for word in (*SECRETS, *WORDS) if word in line.lower()], line


class _Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.setFormatter(JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextmanager
def listening() -> Iterator[None]:
    """Check every line that is logged in this process during a block, as the operator would see it."""
    assert SAMPLE_TEXT.lower().find(WORDS[0]) > 0
    ours, listener = logging.getLogger("stt_server"), _Listener()
    ours.addHandler(listener)
    before = ours.level
    ours.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        ours.setLevel(before)
        ours.removeHandler(listener)
    check("\n".join(listener.lines))
