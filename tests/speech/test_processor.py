"""What is read from /proc/cpuinfo, and whether it is true of ONNX Runtime here."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from stt_server.speech.processor import instructions, multiplies_exactly, read_facts

SERVER = (
    "processor\t: 0\nmodel name\t: Some Xeon\nflags\t\t: fpu avx2 avx512f avx512_vnni\n\n"
    "processor\t: 1\nmodel name\t: None\nflags\t\t: none\n"
)
LAPTOP = "processor\t: 0\nmodel name\t: Some Core\nflags\t\t: fpu avx2 avx_vnni\n"
OLD = "processor\t: 0\nmodel name\t: Some older Core\nflags\t\t: fpu avx2 avx512f\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\nCPU part\t: 0xd40\n"


@pytest.mark.parametrize(("text", "exact"), [(SERVER, True), (LAPTOP, True), (OLD, False), (ARM, False), ("", False)])
def test_fast_kernels_are_used_where_they_are_known_to_be_exact(tmp_path: Path, text: str, exact: bool) -> None:
    """With VNNI, on x86; nowhere else."""
    (tmp_path / "cpuinfo").write_text(text)
    assert multiplies_exactly(tmp_path / "cpuinfo") == exact


def test_the_first_processor_speaks_for_all(tmp_path: Path) -> None:
    """Names and instruction sets are those of the first one; other systems than Linux have no such file."""
    (tmp_path / "cpuinfo").write_text(SERVER)
    facts = read_facts(tmp_path / "cpuinfo")
    assert facts["model name"] == "Some Xeon"
    assert instructions(facts) == {"fpu", "avx2", "avx512f", "avx512_vnni"}
    assert instructions(read_facts(tmp_path / "absent")) == frozenset()


@pytest.mark.skipif(not multiplies_exactly(), reason="this processor is not said to be exact")
@pytest.mark.parametrize("rows", [1, 2, 17, 130])
def test_sums_do_not_overflow_here(rows: int) -> None:
    """The largest products there are, thousands of them, are added up without loss by the kernels that are trusted."""
    inner, columns = 4096, 33
    node = helper.make_node("MatMulInteger", ["x", "w", "", "z"], ["y"])
    largest = np.where(np.arange(columns) % 2, 127, -128).astype(np.int8)
    weights = np.broadcast_to(largest, (inner, columns))
    graph = helper.make_graph(
        [node],
        "sums",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [None, inner])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [None, columns])],
        [
            helper.make_tensor("w", TensorProto.INT8, weights.shape, weights.tobytes(), raw=True),
            helper.make_tensor("z", TensorProto.INT8, [], [-3]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.full((rows, inner), 255, np.uint8)})
    expected = 255 * inner * (largest.astype(np.int64) + 3)
    assert (found == expected).all()
