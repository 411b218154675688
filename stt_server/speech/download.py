"""Bring a model of the table into a folder: from its sources in turn, verified, and put in place only when whole.

Everything is gathered in a staging folder: `<folder>.part` beside a folder that does not exist yet, so that one rename
puts it in place; `<folder>/.part` in one that does, which may be a volume that nothing can be renamed over.
"""

import os
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import quote

import httpx

from stt_server.errors import DownloadFailed
from stt_server.speech.catalogue import MODELS, Archive, Files, Model, ModelFile
from stt_server.speech.disk import sync_folder
from stt_server.speech.models import CHECKSUMS, sha256_of
from stt_server.speech.transfer import MIB, PATIENT, Patience, Progress, SourceFailed, Wanted, fetch, open_client

NOTICE = "NOTICE.txt"
"""Beside the model: its licence, and whom to credit."""
SPARE = 64 * MIB
"""Bytes of disk that are left alone."""

Get = Callable[[Wanted], None]
"""`transfer.fetch` with everything but the file decided."""


class _NoSpace(SourceFailed):
    """The disk is too small for what this source would send."""


def download(
    name: str,
    folder: Path,
    *,
    mirror: str = "",
    replace: bool = False,
    on_progress: Progress = lambda _file, _done, _total: None,
    models: Mapping[str, Model] = MODELS,
    patience: Patience = PATIENT,
) -> Path:
    """Download the model called `name` into `folder`, unless it is there. `mirror` is asked instead of its sources.

    Raises `DownloadFailed`. What has arrived until then is continued by the next call.
    """
    model = _model(name, models)
    sources = _sources(model, mirror)
    try:
        whole = _whole_files(model, folder)
        if len(whole) == len(model.files):
            return folder
        _refuse_to_overwrite(folder, whole, replace)
        with _staging(folder) as staging:
            for file in whole:
                _adopt(folder / file.name, staging / model.name / file.name)
            with open_client(patience) as client:
                get = partial(fetch, client, on_progress=on_progress, patience=patience)
                _gather(model, sources, staging, get, on_progress)
            _put_in_place(staging / model.name, folder, models)
            shutil.rmtree(staging)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise DownloadFailed(f"The download cannot be stored: {where}{error.strerror or error}.") from error
    return folder


def _model(name: str, models: Mapping[str, Model]) -> Model:
    if name not in models:
        raise DownloadFailed(f"There is no model {name!r} to download. There are: {', '.join(models)}.")
    return models[name]


def _sources(model: Model, mirror: str) -> tuple[Files | Archive, ...]:
    if not mirror:
        return model.sources
    try:
        usable = httpx.URL(mirror).scheme in ("http", "https") and httpx.URL(mirror).host
    except httpx.InvalidURL:
        usable = False
    if not usable:
        raise DownloadFailed("MODEL_MIRROR is not a valid http or https address.")
    return (Files(f"{mirror.rstrip('/')}/{quote(model.name)}"),)


# -- What is there already -------------------------------------------------------------------------


def _whole_files(model: Model, folder: Path) -> list[ModelFile]:
    return [file for file in model.files if _is_whole(folder / file.name, file)]


def _is_whole(path: Path, file: ModelFile) -> bool:
    return path.is_file() and path.stat().st_size == file.size and sha256_of(path) == file.sha256


def _refuse_to_overwrite(folder: Path, whole: list[ModelFile], replace: bool) -> None:
    """Files of a model that is not this one, or is damaged, are somebody's: they go only when that was asked for."""
    if replace or not folder.exists():
        return
    known = {file.name for file in whole} | {NOTICE}
    if others := sorted(path.name for path in folder.iterdir() if path.name[0] != "." and path.name not in known):
        raise DownloadFailed(
            f"{folder} holds other files: {', '.join(others[:5])}. Choose another folder, or add --replace"
            " to put the model in the place of whatever model is there."
        )


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """The staging folder, ours alone."""
    staging = folder / ".part" if folder.exists() else folder.with_name(folder.name + ".part")
    staging.mkdir(parents=True, exist_ok=True)
    with (staging / "lock").open("w") as lock:
        if not _locked(lock.fileno(), staging / "lock"):
            raise DownloadFailed(f"Another download into {folder} is running.")
        yield staging


def _locked(descriptor: int, path: Path) -> bool:
    """Locks the open file for this process's lifetime, unless another has it or has just finished and removed it."""
    if sys.platform == "win32":
        return True  # no such lock there; the checksums still hold
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


# -- Gathering -------------------------------------------------------------------------------------


def _adopt(there: Path, here: Path) -> None:
    """A link where the file system can, since nothing writes to a whole file."""
    here.parent.mkdir(exist_ok=True)
    here.unlink(missing_ok=True)
    try:
        here.hardlink_to(there)
    except OSError:
        shutil.copyfile(there, here)


def _gather(model: Model, sources: tuple[Files | Archive, ...], staging: Path, get: Get, on_progress: Progress) -> None:
    """Bring every file into `staging/<model>`; the next source is asked for what the last could not give."""
    target = staging / model.name
    target.mkdir(exist_ok=True)
    (target / NOTICE).write_text(f"{model.title}\n{model.credit}\n", encoding="utf-8")
    failures: list[SourceFailed] = []
    for source in sources:
        missing = [file for file in model.files if not _is_whole(target / file.name, file)]
        try:
            _check_space(source, missing, staging, target)
            if isinstance(source, Files):
                _fetch_files(source, missing, target, get)
            else:
                _fetch_archive(source, missing, target, get, on_progress)
            return
        except SourceFailed as failed:
            failures.append(failed)
    raise _all_failed(model, failures)


def _all_failed(model: Model, failures: list[SourceFailed]) -> DownloadFailed:
    message = f"The download of {model.name} failed. {'; '.join(failed.message for failed in failures)}."
    if all(isinstance(failed, _NoSpace) for failed in failures):
        return DownloadFailed(message)
    return DownloadFailed(
        f"{message} What has arrived is kept: the same command continues it. Behind a proxy, set HTTPS_PROXY. Where"
        " these hosts cannot be reached, set MODEL_MIRROR to an address that serves"
        f" {model.name}/{model.files[0].name} and so on."
    )


def _check_space(source: Files | Archive, missing: list[ModelFile], staging: Path, target: Path) -> None:
    need = sum(file.size - _size(target / file.name) for file in missing)
    if isinstance(source, Archive):
        need += source.size - _size(_archive_path(source, staging))
    free = shutil.disk_usage(staging).free
    if free < need + SPARE:
        raise _NoSpace(
            f"Not enough space in {staging.parent}: {_mib(need + SPARE)} MiB are needed, {_mib(free)} MiB are free"
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _mib(size: int) -> str:
    return f"{size / MIB:,.0f}"


def _fetch_files(source: Files, missing: list[ModelFile], target: Path, get: Get) -> None:
    for file in missing:
        get(Wanted(f"{source.base}/{quote(file.name)}", file.size, file.sha256, target / file.name))


def _archive_path(source: Archive, staging: Path) -> Path:
    return staging / source.url.rpartition("/")[2]


def _fetch_archive(source: Archive, missing: list[ModelFile], target: Path, get: Get, on_progress: Progress) -> None:
    path = _archive_path(source, target.parent)
    get(Wanted(source.url, source.size, source.sha256, path))
    wanted = {file.name: file for file in missing}
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                file = wanted.get(member.name.rpartition("/")[2])
                if file and member.isfile() and member.size == file.size:
                    _unpack(archive, member, target / file.name, on_progress)
    except (tarfile.TarError, EOFError) as error:
        raise SourceFailed(f"{path.name} cannot be unpacked: {error}") from error
    if bad := [file.name for file in missing if not _is_whole(target / file.name, file)]:
        raise SourceFailed(f"{path.name} holds no good {', '.join(bad)}")


def _unpack(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path, on_progress: Progress) -> None:
    """Copy one file's bytes. Where they go, and as what, is ours to say: nothing else of the member is used."""
    content = archive.extractfile(member)
    assert content is not None  # `isfile` was asked
    done = 0
    with path.open("wb") as out:
        while piece := content.read(MIB):
            out.write(piece)
            done += len(piece)
            on_progress(path.name, done, member.size)
        out.flush()
        os.fsync(out.fileno())


# -- Putting in place ------------------------------------------------------------------------------


def _put_in_place(gathered: Path, folder: Path, models: Mapping[str, Model]) -> None:
    """One rename where nothing was; else file by file, after those of the model that was there."""
    sync_folder(gathered)
    if not folder.exists():
        gathered.rename(folder)
    else:
        new = sorted(gathered.iterdir())
        for name in _replaced_names(models) - {path.name for path in new}:
            (folder / name).unlink(missing_ok=True)
        for path in new:
            path.replace(folder / path.name)
        sync_folder(folder)
    sync_folder(folder.parent)


def _replaced_names(models: Mapping[str, Model]) -> set[str]:
    """Names that would make one model of two. Everything else in the folder is not ours to touch."""
    names = {file.name for model in (*MODELS.values(), *models.values()) for file in model.files}
    return names | {name.replace(".int8.", ".") for name in names} | {CHECKSUMS}
