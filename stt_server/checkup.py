"""`stt-server check`: does this machine have what the server needs, and does it work?"""

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path

from pydantic import SecretStr
from rich.console import Console
from rich.text import Text

from stt_server import __version__, logs
from stt_server.errors import SttError
from stt_server.settings import LOOPBACK, MIB, Settings, available_cpus, ignored_settings, load_settings
from stt_server.speech.confine import confine, withdraw
from stt_server.speech.engines.families import Found
from stt_server.speech.models import Installed, find_model, verify
from stt_server.speech.processor import Kernels, family, instructions, multiplies_exactly, read_facts
from stt_server.types import Options

GIB = 1024 * MIB
INT8 = ("amx_int8", "avx512_vnni", "avx_vnni", "avx2", "i8mm", "asimddp")
"""Instruction sets that make 8-bit models fast, as Linux calls them."""

NATIVE = ("onnxruntime", "av", "soundfile", "soxr")
"""What recognises and what decodes, FFmpeg's libraries included: no program of that name is needed."""


class Verdict(StrEnum):
    """What a check comes to."""

    GOOD = "ok"
    DOUBTFUL = "note"
    BAD = "FAIL"
    NONE = ""


COLOURS = {Verdict.GOOD: "green", Verdict.DOUBTFUL: "yellow", Verdict.BAD: "bold red", Verdict.NONE: ""}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the answer."""

    what: str
    text: str
    verdict: Verdict = Verdict.GOOD


def run_checks(model_path: Path | None) -> int:
    """Print a line for each check; 1 when the server would not work."""
    logs.configure("error")  # what would be warned about is said in the table
    console = Console(highlight=False, soft_wrap=True)
    bad = []
    for row in _checks({"model_path": model_path} if model_path else {}):
        console.print(Text.assemble((f"{row.verdict:<5}", COLOURS[row.verdict]), f"{row.what:<24}", row.text))
        if row.verdict is Verdict.BAD:
            bad.append(row.what)
    console.print(f"Not working: {', '.join(bad)}." if bad else "Everything works.")
    return 1 if bad else 0


def _checks(given: dict[str, Path]) -> Iterator[Row]:
    yield Row("version", f"stt-server {__version__}, Python {platform.python_version()}, {platform.platform()}")
    yield _cpu()
    yield _libraries()
    yield _decoder()
    try:
        settings = load_settings(**given)
    except SttError as error:
        yield Row("settings", error.message, Verdict.BAD)
        return
    yield from _model(settings)
    yield _storage(settings)
    yield from _settings(settings)


def _cpu() -> Row:
    facts = read_facts()
    flags = instructions(facts)
    name = facts.get("model name") or platform.processor() or platform.machine()
    fast = [flag for flag in INT8 if flag in flags]
    text = f"{name}, {available_cpus()} of {os.cpu_count()} cores granted"
    if not fast:
        return Row("cpu", f"{text}, no fast instructions for 8-bit models that we know", Verdict.DOUBTFUL)
    return Row("cpu", f"{text}, {', '.join(fast)}")


def _libraries() -> Row:
    """Those with native code, imported: a wheel for another processor, or without its libraries, fails here."""
    try:
        for name in NATIVE:
            import_module(name)
    except (ImportError, OSError) as error:
        return Row("libraries", str(error), Verdict.BAD)
    return Row("libraries", ", ".join(f"{name} {version(name)}" for name in NATIVE))


def _decoder() -> Row:
    """What a file that takes a decoder over could still do. Asked in a process of its own, which is bound by it."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        network_left = pool.submit(withdraw).result()
        bound = pool.submit(confine, cpu_seconds=10, memory_bytes=GIB, file_bytes=MIB).result()
    missing = [
        *([] if bound.files else ["it could read the server's files (no Landlock)"]),
        *([] if bound.calls else ["it could start programs and reach other processes (no seccomp)"]),
        *([] if bound.calls or network_left else ["it has the network"]),
    ]
    if missing:
        return Row("decoder", f"bound in memory and time; if taken over, {', '.join(missing)}", Verdict.DOUBTFUL)
    return Row("decoder", "no files, no network, no programs, bound in memory and time")


# -- The model -------------------------------------------------------------------------------------


def _model(settings: Settings) -> Iterator[Row]:
    try:
        installed = find_model(settings.model_path, settings.model_name)
        began = time.monotonic()
        installed = verify(installed)
        yield _describe(installed, time.monotonic() - began)
        if not installed.found:
            yield _kernels(settings)
        yield _graph(installed, settings)
        yield _recognise(installed, settings)
    except SttError as error:
        yield Row("model", error.message, Verdict.BAD)


def _describe(installed: Installed, seconds: float) -> Row:
    text = f"{installed.name} ({installed.owned_by}, {installed.licence}) in {installed.folder}"
    if not installed.verified:
        return Row("model", f"{text}, unverified: no checksums to compare with", Verdict.DOUBTFUL)
    text += f", verified in {seconds:.1f} s"
    if installed.embedded:
        return Row(
            "model", f"{text}; the small embedded model: `stt-server download` gets a good one", Verdict.DOUBTFUL
        )
    return Row("model", text)


def _kernels(settings: Settings) -> Row:
    """What is known of this processor, what it does, and what follows."""
    from stt_server.speech.engines.trial import sums_are_exact

    found = family(read_facts())
    tried, chosen = sums_are_exact(), Kernels(settings.kernels)
    prepared = chosen is Kernels.PREPARED or (chosen is Kernels.AUTO and multiplies_exactly(trial=lambda: tried))
    text = f"{found.name if found else 'unknown'}, sums of bytes {'exact' if tried else 'not exact'} in a trial:"
    text += f" {'prepared' if prepared else 'published'} form (KERNELS={chosen})"
    if prepared and not tried:
        return Row("kernels", f"{text}, which garbles speech here. Set KERNELS=published.", Verdict.BAD)
    return Row("kernels", text)


def _graph(installed: Installed, settings: Settings) -> Row:
    """Which form of the encoder would be run, or what runs a model of another family."""
    if installed.found:
        return _engine(installed.found)
    from stt_server.speech.engines.layout import find_layout
    from stt_server.speech.engines.prepared import Why, choose

    choice = choose(find_layout(installed.folder).encoder, kernels=Kernels(settings.kernels))
    slow = choice.why in (Why.ABSENT, Why.FAILED, Why.PROCESSOR)
    return Row("encoder", f"{choice.path.name}, {choice.why}", Verdict.DOUBTFUL if slow else Verdict.GOOD)


def _engine(found: Found) -> Row:
    what = f"{found.family.title}: {', '.join(path.name for path in found.files.values())}"
    try:
        return Row("engine", f"{what}, run by sherpa-onnx {version('sherpa-onnx')}")
    except PackageNotFoundError:
        return Row("engine", f"{what}; sherpa-onnx is missing", Verdict.BAD)


def _recognise(installed: Installed, settings: Settings) -> Row:
    from stt_server.jobs.recogniser import test_clip
    from stt_server.speech.engines import load

    if installed.found:
        from stt_server.speech.engines.sherpa import rehearse

        rehearse(installed.found)
    began = time.monotonic()
    # A check changes nothing.
    engine = load(installed.folder, threads=settings.threads, may_prepare=False, kernels=Kernels(settings.kernels))
    loaded = time.monotonic()
    clip = test_clip()
    engine.recognise([clip], Options(model=installed.name))
    worked = time.monotonic() - loaded
    return Row("recognition", f"loaded in {loaded - began:.1f} s, {clip.duration:g} s of sound took {worked:.2f} s")


# -- The disk --------------------------------------------------------------------------------------


def _storage(settings: Settings) -> Row:
    """The database's folder, or the one it will be made in."""
    wanted = settings.db_path.absolute().parent
    folder = next(path for path in (wanted, *wanted.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Row("storage", f"{folder} cannot be written: {error.strerror}. Set DB_PATH.", Verdict.BAD)
    text = f"{wanted}{'' if folder == wanted else ' (not made yet)'}, {free / GIB:.1f} GiB free"
    if free < 2 * settings.max_upload_bytes:
        return Row("storage", f"{text}: room for hardly one upload of MAX_UPLOAD_BYTES", Verdict.DOUBTFUL)
    return Row("storage", text)


# -- Settings --------------------------------------------------------------------------------------


def _settings(settings: Settings) -> Iterator[Row]:
    from stt_server.web.app import make_fetcher, read_keys

    for read in (read_keys, make_fetcher):
        try:
            read(settings)
        except SttError as error:
            yield Row("settings", error.message, Verdict.BAD)
    if ignored := ignored_settings():
        yield Row("settings", f"{', '.join(ignored)}: set, and without meaning here", Verdict.DOUBTFUL)
    if not settings.api_keys and settings.host not in LOOPBACK:
        yield Row("settings", "AUTH=off: everybody who reaches this machine may transcribe", Verdict.DOUBTFUL)
    for name in type(settings).model_fields:
        origin = "" if name in settings.model_fields_set else "  (default)"
        yield Row(name.upper(), f"{_shown(getattr(settings, name))}{origin}", Verdict.NONE)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        hidden = any(isinstance(item, SecretStr) for item in value)
        return f"{len(value)} hidden" if hidden else ", ".join(map(str, value)) or "-"
    return logs.redact(str(value)) if value not in ("", None) else "-"
