"""The TDT loss: minus the log-probability of a text, summed over all ways to say it.

Xu et al. 2023 (arXiv:2304.06795), with durations 0 to 4. In a cell (t, u) of the lattice the model stands at frame t
with u tokens said. A blank moves it on by a duration of at least 1, a token by any duration and one token further. The
last move is a blank that lands on the frame behind the last.

Only the cells of an utterance are kept, one after the other: no padding is computed. The recursions run as plain loops
compiled by numba, on the CPU, also when the model is on a GPU: they are a few per cent of a step.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from training.model import DURATIONS, Joiner

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class Lattice:
    """The cells of a batch: utterance by utterance, row by row, each T rows of U+1 cells."""

    frames: Int64
    """T of each utterance."""
    tokens: Int64
    """U of each utterance."""

    @property
    def first(self) -> Int64:
        """Index of each utterance's first cell."""
        return np.concatenate([[0], np.cumsum(self.frames * (self.tokens + 1))[:-1]]).astype(np.int64)

    def places(self) -> tuple[Int64, Int64, Int64]:
        """Utterance, frame and token of each cell."""
        cells = self.frames * (self.tokens + 1)
        utterance = np.repeat(np.arange(len(cells)), cells)
        within = np.arange(cells.sum()) - np.repeat(self.first, cells)
        frame, token = np.divmod(within, np.repeat(self.tokens + 1, cells))
        return utterance, frame, token


def tdt_loss(
    joiner: Joiner, encoded: Tensor, predicted: Tensor, labels: Tensor, lattice: Lattice, sigma: float
) -> Tensor:
    """Loss of each utterance (B,), in nats.

    `encoded` (B, T, joiner) and `predicted` (B, U+1, joiner) are projected already, `labels` is (B, U). `sigma` is
    subtracted from all token scores: it makes long durations worth more (the paper's logit under-normalisation).
    """
    places = lattice.places()
    cells = len(places[0])
    # Filled up with the first cell: a processor's matrix kernels are made anew for each new shape.
    filled = -(-cells // _CELLS) * _CELLS
    utterance, frame, token = (
        torch.from_numpy(np.pad(place, (0, filled - cells))).to(encoded.device) for place in places
    )
    last = torch.nn.functional.pad(labels, (0, 1))
    hidden = torch.relu(encoded[utterance, frame] + predicted[utterance, token])
    blank, label, durations = _Scores.apply(hidden, joiner.out.weight, joiner.out.bias, last[utterance, token])
    moves = (blank[:cells] - sigma, label[:cells] - sigma, durations[:cells])
    losses: Tensor = _Recursion.apply(*moves, lattice)
    return losses


class _Scores(torch.autograd.Function):
    """The joiner's last layer: log-probabilities of the blank, of the next label and of the durations in each cell.

    All scores of a batch would be the largest array of a step by far. They are computed some cells at a time, and
    again in the backward pass: what is written stays in the cache.
    """

    @staticmethod
    def forward(context: Any, hidden: Tensor, weight: Tensor, bias: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        context.save_for_backward(hidden, weight, bias, labels)
        parts = []
        for rows, wanted in zip(hidden.split(_CELLS), labels.split(_CELLS), strict=True):
            tokens, durations = _log_probabilities(rows, weight, bias)
            parts.append((tokens[:, -1], tokens.gather(1, wanted[:, None]).squeeze(1), durations))
        return tuple(torch.cat(part) for part in zip(*parts, strict=True))

    @staticmethod
    def backward(context: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, labels = context.saved_tensors
        of_hidden, of_weight, of_bias = torch.empty_like(hidden), torch.zeros_like(weight), torch.zeros_like(bias)
        chunks = (array.split(_CELLS) for array in (hidden, of_hidden, labels, *grads))
        for rows, of_rows, wanted, blank, label, duration in zip(*chunks, strict=True):
            tokens, durations = _log_probabilities(rows, weight, bias)
            of_tokens = tokens.exp_().mul_(-(blank + label)[:, None])
            of_tokens[:, -1] += blank
            of_tokens.scatter_add_(1, wanted[:, None], label[:, None])
            of_durations = duration - durations.exp() * duration.sum(-1, keepdim=True)
            of_scores = torch.cat([of_tokens, of_durations], 1)
            of_bias += of_scores.sum(0)
            of_scores = of_scores.to(hidden.dtype)
            of_weight += of_scores.T @ rows
            torch.mm(of_scores, weight.to(hidden.dtype), out=of_rows)
        return of_hidden, of_weight, of_bias, None


_CELLS = 1024
"""Rows of the joiner computed at a time: 3 MB of scores."""


def _log_probabilities(hidden: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Of tokens with the blank, and of durations: (cells, tokens + 1), (cells, DURATIONS)."""
    scores = (hidden @ weight.to(hidden.dtype).T).float() + bias
    return scores[:, :-DURATIONS].log_softmax(-1), scores[:, -DURATIONS:].log_softmax(-1)


class _Recursion(torch.autograd.Function):
    """Log-probabilities of the moves to the loss, and the moves' posteriors as its gradients."""

    @staticmethod
    def forward(context: Any, blank: Tensor, label: Tensor, durations: Tensor, lattice: Lattice) -> Tensor:
        moves = [scores.detach().cpu().numpy() for scores in (blank, label, durations)]
        shape = (lattice.frames, lattice.tokens, lattice.first)
        losses, *gradients = _forward_backward(*moves, *shape)
        context.gradients = [torch.from_numpy(gradient).to(blank.device) for gradient in gradients]
        context.cells = torch.from_numpy(np.repeat(np.arange(len(losses)), lattice.frames * (lattice.tokens + 1)))
        return torch.from_numpy(losses).to(blank.device)

    @staticmethod
    def backward(context: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weight = grads[0][context.cells.to(grads[0].device)]
        blank, label, durations = context.gradients
        return blank * weight, label * weight, durations * weight[:, None], None


_NEVER = np.float32(-1e30)


@njit(cache=True)
def _forward_backward(
    blank: Float32, label: Float32, durations: Float32, frames: Int64, tokens: Int64, first: Int64
) -> tuple[Float32, Float32, Float32, Float32]:
    """Losses of the utterances, and their gradients by the scores of blank, label and durations."""
    losses = np.zeros(len(frames), np.float32)
    of_blank, of_label, of_durations = np.zeros_like(blank), np.zeros_like(label), np.zeros_like(durations)
    for i in range(len(frames)):
        rows, columns = frames[i], tokens[i] + 1
        ends = _ends(blank, label, durations, first[i], rows, columns)
        losses[i] = -ends[0, 0]
        _posteriors(blank, label, durations, first[i], ends, of_blank, of_label, of_durations)
    return losses, of_blank, of_label, of_durations


@njit(cache=True)
def _ends(blank: Float32, label: Float32, durations: Float32, first: int, rows: int, columns: int) -> Float32:
    """Log-probability of all ways from each cell to the end: (T + 1, U + 1), of which the last row is the end."""
    ends = np.full((rows + 1, columns), _NEVER, np.float32)
    ends[rows, columns - 1] = 0
    ways = np.empty(2 * durations.shape[1], np.float32)
    for t in range(rows - 1, -1, -1):
        for u in range(columns - 1, -1, -1):
            cell = first + t * columns + u
            count = 0
            for d in range(min(durations.shape[1], rows - t + 1)):
                if d > 0:
                    ways[count] = blank[cell] + durations[cell, d] + ends[t + d, u]
                    count += 1
                if u + 1 < columns and t + d < rows:
                    ways[count] = label[cell] + durations[cell, d] + ends[t + d, u + 1]
                    count += 1
            high = ways[:count].max()
            if high > _NEVER / 2:
                ends[t, u] = high + np.log(np.exp(ways[:count] - high).sum())
    return ends


@njit(cache=True)
def _posteriors(
    blank: Float32,
    label: Float32,
    durations: Float32,
    first: int,
    ends: Float32,
    of_blank: Float32,
    of_label: Float32,
    of_durations: Float32,
) -> None:
    """Take each move's probability, given the text, from the gradients of its two scores."""
    rows, columns = ends.shape[0] - 1, ends.shape[1]
    reached = np.zeros((rows + 1, columns), np.float64)
    reached[0, 0] = 1
    # `reached` is the probability that the cell is passed, given the text: no logarithm is needed.
    for t in range(rows):
        for u in range(columns):
            mass = reached[t, u]
            if mass < 1e-12:
                continue
            cell = first + t * columns + u
            for d in range(min(durations.shape[1], rows - t + 1)):
                if d > 0:
                    move = mass * np.exp(blank[cell] + durations[cell, d] + ends[t + d, u] - ends[t, u])
                    reached[t + d, u] += move
                    of_blank[cell] -= move
                    of_durations[cell, d] -= move
                if u + 1 < columns and t + d < rows:
                    move = mass * np.exp(label[cell] + durations[cell, d] + ends[t + d, u + 1] - ends[t, u])
                    reached[t + d, u + 1] += move
                    of_label[cell] -= move
                    of_durations[cell, d] -= move
