"""Write down what the image is made of, as CycloneDX JSON: `python scripts/sbom.py > sbom.json`.

Python packages with their checksums come from requirements.lock. Some of them bring libraries in C that read hostile
bytes, and that nobody would look for there: they are asked for their versions and added.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import soundfile
import soxr

ROOT = Path(__file__).resolve().parents[1]


def carried() -> dict[str, tuple[str, str]]:
    """Libraries inside the wheels installed here: name to version and the package that brings it."""
    found = {name: (".".join(map(str, version)), "av") for name, version in av.library_versions.items()}
    found["ffmpeg"] = av.ffmpeg_version_info, "av"
    found["libsndfile"] = soundfile.__libsndfile_version__, "soundfile"
    found["libsoxr"] = soxr.__libsoxr_version__, "soxr"
    return found


def bill() -> dict[str, Any]:
    """The whole of it."""
    command = [str(Path(sys.executable).with_name("cyclonedx-py")), "requirements", str(ROOT / "requirements.lock")]
    options = ["--pyproject", str(ROOT / "pyproject.toml"), "--output-reproducible", "--output-format", "JSON"]
    written = subprocess.run([*command, *options], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # noqa: S603
    found: dict[str, Any] = json.loads(written.stdout)
    found["components"] += [
        {
            "type": "library",
            "bom-ref": f"{package}/{name}",
            "name": name,
            "version": version,
            "purl": f"pkg:generic/{name}@{version}",
            "description": f"inside the wheel of {package}",
        }
        for name, (version, package) in sorted(carried().items())
    ]
    return found


if __name__ == "__main__":
    print(json.dumps(bill(), indent=2))
