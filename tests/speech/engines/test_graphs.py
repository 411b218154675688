"""ONNX Runtime behind its border."""

import platform
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FREE = textwrap.dedent("""
    from pathlib import Path
    import numpy as np
    from stt_server.speech.engines.graphs import Graph
    from stt_server.speech.models import EMBEDDED

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20

    graph = Graph(EMBEDDED / "joiner.int8.onnx", inputs=(3, 3), outputs=1)
    before = resident()
    np.ones(8 << 20, np.uint8)  # freeing one block is what makes glibc keep all smaller ones
    large, small = [], []
    for _ in range(100):
        large.append(np.ones(2 << 20, np.uint8))
        small.append(np.ones(100_000, np.uint8))
    assert resident() - before > 150
    del large
    print(resident() - before)
""")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps large blocks")
def test_large_blocks_go_back_to_the_system() -> None:
    """Also where small ones that are still in use lie between them, as after loading a graph."""
    ended = subprocess.run([sys.executable, "-c", FREE], capture_output=True, text=True, cwd=ROOT, check=True)
    assert int(ended.stdout) < 50
