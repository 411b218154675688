"""What holds for every test."""

import os
from collections.abc import Iterator

# As the command line does, before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest

from tests import canary


@pytest.fixture(autouse=True)
def nothing_secret_is_logged() -> Iterator[None]:
    """Whatever a test does, no line of this process tells a secret or a spoken word."""
    with canary.listening():
        yield
