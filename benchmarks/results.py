"""What was measured, kept as JSON beside the tables made of it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Self

from benchmarks.limit import Product
from benchmarks.machine import Machine

FILE = "results.json"
DISTURBED = 0.10
"""Of the processors' time: what was measured while others had more is marked."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Some clips through one contestant, once."""

    contestant: str
    task: str
    round: int
    clips: int
    audio: float
    """Seconds of all clips."""
    seconds: float
    """From the first clip's being handed over to the last one's text."""
    latencies: tuple[float, ...]
    """Seconds, of each clip."""
    tokens: int | None
    """Of all clips; None over HTTP."""
    peak_mib: float
    """Of all its processes, since it had loaded its model."""
    foreign: float
    """What part of the processors' time others had, [0, 1]."""

    @property
    def speed(self) -> float:
        """Seconds of audio recognised a second."""
        return self.audio / self.seconds


@dataclass(frozen=True, slots=True)
class Overhead:
    """The same clip over HTTP, and its decoding and inference alone, in turn: seconds, of each time."""

    http: tuple[float, ...]
    parts: tuple[float, ...]
    foreign: float

    @property
    def ms(self) -> float:
        """What the server adds to a request."""
        return 1000 * (median(self.http) - median(self.parts))


@dataclass(slots=True)
class Results:
    """Of one run, or of several on one machine."""

    date: str
    machine: Machine
    versions: dict[str, str]
    model: str
    speech: str
    products: list[Product] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    overhead: Overhead | None = None

    @property
    def limit(self) -> float | None:
        """10^12 operations a second at best."""
        return max((product.tops for product in self.products), default=None)

    def of(self, contestant: str, task: str) -> list[Measurement]:
        """All rounds; only those in which others left us alone, if there are any."""
        found = [one for one in self.measurements if (one.contestant, one.task) == (contestant, task)]
        return [one for one in found if one.foreign <= DISTURBED] or found

    def memory(self, contestant: str, task: str) -> float | None:
        """Median of the peaks, MiB: nobody's use of the processors changes them."""
        found = [one.peak_mib for one in self.measurements if (one.contestant, one.task) == (contestant, task)]
        return median(found) if found else None

    def speed(self, contestant: str, task: str) -> float | None:
        """Median over the rounds."""
        found = self.of(contestant, task)
        return median(one.speed for one in found) if found else None

    def latency(self, contestant: str, task: str) -> float | None:
        """Median over all clips of all rounds, seconds."""
        found = [latency for one in self.of(contestant, task) for latency in one.latencies]
        return median(found) if found else None

    def save(self, folder: Path) -> None:
        """Write them down; whole or not at all, since runs are interrupted."""
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{FILE}.part"
        part.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        part.replace(folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """What `save` has written."""
        row: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return cls(
            **{
                **row,
                "machine": Machine(**_tuples(row["machine"])),
                "products": [Product(**_tuples(one)) for one in row["products"]],
                "measurements": [Measurement(**_tuples(one)) for one in row["measurements"]],
                "overhead": Overhead(**_tuples(row["overhead"])) if row["overhead"] else None,
            }
        )


def _tuples(row: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}


def contestants(measurements: Sequence[Measurement]) -> list[str]:
    """In the order of their first appearance in the first round."""
    return list(dict.fromkeys(one.contestant for one in sorted(measurements, key=lambda one: one.round)))
