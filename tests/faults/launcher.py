"""Starts servers with the fake engine within milliseconds.

It imports everything once, then forks: each server is a process of its own with its own socket, signals, threads and
recogniser. The process that children are forked from is shared by those that do not ask for their own.

Speaks JSON, a line each way: `{"start": {environment}, "log": path, ...}` is answered with a process id,
`{"poll": pid}` with its exit status, or null while it runs.
"""

import asyncio
import json
import logging
import os
import signal
import traceback
from functools import partial
from multiprocessing import forkserver
from pathlib import Path
from typing import IO, Any

from stt_server import logs
from stt_server.errors import StartupError
from stt_server.jobs import decoding, recogniser, workers
from stt_server.jobs.stores.sqlite import SqliteStore
from stt_server.settings import load_settings
from stt_server.speech.engines import load
from stt_server.speech.language import guess_language
from stt_server.web.app import create_app
from stt_server.web.serve import serve
from tests.faults.clock import shift_clock
from tests.faults.engines import load_slowly
from tests.faults.steps import Steps


def main() -> None:
    """Answer until standard input ends."""
    guess_language("Its tables take a second to load.")
    orders, answers = _private(0, "r"), _private(1, "w")
    servers: set[int] = set()
    for line in orders:
        order = json.loads(line)
        answer: int | None
        if "start" in order:
            answer = _start(order)
            servers.add(answer)
        elif (answer := _poll(order["poll"])) is not None:
            servers.discard(order["poll"])
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    for pid in servers:
        os.kill(pid, signal.SIGKILL)  # whoever wanted it has gone without a word


def _private(descriptor: int, mode: str) -> IO[str]:
    """A standard stream that no other process will inherit and so hold open."""
    stream = os.fdopen(os.dup(descriptor), mode)
    os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
    return stream


def _start(order: dict[str, Any]) -> int:
    forkserver.ensure_running()  # one that a server was talking to when it was killed has ended
    pid = os.fork()
    if pid:
        return pid
    try:
        os._exit(_serve(order["start"], **order["how"]))
    except BaseException:
        traceback.print_exc()
        os._exit(70)


def _poll(pid: int) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def _serve(
    environment: dict[str, str],
    *,
    log: str,
    engine: dict[str, Any] | None,
    own_forkserver: bool,
    hurry: bool,
    clock: str | None,
    steps: str | None,
) -> int:
    """As `stt_server.web.serve.run`, but for what is asked for."""
    os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND), 2)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _choose_forkserver(own=own_forkserver)
    settings = load_settings()
    logs.configure(settings.log_level, settings.log_format)
    if hurry:
        _hurry()
    if clock:
        shift_clock(Path(clock))
    if steps:
        Steps(Path(steps, "order"), Path(steps, "trace"), settings.spool_path).install()
    load_engine = partial(load_slowly, **engine) if engine else load
    try:
        asyncio.run(serve(settings, make_app=partial(create_app, load_engine=load_engine)))
    except StartupError as error:
        logging.getLogger(__name__).error("cannot serve", extra={"why": error.message})
        return 1
    return 0


def _hurry() -> None:
    """Give up on what hangs after seconds instead of minutes."""
    decoding.STALL_SECS = 2
    recogniser.HANG_SECS, recogniser.HANGS_PER_SECOND = 1.0, 0.0
    open_store = SqliteStore.open.__func__  # type: ignore[attr-defined]
    open_store.__kwdefaults__["busy_secs"] = 4.0


def _choose_forkserver(*, own: bool) -> None:
    shared: Any = forkserver._forkserver  # it has no public way to be told
    if own:
        preload = shared._preload_modules
        shared.__init__()
        workers._CONTEXT.set_forkserver_preload(preload)
    else:
        shared.ensure_running = lambda: None  # it is not our child, so it cannot be asked
