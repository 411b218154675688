"""The long run: every promise that takes minutes to check, on this machine, with its numbers.

python -m tests.faults.long                  everything, about an hour
python -m tests.faults.long --quick          a twentieth of everything
python -m tests.faults.long --only kills     one part; may be repeated
python -m tests.faults.long --json FILE      the numbers for machines, too
python -m tests.faults.long --page FILE      the table as a page; docs/long-run.md is one
"""

import json
import os
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from stt_server import __version__
from tests.faults.parts import PARTS, Finding, Run
from tests.faults.server import launching

QUICK = 0.05
"""Of everything."""


def machine() -> str:
    """What it was measured on."""
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = next(int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal"))
    cpus = len(os.sched_getaffinity(0))
    processor = names[0] if names else platform.machine()
    system = f"Linux {platform.release()}, Python {platform.python_version()}"
    return f"{cpus} CPUs of {processor}, {memory / 1e6:.0f} GB, {system}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def run_parts(names: Sequence[str], scale: float, console: Console) -> list[tuple[str, Finding]]:
    """Run them, telling each finding as it comes."""
    found: list[tuple[str, Finding]] = []
    with launching() as launcher, tempfile.TemporaryDirectory() as folder:
        run = Run(launcher, Path(folder), scale)
        for name in names:
            console.print(f"[bold]{name}[/bold]: {PARTS[name].__doc__}")
            try:
                for finding in PARTS[name](run):
                    found.append((name, finding))
                    console.print(f"  {'kept ' if finding.kept else 'BROKEN'} {finding.what}: {finding.measured}")
            except Exception:
                console.print_exception()
                found.append((name, Finding("it ended early", "see above", "", False)))
    return found


def _table(found: list[tuple[str, Finding]], title: str) -> Table:
    table = Table("part", "what", "measured", "promised", "", title=title)
    for name, finding in found:
        table.add_row(name, finding.what, finding.measured, finding.promised, "kept" if finding.kept else "BROKEN")
    return table


def page(facts: dict[str, Any]) -> str:
    """What `--json` writes, for people."""
    rows = (
        f"| {each['part']} | {each['what']} | {each['measured']} | {each['promised']} |"
        f" {'kept' if each['kept'] else '**broken**'} |"
        for each in facts["findings"]
    )
    return "\n".join(
        (
            "# What takes long to check",
            "",
            "The promises of [SECURITY.md](../SECURITY.md) that minutes cannot check, and this page, by one command:",
            "",
            "```sh",
            ".venv/bin/python -m tests.faults.long --page docs/long-run.md  # about an hour",
            "```",
            "",
            f"Last run: {facts['began'][:10]}, stt-server {facts['version']}, {facts['minutes']} minutes"
            f"{', a twentieth of everything' if facts['quick'] else ''}; {facts['machine']}.",
            "",
            "| part | what | measured | promised | |",
            "| --- | --- | --- | --- | --- |",
            *rows,
            "",
        )
    )


def main(
    only: Annotated[list[str] | None, typer.Option(help=f"Parts: {', '.join(PARTS)}.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A twentieth of everything.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the numbers here, too.")] = None,
    page_file: Annotated[Path | None, typer.Option("--page", help="Write the table here as Markdown.")] = None,
) -> None:
    """Check the promises that take long, and show a table."""
    if unknown := set(only or ()) - PARTS.keys():
        raise typer.BadParameter(f"no part {', '.join(unknown)}", param_hint="--only")
    console = Console()
    began = datetime.now(UTC)
    found = run_parts(only or list(PARTS), QUICK if quick else 1.0, console)
    minutes = (datetime.now(UTC) - began).total_seconds() / 60
    title = f"stt-server {__version__}, {began:%Y-%m-%d %H:%M} UTC, {minutes:.0f} minutes"
    console.print(_table(found, f"{title}{', a twentieth' if quick else ''}\n{machine()}"))
    facts = {
        "version": __version__,
        "began": began.isoformat(),
        "minutes": round(minutes),
        "quick": quick,
        "machine": machine(),
        "findings": [{"part": name, **asdict(finding)} for name, finding in found],
    }
    if json_file:
        json_file.write_text(json.dumps(facts, indent=2))
    if page_file:
        page_file.write_text(page(facts))
    raise typer.Exit(0 if all(finding.kept for _, finding in found) else 1)


if __name__ == "__main__":
    typer.run(main)
