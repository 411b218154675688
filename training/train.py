"""Training, in stages that each go on from the last: `python -m training.train WORK STAGE --help`."""

import argparse
import json
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import distributed, multiprocessing, nn
from torch.utils.data import DataLoader

from training.batches import Batch, Batches, Mixture
from training.corpus import shards
from training.features import MELS
from training.model import Size, Transducer
from training.objectives import Phonemes, Text
from training.optimizers import Optimizers
from training.text import Tokenizer

LOG_EVERY = 25
"""Steps."""
_CLIP = 5.0
"""Longest gradient."""


@dataclass(frozen=True)
class Plan:
    """One run of a stage."""

    work: Path
    stage: str
    """`phonemes` or `text`."""
    steps: int
    """At which step of this stage it ends."""
    cooldown: int
    """Steps at the end in which the rate goes to 0."""
    rate: float
    """The highest learning rate."""
    warmup: int
    frozen: int
    """Steps at the start in which the encoder stays as it is: new outputs would undo what it knows."""
    processes: int
    device: str
    mixture: Mixture
    size: Size
    seed: int

    @property
    def checkpoint(self) -> Path:
        """Where this stage is kept."""
        return self.work / f"{self.stage}.pt"

    def rate_at(self, step: int) -> float:
        """Trapezoid: up, level, down (Hägele et al. 2024, arXiv:2405.18392). It can go on while it is level."""
        since = step - self.frozen if step >= self.frozen else step
        return self.rate * min(1.0, (since + 1) / self.warmup, max(0.0, (self.steps - step) / max(self.cooldown, 1)))


class Run:
    """One process of a run: its copy of the model, and what it needs to go on after a break."""

    def __init__(self, plan: Plan, rank: int) -> None:
        torch.manual_seed(plan.seed)
        # The posteriors of improbable moves are denormal numbers, which cost a CPU more than twice the time of a step.
        torch.set_flush_denormal(True)
        self._plan = plan
        self._rank = rank
        self._tokenizer = plan.work / "tokens.model"
        text = plan.stage == "text"
        self._phonemes = [] if text else _inventory(plan.mixture)
        self._model = Transducer(MELS, len(Tokenizer(self._tokenizer)), plan.size).to(plan.device)
        objective: Phonemes | Text = Text(self._model) if text else Phonemes(self._model, len(self._phonemes))
        self._objective = objective.to(plan.device)
        self._both = nn.ModuleList([self._model, self._objective])
        self._average = {name: value.clone() for name, value in self._model.state_dict().items()}
        self._optimizers = Optimizers(self._model.encoder.blocks, self._both)
        self._step = 0
        self._hours = 0.0
        """Of audio heard, by all processes."""
        self._started = time.monotonic()
        self._figures: dict[str, float] = defaultdict(float)
        self._resume()

    def train(self) -> None:
        """Until the plan's last step."""
        batches = Batches(self._plan.mixture, self._tokenizer, self._phonemes, self._seed())
        for batch in DataLoader(batches, batch_size=None, num_workers=1, prefetch_factor=8):
            self._learn(batch.to(self._plan.device))
            if self._step % LOG_EVERY == 0:
                self._log()
            if self._step % 250 == 0 or self._step >= self._plan.steps:
                self._save()
            if self._step >= self._plan.steps:
                return

    def _seed(self) -> int:
        """Another one for each process, and after each break."""
        return self._plan.seed + 1000 * self._rank + self._step

    def _learn(self, batch: Batch) -> None:
        frozen = self._step < self._plan.frozen
        self._model.encoder.requires_grad_(not frozen)
        with torch.autocast(self._plan.device, torch.bfloat16):
            loss, figures = self._objective.loss(self._model, batch)
        loss.backward()
        self._share_gradients()
        length = nn.utils.clip_grad_norm_(self._both.parameters(), _CLIP)
        if torch.isfinite(length):
            self._optimizers.step(self._plan.rate_at(self._step))
        else:
            self._both.zero_grad(set_to_none=True)
        self._step += 1
        self._hours += batch.seconds * self._plan.processes / 3600
        self._follow()
        for name, value in {**figures, "gradient": length.item()}.items():
            self._figures[name] += value / LOG_EVERY

    def _share_gradients(self) -> None:
        """Give all processes the mean."""
        if self._plan.processes == 1:
            return
        gradients = [p.grad for p in self._both.parameters() if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= self._plan.processes
        parts = flat.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average over the last steps, which is what is exported."""
        share = max(1 / 500, 10 / (10 + self._step))
        for name, value in self._model.state_dict().items():
            self._average[name].lerp_(value, share)

    def _log(self) -> None:
        record = {
            "stage": self._plan.stage,
            "step": self._step,
            "minutes": round((time.monotonic() - self._started) / 60, 2),
            "hours": round(self._hours, 2),
            "rate": self._plan.rate_at(self._step),
            **{name: round(value, 4) for name, value in self._figures.items()},
        }
        self._figures.clear()
        if self._rank == 0:
            print(json.dumps(record), flush=True)
            with (self._plan.work / "log.jsonl").open("a") as log:
                log.write(json.dumps(record) + "\n")

    def _save(self) -> None:
        if self._rank:
            return
        new = self._plan.checkpoint.with_suffix(".new")
        torch.save(
            {
                "size": asdict(self._plan.size),
                "tokens": self._model.tokens,
                "average": self._average,
                "both": self._both.state_dict(),
                "optimizers": self._optimizers.state_dict(),
                "step": self._step,
                "hours": self._hours,
            },
            new,
        )
        new.replace(self._plan.checkpoint)

    def _resume(self) -> None:
        """From this stage's checkpoint; without one, from the encoder of the stage before."""
        if self._plan.checkpoint.exists():
            saved = _load(self._plan.checkpoint)
            self._both.load_state_dict(saved["both"])
            self._optimizers.load_state_dict(saved["optimizers"])
            self._average = saved["average"]
            self._step, self._hours = saved["step"], saved["hours"]
        elif self._plan.stage == "text":
            saved = _load(self._plan.work / "phonemes.pt")
            self._model.load_state_dict(saved["average"])


def _inventory(mixture: Mixture) -> list[str]:
    """Names of all phonemes in the speech."""
    lines = (line for folder in mixture.folders for shard in shards(folder) for line in shard.lines)
    return sorted({mark.name for line in lines for mark in line.phonemes})


def _load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(path, map_location="cpu")
    return loaded


def _process(rank: int, plan: Plan, meeting: str) -> None:
    torch.set_num_threads(1 if plan.device == "cpu" else 4)
    if plan.processes > 1:
        distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=plan.processes)
    Run(plan, rank).train()


def _plan() -> Plan:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path, help="the folder with tokens.model and speech/")
    parser.add_argument("stage", choices=["phonemes", "text"])
    parser.add_argument("--speech", action="append", required=True, help="FOLDER or FOLDER=SHARE, below WORK/speech")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--cooldown", type=int, default=0)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--warmup", type=int, default=100)
    parser.add_argument("--frozen", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=Mixture.seconds)
    parser.add_argument("--joined", type=float, default=Mixture.joined)
    parser.add_argument("--silent", type=float, default=Mixture.silent)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    folders = {
        given.work / "speech" / name: float(share or 1) for name, _, share in (s.partition("=") for s in given.speech)
    }
    mixture = Mixture(folders, seconds=given.seconds, joined=given.joined, silent=given.silent)
    names = ("work", "stage", "steps", "cooldown", "rate", "warmup", "frozen", "processes", "device", "seed")
    return Plan(mixture=mixture, size=Size(), **{name: getattr(given, name) for name in names})


def main() -> None:
    """Run one stage to its last step, from where it was left."""
    plan = _plan()
    meeting = (plan.work / "meeting").absolute()
    meeting.unlink(missing_ok=True)
    multiprocessing.spawn(_process, (plan, meeting.as_uri()), nprocs=plan.processes)


if __name__ == "__main__":
    main()
