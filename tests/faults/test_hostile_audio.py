"""Files that no honest recorder writes, sent to a whole server: each costs its sender an error, and nobody else."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.assets import ASSETS, needs_assets
from tests.faults.bombs import BOMBS, NONSENSE, strangers
from tests.faults.family import Memory, family
from tests.faults.hosts import hosting
from tests.faults.server import FakeServer, Launcher
from tests.faults.wire import Wire, form, sized, told
from tests.real.process import ROUTE
from tests.sounds import speech_wav
from tests.speech import craft
from tests.web.live import until

AUDIO = speech_wav(3)
TEXT = "w1 w2"
LONGEST_SECS = 200
PATIENCE_SECS = 20
MOST_MB = 400


@pytest.fixture(scope="module")
def server(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeServer]:
    folder = tmp_path_factory.mktemp("hostile")
    longest = str(LONGEST_SECS)
    with FakeServer(launcher, folder, own_forkserver=True, MAX_AUDIO_DURATION_SECS=longest) as server:
        server.ready()
        assert told(server.http.post(ROUTE, files={"file": AUDIO})) is None
        yield server
        until(server.quiet)
        assert "Traceback" not in server.log
        assert "internal_error" not in server.log


def check(server: FakeServer, data: bytes, name: str = "a.bin") -> tuple[int, str | None]:
    """Send a file as both kinds of caller; status and code of the one who waits. Fails when it costs too much."""
    began = time.monotonic()
    with Memory(server.pid) as memory:
        answer = server.http.post(ROUTE, files={"file": (name, data)})
        code = told(answer)
        assert answer.status_code == (200 if code is None else 400)
    assert memory.peak_mb < MOST_MB
    assert time.monotonic() - began < PATIENCE_SECS
    return answer.status_code, code


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(server: FakeServer, name: str) -> None:
    """Answered in time and in the one shape, in bounded memory; the next recording is none the worse for it."""
    data = BOMBS[name]()
    status, code = check(server, data)
    assert code == "invalid_audio" or name not in NONSENSE
    assert status == 200 or code in ("invalid_audio", "audio_too_long", "audio_too_short")
    assert server.http.post(ROUTE, files={"file": AUDIO}).json()["text"] == TEXT
    job = server.http.post(ROUTE, files={"file": data}, data={"user_uuid": "bombs", "message_id": name})
    if job.status_code == 200:  # its first bytes were well
        [ended] = server.wait([job.json()["job_id"]], PATIENCE_SECS).values()
        assert (ended["status"] == "completed") == (status == 200)


def test_many_bombs_at_once(server: FakeServer) -> None:
    """All together they are still answered in time, in the memory of as many as are decoded at a time, and callers
    with small recordings beside them are served."""
    files = [make() for make in BOMBS.values()]
    began = time.monotonic()
    with Memory(server.pid) as memory, ThreadPoolExecutor(16) as pool:
        answers = [pool.submit(server.http.post, ROUTE, files={"file": data}) for data in files]
        small = server.http.post(ROUTE, files={"file": AUDIO})
        for answer in answers:
            assert answer.result().status_code in (200, 400)
    assert small.json()["text"] == TEXT
    assert memory.peak_mb < 2 * MOST_MB
    assert time.monotonic() - began < 3 * PATIENCE_SECS


def test_long_files_hold_nobody_up(launcher: Launcher, tmp_path: Path) -> None:
    """While more of them than there are processors are decoded, each for minutes, a short recording is answered; and
    when their callers leave, their decoding ends."""
    body, head = form(("file", ("a.flac", craft.silent_flac(3600, 192_000, 8), None)))
    with FakeServer(launcher, tmp_path, own_forkserver=True) as server:
        server.ready()
        assert told(server.http.post(ROUTE, files={"file": AUDIO})) is None
        children = len(family(server.pid))
        with ExitStack() as stack:
            for wire in [stack.enter_context(Wire.to(server)) for _ in range(5)]:
                wire.send(sized(head, body))
            until(lambda: len(list(server.spool.glob("*.pcm"))) >= 2)
            assert server.http.post(ROUTE, files={"file": AUDIO}, timeout=10).json()["text"] == TEXT
            assert len(list(server.spool.glob("*.audio"))) == 5
        until(server.quiet, 10)
        until(lambda: len(family(server.pid)) <= children, 10)


def test_files_that_lead_elsewhere(server: FakeServer, tmp_path: Path) -> None:
    """Playlists and the like are refused, under whatever name: no address is visited, no file is read."""
    secret = tmp_path / "secret.wav"
    secret.write_bytes(speech_wav(30))
    with hosting() as canary:
        for name, data in strangers(canary.url("honest"), str(secret)).items():
            # Bytes without a magic number that are named as a headerless codec are just that: noise.
            as_codec = () if b"\0" in data else ("a.sln",)
            for filename in ("a.wav", "a.m3u8", "a.mp3", "concat:" + str(secret), *as_codec):
                assert check(server, data, filename) == (400, "invalid_audio"), name
        assert canary.visits == []


@needs_assets
def test_every_odd_file(server: FakeServer) -> None:
    """The awkward files of other projects' tests: a transcript or a clear no, never a fault of the server."""
    files = [path for path in sorted((ASSETS / "formats").iterdir()) if path.suffix != ".tsv"]
    assert len(files) > 50

    def send(path: Path) -> tuple[str, int, str | None]:
        answer = server.http.post(ROUTE, files={"file": (path.name, path.read_bytes())})
        return path.name, answer.status_code, told(answer)

    with Memory(server.pid) as memory, ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(send, files))
    refused = [name for name, status, code in answers if status == 400 and code in ("invalid_audio", "audio_too_short")]
    accepted = [name for name, status, _ in answers if status == 200]
    assert len(refused) + len(accepted) == len(files)
    assert len(accepted) > len(refused)
    assert memory.peak_mb < MOST_MB
