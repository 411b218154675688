"""What children find done when they start."""

import sys
from multiprocessing.connection import Connection

from stt_server.jobs.workers import Child


def _tell(pipe: Connection) -> None:
    from stt_server.speech import vad

    pipe.send((vad._settled.cache_info().currsize, "av" in sys.modules))


async def test_a_child_comes_from_a_process_that_has_listened() -> None:
    """The detector is ready, and the decoders are loaded, before its first line runs."""
    child = await Child.start(_tell)
    try:
        assert await child.receive_within(20) == (1, True)
    finally:
        await child.close()
