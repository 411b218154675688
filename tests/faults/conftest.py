"""What the tests of this folder share."""

from collections.abc import Iterator

import pytest

from tests.faults.server import Launcher, launching


@pytest.fixture(scope="session")
def launcher() -> Iterator[Launcher]:
    """Starts servers within milliseconds."""
    with launching() as launcher:
        yield launcher
