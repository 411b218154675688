"""What this machine's processor can do: as Linux tells it, and as it computes."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


class Kernels(StrEnum):
    """Which form of an 8-bit model is run; the setting of that name."""

    AUTO = "auto"
    """The prepared one where it is exact."""
    PREPARED = "prepared"
    """The one prepared for 8-bit instructions, whatever is known of the processor."""
    PUBLISHED = "published"
    """The file as it came."""


@dataclass(frozen=True, slots=True)
class Family:
    """Instructions that multiply bytes, and whether ONNX Runtime's sums of unsigned times signed bytes are exact there.

    Inexact are those that add pairs of products in 16 bits, where 255 x 127 x 2 does not fit: sums are then wrong,
    silently.
    """

    name: str
    flag: str
    """As Linux calls it."""
    exact: bool | None
    """None where it should be so by the instructions' definition and was never seen: there a trial decides."""


FAMILIES = (
    Family("AMX", "amx_int8", exact=True),
    Family("AVX512-VNNI", "avx512_vnni", exact=True),
    Family("AVX-VNNI", "avx_vnni", exact=True),
    Family("AVX512 without VNNI", "avx512bw", exact=False),
    Family("AVX2 without VNNI", "avx2", exact=False),
    Family("SSE4.1", "sse4_1", exact=False),
    Family("ARM i8mm", "i8mm", exact=None),
    Family("ARM dotprod", "asimddp", exact=None),
)
"""The best first. A processor of none of them is tried as well."""


def read_facts(cpuinfo: Path = CPUINFO) -> dict[str, str]:
    """The first processor's lines of /proc/cpuinfo; none elsewhere than on Linux."""
    try:
        first = cpuinfo.read_text(errors="replace").split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def instructions(facts: dict[str, str]) -> frozenset[str]:
    """Names of its instruction sets."""
    return frozenset(facts.get("flags", facts.get("Features", "")).split())


def family(facts: dict[str, str]) -> Family | None:
    """The first of `FAMILIES` that it belongs to."""
    flags = instructions(facts)
    return next((family for family in FAMILIES if family.flag in flags), None)


def _try() -> bool:
    # Imported late: ONNX Runtime's start is only paid where the processor is not known.
    from stt_server.speech.engines.trial import sums_are_exact

    return sums_are_exact()


def multiplies_exactly(cpuinfo: Path = CPUINFO, *, trial: Callable[[], bool] = _try) -> bool:
    """Whether ONNX Runtime adds up products of unsigned and signed bytes without loss here.

    As is known of the processor's family; where nothing is known, as a trial comes out, which takes milliseconds.
    """
    found = family(read_facts(cpuinfo))
    return trial() if found is None or found.exact is None else found.exact
