"""The results as pictures."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot

from benchmarks.report import lengths, loads
from benchmarks.results import Results, contestants


def draw(results: Results, folder: Path) -> None:
    """Write `speed.png`, `memory.png` and `load.png`, those for which there is something."""
    mpl.use("Agg")
    if lengths(results):
        _speed(results, folder / "speed.png")
        _memory(results, folder / "memory.png")
    if loads(results):
        _load(results, folder / "load.png")


def _speed(results: Results, path: Path) -> None:
    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    for name in contestants(results.measurements):
        points = [(x, y) for x in lengths(results) if (y := results.speed(name, f"{x:g} s"))]
        axes.plot([x for x, _ in points], [1 / y for _, y in points], marker="o", label=name)
    axes.set(xscale="log", yscale="log", xlabel="length of a clip, s", ylabel="real-time factor (less is better)")
    _finish(figure, axes, path, lengths(results))


def _memory(results: Results, path: Path) -> None:
    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    for name in contestants(results.measurements):
        points = [(x, y) for x in lengths(results) if (y := results.memory(name, f"{x:g} s"))]
        axes.plot([x for x, _ in points], [y for _, y in points], marker="o", label=name)
    axes.set(xscale="log", ylim=(0, None), xlabel="length of a clip, s", ylabel="peak memory, MiB")
    _finish(figure, axes, path, lengths(results))


def _load(results: Results, path: Path) -> None:
    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    counts = [float(at_a_time) for at_a_time, _ in loads(results)]
    for quantile, label in ((0.5, "median"), (0.95, "95 of 100 within")):
        axes.plot(counts, [np.quantile(one.latencies, quantile) for _, one in loads(results)], marker="o", label=label)
    axes.set(xscale="log", ylim=(0, None), xlabel="clips of 10 s at a time, over HTTP", ylabel="latency, s")
    _finish(figure, axes, path, counts)


def _finish(figure: pyplot.Figure, axes: pyplot.Axes, path: Path, ticks: list[float]) -> None:
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
