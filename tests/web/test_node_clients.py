"""Node's clients, unmodified: OpenAI's own and Vercel's AI SDK, which throws away what is not exactly as OpenAI's."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.assets import needs_model
from tests.web.live import Live
from tests.web.test_openai_client import samples

pytestmark = needs_model
HERE = Path(__file__).parent / "node"
INSTALL = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]


def _installed() -> bool:
    """Whether exactly what the lock file says is there."""
    marker = HERE / "node_modules" / ".package-lock.json"
    if not marker.is_file():
        return False
    lock = json.loads((HERE / "package-lock.json").read_text())["packages"]
    there = json.loads(marker.read_text())["packages"]
    return all(there.get(name, {}).get("version") == facts["version"] for name, facts in lock.items() if name)


@pytest.fixture(scope="module")
def seen(real: Live) -> Any:
    """What the clients made of the server."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("no Node here")
    if not _installed() and subprocess.run(INSTALL, cwd=HERE, capture_output=True, timeout=300).returncode:
        pytest.skip("npm cannot install the clients")
    path = next(iter(samples()))
    run = subprocess.run(
        ["node", "clients.mjs", f"{real.address}/v1", str(path)], cwd=HERE, capture_output=True, timeout=120
    )
    assert run.returncode == 0, run.stderr.decode()
    return json.loads(run.stdout)


@pytest.fixture(scope="module")
def text() -> str:
    return next(iter(samples().values()))


def test_texts(seen: Any, text: str) -> None:
    """Streamed uploads without a length, bytes under a wrong name, and every option: the same text."""
    assert [seen[name] for name in ("chunked", "bytes", "vad")] == [text] * 3
    assert seen["plain"] == text + "\n"
    assert seen["srt"].startswith("1\n00:00:00,")


def test_verbose(seen: Any, text: str) -> None:
    """Segments with their ten fields, words with times, the language as a name."""
    verbose = seen["verbose"]
    assert verbose["text"] == text
    assert verbose["language"] == "english"
    assert len(verbose["segments"][0]) == 10
    assert verbose["words"][0]["end"] > verbose["words"][0]["start"]
    assert "".join(token["token"] for token in seen["logprobs"]).strip() == text


def test_streams(seen: Any, text: str) -> None:
    """Deltas and one end, for every model name."""
    for events in (seen["events"], seen["whisperEvents"]):
        assert events[-1] == {"type": "transcript.text.done", "text": text}
        assert {event["type"] for event in events[:-1]} == {"transcript.text.delta"}
        assert "".join(event["delta"] for event in events[:-1]) == text


def test_models_and_errors(seen: Any) -> None:
    """Errors arrive as the client's own classes, with all they say."""
    assert "parakeet-tdt" in seen["models"]
    assert (seen["noModel"]["name"], seen["noModel"]["code"]) == ("NotFoundError", "model_not_found")
    assert "org/name" in seen["noModel"]["message"]
    assert (seen["noAudio"]["name"], seen["noAudio"]["status"]) == ("BadRequestError", 400)
    assert seen["noAudio"]["requestID"].startswith("req_")
    assert seen["noAddress"]["status"] == 404
    assert "no body" not in seen["noAddress"]["message"]


def test_vercel(seen: Any, text: str) -> None:
    """The AI SDK accepts every answer, with its segments or words, language and duration."""
    for name in ("vercel", "vercelSegments", "vercelWords", "vercelJson"):
        assert seen[name]["text"] == text, name
    assert seen["vercelSegments"]["language"] == "en"
    assert seen["vercelSegments"]["durationInSeconds"] > 0
    assert seen["vercelSegments"]["segments"][0]["endSecond"] > 0
    words = seen["vercelWords"]["segments"]
    assert len(words) == len(text.split())
