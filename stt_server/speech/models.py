"""Which model lies in a folder, and whether its files are whole.

Checksums are compared at every start, before anything is loaded: some runtimes end the whole process on a damaged
file, and a git checkout with newline conversion has silently broken a committed model. Hashing all 670 MB takes 0.3 s
where the processor has SHA instructions and about 1.5 s where it has not, so the result is not kept anywhere.
"""

import hashlib
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from stt_server.errors import ModelBroken
from stt_server.speech.catalogue import MODELS, Model
from stt_server.speech.engines.families import Found, find_family, missing_parts
from stt_server.speech.engines.layout import find_layout

log = logging.getLogger(__name__)

ALIASES = (
    "parakeet-tdt",
    "whisper-1",
    "gpt-4o-transcribe",
    "gpt-4o-mini-transcribe",
    "gpt-4o-mini-transcribe-2025-12-15",
    "gpt-transcribe",
)
"""Ids that mean the installed model, whichever it is: clients have them built in."""

CHECKSUMS = "SHA256SUMS"
"""Beside a model that the table does not list: what `sha256sum` prints for its files."""


def _embedded_folder() -> Path:
    packed = Path(__file__).parents[1] / "_models" / "embedded"
    return packed if packed.is_dir() else Path(__file__).parents[2] / "models" / "embedded"


EMBEDDED = _embedded_folder()
"""The model that comes with the program: package data of a wheel, `models/embedded` of a checkout."""
EMBEDDED_ID = "parakeet-tdt-embedded"


@dataclass(frozen=True, slots=True)
class Installed:
    """A model found in a folder."""

    folder: Path
    files: tuple[str, ...]
    """Names of those it cannot do without."""
    row: Model | None
    """What the table calls it; by the files' sizes only, until verified."""
    embedded: bool
    modified: int
    """Unix time of its newest file."""
    alias: str = ""
    """The id an operator chose for it."""
    verified: bool = False
    found: Found | None = None
    """What it is, if it is of another family than Parakeet."""

    @property
    def name(self) -> str:
        """The id listed in `/v1/models`."""
        if self.alias or self.embedded:
            return self.alias or EMBEDDED_ID
        if self.found:
            return self.found.name
        return self.row.id if self.row else self.folder.name

    @property
    def owned_by(self) -> str:
        """Whose model it is."""
        return "stt-server" if self.embedded else self.row.owned_by if self.row else "unknown"

    @property
    def licence(self) -> str:
        """SPDX identifier, or `unknown`."""
        return "MIT" if self.embedded else self.row.licence if self.row else "unknown"

    @property
    def created(self) -> int:
        """Unix time: of its publication, else of its newest file."""
        return self.row.released if self.row else self.modified

    @property
    def ids(self) -> tuple[str, ...]:
        """Every id it answers to, its own first."""
        return tuple(dict.fromkeys((self.name, *ALIASES)))


def find_model(
    path: Path, name: str = "", *, embedded: Path = EMBEDDED, models: Mapping[str, Model] = MODELS
) -> Installed:
    """The model in `path`, else the embedded one. Cheap: sizes are looked at, nothing is hashed.

    Raises `ModelBroken` when `path` holds something that is not a whole model, or nothing is found at all.
    """
    try:
        folder = _model_folder(path)
        if folder is not None:
            return _installed(folder, name, embedded, models.values())
        if _entries(embedded):
            log.warning("no downloaded model: the small embedded one is used", extra={"model_path": str(path)})
            return _installed(embedded, name, embedded, models.values())
    except OSError as error:
        raise _unreadable(error) from error
    raise ModelBroken(
        f"There is no model: {path} is absent or empty, and no model is embedded in this build."
        " Run `stt-server download`, or set MODEL_PATH to the folder of a model."
    )


def verify(installed: Installed, *, models: Mapping[str, Model] = MODELS) -> Installed:
    """Compare every file with its checksum: `SHA256SUMS` beside it, else the table's.

    Raises `ModelBroken` naming the first file that differs. A model without checksums is let through, unverified.
    """
    try:
        if (installed.folder / CHECKSUMS).exists():
            return _verify_by_list(installed, models.values())
        return _verify_by_table(installed, models.values())
    except OSError as error:
        raise _unreadable(error) from error


def sha256_of(path: Path) -> str:
    """The file's checksum, read in small pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# -- Which folder, which files ---------------------------------------------------------------------


def _unreadable(error: OSError) -> ModelBroken:
    return ModelBroken(f"The model cannot be read: {error.filename}: {error.strerror}.")


def _entries(folder: Path) -> list[Path]:
    """What lies in it, without hidden files and what a fresh file system holds. Absent: nothing."""
    if not folder.exists() and not folder.is_symlink():
        return []
    return sorted(path for path in folder.iterdir() if path.name[0] != "." and path.name != "lost+found")


def _model_folder(path: Path) -> Path | None:
    """`path`, or the only folder in it that holds a model: archives unpack into one."""
    entries = _entries(path)
    if not entries:
        return None
    inner = [entry for entry in entries if entry.is_dir() and _holds_model(entry)]
    return inner[0] if len(inner) == 1 and not _holds_model(path) else path


def _installed(folder: Path, alias: str, embedded: Path, models: Iterable[Model]) -> Installed:
    folder = folder.resolve()
    try:
        found = find_family(folder)
        files = _files(folder, found)
    except ModelBroken as broken:
        raise ModelBroken(
            f"{broken.message} Run `stt-server download --replace`, or set MODEL_PATH to the folder of a whole model"
            " (to an empty one, for the embedded model)."
        ) from broken
    return Installed(
        folder=folder,
        files=files,
        row=_row_by_size(folder, files, models),
        embedded=folder == embedded.resolve(),
        modified=max(int((folder / name).stat().st_mtime) for name in files),
        alias=alias,
        found=found,
    )


def _files(folder: Path, found: Found | None) -> tuple[str, ...]:
    if found:
        return tuple(path.name for path in found.files.values())
    try:
        layout = find_layout(folder)
    except ModelBroken as broken:
        if "incomplete" not in broken.message and (missing := missing_parts(folder)):
            raise ModelBroken(f"The model in {folder} is incomplete: {missing}.") from broken
        raise
    parts = (layout.encoder, layout.decoder, layout.joiner, layout.tokens)
    return tuple(part.name for part in parts if part)


def _holds_model(folder: Path) -> bool:
    try:
        return bool(_files(folder, find_family(folder)))
    except ModelBroken:
        return False


# -- Checksums -------------------------------------------------------------------------------------


def _row_by_size(folder: Path, names: tuple[str, ...], models: Iterable[Model]) -> Model | None:
    found = {(name, (folder / name).stat().st_size) for name in names}
    return next((row for row in models if found <= {(file.name, file.size) for file in row.files}), None)


def _verify_by_table(installed: Installed, models: Iterable[Model]) -> Installed:
    """A row that one file matches is the row that all must match."""
    rows = [row for row in models if set(installed.files) <= {file.name for file in row.files}]
    names = {file.name for row in rows for file in row.files if (installed.folder / file.name).is_file()}
    found = {name: sha256_of(installed.folder / name) for name in sorted(names)}
    row = max(rows, key=lambda row: len(_matching(row, found)), default=None)
    if row is None or not _matching(row, found):
        log.warning(
            "model unverified: the table does not know it, and no SHA256SUMS lies beside it",
            extra={"folder": str(installed.folder)},
        )
        return replace(installed, row=None, verified=False)
    for file in row.files:
        if file.name in found and found[file.name] != file.sha256:
            raise _damaged(installed, file.name, found[file.name], file.sha256, file.size)
    return replace(installed, row=row, verified=True)


def _matching(row: Model, found: Mapping[str, str]) -> set[str]:
    return {file.name for file in row.files if found.get(file.name) == file.sha256}


def _verify_by_list(installed: Installed, models: Iterable[Model]) -> Installed:
    """Every file of the list must be there and match; every file of the model must be in the list."""
    listed = _read_list(installed.folder / CHECKSUMS)
    if unlisted := [name for name in installed.files if name not in listed]:
        raise ModelBroken(
            f"{installed.folder / CHECKSUMS} does not list {', '.join(unlisted)}. Add what `sha256sum` prints."
        )
    for name, expected in listed.items():
        if not (installed.folder / name).is_file():
            raise ModelBroken(f"{installed.folder / name} is missing; {CHECKSUMS} beside it lists it.")
        if (found := sha256_of(installed.folder / name)) != expected:
            raise _damaged(installed, name, found, expected)
    rows = (row for row in models if set(installed.files) <= _matching(row, listed))
    return replace(installed, row=next(rows, None), verified=True)


def _read_list(path: Path) -> dict[str, str]:
    """Lines of `sha256sum`: checksum, space, space or asterisk, name relative to the list."""
    listed: dict[str, str] = {}
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"([0-9a-fA-F]{64}) [ *](?:\./)?(\S.*)", line)
        if not match or Path(match[2]).is_absolute() or ".." in Path(match[2]).parts:
            raise ModelBroken(f"{path}: line {number} is not what `sha256sum` prints for a file beside it.")
        listed[match[2].rstrip()] = match[1].lower()
    return listed


def _damaged(
    installed: Installed, name: str, found: str, expected: str, expected_size: int | None = None
) -> ModelBroken:
    path = installed.folder / name
    size = path.stat().st_size
    if expected_size not in (None, size):
        what = f"it has {size:,} bytes instead of {expected_size:,}"
    else:
        what = f"its sha256 is {found} instead of {expected}"
    return ModelBroken(f"{path} is damaged or of another model: {what}. {_cure(installed)}")


def _cure(installed: Installed) -> str:
    if installed.embedded:
        return "It is part of the program: install that again, or set MODEL_PATH to the folder of a model."
    return (
        "Run `stt-server download --replace` to fetch a good copy."
        f" If these are weights of your own, list their checksums in a file {CHECKSUMS} beside them."
    )
