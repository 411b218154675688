"""Tables of the results, in Markdown."""

from collections.abc import Callable, Iterator, Sequence
from statistics import median

import numpy as np

from benchmarks.contest import HTTP, VOICEMAILS
from benchmarks.limit import giga_operations
from benchmarks.results import DISTURBED, Measurement, Results, contestants

_WINDOW = 10.0
"""Seconds. The fraction of the limit counts what windows of this length cost, whoever takes longer ones."""
OVERHEAD_MS, LATENCY_SHARE = 5.0, 0.25
"""What is asked of the server: see README.md."""


def render(results: Results) -> str:
    """All tables, with what they were measured on."""
    return "\n".join(
        [
            _facts(results),
            "### Seconds of audio a second\n",
            _speeds(results),
            "### Ours against the others\n",
            _ratios(results),
            "### Peak memory while recognising, MiB\n",
            _table(results, _memory),
            "### Tokens a second of audio\n",
            _table(results, _tokens),
            *([] if not loads(results) and not results.overhead else ["### Over HTTP\n", _http(results)]),
        ]
    )


def _facts(results: Results) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    lines = [
        f"Measured on {results.date}: {results.machine}.",
        f"Model: {results.model}. Speech: {results.speech}. {versions}.",
    ]
    if results.limit:
        best = max(results.products, key=lambda product: product.tops)
        lines.append(
            f"Its limit for 8-bit products: {best.tops:.2f} TOPS ({best.library}, {' x '.join(map(str, best.shape))}),"
            f" enough for {_limit(results, _WINDOW):.0f} s of audio a second in windows of {_WINDOW:g} s."
        )
    return "\n".join(lines) + "\n"


# -- Tables of contestants and tasks -----------------------------------------------------------------


def _speeds(results: Results) -> str:
    columns = _tasks(results)
    rows = []
    for name in contestants(results.measurements):
        cells = [_speed(results.of(name, task)) for task in columns]
        rows.append([name, *cells, *([_share(results, name)] if results.limit else [])])
    head = ["", *columns, *(["of the limit, 10 s"] if results.limit else [])]
    return _markdown(head, rows) + _marks(results)


def _speed(found: Sequence[Measurement]) -> str:
    if not found:
        return ""
    speeds = [one.speed for one in found]
    middle = median(speeds)
    noise = f" ± {50 * (max(speeds) - min(speeds)) / middle:.0f} %" if len(speeds) > 1 else ""
    return f"{middle:.1f}{noise}{_mark(found)}"


def _mark(found: Sequence[Measurement]) -> str:
    return " *" if median(one.foreign for one in found) > DISTURBED else ""


def _marks(results: Results) -> str:
    text = "\nMedians of the rounds; ± half the distance between the best and the worst, where several count."
    if any(one.foreign > DISTURBED for one in results.measurements):
        text += (
            f" Rounds in which others had more than {DISTURBED:.0%} of the processors do not count; where there is no"
            " other round, the median is marked with *."
        )
    return text + "\n"


def _limit(results: Results, seconds: float) -> float:
    """Seconds of audio a second that the machine's 8-bit products would allow, if there were nothing else."""
    return (results.limit or 0.0) * 1000 / giga_operations(seconds)


def _share(results: Results, name: str) -> str:
    speed = results.speed(name, f"{_WINDOW:g} s")
    return f"{speed / _limit(results, _WINDOW):.0%}" if speed else ""


def _memory(results: Results, name: str, task: str) -> str:
    peak = results.memory(name, task)
    return f"{peak:.0f}" if peak else ""


def _tokens(results: Results, name: str, task: str) -> str:
    counted = [one.tokens / one.audio for one in results.of(name, task) if one.tokens is not None]
    return f"{median(counted):.1f}" if counted else ""


def _table(results: Results, cell: Callable[[Results, str, str], str]) -> str:
    columns = _tasks(results)
    rows = [[name, *(cell(results, name, task) for task in columns)] for name in contestants(results.measurements)]
    return _markdown(["", *columns], [row for row in rows if any(row[1:])])


def _tasks(results: Results) -> list[str]:
    """Lengths, then voicemails."""
    names = {one.task for one in results.measurements}
    lengths = sorted((name for name in names if name.endswith(" s")), key=lambda name: float(name.split()[0]))
    return [*lengths, *(name for name in names if name.startswith(VOICEMAILS))]


def lengths(results: Results) -> list[float]:
    """Seconds of the clips."""
    return [float(name.split()[0]) for name in _tasks(results) if name.endswith(" s")]


# -- Ours against the others -------------------------------------------------------------------------


def _ratios(results: Results) -> str:
    names, tasks = contestants(results.measurements), _tasks(results)
    ours = [name for name in names if name.startswith("ours, ")]
    others = [name for name in names if not name.startswith("ours")]
    rows = []
    for one in ours:
        for other in others:
            cells = [_ratio(results.of(one, task), results.of(other, task)) for task in tasks]
            if any(cells):
                rows.append([one.removeprefix("ours, "), other, *cells])
    return _markdown(["ours", "times as fast as", *tasks], rows)


def _ratio(ones: Sequence[Measurement], others: Sequence[Measurement]) -> str:
    """Of the medians; nothing where one of them is marked: it says more of the disturbance than of the programs."""
    if not ones or not others or _mark(ones) or _mark(others):
        return ""
    return f"{median(one.speed for one in ones) / median(other.speed for other in others):.1f}"


# -- Over HTTP ---------------------------------------------------------------------------------------


def _http(results: Results) -> str:
    lines = list(_bars(results))
    rows = [
        [
            str(at_a_time),
            f"{one.speed:.1f}{_mark([one])}",
            *(f"{q:.2f}" for q in np.quantile(one.latencies, [0.5, 0.95])),
        ]
        for at_a_time, one in loads(results)
    ]
    head = ["clips of 10 s at a time", "seconds of audio a second", "median latency, s", "95 of 100 within, s"]
    return "\n".join(f"- {line}" for line in lines) + "\n\n" + (_markdown(head, rows) if rows else "")


def _bars(results: Results) -> Iterator[str]:
    if results.overhead:
        verdict = "met" if results.overhead.ms < OVERHEAD_MS else "missed"
        others = f"others had {results.overhead.foreign:.0%} of the processors"
        yield (
            f"Overhead of a request, everything but decoding and inference: {results.overhead.ms:.1f} ms"
            f" (wanted: under {OVERHEAD_MS:g} ms, {verdict}; {others})."
        )
    alone = next((name for name in contestants(results.measurements) if "sherpa" in name and "threads" in name), "")
    ours, theirs = results.latency(HTTP, "10 s"), results.latency(alone, "10 s")
    if ours and theirs:
        verdict = "met" if ours <= LATENCY_SHARE * theirs else "missed"
        yield (
            f"A clip of 10 s on an idle server: {ours:.2f} s, {ours / theirs:.0%} of what {alone}, needs for the clip"
            f" alone, {theirs:.2f} s (wanted: {LATENCY_SHARE:.0%} at most, {verdict})."
        )


def loads(results: Results) -> list[tuple[int, Measurement]]:
    """Clips at a time over HTTP, and what was measured."""
    found = [one for one in results.measurements if one.task.startswith("load ")]
    return sorted(((int(one.task.split()[1]), one) for one in found), key=lambda pair: pair[0])


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
