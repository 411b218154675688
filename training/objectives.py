"""What is learnt in each stage: phonemes frame by frame first, then text.

A small encoder that starts with the text stays on a plateau where it only knows how frequent each token is. The
synthesisers tell when each phoneme begins; some minutes of that lead it off.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.batches import SLOTS, UNLABELLED, Batch
from training.loss import Lattice, tdt_loss
from training.model import Transducer
from training.text import LETTERS

LETTER_WEIGHT = 0.2
"""Of each auxiliary loss over letters, against the transducer's."""
SIGMA = 0.02
"""Logit under-normalisation; the paper's value is 0.05 at most."""


class Phonemes(nn.Module):
    """Cross entropy of the phoneme in each slot, at the middle and at the end of the encoder."""

    def __init__(self, model: Transducer, phonemes: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(model.encoder.width, SLOTS * phonemes) for _ in range(2))

    def loss(self, model: Transducer, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Of all labelled slots."""
        encoded, _, middle = model.encoder(batch.features, batch.frames)
        slots = batch.phonemes.flatten()
        scores = [
            head(hidden).float().reshape(len(slots), -1)
            for head, hidden in zip(self.heads, (middle, encoded), strict=True)
        ]
        labelled = max(1, int((slots != UNLABELLED).sum()))
        losses = [
            functional.cross_entropy(score, slots, ignore_index=UNLABELLED, reduction="sum") / labelled
            for score in scores
        ]
        right = float((scores[1].argmax(-1) == slots).sum()) / labelled
        return losses[0] + losses[1], {"phonemes": losses[1].item(), "right": right}


class Text(nn.Module):
    """The TDT loss, with CTC over letters at the middle and at the end of the encoder."""

    def __init__(self, model: Transducer) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(model.encoder.width, SLOTS * (len(LETTERS) + 1)) for _ in range(2))

    def loss(self, model: Transducer, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Of a token, plus that of a letter twice."""
        encoded, frames, middle = model.encoder(batch.features, batch.frames)
        lattice = Lattice(frames.cpu().numpy(), batch.token_counts.cpu().numpy())
        projected = model.joiner.from_encoder(encoded)
        losses = tdt_loss(model.joiner, projected, model.predict(batch.tokens), batch.tokens, lattice, SIGMA)
        transducer = losses.sum() / batch.token_counts.sum().clamp(min=1)
        letters = [
            _spelling(head(hidden), frames, batch) for head, hidden in zip(self.heads, (middle, encoded), strict=True)
        ]
        figures = {"tdt": transducer.item(), "letters": letters[1].item(), "middle": letters[0].item()}
        return transducer + LETTER_WEIGHT * (letters[0] + letters[1]), figures


def _spelling(scores: Tensor, frames: Tensor, batch: Batch) -> Tensor:
    """CTC loss of a letter (Graves et al. 2006). Scores (B, T, SLOTS * (letters + 1))."""
    probabilities = scores.float().reshape(len(frames), -1, len(LETTERS) + 1).log_softmax(-1)
    losses = functional.ctc_loss(
        probabilities.transpose(0, 1),
        batch.letters,
        frames * SLOTS,
        batch.letter_counts,
        blank=len(LETTERS),
        reduction="none",
        zero_infinity=True,
    )
    return torch.as_tensor(losses.sum() / batch.letter_counts.sum().clamp(min=1))
