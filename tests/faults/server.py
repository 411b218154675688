"""Servers with the fake engine, each a process of its own, started within milliseconds."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from tests.real.process import Process, ServerProcess
from tests.web.live import fake_model


class Launcher:
    """The process that servers are forked from (`tests.faults.launcher`)."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process = subprocess.Popen(
            # Not as a module with `-m`: every child process would import that first.
            [sys.executable, "-c", "from tests.faults.launcher import main; main()"],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **order: Any) -> Any:
        """Send one order; its answer."""
        assert self._process.stdin
        assert self._process.stdout
        with self._lock:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End it. Its servers have ended before."""
        self._process.communicate()


class Forked:
    """A process that the launcher has forked, as if it were ours."""

    def __init__(self, launcher: Launcher, pid: int) -> None:
        self.pid = pid
        self._launcher = launcher
        self._status: int | None = None

    def poll(self) -> int | None:
        """Its exit status, None while it runs."""
        if self._status is None:
            self._status = self._launcher.ask(poll=self.pid)
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status."""
        deadline = time.monotonic() + (30 if timeout is None else timeout)
        while (status := self.poll()) is None:
            assert time.monotonic() < deadline, "the server does not end"
            time.sleep(0.005)
        return status

    def send_signal(self, sig: int, /) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


class FakeServer(ServerProcess):
    """A server whose engine is `tests.fakes.SecondsEngine`.

    `loading` and `delay` are seconds of its engine, which is the real one where `real`. With `hurry` it gives up early
    on what hangs; with `steps` it can be stopped as `tests.faults.steps` says; its wall clock goes wrong by the
    seconds in `clock`.
    """

    def __init__(
        self,
        launcher: Launcher,
        folder: Path,
        *,
        delay: float = 0.0,
        loading: float = 0.0,
        real: bool = False,
        own_forkserver: bool = False,
        hurry: bool = False,
        steps: bool = False,
        clock: Path | None = None,
        **settings: str,
    ) -> None:
        model = {} if real else {"MODEL_PATH": str(fake_model(folder / "model"))}
        super().__init__(folder, **(model | {"THREADS": "2"} | settings))
        self._launcher = launcher
        self._how = {
            "log": str(self._log),
            "engine": None if real else {"delay": delay, "loading": loading},
            "own_forkserver": own_forkserver,
            "hurry": hurry,
            "clock": str(clock) if clock else None,
            "steps": str(folder) if steps else None,
        }

    def _launch(self) -> Process:
        self._log.write_bytes(b"")
        return Forked(self._launcher, self._launcher.ask(start=self._environment, how=self._how))


@contextmanager
def launching() -> Iterator[Launcher]:
    """A launcher, ended with the block."""
    launcher = Launcher()
    try:
        yield launcher
    finally:
        launcher.close()
