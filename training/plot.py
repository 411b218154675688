"""Curves of a training run, drawn from its log: `python -m training.plot WORK training/curves.png`."""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def draw(records: list[dict[str, Any]], out: Path) -> None:
    """Phoneme accuracy, losses and word error rates over the hours of speech heard."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4), layout="constrained")
    _lines(left, [r for r in records if r["stage"] == "phonemes"], {"right": "share of phonemes that are right"})
    losses = {"tdt": "transducer, a token", "letters": "CTC, a letter", "middle": "CTC, a letter, in the middle"}
    _lines(middle, [r for r in records if r["stage"] == "text"], losses)
    _lines(right, [r for r in records if r["stage"] == "check"], {"en": "English", "fr": "French"})
    for axes, title in ((left, "Phonemes"), (middle, "Losses, nats"), (right, "Word error rate, new sentences, %")):
        axes.set(title=title, xlabel="hours of speech heard", ylim=(0, None))
        axes.grid(alpha=0.3)
    middle.set(yscale="log", ylim=(0.3, 10))
    figure.savefig(out, dpi=110)


def _lines(axes: Any, records: list[dict[str, Any]], names: dict[str, str]) -> None:
    for name, label in names.items():
        points = [(record["hours"], record[name]) for record in records if name in record]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, marker="o" if len(points) < 40 else None)
    axes.legend()


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    records = [json.loads(line) for line in (given.work / "log.jsonl").read_text().splitlines()]
    # Steps that were done again after a break count once.
    latest = {(record["stage"], record["step"]): record for record in records}
    draw(sorted(latest.values(), key=lambda record: record["step"]), given.out)


if __name__ == "__main__":
    main()
