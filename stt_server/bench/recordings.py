"""A folder of recordings, and what is said in them."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stt_server.bench.errors import normalised
from stt_server.errors import SttError

MANIFEST = "manifest.tsv"


@dataclass(frozen=True, slots=True)
class Recording:
    """One file."""

    path: Path
    text: str
    """What is said in it; at least one word."""


def read_recordings(folder: Path) -> list[Recording]:
    """Those that `manifest.tsv` lists (columns `file` and `transcript`), else those with a text file beside them.

    Recordings of which nothing is known are left out. Raises `SttError` when none is left.
    """
    try:
        rows = _listed(folder / MANIFEST) if (folder / MANIFEST).is_file() else _beside(folder)
        found = [recording for recording in rows if normalised(recording.text)]
    except OSError as error:
        raise SttError(f"{error.filename}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SttError(f"A text in {folder} is not UTF-8.") from error
    if not found:
        raise SttError(
            f"{folder} has no recordings with texts: put a file call.txt beside call.wav, or list them in {MANIFEST},"
            " with columns file and transcript."
        )
    return found


def _listed(manifest: Path) -> Iterator[Recording]:
    with manifest.open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        if missing := {"file", "transcript"} - set(rows.fieldnames or ()):
            raise SttError(f"{manifest} has no column {' and '.join(sorted(missing))}.")
        for row in rows:
            yield Recording(manifest.parent / row["file"], row["transcript"] or "")


def _beside(folder: Path) -> Iterator[Recording]:
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix != ".txt")
    for path in files:
        if (text := path.with_suffix(".txt")).is_file():
            yield Recording(path, text.read_text(encoding="utf-8"))
