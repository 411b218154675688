"""The pages tell the truth: settings, addresses, errors, numbers, commands and answers are those of the program."""

import re
import shlex
import tomllib
import typing
from typing import Any

import pytest
import typer
import yaml
from packaging.requirements import Requirement
from starlette.routing import BaseRoute, Route

from stt_server.__main__ import app as command_line
from stt_server.errors import StartupError, SttError, Temporary
from stt_server.jobs import fetch
from stt_server.settings import IGNORED, Settings
from stt_server.speech.audio import MIN_DURATION
from stt_server.speech.catalogue import DEFAULT_MODEL, MODELS
from stt_server.speech.models import ALIASES
from stt_server.speech.sniff import CONTAINERS
from stt_server.web import intake, system, transcriptions
from stt_server.web.app import STATUS, refusal
from stt_server.web.protocol import Deadlines
from stt_server.web.schemas import FORM_FIELDS
from tests.pages import (
    DOCUMENTED_ADDRESS,
    ROOT,
    bare,
    commands,
    page,
    table,
)
from tests.test_errors import tree

PAGES = ("README.md", "README.fr.md", "API.md", "CHANGELOG.md", "models/README.md", "models/embedded/README.md")
READMES = ("README.md", "README.fr.md")
SAMPLE = ROOT / "samples" / "voicemail.wav"

# -- Settings ----------------------------------------------------------------------------------------


def documented_default(value: Any, *, none: str) -> str:
    return none if value in ("", (), None) else f"`{value}`"


@pytest.mark.parametrize(
    ("name", "column", "none", "threads"),
    [("README.md", "name", "none", "the CPUs granted"), ("README.fr.md", "nom", "aucun", "les processeurs accordés")],
)
def test_every_setting_is_there(name: str, column: str, none: str, threads: str) -> None:
    """The table has every setting and no other, in the program's order, with its default."""
    rows = [tuple(row.values())[:2] for row in table(page(name), column)]
    assert rows == [
        (f"`{setting.upper()}`", threads if field.default_factory else documented_default(field.default, none=none))
        for setting, field in Settings.model_fields.items()
    ]


def test_settings_mean_what_the_program_says() -> None:
    """Each meaning begins with the setting's own description, and names its choices."""
    for row in table(page("README.md"), "name"):
        field = Settings.model_fields[bare(row["name"]).lower()]
        assert row["meaning"].startswith(field.description or "?")
        if typing.get_origin(field.annotation) is typing.Literal and row["name"] != "`AUTH`":
            assert all(f"`{choice}`" in row["meaning"] for choice in typing.get_args(field.annotation)), row


@pytest.mark.parametrize("name", [*PAGES, "docker-compose.yml", "Dockerfile"])
def test_no_setting_is_invented(name: str) -> None:
    """What looks like a variable is one."""
    known = {setting.upper() for setting in Settings.model_fields} | set(IGNORED)
    known |= {"HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "PYTHONUNBUFFERED"}  # of others
    assert set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", page(name))) <= known


@pytest.mark.parametrize("name", READMES)
def test_defaults_of_the_image(name: str) -> None:
    """The page tells what the image sets otherwise."""
    [block] = re.findall(r"^ENV (.*?[^\\])$", page("Dockerfile"), re.MULTILINE | re.DOTALL)
    image = dict(part.split("=", 1) for part in block.replace("\\\n", " ").split())
    differing = {n: v for n, v in image.items() if n.lower() in Settings.model_fields and n != "PORT"}
    assert differing
    assert all(f"`{setting}={value}`" in page(name) for setting, value in differing.items())


# -- What is documented of the API ---------------------------------------------------------------------


def addresses() -> set[str]:
    """Every method and path of the application."""
    routes: list[BaseRoute] = [*transcriptions.router.routes, *system.router.routes]
    real = {f"{method} {route.path}" for route in routes if isinstance(route, Route) for method in route.methods or ()}
    return {name.replace(":path}", "}") for name in real if not name.startswith("HEAD ")} | {"GET /openapi.json"}


def test_every_address_is_there() -> None:
    """The first table has every address and no other, and each is the title of a link that leads somewhere."""
    shown = {match[1] for row in table(page("API.md"), "address") if (match := re.search("`(.*)`", row["address"]))}
    assert shown == addresses()


NEVER_SENT = {"busy", "job_failed"}
"""A family that only its members stand for; and a job's failure, which is sent under the code of its cause."""


def test_every_error_is_there() -> None:
    """The tables have every code that can reach a client, with its status."""
    shown = {bare(row["code"]): int(row["status"]) for row in table(page("API.md"), "code")}
    real = {
        kind.code: refusal(kind()).status_code
        for kind in tree()
        if kind not in (SttError, Temporary) and not issubclass(kind, StartupError)
    }
    assert shown == {code: status for code, status in real.items() if code not in NEVER_SENT}
    assert set(shown.values()) == {status for _, status in STATUS}


def test_errors_that_are_left_out_are_never_sent() -> None:
    """Nothing raises the family itself, and a failed job always names its cause."""
    sources = "\n".join(path.read_text() for path in (ROOT / "stt_server").rglob("*.py"))
    assert not re.search(r"(?<!class )\b(Busy\(|raise Busy\b)", sources)
    assert all("reason=" in call for call in re.findall(r"raise JobFailed\b.*", sources))


def test_every_parameter_is_there() -> None:
    """The table has every field that the form knows, and those that are refused or ignored on purpose."""
    shown = {bare(row["field"]): row["effect"] for row in table(page("API.md"), "field")}
    assert set(FORM_FIELDS) <= set(shown)
    assert set(shown) - set(FORM_FIELDS) == {n for n, effect in shown.items() if effect == "refused"} | {"languages[]"}


def test_every_audio_format_is_there() -> None:
    """The page names every file name's ending that is known: those told by their bytes, and those told by name."""
    section = page("API.md").partition("### Audio formats")[2].partition("\n## ")[0]
    by_bytes, by_name = section.split("Raw telephone audio")
    for container in CONTAINERS.values():
        words = set(re.findall(r"\w+", by_name if container.headerless else by_bytes))
        assert set(container.extensions) <= words, container.name


def test_limits_are_those_of_the_program() -> None:
    """The numbers of the last table, and a few others."""
    deadlines = Deadlines()
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    numbers = {
        "file": (defaults["max_upload_bytes"],),
        "audio": (defaults["max_audio_duration_secs"], MIN_DURATION),
        "queue": (defaults["max_queue_size"],),
        "form": (intake.MAX_FIELDS, intake.MAX_FIELD_BYTES, intake.MAX_FILES),
        "urls": (fetch.AT_ONCE,),
        "connections": (deadlines.connections,),
        "request headers": (deadlines.headers_secs,),
        "request body": (deadlines.bytes_per_sec, deadlines.window_secs, deadlines.body_secs),
    }
    shown = {row["what"]: row["how much"] for row in table(page("API.md"), "what")}
    assert set(shown) == set(numbers)
    for what, values in numbers.items():
        assert [float(n) for n in re.findall(r"\d+\.?\d*", shown[what])] == [float(value) for value in values]
    assert f"At most {fetch.MAX_REDIRECTS} redirects" in page("API.md")
    assert "ports 80, 443, 8080 and 8443" in page("API.md")
    assert all(f"`{alias}`" in page("API.md") for alias in ALIASES)


# -- Commands, links, words ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*READMES, "models/README.md"])
def test_commands_exist(name: str) -> None:
    """Every command of a page is a program of this project with options it knows, or one of the system."""
    lines = [part for line in commands(page(name)) for part in line.split(" && ")]
    for line in lines:
        words = [word for word in shlex.split(line) if not re.match(r"[A-Z_]+=", word)]
        if words[0].endswith("stt-server"):
            _parse(words[1:])
        elif words[0].startswith("scripts/"):
            assert (ROOT / words[0]).stat().st_mode & 0o111, line
            assert all(word in (ROOT / words[0]).read_text() for word in words[1:]), line
        elif words[:2] == [".venv/bin/pip", "install"]:
            extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
            assert [word for word in words[2:] if Requirement(word.replace(".", "stt-server")).extras <= set(extras)]
        else:
            assert words[0] in ("curl", "docker"), line


def _parse(words: list[str]) -> None:
    """Raises what the command line would say to a user."""
    group = typer.main.get_group(command_line)
    group.commands[words[0]].make_context(words[0], words[1:])


@pytest.mark.parametrize("name", READMES)
def test_compose_knows_what_is_asked_of_it(name: str) -> None:
    """Profile and service of the setup command are those of docker-compose.yml."""
    [setup] = [line for line in commands(page(name)) if "--profile" in line]
    words = shlex.split(setup)
    service = yaml.safe_load(page("docker-compose.yml"))["services"][words[-1]]
    assert service["profiles"] == [words[words.index("--profile") + 1]]


def test_the_two_commands_come_first() -> None:
    """The README begins with the command that sets up and runs; French readers get the same one."""
    assert commands(page("README.md"))[:4] == [
        "scripts/setup && .venv/bin/stt-server serve",
        f"curl {DOCUMENTED_ADDRESS}/v1/audio/transcriptions -F file=@samples/voicemail.wav",
        ".venv/bin/stt-server download",
        "scripts/setup --dev && scripts/check",
    ]
    assert commands(page("README.fr.md"))[:3] == commands(page("README.md"))[:3]
    assert commands(page("README.md"))[3] in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize(("name", "unit"), [("README.md", "MB"), ("README.fr.md", "Mo")])
def test_the_size_of_the_download(name: str, unit: str) -> None:
    """What is fetched is as large as the page says."""
    assert f"{MODELS[DEFAULT_MODEL].size / 1e6:.0f} {unit}" in page(name)


@pytest.mark.parametrize("name", [*PAGES, "benchmarks/README.md"])
def test_links_lead_somewhere(name: str) -> None:
    """Relative links name files, and places in pages that are there."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page(name)):
        if target.startswith(("http://", "https://")):
            continue
        path, _, place = target.partition("#")
        file = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        assert file.is_file(), target
        assert not place or place in anchors(file.read_text(encoding="utf-8")), target


def anchors(text: str) -> set[str]:
    """What headings are called in links."""
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


FORBIDDEN = re.compile(
    r"/work/|/root/|/home/|/opt/|/tmp/|pypi|registry|\bsession\b|\bagent\b",
    re.IGNORECASE,
)
SPEED = re.compile(
    r"\bfast(er|est)?\b|\bquick(er|est|ly)\b|real[- ]time factor|\bRTFx?\b|\brapide(s|ment)?\b|\b(plus|aussi) vite\b"
    r"|temps réel|\b\d+[.,]\d (times|fois)\b",
    re.IGNORECASE,
)
BENCHMARK = "benchmarks/README.md"


@pytest.mark.parametrize("name", [*PAGES, BENCHMARK])
def test_pages_are_about_the_program(name: str) -> None:
    """No paths of a developer's machine, no package hosts, nothing about who wrote it."""
    assert [match[0] for match in FORBIDDEN.finditer(page(name))] == []


@pytest.mark.parametrize("name", sorted(set(PAGES) - set(READMES)))
def test_nothing_is_said_of_speed_elsewhere(name: str) -> None:
    """Only the two first pages claim any, where the benchmark is quoted, and the benchmark itself."""
    assert [match[0] for match in SPEED.finditer(page(name))] == []


@pytest.mark.parametrize("name", READMES)
def test_speed_is_what_the_benchmark_says(name: str) -> None:
    """Who claims speed says how many times as fast, on clips of which length, as the last results have it."""
    claims = [sentence for sentence in sentences(page(name)) if SPEED.search(sentence)]
    assert claims, "the benchmark is not quoted"
    for claim in claims:
        assert f"({BENCHMARK})" in claim
        ratios = [float(number.replace(",", ".")) for number in re.findall(r"(\d+[.,]\d) (?:times|fois)", claim)]
        [length] = re.findall(r"\b(\d+) s\b", claim)
        measured = {float(row[f"{length} s"]) for row in table(page(BENCHMARK), "ours") if row[f"{length} s"]}
        assert ratios, claim
        assert set(ratios) <= measured, f"measured: {sorted(measured)}"


def sentences(text: str) -> list[str]:
    """Of all paragraphs, code and tables left out."""
    prose = re.sub(r"^(```.*?^```|\|.*?)$", "", text, flags=re.MULTILINE | re.DOTALL)
    paragraphs = (" ".join(paragraph.split()) for paragraph in prose.split("\n\n"))
    return [sentence for paragraph in paragraphs for sentence in re.split(r"(?<=[.!?:]) ", paragraph)]
