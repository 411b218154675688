"""A user's recordings are found with their texts, in either of two ways."""

import shutil
from pathlib import Path

import pytest

from stt_server.bench.recordings import MANIFEST, Recording, read_recordings
from stt_server.bench.speech import SAMPLES
from stt_server.errors import SttError


def test_a_text_beside_each_file() -> None:
    """The project's own samples are such a folder."""
    found = read_recordings(SAMPLES)
    assert [recording.path.name for recording in found] == sorted(path.name for path in SAMPLES.glob("*.wav"))
    assert found[-1].text.strip() == "My phone number is four one five two nine six three."


def test_files_without_text_are_left_out(tmp_path: Path) -> None:
    """Nothing can be counted there; nor where a text has no words."""
    for name in ("one.wav", "two.wav", "three.wav"):
        shutil.copy(SAMPLES / "voicemail.wav", tmp_path / name)
    (tmp_path / "one.txt").write_text("Hello.")
    (tmp_path / "two.txt").write_text(" …\n")
    assert read_recordings(tmp_path) == [Recording(tmp_path / "one.wav", "Hello.")]


def test_a_manifest_goes_first(tmp_path: Path) -> None:
    """Its paths are relative to it, quotes stay, and other columns do not matter."""
    (tmp_path / MANIFEST).write_text('seconds\ttranscript\tfile\n3\tHe said "no".\tdeep/a.ogg\n1\t\tb.ogg\n')
    (tmp_path / "c.txt").write_text("Not listed.")
    (tmp_path / "c.wav").touch()
    assert read_recordings(tmp_path) == [Recording(tmp_path / "deep" / "a.ogg", 'He said "no".')]


@pytest.mark.parametrize(
    ("content", "message"),
    [("file\ttext\na.wav\thello\n", "no column transcript"), ("file\ttranscript\na.wav\t\n", "no recordings")],
)
def test_a_manifest_that_does_not_help_is_said(tmp_path: Path, content: str, message: str) -> None:
    """The message names what is missing."""
    (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(SttError, match=message):
        read_recordings(tmp_path)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    """By its name."""
    with pytest.raises(SttError, match="nowhere: No such file"):
        read_recordings(tmp_path / "nowhere")


def test_a_text_in_another_encoding_is_said(tmp_path: Path) -> None:
    """Words would be wrong that are right."""
    (tmp_path / "a.wav").touch()
    (tmp_path / "a.txt").write_bytes("été".encode("latin-1"))
    with pytest.raises(SttError, match="not UTF-8"):
        read_recordings(tmp_path)
