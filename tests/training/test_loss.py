"""The TDT loss and its gradients, against a plain recursion."""

from functools import cache
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: see training/README.md")
pytest.importorskip("numba", reason="numba is not installed: see training/README.md")

from training.loss import Lattice, tdt_loss  # noqa: E402
from training.model import DURATIONS, Joiner, Size  # noqa: E402

SHAPES = [(7, 4), (5, 2), (3, 3), (1, 0), (1, 3), (4, 0), (9, 1)]
TOKENS = 6
SIGMA = 0.05


def plain(outputs: Any, labels: list[int], frames: int) -> Any:
    """The definition, cell by cell. Outputs (T, U+1, tokens + 1 + durations)."""
    tokens = outputs[..., :-DURATIONS].log_softmax(-1) - SIGMA
    durations = outputs[..., -DURATIONS:].log_softmax(-1)

    @cache
    def end(t: int, u: int) -> Any:
        if t == frames:
            return torch.zeros(()) if u == len(labels) else None
        ways = []
        for d in range(min(DURATIONS, frames - t + 1)):
            if d > 0 and (rest := end(t + d, u)) is not None:
                ways.append(tokens[t, u, TOKENS] + durations[t, u, d] + rest)
            if u < len(labels) and t + d < frames and (rest := end(t + d, u + 1)) is not None:
                ways.append(tokens[t, u, labels[u]] + durations[t, u, d] + rest)
        return torch.stack(ways).logsumexp(0) if ways else None

    total = end(0, 0)
    assert total is not None
    return -total


def test_loss_and_gradients() -> None:
    """Equal to the plain recursion for utterances of many shapes in one batch."""
    torch.manual_seed(1)
    joiner = Joiner(Size(width=8, joiner=12, predictor=8), TOKENS)
    frames, counts = (np.array(numbers) for numbers in zip(*SHAPES, strict=True))
    encoded = torch.randn(len(SHAPES), max(frames), 12, requires_grad=True)
    predicted = torch.randn(len(SHAPES), max(counts) + 1, 12, requires_grad=True)
    labels = torch.randint(0, TOKENS, (len(SHAPES), max(counts)))

    def gradients(losses: Any) -> list[Any]:
        weights = torch.arange(1, len(SHAPES) + 1)
        return list(torch.autograd.grad((losses * weights).sum(), [encoded, predicted, *joiner.out.parameters()]))

    ours = tdt_loss(joiner, encoded, predicted, labels, Lattice(frames, counts), SIGMA)
    wanted = torch.stack(
        [
            plain(
                joiner(encoded[i, :t, None], predicted[i, None, : u + 1]),
                labels[i, :u].tolist(),
                t,
            )
            for i, (t, u) in enumerate(SHAPES)
        ]
    )
    torch.testing.assert_close(ours, wanted, rtol=1e-5, atol=1e-5)
    for mine, expected in zip(gradients(ours), gradients(wanted), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-5)
