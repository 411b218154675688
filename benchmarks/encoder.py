"""How much faster the prepared encoder is than the published one, on this machine.

`python benchmarks/encoder.py MODEL_FOLDER`. Both run in turn in one process, so that whatever else the machine does
weighs on both; each thread runs one window at a time, as in the server. The input is noise: the time does not depend
on it.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from stt_server.speech.engines.features import HOP
from stt_server.speech.engines.layout import find_layout
from stt_server.speech.engines.networks import Encoder
from stt_server.speech.engines.prepared import Why, prepare


def main() -> None:
    """Print a table."""
    asked = _arguments()
    published = find_layout(asked.model).encoder
    choice = prepare(asked.model, smallest=0)
    if choice.why not in (Why.LEAN, Why.PREPARED):
        sys.exit(f"There is nothing to compare: {published.name} is {choice.why}.")
    encoders = {"published": Encoder(published), "prepared": Encoder(choice.path)}
    print(f"{published}, windows of {asked.seconds:g} s, medians of {asked.rounds} rounds (fastest in brackets)")
    print(f"{'threads':>7}  {'encoder':<10} {'s of audio per s':>20}  {'ratio':>5}")
    for threads in asked.threads:
        times = _measure(encoders, threads, asked.seconds, asked.rounds)
        for name, taken in times.items():
            ratio = statistics.median(times["published"]) / statistics.median(taken)
            speed, best = (asked.seconds * threads / t for t in (statistics.median(taken), min(taken)))
            print(f"{threads:>7}  {name:<10} {speed:>12.1f} ({best:.1f})  {ratio:>5.2f}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path, help="folder of a downloaded model")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a window")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    return parser.parse_args()


def _measure(encoders: dict[str, Encoder], threads: int, seconds: float, rounds: int) -> dict[str, list[float]]:
    """Seconds that each encoder takes for one window on each thread, over and over."""
    times: dict[str, list[float]] = {name: [] for name in encoders}
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(rounds + 1):
            for name, encoder in encoders.items():
                times[name].append(_once(pool, encoder, threads, seconds))
    return {name: taken[1:] for name, taken in times.items()}  # the first round warms up


def _once(pool: ThreadPoolExecutor, encoder: Encoder, threads: int, seconds: float) -> float:
    mels = encoder.graph.size(0, 1) or 128  # sherpa-onnx leaves it open
    noise = np.random.default_rng(0).standard_normal((mels, round(seconds / HOP)), np.float32)
    windows: Sequence[np.ndarray] = [noise] * threads
    began = time.perf_counter()
    list(pool.map(encoder, windows))
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
