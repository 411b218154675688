"""The shape of the house, read from the syntax trees: imports point inwards."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "stt_server"
MODULES = {
    path.relative_to(PACKAGE.parent).with_suffix("").as_posix().replace("/", "."): path
    for path in PACKAGE.rglob("*.py")
}

RINGS = {
    "stt_server.types": set(),
    "stt_server.errors": set(),
    "stt_server.logs": set(),
    "stt_server.settings": {"stt_server.errors"},
    "stt_server.speech": {"stt_server.types", "stt_server.errors", "stt_server.logs", "stt_server.speech"},
    "stt_server.jobs": {
        "stt_server.types",
        "stt_server.errors",
        "stt_server.logs",
        "stt_server.settings",
        "stt_server.speech",
        "stt_server.jobs",
    },
}
"""What each ring may import of ours. Not listed (web, the command line): everything."""

ONLY = {
    "fastapi": "stt_server.web",
    "starlette": "stt_server.web",
    "uvicorn": "stt_server.web",
    "onnxruntime": "stt_server.speech",
    "onnx": "stt_server.speech.engines",
    "sherpa_onnx": "stt_server.speech.engines.sherpa",
    "av": "stt_server.speech",
    "soundfile": "stt_server.speech",
    "sqlite3": "stt_server.jobs.stores",
    "aiosqlite": "stt_server.jobs.stores",
    "pydantic_settings": "stt_server.settings",
}
"""Libraries that only one room may know."""

NEVER = {"stt_server.speech": {"asyncio", "sqlite3", "fastapi"}}


def imports(path: Path) -> set[str]:
    """Names of the modules a file imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def within(name: str, ring: str) -> bool:
    return name == ring or name.startswith(ring + ".")


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_inwards(module: str) -> None:
    """A module imports only what lies further in, and each library stays in its room."""
    names = imports(MODULES[module])
    for ring, allowed in RINGS.items():
        if within(module, ring):
            ours = {name for name in names if within(name, "stt_server") and name != "stt_server"}
            assert {name for name in ours if not any(within(name, inner) for inner in allowed)} == set()
    for library, room in ONLY.items():
        assert within(module, room) or not any(within(name, library) for name in names), library
    for ring, forbidden in NEVER.items():
        assert not within(module, ring) or not any(within(n, f) for n in names for f in forbidden)


def test_only_settings_reads_the_environment() -> None:
    """One file knows the environment; the command line sets one variable for numpy's sake."""
    readers = {
        module
        for module, path in MODULES.items()
        if "os.environ" in path.read_text() or "os.getenv" in path.read_text()
    }
    assert readers == {"stt_server.settings", "stt_server.__main__"}
    assert MODULES["stt_server.__main__"].read_text().count("os.environ") == 1
