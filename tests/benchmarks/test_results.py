"""What was measured is kept, and judged by the rounds that nobody disturbed."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.limit import Product, giga_operations
from benchmarks.machine import Machine
from benchmarks.publish import BEGIN, PAGE, SHOWN, into_readme
from benchmarks.report import render
from benchmarks.results import Measurement, Overhead, Results

ONE = Measurement(
    contestant="ours, one clip at a time",
    task="10 s",
    round=0,
    clips=3,
    audio=30.0,
    seconds=1.0,
    latencies=(0.3, 0.3, 0.4),
    tokens=105,
    peak_mib=900.0,
    foreign=0.02,
)


def measured(**speeds: tuple[float, ...]) -> list[Measurement]:
    """For each contestant (an underscore for each blank) its seconds of audio a second in the rounds."""
    return [
        replace(ONE, contestant=name.replace("_", " "), round=number, seconds=ONE.audio / speed)
        for name, rounds in speeds.items()
        for number, speed in enumerate(rounds)
    ]


@pytest.fixture
def results() -> Results:
    return Results(
        date="2026-11-21",
        machine=Machine("a processor", 2, ("avx512_vnni",), 24),
        versions={"onnxruntime": "1.31.1"},
        model="random weights",
        speech="samples",
        products=[Product("ONNX Runtime", (125, 1024, 4096), 1.5), Product("oneDNN", (1000, 1024, 4096), 1.631)],
        measurements=measured(**{"ours, one_clip": (30.0, 33.0, 90.0), "sherpa-onnx, 2_threads": (10.0, 11.0, 9.0)}),
    )


def row(page: str, name: str, heading: str) -> list[str]:
    """Cells of the contestant's row in the table below a heading."""
    table = page.partition(f"### {heading}\n")[2].partition("\n### ")[0]
    [line] = [line for line in table.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_what_is_saved_is_loaded_again(results: Results, tmp_path: Path) -> None:
    """Every number of it."""
    results.overhead = Overhead((0.031, 0.032), (0.027, 0.028), 0.01)
    results.save(tmp_path)
    assert Results.load(tmp_path) == results


def test_a_speed_is_the_median_with_its_noise_and_its_part_of_the_limit(results: Results) -> None:
    """30, 33 and 90: the median, half the distance, and what 1.631 TOPS would allow at 16.31 operations a second."""
    assert giga_operations(10) == pytest.approx(16.31)
    assert row(render(results), "ours, one clip", "Seconds of audio a second") == ["33.0 ± 91 %", "33%"]


def test_a_disturbed_round_does_not_count_unless_there_is_no_other(results: Results) -> None:
    """What is shown without a mark was measured on a quiet machine."""
    first, second, third, *others = results.measurements
    results.measurements = [first, second, replace(third, foreign=0.3), *others]
    assert row(render(results), "ours, one clip", "Seconds of audio a second")[0] == "31.5 ± 5 %"
    results.measurements = [replace(one, foreign=0.3) for one in results.measurements]
    assert row(render(results), "ours, one clip", "Seconds of audio a second")[0] == "33.0 ± 91 % *"


def test_ratios_are_of_undisturbed_medians(results: Results) -> None:
    """Each way of ours against each of the others; nothing is said where one of them had no quiet round."""
    assert row(render(results), "one clip", "Ours against the others") == ["sherpa-onnx, 2 threads", "3.3"]
    first, *others = results.measurements
    results.measurements = [first, *(replace(one, foreign=0.3) for one in others)]
    assert "| one clip |" not in render(results)


def test_both_bars_are_judged(results: Results) -> None:
    """5 ms of overhead, and a quarter of the other's time for 10 s."""
    over_http = [replace(ONE, contestant="ours over HTTP", latencies=(0.06,) * 3, tokens=None)]
    theirs = [replace(one, latencies=(0.3,) * 3) for one in measured(**{"sherpa-onnx, 2_threads": (33.0,)})]
    results.measurements = [*over_http, *theirs]
    results.overhead = Overhead((0.034, 0.030, 0.032), (0.027, 0.0275, 0.028), 0.0)
    page = render(results)
    assert "4.5 ms (wanted: under 5 ms, met;" in page
    assert (
        "0.06 s, 20% of what sherpa-onnx, 2 threads, needs for the clip alone, 0.30 s (wanted: 25% at most, met)"
        in page
    )
    results.overhead = Overhead((0.034,), (0.027,), 0.0)
    results.measurements = [replace(one, latencies=(0.3,) * 3) for one in results.measurements]
    page = render(results)
    assert "7.0 ms (wanted: under 5 ms, missed;" in page
    assert "100% of what" in page
    assert "at most, missed" in page


def test_the_page_shows_what_was_measured() -> None:
    """Nobody has polished the numbers by hand."""
    shown = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2]
    assert shown.startswith(f"\n{render(Results.load(SHOWN))}\n")


def test_publishing_replaces_the_last_results(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What people have written above stays; twice published is once published."""
    page = tmp_path / "README.md"
    page.write_text(f"# Written by people\n\n{BEGIN}\nold\n", encoding="utf-8")
    monkeypatch.setattr("benchmarks.publish.PAGE", page)
    monkeypatch.setattr("benchmarks.publish.SHOWN", tmp_path / "results")
    for _ in range(2):
        into_readme(results, tmp_path)
        assert page.read_text(encoding="utf-8") == f"# Written by people\n\n{BEGIN}\n{render(results)}\n"
    assert Results.load(tmp_path / "results") == results
