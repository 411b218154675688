"""What the program is made of: asked about known holes, written down, and never older than the fixes it needs."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from stt_server.settings import Settings

ROOT = Path(__file__).parents[1]
LOCK = dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
FLOORS = {"h11": "0.16", "python-multipart": "0.0.27", "starlette": "1.6"}
"""Older ones have holes that this server would be open to."""


def audit(folder: Path, output: str, status: int = 0) -> "subprocess.CompletedProcess[str]":
    """Run `scripts/audit` with a pip-audit that says what it is told to say."""
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(sys.executable)
    fake = folder / "bin" / "pip-audit"
    fake.write_text(f"#!/bin/sh\necho 'no such host' >&2\ncat <<'END'\n{output}\nEND\nexit {status}\n")
    fake.chmod(0o755)
    environment = {**os.environ, "VIRTUAL_ENV": str(folder)}
    return subprocess.run([ROOT / "scripts" / "audit"], capture_output=True, text=True, env=environment, check=False)


def report(**packages: dict[str, Any]) -> str:
    """What pip-audit writes."""
    return json.dumps(
        {"dependencies": [{"name": name, "version": "1", "vulns": []} | facts for name, facts in packages.items()]}
    )


@pytest.mark.parametrize(
    ("output", "status", "expected", "said"),
    [
        (report(one={}, two={}), 0, 0, "2 packages, no known holes"),
        (report(one={"vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}, two={}), 1, 1, "one 1: CVE-1, fixed in 2"),
        (report(one={"skip_reason": "not found"}, two={}), 0, 2, "NOT AUDITED: 1 of 2 packages"),
        (report(), 0, 2, "NOT AUDITED"),
        ("", 1, 2, "NOT AUDITED: the database of known holes could not be asked. no such host"),
    ],
)
def test_an_audit_that_could_not_be_made_is_no_good_news(
    tmp_path: Path, output: str, status: int, expected: int, said: str
) -> None:
    """Without the database, or with versions that it does not know, the audit fails and says so."""
    done = audit(tmp_path, output, status)
    assert (done.returncode, said in done.stdout + done.stderr) == (expected, True), done


def test_the_bill_of_materials_names_everything() -> None:
    """Each package of the lock with its version and checksums, and the C libraries that they carry."""
    done = subprocess.run([sys.executable, ROOT / "scripts" / "sbom.py"], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["bomFormat"] == "CycloneDX"
    components = {component["name"]: component for component in found["components"]}
    assert {name: components[name]["version"] for name in LOCK} == LOCK
    for name in LOCK:
        assert components[name]["externalReferences"][0]["hashes"][0]["alg"] == "SHA-256"
    for name in ("ffmpeg", "libavcodec", "libsndfile"):
        assert re.match(r"\d+\.\d+", components[name]["version"])


def test_versions_with_known_holes_are_shut_out() -> None:
    """The project asks for no version below the fix, so that neither an image nor an installation by hand has one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {(found := Requirement(text)).name: found for text in project["dependencies"]}
    for name, floor in FLOORS.items():
        assert Version(LOCK[name]) >= Version(floor)
        assert [
            spec for spec in wanted[name].specifier if spec.operator == ">=" and Version(spec.version) >= Version(floor)
        ]
    assert {name for name in wanted if name not in LOCK} == set()


def test_the_security_page_names_what_is_there() -> None:
    """Every file it points to exists, every setting is one, and its commands are there to be run."""
    text = (ROOT / "SECURITY.md").read_text()
    files = re.findall(r"`((?:tests|scripts)/[^`\s]+)`", text)
    assert len(files) > 10
    assert [name for name in files if not (ROOT / name).exists()] == []
    settings = {name.upper() for name in Settings.model_fields}
    assert set(re.findall(r"`([A-Z]{2,}(?:_[A-Z]+)+)", text)) <= settings
    for command in re.findall(r"^(\S*scripts/\S+|\S+python) ", text, re.MULTILINE):
        assert command == ".venv/bin/python" or os.access(ROOT / command, os.X_OK)
