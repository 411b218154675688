"""The answers that the pages show are those of the running server."""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stt_server.errors import Internal
from stt_server.web.app import create_app, refusal
from tests.assets import TINY_MODEL, needs_model
from tests.pages import DOCUMENTED_ADDRESS, ROOT, Runner, bare, different, examples, fences, page, table
from tests.sounds import speech_wav
from tests.web.conftest import Start, starting
from tests.web.live import Live, Part, fake_app, until

PAGES = ("README.md", "API.md", "README.fr.md")
UNFINISHED = '"status": "processing"'
SAMPLE = ROOT / "samples" / "voicemail.wav"


class _Recording(BaseHTTPRequestHandler):
    """A telephone system that hands out one recording at every address."""

    def do_GET(self) -> None:
        audio = SAMPLE.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(audio)))
        self.end_headers()
        self.wfile.write(audio)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


@pytest.fixture(scope="module")
def exchange() -> Iterator[str]:
    """The address of a telephone system."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Recording) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def recorded(folder: Path, **settings: Any) -> Iterator[Live]:
    """The server that the pages were recorded with."""
    with starting(folder) as start:
        server = start(create_app, model_path=TINY_MODEL, model_name="tiny", threads=2, **settings)
        until(lambda: server.http.get("/health").status_code == 200)
        yield server


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory, exchange: str) -> Iterator[Live]:
    """The one without keys, that may fetch from the telephone system."""
    with recorded(tmp_path_factory.mktemp("documented"), fetch_allow_hosts=(exchange,)) as server:
        yield server


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One that wants a key."""
    with recorded(tmp_path_factory.mktemp("guarded"), api_keys=("secret",)) as server:
        yield server


@needs_model
@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
@pytest.mark.parametrize("name", PAGES)
def test_examples_answer_as_shown(name: str, documented: Live, guarded: Live, exchange: str, tmp_path: Path) -> None:
    """Each command of a page, run as it stands and in its order, answers what the page shows below it."""
    documented.http.delete("/v1/audio/transcriptions?user_uuid=4f1c-anna")
    there = {DOCUMENTED_ADDRESS: documented.address, "https://pbx.example.org": f"http://{exchange}"}
    (tmp_path / "open").mkdir()
    runner = Runner(tmp_path / "open", there)
    keyed = Runner(tmp_path, {DOCUMENTED_ADDRESS: guarded.address})
    found = {
        example.command: (keyed if "Authorization" in example.command else runner).difference(example)
        for example in examples(page(name))
    }
    assert {command: difference for command, difference in found.items() if difference} == {}


def test_an_unfinished_job_is_shown_as_it_is(start: Start) -> None:
    """The 202 of the page has the keys and types of a real one: its moment is too short for the real model."""
    [shown] = [fence for fence in fences(page("API.md"), "json") if UNFINISHED in fence.text]
    assert "is 202" in page("API.md").partition(shown.text)[0].rpartition("```\n\n")[2]
    live = start(partial(fake_app, delay=1.0))
    job = live.job(speech_wav(2), "1724107750-00000001", user="4f1c-anna")

    def difference() -> str | None:
        answer = live.http.get(f"/v1/audio/transcriptions/{job['job_id']}/result")
        assert answer.status_code == 202
        return different(json.loads(shown.text), answer.json())

    until(lambda: difference() is None)


def test_every_json_example_is_an_answer() -> None:
    """No JSON stands on a page unless a command above it gives it, or the test of 202."""
    for name in PAGES:
        shown = [fence.text for fence in fences(page(name), "json")]
        answers = [example.answer for example in examples(page(name))]
        assert [text for text in shown if text not in answers and UNFINISHED not in text] == []


@needs_model
def test_the_python_example_prints_what_is_said(documented: Live, capsys: pytest.CaptureFixture[str]) -> None:
    """The five lines run as they stand."""
    [block] = fences(page("README.md"), "python")
    code = block.text.replace(DOCUMENTED_ADDRESS, documented.address).replace('"samples/', f'"{ROOT}/samples/')
    names: dict[str, Any] = {}
    exec(code, names)
    names["client"].close()
    printed = capsys.readouterr().out.strip()
    assert printed == SAMPLE.with_suffix(".txt").read_text().strip()
    assert f"`{printed}`" in page("README.md")


VALUES = {
    "model": ("whisper-1", "no-such-model"),
    "temperature": ("0.7", "7"),
    "languages[]": ("fr", None),
    "chunking_strategy": ("auto", None),
    "known_speaker_names[]": (None, "Anna"),
    "known_speaker_references[]": (None, "data:audio/wav;base64,AAAA"),
}
"""A value that is let through without effect, and one that is refused."""


@needs_model
@pytest.mark.parametrize("row", table(page("API.md"), "field"), ids=lambda row: bare(row["field"]))
def test_parameters_do_what_is_said(documented: Live, row: dict[str, str]) -> None:
    """Checked, ignored, refused: a good value changes nothing, a bad one is 400 or 404."""
    if row["effect"] == "honoured":
        assert bare(row["field"]) not in VALUES  # the examples show these, and the tests of `web`
        return
    good, bad = VALUES[bare(row["field"])]
    assert {(True, True): "checked", (True, False): "ignored", (False, True): "refused"}[bool(good), bool(bad)] == row[
        "effect"
    ]
    audio: Part = ("file", (SAMPLE.name, SAMPLE.read_bytes(), None))
    if good:
        assert documented.post((bare(row["field"]), good), audio).json() == documented.post(audio).json()
    if bad:
        assert documented.post((bare(row["field"]), bad), audio).status_code in (400, 404)


def test_headers_that_are_sent(start: Start) -> None:
    """Every header of the table is on an answer, and every header of ours on an answer is in the table."""
    live = start(
        api_keys=("secret",),
        requests_per_minute=1,
        audio_seconds_per_day=10,
        cors_origins=("https://pbx.example.org",),
    )
    known = {"Authorization": "Bearer secret", "Origin": "https://pbx.example.org"}
    answers = [live.http.get("/v1/models", headers=headers) for headers in (known, known, {})]
    assert [answer.status_code for answer in answers] == [200, 429, 401]
    answers += [live.http.put("/v1/models")]
    sent = {name for answer in answers for name in answer.headers} | set(refusal(Internal()).headers)
    shown = {bare(row["header"]).lower() for row in table(page("API.md"), "header")}
    assert shown <= sent
    usual = {"date", "content-length", "content-type", "connection", "vary", "access-control-expose-headers"}
    assert sent - usual <= shown
