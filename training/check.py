"""Word error rate of a run so far, in torch, on a few clips, into its log: `python -m training.check WORK`."""

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from stt_server.types import Word
from training import features
from training.corpus import Samples
from training.evaluate import synthesised
from training.export import load
from training.model import DURATIONS, Transducer
from training.scoring import score
from training.text import Tokenizer

_SYMBOLS = 5
"""Tokens at one frame, at most."""


@torch.no_grad()
def greedy(model: Transducer, energies: Tensor) -> list[int]:
    """The likeliest token and duration at each step. Energies (frames, mels)."""
    encoded, lengths, _ = model.encoder(energies[None], torch.tensor([len(energies)]))
    frames = model.joiner.from_encoder(encoded[0])
    tokens: list[int] = []
    at, here, state = 0, 0, None
    last = torch.tensor([[model.tokens]])
    outputs, state = model.predictor(last, state)
    while at < int(lengths[0]):
        scores = model.joiner(frames[at], model.joiner.from_predictor(outputs[0, 0]))
        token, duration = int(scores[:-DURATIONS].argmax()), int(scores[-DURATIONS:].argmax())
        if token != model.tokens:
            tokens.append(token)
            outputs, state = model.predictor(torch.tensor([[token]]), state)
            here += 1
        if duration == 0 and (token == model.tokens or here >= _SYMBOLS):
            duration = 1
        at, here = at + duration, here if duration == 0 else 0
    return tokens


def main() -> None:
    """Print and log the rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--clips", type=int, default=60, help="of each language")
    parser.add_argument("--folder", default="held-out-known")
    given = parser.parse_args()
    torch.set_num_threads(1)
    model, tokenizer = load(given.work / "text.pt"), Tokenizer(given.work / "tokens.model")

    def recognise(samples: Samples) -> list[Word]:
        text = tokenizer.decode(greedy(model, torch.from_numpy(features.nemo(samples))))
        return [Word(word, 0, 0) for word in text.split()]

    clips = synthesised(given.work / "speech" / given.folder)
    log = given.work / "log.jsonl"
    last = json.loads(log.read_text().splitlines()[-1])
    record = {"stage": "check", "step": last["step"], "hours": last["hours"]}
    for language in ("en", "fr"):
        chosen = [clip for clip in clips if clip.language == language][: given.clips]
        record[language] = round(score(chosen, recognise).error_rate, 1)
        for clip in chosen[:4]:
            print(clip.text, "->", " ".join(word.text for word in recognise(clip.samples)))
    print(json.dumps(record))
    with log.open("a") as file:
        file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
