"""The command line: see the package."""

import argparse
import sys
import time
from pathlib import Path

from training.synthesis.shards import Task, make, read
from training.voices import CASTS


def main() -> None:
    """Read the options, speak what is missing."""
    parser = argparse.ArgumentParser(prog="python -m training.synthesis", description="Speak sentences into shards.")
    parser.add_argument("sentences", type=Path, help="lines of `language TAB text`")
    parser.add_argument("out", type=Path, help="folder of the shards")
    parser.add_argument("--voices", choices=CASTS, default="training")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--limit", type=int, help="only the first so many sentences")
    parser.add_argument("--shard-size", type=int, default=1000, help="sentences a shard")
    options = parser.parse_args()
    sentences, size = read(options.sentences, options.limit), options.shard_size
    tasks = [
        Task(options.out, index, tuple(sentences[first : first + size]), options.voices, options.seed)
        for index, first in enumerate(range(0, len(sentences), size))
    ]
    _follow([task for task in tasks if not task.done], options.jobs)


def _follow(tasks: list[Task], jobs: int) -> None:
    """Make the shards and say how it goes."""
    begun, seconds = time.monotonic(), 0.0
    for made, more in enumerate(make(tasks, jobs), start=1):
        seconds += more
        speed = seconds / (time.monotonic() - begun)
        line = f"{made} of {len(tasks)} shards, {seconds / 3600:.2f} h of speech, {speed:.0f} x real time"
        print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
