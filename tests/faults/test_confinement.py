"""What a child that a hostile file has taken over finds, and what it can reach: nothing of worth."""

from contextlib import suppress
from pathlib import Path

from tests.assets import needs_model
from tests.faults.family import family
from tests.real.process import ROUTE, ServerProcess
from tests.sounds import SAMPLE

KEY, TOKEN = "kanary-key-in-the-environment", "kanary-token-in-the-environment"


def memory(pid: int) -> bytes:
    """All that a process could change: its heap, its stacks, its variables."""
    found = []
    maps, content = Path(f"/proc/{pid}/maps").read_text(), Path(f"/proc/{pid}/mem")
    with content.open("rb", buffering=0) as file:
        for line in maps.splitlines():
            where, how = line.split()[:2]
            first, last = (int(address, 16) for address in where.split("-"))
            if how.startswith("rw"):
                file.seek(first)
                with suppress(OSError):  # reserved, not there
                    found.append(file.read(last - first))
    return b"".join(found)


@needs_model
def test_no_secret_reaches_the_children(tmp_path: Path) -> None:
    """Neither in their environment, as the kernel keeps it, nor anywhere else in their memory."""
    with ServerProcess(tmp_path, API_KEYS=f"acme:{KEY}", HF_TOKEN=TOKEN, DATABASE_URL=TOKEN) as server:
        server.ready()
        answer = server.http.post(
            ROUTE, files={"file": SAMPLE.read_bytes()}, headers={"Authorization": f"Bearer {KEY}"}
        )
        assert answer.status_code == 200
        children = family(server.pid)[1:]
        assert len(children) >= 3
        assert KEY.encode() in memory(server.pid)  # so it would be found
        for pid in children:
            held = Path(f"/proc/{pid}/environ").read_bytes() + memory(pid)
            assert b"in-the-environment" not in held
