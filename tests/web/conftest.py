"""Servers for the tests of this folder."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from stt_server.settings import Settings
from stt_server.web.app import create_app
from stt_server.web.protocol import PatientProtocol
from tests.assets import TINY_MODEL
from tests.web.live import Live, fake_app, fake_model, until

Start = Callable[..., Live]


def build(
    folder: Path,
    make_app: Callable[[Settings], FastAPI] = fake_app,
    protocol: type[PatientProtocol] = PatientProtocol,
    **settings: Any,
) -> Live:
    """A server that has not been started."""
    given: dict[str, Any] = {"db_path": folder / "data" / "jobs.db", "port": 0, "threads": 1}
    if "model_path" not in settings:
        given["model_path"] = fake_model(folder / "model")
    return Live(Settings(**(given | settings)), make_app, protocol)


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server with the fake engine and everything else as it is by default, shared by tests that leave no trace."""
    with starting(tmp_path_factory.mktemp("live")) as start:
        server = start()
        until(lambda: server.http.get("/health").status_code == 200)
        yield server


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server with the small real model."""
    with starting(tmp_path_factory.mktemp("real")) as start:
        server = start(create_app, model_path=TINY_MODEL, threads=2)
        until(lambda: server.http.get("/health").status_code == 200)
        yield server


@contextmanager
def starting(folder: Path) -> Iterator[Start]:
    """A function that starts servers in a folder: twice is a restart."""
    servers: list[Live] = []

    def start(*args: Any, **settings: Any) -> Live:
        server = build(folder, *args, **settings)
        server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start servers of one's own: `start(setting=...)`."""
    with starting(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def start_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start a server that the tests of a module share."""
    with starting(tmp_path_factory.mktemp("shared")) as start:
        yield start
