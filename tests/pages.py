"""Markdown pages read by the tests: their code blocks, tables and links, and their commands run as they stand."""

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DOCUMENTED_ADDRESS = "http://127.0.0.1:8000"
"""What the pages call the server."""

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ANSWER = re.compile(r"(?:Answer|Réponse) (\d{3})(, lists shortened)? ?:")
_CLOCK = re.compile(r"\d\d:\d\d:\d\d[.,]\d{3}")
_CHANGING = {"job_id", "created", "created_at", "version"}
"""Keys whose values are others every time; their types stay."""
_CLOSE = 0.2
"""Seconds, and logarithms: another processor rounds 8-bit arithmetic in another way."""


def page(name: str) -> str:
    """A page of the project."""
    return (ROOT / name).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Fence:
    """A block of code."""

    language: str
    text: str
    introduction: str
    """The last line before it."""


def fences(text: str, language: str | None = None) -> list[Fence]:
    """Every block of a page, or those in one language."""
    found = [
        Fence(match[1], match[2], text[: match.start()].rstrip().rpartition("\n")[2]) for match in _FENCE.finditer(text)
    ]
    return [fence for fence in found if language in (None, fence.language)]


def commands(text: str) -> list[str]:
    """Every shell command of a page, those joined by a backslash or `&&` taken as they stand."""
    joined = "\n".join(fence.text for fence in fences(text, "sh")).replace("\\\n", "")
    return [line.partition("  #")[0].strip() for line in joined.splitlines() if line.strip()]


def tables(text: str) -> Iterator[list[dict[str, str]]]:
    """Every table of a page: a row is a dictionary by column."""
    for block in re.findall(r"(?:^\|.*\|\n)+", text + "\n", re.MULTILINE):
        head, _, *rows = ([cell.strip() for cell in line[1:-1].split(" | ")] for line in block.splitlines())
        yield [dict(zip(head, row, strict=True)) for row in rows]


def table(text: str, column: str) -> list[dict[str, str]]:
    """All rows of the tables whose first column is called so."""
    rows = [row for rows in tables(text) for row in rows if next(iter(row)) == column]
    assert rows, f"there is no table of {column}"
    return rows


def bare(cell: str) -> str:
    """A cell's text without the marks of code."""
    return cell.replace("`", "")


# -- Examples: a command, and the answer that the page shows -----------------------------------------


@dataclass(frozen=True)
class Example:
    """A command of a page, with the answer below it."""

    command: str
    status: int
    shortened: bool
    """Lists show their first items only."""
    language: str
    answer: str

    @property
    def body(self) -> Any:
        """The answer, as data if it is JSON."""
        return json.loads(self.answer) if self.language == "json" else self.answer


def examples(text: str) -> list[Example]:
    """Every curl command of a page. Each must show its answer."""
    blocks = fences(text)
    return [_example(blocks, i) for i, block in enumerate(blocks) if block.language == "sh" and "curl " in block.text]


def _example(blocks: list[Fence], i: int) -> Example:
    follower = blocks[i + 1]
    said = _ANSWER.fullmatch(follower.introduction)
    assert said, f"no answer is shown below:\n{blocks[i].text}"
    return Example(blocks[i].text, int(said[1]), bool(said[2]), follower.language, follower.text)


@dataclass
class Runner:
    """Runs examples one after the other. What a page calls by one id has another each time; it remembers which."""

    folder: Path
    """Of curl's own settings."""
    replaced: dict[str, str] = field(default_factory=dict)
    """What stands in the page -> what it is here."""

    def __post_init__(self) -> None:
        settings = ["silent", "show-error", 'noproxy = "*"', r'write-out = "\n%{http_code}"', "max-time = 30"]
        (self.folder / ".curlrc").write_text("\n".join(settings))

    def difference(self, example: Example, *, patience: float = 10.0) -> str | None:
        """What is not as the page shows it. A request that changes nothing is repeated until it is, for a while."""
        asks = "file=" not in example.command and "-X " not in example.command
        deadline = time.monotonic() + patience
        while True:
            found = self._differ(example)
            if found is None or not asks or time.monotonic() > deadline:
                return found
            time.sleep(0.1)

    def run(self, command: str) -> tuple[int, str]:
        """Status and body of the answer to a curl command."""
        for shown, real in self.replaced.items():
            command = command.replace(shown, real)
        result = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "CURL_HOME": str(self.folder)},
            capture_output=True,
            text=True,
            check=True,
        )
        body, _, status = result.stdout.rpartition("\n")
        return int(status), body

    def _differ(self, example: Example) -> str | None:
        status, body = self.run(example.command)
        if status != example.status:
            return f"status {status} instead of {example.status}: {body}"
        if example.language != "json":
            return None if _timeless(body) == _timeless(example.answer) else f"another text:\n{body}"
        real = json.loads(body)
        found = different(example.body, real, shortened=example.shortened)
        if found is None and isinstance(real, dict) and "job_id" in real:
            self.replaced[example.body["job_id"]] = real["job_id"]
        return found


def different(shown: Any, real: Any, *, shortened: bool = False, where: str = "") -> str | None:
    """Where two answers differ: in keys, types, or values that should not change."""
    if type(shown) is not type(real):
        return f"{where}: {real!r} instead of {shown!r}"
    if isinstance(shown, dict):
        if set(shown) != set(real):
            return f"{where}: keys {sorted(real)} instead of {sorted(shown)}"
        pairs = [(f"{where}.{key}", shown[key], real[key]) for key in shown if key not in _CHANGING]
        kinds = [key for key in _CHANGING & set(shown) if type(shown[key]) is not type(real[key])]
        if kinds:
            return f"{where}: another type of {kinds}"
    elif isinstance(shown, list):
        if not (0 < len(shown) <= len(real)) if shortened else len(shown) != len(real):
            return f"{where}: {len(real)} items instead of {len(shown)}"
        pairs = [(f"{where}[{i}]", one, other) for i, (one, other) in enumerate(zip(shown, real, strict=False))]
    elif isinstance(shown, float):
        return None if abs(shown - real) <= _CLOSE else f"{where}: {real} instead of {shown}"
    else:
        return None if shown == real else f"{where}: {real!r} instead of {shown!r}"
    found = (different(one, other, shortened=shortened, where=place) for place, one, other in pairs)
    return next((text for text in found if text), None)


def _timeless(text: str) -> str:
    return _CLOCK.sub("(time)", text).rstrip()
