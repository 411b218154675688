"""What holds for every test."""

import os
import signal
from collections.abc import Iterator

# As the command line does, before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# As the package does; some tests import the library first.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import pytest

from tests import canary

# A shell that starts the tests in the background ignores it, for all that they start too: nothing could be interrupted.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def nothing_secret_is_logged() -> Iterator[None]:
    """Whatever a test does, no line of this process tells a secret or a spoken word."""
    with canary.listening():
        yield
