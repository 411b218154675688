"""Random weights that keep a signal alive through 24 blocks, and biases that make decoding cost what speech costs."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.twin.network import DURATIONS, Attention, Block, Decoder, Encoder, FeedForward, Joiner
from stt_server.speech.engines.features import Float32, LogMel

TOKENS_PER_SECOND = 3.5
"""Of fluent speech: 150 words a minute of 1.4 tokens each."""
_FRAME = 0.08
"""Seconds of an encoder frame."""
_SHARES = (0.04, 0.33, 0.33, 0.2, 0.1)
"""Of the durations 0 to 4 among the joint's steps: two steps for each token at this rate, as with real weights."""
_MOST_SYMBOLS = 5
_ROUNDS = 16


@torch.no_grad()
def fill(networks: Sequence[nn.Module], generator: torch.Generator) -> None:
    """Draw all weights: gains near one, outputs of uneven size, weak branches beside the residual."""
    for module in (part for network in networks for part in network.modules()):
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
            _fill_linear(module, generator)
        elif isinstance(module, nn.LayerNorm):
            module.weight.normal_(1.0, 0.2, generator=generator)
            module.bias.normal_(0.0, 0.1, generator=generator)
        elif isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_(0.0, 0.1, generator=generator)
            module.running_var.uniform_(0.1, 0.5, generator=generator)
        elif isinstance(module, nn.LSTM):
            for weight in module.parameters():
                weight.normal_(0.0, 1.5 / module.hidden_size**0.5 if weight.dim() > 1 else 0.05, generator=generator)
        elif isinstance(module, nn.Embedding):
            module.weight.normal_(generator=generator)
            module.weight[module.padding_idx] = 0.0
    for module in (part for network in networks for part in network.modules()):
        _weaken(module, generator)


def _fill_linear(module: nn.Module, generator: torch.Generator) -> None:
    weight = module.weight
    weight.normal_(0.0, weight[0].numel() ** -0.5, generator=generator)
    uneven = torch.randn(len(weight), *[1] * (weight.dim() - 1), generator=generator)
    weight.mul_(torch.exp(0.3 * uneven))
    if module.bias is not None:
        module.bias.normal_(0.0, 0.02, generator=generator)


def _weaken(module: nn.Module, generator: torch.Generator) -> None:
    """Without this, the blocks would average all frames into one, and no token would ever change."""
    if isinstance(module, FeedForward):
        module.down.weight.mul_(0.3)
    elif isinstance(module, Block):
        module.convolution.out.weight.mul_(0.5)
    elif isinstance(module, Attention):
        module.out.weight.mul_(0.25)
        module.query.weight.mul_(2.0)
        module.key.weight.mul_(2.0)
        module.content_bias.normal_(0.0, 0.2, generator=generator)
        module.position_bias.normal_(0.0, 0.2, generator=generator)


@dataclass(frozen=True, slots=True)
class Rates:
    """How a model decodes speech, a second of audio."""

    tokens: float
    steps: float
    """Runs of the joint."""


@torch.no_grad()
def calibrate(encoder: Encoder, decoder: Decoder, joiner: Joiner, clips: Sequence[Float32]) -> Rates:
    """Set the joint's biases so that greedy search finds `TOKENS_PER_SECOND` in these clips (16 kHz).

    Clips of several lengths: attention over random keys depends on it.
    """
    encoded = [_encode(encoder, clip) for clip in clips]
    _spread(joiner, torch.cat(encoded))
    seconds = sum(len(frames) for frames in encoded) * _FRAME
    blank = joiner.out.out_features - DURATIONS - 1
    for _ in range(_ROUNDS):
        runs = [_search(frames, decoder, joiner, blank) for frames in encoded]
        scores = torch.cat([run for run, _ in runs])
        rates = Rates(sum(tokens for _, tokens in runs) / seconds, len(scores) / seconds)
        _adjust(joiner, scores, blank, wanted=min(0.95, TOKENS_PER_SECOND / rates.steps))
    return rates


def _encode(encoder: Encoder, clip: Float32) -> Tensor:
    """(T, width)."""
    mels = encoder.subsampling.out.in_features // encoder.subsampling.conv[0].out_channels * 8
    features = torch.from_numpy(LogMel(mels)(clip))[None]
    outputs, _ = encoder(features, torch.tensor([features.shape[2]]))
    return outputs[0].T


def _spread(joiner: Joiner, encoded: Tensor) -> None:
    """Make the joint hear what changes between frames rather than what they share."""
    joiner.from_encoder.weight.div_((encoded @ joiner.from_encoder.weight.T).std(0).mean())
    joiner.from_encoder.bias.copy_(-(encoded @ joiner.from_encoder.weight.T).mean(0))
    joiner.from_decoder.weight.mul_(0.5)
    joiner.out.weight.mul_(3.0)


def _search(encoded: Tensor, decoder: Decoder, joiner: Joiner, blank: int) -> tuple[Tensor, int]:
    """Greedy search as everybody does it: the scores of each step, and how many tokens were found."""
    frames = joiner.from_encoder(encoded)
    state = tuple(torch.zeros(2, 1, decoder.lstm.hidden_size) for _ in range(2))
    prediction, state = _predict(decoder, joiner, blank, state)
    steps, frame, tokens, here = [], 0, 0, 0
    while frame < len(frames):
        scores = joiner.out(torch.relu(frames[frame] + prediction))
        steps.append(scores)
        token, duration = int(scores[: blank + 1].argmax()), int(scores[blank + 1 :].argmax())
        if token != blank:
            tokens, here = tokens + 1, here + 1
            prediction, state = _predict(decoder, joiner, token, state)
        if duration == 0 and (token == blank or here >= _MOST_SYMBOLS):
            duration = 1
        frame, here = frame + duration, 0 if duration else here
    return torch.stack(steps), tokens


def _predict(
    decoder: Decoder, joiner: Joiner, token: int, state: tuple[Tensor, ...]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    outputs, _, *after = decoder(torch.tensor([[token]]), torch.ones(1), *state)
    return joiner.from_decoder(outputs[0, :, 0]), tuple(after)


def _adjust(joiner: Joiner, scores: Tensor, blank: int, *, wanted: float) -> None:
    """One damped step towards the wanted share of tokens among the steps, and of each duration."""
    margins = scores[:, :blank].max(-1).values - scores[:, blank]
    joiner.out.bias[blank] += 0.7 * torch.quantile(margins, 1.0 - wanted)
    found = torch.bincount(scores[:, blank + 1 :].argmax(-1), minlength=DURATIONS) / len(scores)
    joiner.out.bias[blank + 1 :] += 0.5 * torch.log(torch.tensor(_SHARES) / (found + 0.01))


def pieces(tokens: int) -> list[str]:
    """Texts of the vocabulary, each different, half of them beginning a word; the blank comes last."""
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    words = [a + b for a in letters for b in letters] + [a + b + c for a in letters for b in letters for c in letters]
    texts = ["\N{LOWER ONE EIGHTH BLOCK}" * (number % 2) + words[number] for number in range(1, tokens)]
    return ["<unk>", *texts, "<blk>"]
