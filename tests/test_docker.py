"""The image's recipe: checked without a Docker engine, its own steps run in a clean virtual environment."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from dockerfile_parse import DockerfileParser

from stt_server.settings import Settings
from tests.assets import TINY_MODEL, needs_model

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
DOCKERFILE = ROOT / "Dockerfile"
COMPOSE = ROOT / "docker-compose.yml"


@pytest.fixture
def instructions() -> list[tuple[str, str]]:
    parser = DockerfileParser(path=str(ROOT))
    return [(step["instruction"], step["value"]) for step in parser.structure]


@pytest.fixture
def compose() -> Any:
    return yaml.safe_load(COMPOSE.read_text())


def test_the_dockerfile_has_no_lint() -> None:
    """hadolint finds nothing to say."""
    subprocess.run([BIN / "hadolint", DOCKERFILE], check=True)


def test_the_compose_file_follows_the_specification() -> None:
    """The compose specification's own schema accepts the file."""
    schema = ["--builtin-schema", "vendor.compose-spec"]
    subprocess.run([BIN / "check-jsonschema", *schema, COMPOSE], check=True)


def test_every_copied_path_exists_and_is_sent(instructions: list[tuple[str, str]]) -> None:
    """What the Dockerfile copies from the tree is there and not ignored."""
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copies = [value.split() for name, value in instructions if name == "COPY" and "--from" not in value]
    for source in (source for copy in copies for source in copy[:-1]):
        assert (ROOT / source).exists(), source
        assert any(path == source or path.startswith(f"{source}/") for path in sent), source


def test_the_image_runs_as_nobody_in_particular(instructions: list[tuple[str, str]]) -> None:
    """The last user is a number other than root, so that `runAsNonRoot` can check it."""
    assert [value for name, value in instructions if name == "USER"][-1].split(":")[0].isdigit()
    assert not [value for _, value in instructions if "torch" in value]


def test_compose_is_closed_by_default(compose: Any) -> None:
    """The port is published on this machine only, the root is read-only, no capability is kept."""
    for service in compose["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
    assert all(port.startswith("127.0.0.1:") for port in compose["services"]["stt-server"]["ports"])


def test_compose_passes_every_setting_on(compose: Any) -> None:
    """What README lists can be set in `.env`; the image itself knows the rest."""
    inside = {"HOST", "PORT", "MODEL_PATH", "DB_PATH", "MODEL_MIRROR"}
    settings = {name.upper() for name in Settings.model_fields}
    assert set(compose["services"]["stt-server"]["environment"]) == settings - inside


def test_the_setup_profile_fills_the_volume_the_server_reads(compose: Any) -> None:
    """`docker compose --profile setup run model-downloader` writes where the server looks."""
    downloader, server = compose["services"]["model-downloader"], compose["services"]["stt-server"]
    assert downloader["profiles"] == ["setup"]
    assert downloader["command"] == ["download"]
    assert downloader["volumes"] == ["models:/models"]
    assert "models:/models:ro" in server["volumes"]


@needs_model
def test_the_images_own_steps_give_a_server_that_works(instructions: list[tuple[str, str]], tmp_path: Path) -> None:
    """The pip steps of the Dockerfile, run as written in a clean place, install a server that transcribes."""
    steps = [value for name, value in instructions if name == "RUN" and "/opt/stt" in value]
    assert len(steps) == 2
    prefix = tmp_path / "stt"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    for step in steps:
        here = step.replace("/opt/stt", str(prefix)).replace("python -m venv", f"{sys.executable} -m venv")
        subprocess.run(here, shell=True, check=True, cwd=ROOT, env=clean)
    environment = {"PATH": f"{prefix}/bin", "MODEL_PATH": str(TINY_MODEL), "DB_PATH": str(tmp_path / "data.db")}
    clip = ROOT / "samples" / "voicemail.wav"
    command = [f"{prefix}/bin/stt-server", "transcribe", "--format", "json", str(clip)]
    result = subprocess.run(command, check=True, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert json.loads(result.stdout)["text"] == clip.with_suffix(".txt").read_text().strip()
