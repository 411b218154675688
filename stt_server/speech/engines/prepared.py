"""The fast form of a published encoder, made once and kept beside it in `.prepared/`.

It is a folder whose name carries the original's checksum, the version of the preparation, the form and its own
checksum: `encoder.int8-<original>-3-lean-<own>/`. A stale or damaged one therefore never fits, and is made anew. An
empty one says that there was nothing to do. The original stays as it is, and is used wherever the fast form cannot be:
a model must not fail because it could be faster.
"""

import errno
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from stt_server.speech.disk import sync_folder
from stt_server.speech.engines.forms import GRAPH, Form, Unusable, checksum, make
from stt_server.speech.engines.layout import find_layout
from stt_server.speech.models import sha256_of
from stt_server.speech.processor import CPUINFO, Kernels, multiplies_exactly

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Called with a file's name, its bytes so far, and its bytes in all."""

VERSION = 3
"""Of what is made. To be raised with every change of `rewrite` or `lean` that changes its result."""
FOLDER = ".prepared"
MIB = 1024 * 1024
SMALLEST = 64 * MIB
"""Bytes of an encoder that is worth the seconds and the disk; smaller ones are fast as they are."""
_DIGITS = 16
"""Of each checksum. They tell files apart and find damage; nobody is kept out by them."""
_SPARE = 64 * MIB
"""Bytes of disk that are left alone."""
_LOCK = "lock"


class Why(StrEnum):
    """Why this graph and not the other."""

    LEAN = "rebuilt for one window at a time and fast 8-bit kernels"
    PREPARED = "rewritten for fast 8-bit kernels"
    ABSENT = "not prepared yet: the server's start does it, or `stt-server download`"
    FAILED = "could not be prepared"
    NOTHING = "nothing in it to rewrite"
    SMALL = "small enough as it is"
    FLOAT = "not an 8-bit one"
    ASKED = "the published one, as KERNELS asks"
    PROCESSOR = "the fast kernels are not known to be exact on this processor"


_WHY = {Form.LEAN: Why.LEAN, Form.REWRITTEN: Why.PREPARED, Form.NOTHING: Why.NOTHING}


@dataclass(frozen=True, slots=True)
class Choice:
    """The encoder's graph to be loaded."""

    path: Path
    why: Why


def choose(
    encoder: Path, *, smallest: int = SMALLEST, cpuinfo: Path = CPUINFO, kernels: Kernels = Kernels.AUTO
) -> Choice:
    """The graph for this machine, of those there are. Reads both whole files, and writes nothing."""
    if not encoder.name.endswith(".int8.onnx"):
        return Choice(encoder, Why.FLOAT)
    if not encoder.is_file() or encoder.stat().st_size < smallest:
        return Choice(encoder, Why.SMALL)
    if kernels is Kernels.PUBLISHED:
        return Choice(encoder, Why.ASKED)
    if kernels is Kernels.AUTO and not multiplies_exactly(cpuinfo):
        return Choice(encoder, Why.PROCESSOR)
    try:
        found = _find(encoder)
    except OSError as error:
        log.warning("prepared graphs cannot be read", extra={"folder": str(encoder.parent), "error": str(error)})
        return Choice(encoder, Why.FAILED)
    if found is None:
        return Choice(encoder, Why.ABSENT)
    form, path = found
    return Choice(encoder if form is Form.NOTHING else path / GRAPH, _WHY[form])


def prepare(
    folder: Path,
    on_progress: Progress = lambda _file, _done, _total: None,
    *,
    smallest: int = SMALLEST,
    cpuinfo: Path = CPUINFO,
    kernels: Kernels = Kernels.AUTO,
) -> Choice:
    """Make the fast graph of the model in a folder, if this machine gains by it and it is not there yet.

    Takes seconds and the memory of two encoders. Never fails: what stands against it is logged, and the original is
    the choice. The model's files must have been verified. Raises `ModelBroken` only where there is no model.
    """
    encoder = find_layout(folder).encoder
    choice = choose(encoder, smallest=smallest, cpuinfo=cpuinfo, kernels=kernels)
    if choice.why is not Why.ABSENT:
        return choice
    try:
        with _alone(encoder.parent / FOLDER):
            choice = choose(
                encoder, smallest=smallest, cpuinfo=cpuinfo, kernels=kernels
            )  # another process may have been faster
            if choice.why is Why.ABSENT:
                _make(encoder, on_progress)
                choice = choose(encoder, smallest=smallest, cpuinfo=cpuinfo, kernels=kernels)
            return choice
    except OSError as error:
        log.warning(
            "the model stays slower than it could be: its fast form cannot be kept. Run `stt-server download`"
            " where the folder can be written and has room",
            extra={"folder": str(folder), "error": error.strerror or str(error)},
        )
    except Unusable as error:
        log.warning("the model cannot be prepared", extra={"file": encoder.name, "error": str(error)})
    return Choice(encoder, Why.FAILED)


# -- Names -----------------------------------------------------------------------------------------


def _name(encoder: Path, original: str, form: Form, own: str) -> str:
    return f"{encoder.name.removesuffix('.onnx')}-{original[:_DIGITS]}-{VERSION}-{form}-{own[:_DIGITS]}"


def _find(encoder: Path) -> tuple[Form, Path] | None:
    """What was made of just this encoder by just this version, whole."""
    folder = encoder.parent / FOLDER
    made = sorted(path for path in folder.glob(f"*-{VERSION}-*-*") if path.is_dir())
    if not made:
        return None
    with ThreadPoolExecutor(2) as pool:  # half a gigabyte each
        original = pool.submit(sha256_of, encoder)
        own = list(pool.map(checksum, made))
    expected = (
        (form, path, _name(encoder, original.result(), form, found))
        for path, found in zip(made, own, strict=True)
        for form in Form
    )
    return next(((form, path) for form, path, name in expected if path.name == name), None)


# -- Making ----------------------------------------------------------------------------------------


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process prepares in this folder."""
    folder.mkdir(exist_ok=True)
    with (folder / _LOCK).open("w") as lock:
        if sys.platform != "win32":  # no such lock there: each makes its own, and the last one is kept
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(encoder: Path, on_progress: Progress) -> None:
    began = time.monotonic()
    log.info("preparing the model, once", extra={"file": encoder.name})
    folder, total = encoder.parent / FOLDER, encoder.stat().st_size
    _check_space(encoder)
    part = folder / f"{os.getpid()}.part"
    try:
        made = make(encoder, part, lambda share: on_progress(f"{encoder.name}, prepared", round(share * total), total))
        sync_folder(part)
        path = folder / _name(encoder, made.original, made.form, made.own)
        shutil.rmtree(path, ignore_errors=True)  # a damaged one
        part.replace(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    sync_folder(folder)
    _clear(folder, path)
    seconds = round(time.monotonic() - began, 1)
    log.info("model prepared", extra={"file": encoder.name, "form": str(made.form), "seconds": seconds})


def _check_space(encoder: Path) -> None:
    """Before the work rather than after it."""
    need = encoder.stat().st_size + _SPARE
    if (free := shutil.disk_usage(encoder.parent).free) < need:
        raise OSError(errno.ENOSPC, f"{need // MIB:,} MiB are needed, {free // MIB:,} MiB are free")


def _clear(folder: Path, keep: Path) -> None:
    """Remove what other versions or models have left, and what was being made when the power went."""
    for path in folder.iterdir():
        if path not in (keep, folder / _LOCK):
            with suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
