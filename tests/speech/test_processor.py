"""What is read from /proc/cpuinfo."""

from pathlib import Path

import pytest

from stt_server.speech.processor import family, instructions, multiplies_exactly, read_facts

SERVER = (
    "processor\t: 0\nmodel name\t: Some Xeon\nflags\t\t: fpu avx2 avx512f avx512_vnni\n\n"
    "processor\t: 1\nmodel name\t: None\nflags\t\t: none\n"
)
LAPTOP = "processor\t: 0\nmodel name\t: Some Core\nflags\t\t: fpu avx2 avx_vnni\n"
OLD = "processor\t: 0\nmodel name\t: Some older Core\nflags\t\t: fpu avx2 avx512f\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\nCPU part\t: 0xd40\n"


@pytest.mark.parametrize(
    ("text", "name", "exact"),
    [
        (SERVER, "AVX512-VNNI", True),
        (LAPTOP, "AVX-VNNI", True),
        (OLD, "AVX2 without VNNI", False),
        (ARM, "ARM i8mm", None),
        ("", None, None),
    ],
)
def test_fast_kernels_are_used_where_they_are_exact(
    tmp_path: Path, text: str, name: str | None, exact: bool | None
) -> None:
    """With VNNI, on x86, and never without; elsewhere a trial decides, which is not made where it is known."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(text)
    found = family(read_facts(cpuinfo))
    assert (found and found.name) == name
    for outcome in (True, False):
        trials: list[bool] = []

        def trial(outcome: bool = outcome, trials: list[bool] = trials) -> bool:
            trials.append(outcome)
            return outcome

        assert multiplies_exactly(cpuinfo, trial=trial) == (outcome if exact is None else exact)
        assert bool(trials) == (exact is None)


def test_the_first_processor_speaks_for_all(tmp_path: Path) -> None:
    """Names and instruction sets are those of the first one; other systems than Linux have no such file."""
    (tmp_path / "cpuinfo").write_text(SERVER)
    facts = read_facts(tmp_path / "cpuinfo")
    assert facts["model name"] == "Some Xeon"
    assert instructions(facts) == {"fpu", "avx2", "avx512f", "avx512_vnni"}
    assert instructions(read_facts(tmp_path / "absent")) == frozenset()
