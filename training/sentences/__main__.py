"""Writes the sentences to train with and to test with: one a line, language, tab, text."""

import argparse
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from random import Random

from training.sentences import LANGUAGES, corpus, generate

Rows = list[tuple[str, str]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write `train.tsv` and `held-out.tsv`, half English, half French, shuffled."""
    parser = argparse.ArgumentParser(prog="python -m training.sentences", description=__doc__)
    parser.add_argument("work", type=Path, help="folder to write to")
    parser.add_argument("--train", type=int, default=30_000, help="sentences to train with")
    parser.add_argument("--held-out", type=int, default=400, help="sentences to test with")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    train, held_out = _draw(options.train, options.held_out, options.seed)
    options.work.mkdir(parents=True, exist_ok=True)
    _write(options.work / "train.tsv", train)
    _write(options.work / "held-out.tsv", held_out)


def _draw(train: int, held_out: int, seed: int) -> tuple[Rows, Rows]:
    """Training first: what can be said in few ways only ("Five.") must be heard there, and is not worth testing."""
    sets: tuple[Rows, Rows] = [], []
    for language in LANGUAGES:
        known = corpus(language, train // len(LANGUAGES), seed)
        taken = set(known)
        fresh = (text for text in generate(language, seed + 1) if text not in taken)
        for rows, texts in zip(sets, (known, _distinct(fresh, held_out // len(LANGUAGES))), strict=True):
            rows.extend((language, text) for text in texts)
    for rows in sets:
        Random(seed).shuffle(rows)  # noqa: S311  # no secret
    return sets


def _distinct(texts: Iterable[str], count: int) -> list[str]:
    return list(islice(dict.fromkeys(islice(texts, 2 * count)), count))


def _write(path: Path, rows: Rows) -> None:
    path.write_text("".join(f"{language}\t{text}\n" for language, text in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
