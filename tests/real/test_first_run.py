"""A stranger's first minutes: the README's commands, run as they stand in a fresh copy of the project.

Installing takes 20 to 60 seconds.
"""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from stt_server.settings import Settings
from tests.pages import DOCUMENTED_ADDRESS, ROOT, Runner, commands, examples, page
from tests.web.live import until

FIRST, REQUEST, *_ = commands(page("README.md"))
SETUP, SERVE = FIRST.split(" && ")

pytestmark = pytest.mark.skipif(
    not (ROOT / ".git").exists() or not shutil.which("git"), reason="this is no git checkout"
)


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """A user's, without what belongs to the tests."""
    strange = ("PYTHON", "VIRTUAL_ENV", "PYTEST", "STT_")
    settings = {name.upper() for name in Settings.model_fields}
    kept = {n: value for n, value in os.environ.items() if not n.startswith(strange) and n not in settings}
    return kept | {"PATH": os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if ".venv" not in p)}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """The project as a clone has it, set up by the README's first command."""
    folder = tmp_path_factory.mktemp("clone") / "stt_server"
    for name in _files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    subprocess.run(SETUP, shell=True, check=True, cwd=folder, env=environment)
    return folder


def _files() -> list[str]:
    """What a clone would have, once what is new has been committed."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    found = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [name for name in found.split("\0") if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def address(copy: Path, environment: dict[str, str]) -> Iterator[str]:
    """The server, started by the command's last part; how it ends is checked too."""
    settings = {"PORT": "0"}
    log = copy / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(SERVE.split(), cwd=copy, env=environment | settings, stdout=output, stderr=output)
    try:
        listening = re.compile(r"listening address=(\S+)")
        until(lambda: server.poll() is not None or listening.search(log.read_text()), 60)
        [address] = listening.findall(log.read_text())
        yield address
    finally:
        server.send_signal(signal.SIGINT)
        status = server.wait(15)
    assert status == 0, log.read_text()


def test_the_readme_answers(address: str, tmp_path: Path) -> None:
    """What a stranger sees first is what the page shows."""
    [shown] = examples(page("README.md"))
    assert shown.command.strip() == REQUEST
    if shutil.which("curl"):
        assert Runner(tmp_path, {DOCUMENTED_ADDRESS: address}).difference(shown) is None
    else:
        with (ROOT / "samples" / "voicemail.wav").open("rb") as audio:
            answer = httpx.post(f"{address}/v1/audio/transcriptions", files={"file": audio}, trust_env=False)
        assert answer.json() == json.loads(shown.answer)


def test_the_text_is_what_was_said(copy: Path, environment: dict[str, str]) -> None:
    """The same without a server: the page's command line prints the sample's text."""
    [line] = [line for line in commands(page("README.md")) if "transcribe samples/voicemail.wav" in line]
    result = subprocess.run(line.split(), cwd=copy, env=environment, check=True, capture_output=True, text=True)
    assert result.stdout.strip() == (copy / "samples" / "voicemail.txt").read_text().strip()


def test_nothing_is_left_in_the_way(copy: Path, address: str) -> None:
    """Setting up and serving make only what git ignores."""
    subprocess.run(["git", "init", "--quiet"], cwd=copy, check=True)
    listing = ["git", "ls-files", "--others", "--exclude-standard", "-z"]
    found = set(subprocess.run(listing, cwd=copy, check=True, capture_output=True, text=True).stdout.split("\0"))
    assert found - {*_files(), "log", ""} == set()
