"""The decode child while it waits for its orders."""

import asyncio
import sys
from pathlib import Path

import pytest

from stt_server.jobs.decoding import Decoder


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says so")
async def test_a_child_that_waits_has_given_its_powers_away() -> None:
    """Nobody's time is spent on it later, and no file can reach a child that has not."""
    decoder = Decoder(max_duration=60)
    await decoder.warm_up()
    try:
        assert decoder._spare
        status = Path(f"/proc/{(await decoder._spare).pid}/status")
        for _ in range(100):
            facts = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
            bound = facts["NoNewPrivs"] == "1" and int(facts["CapEff"], 16) in (0, 2)
            if bound:
                break
            await asyncio.sleep(0.05)
        assert bound, facts
    finally:
        await decoder.close()
