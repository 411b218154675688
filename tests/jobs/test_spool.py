"""The folder of audio being worked on."""

from pathlib import Path

import pytest

from stt_server.errors import StorageFull
from stt_server.jobs.spool import Spool


def test_a_part_becomes_the_whole_file(tmp_path: Path) -> None:
    """Keeping moves the part; discarding removes every trace of the name."""
    spool = Spool(tmp_path / "spool")
    spool.part("a").write_bytes(b"sound")
    assert spool.keep("a", durable=True).read_bytes() == b"sound"
    assert not spool.part("a").exists()
    spool.pcm("a").write_bytes(b"samples")
    spool.discard("a")
    assert list(spool.folder.iterdir()) == []


def test_the_sweep_keeps_only_what_live_jobs_own(tmp_path: Path) -> None:
    """After a crash, parts, samples and audio of nobody go; audio of promised jobs stays."""
    spool = Spool(tmp_path)
    for path in (spool.audio("live"), spool.pcm("live"), spool.part("live"), spool.audio("dead")):
        path.write_bytes(b"x")
    assert spool.sweep(["live"]) == 3
    assert list(tmp_path.iterdir()) == [spool.audio("live")]


def test_a_full_disk_is_said_before_writing(tmp_path: Path) -> None:
    """What would eat into the reserve is refused."""
    spool = Spool(tmp_path)
    spool.check_free(1)
    with pytest.raises(StorageFull):
        spool.check_free(1 << 60)
