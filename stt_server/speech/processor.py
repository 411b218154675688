"""What this machine's processor can do, as Linux tells it."""

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")

EXACT = frozenset({"avx512_vnni", "avx_vnni"})
"""Instructions that add products of unsigned and signed bytes in 32 bits. x86 processors without them add pairs in 16
bits, where 255 x 127 x 2 does not fit: ONNX Runtime's results are then wrong, silently."""


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


def multiplies_exactly(cpuinfo: Path = CPUINFO) -> bool:
    """Whether products of unsigned and signed bytes are known to be added up without loss.

    Only where it is known: ARM's would be exact, but what is gained there was never measured.
    """
    return bool(EXACT & instructions(read_facts(cpuinfo)))
