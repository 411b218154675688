"""Where the results go: a folder of the run, and, when asked, the page that the project shows."""

import argparse
import shutil
from pathlib import Path

from benchmarks.report import render
from benchmarks.results import Results

PAGE = Path(__file__).parent / "README.md"
SHOWN = Path(__file__).parent / "results"
BEGIN = "<!-- The rest is written by `python -m benchmarks --publish`. -->\n"
_PICTURES = {
    "speed.png": "Real-time factor against length",
    "memory.png": "Memory against length",
    "load.png": "Latency against load",
}


def write(results: Results, folder: Path) -> None:
    """`results.md` and the pictures, beside `results.json`."""
    (folder / "results.md").write_text(render(results), encoding="utf-8")
    try:
        from benchmarks.plots import draw
    except ImportError:
        print("no pictures: matplotlib is not installed")
        return
    draw(results, folder)


def into_readme(results: Results, folder: Path) -> None:
    """Put them in the place of the last ones."""
    SHOWN.mkdir(exist_ok=True)
    results.save(SHOWN)
    shown = []
    for name, title in _PICTURES.items():
        if (folder / name).is_file():
            shutil.copyfile(folder / name, SHOWN / name)
            shown.append(f"![{title}](results/{name})\n")
    head, mark, _ = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{head}{mark}\n{render(results)}\n{''.join(shown)}", encoding="utf-8")


def main() -> None:
    """Render the results of a folder again, for the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.publish", description=main.__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    results = Results.load(folder)
    write(results, folder)
    into_readme(results, folder)


if __name__ == "__main__":
    main()
