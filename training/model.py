"""Parakeet's architecture, small: FastConformer encoder, LSTM predictor, joiner with token and duration outputs.

FastConformer: Rekesh et al. 2023 (arXiv:2305.05084), convolutional subsampling by 8 and convolution kernels of 9.
Conformer blocks: Gulati et al. 2020 (arXiv:2005.08100). Relative positions: Dai et al. 2019 (arXiv:1901.02860).
Token-and-duration transducer (TDT): Xu et al. 2023 (arXiv:2304.06795).

Shapes: B utterances, T encoder frames (80 ms), U tokens.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

DURATIONS = 5
"""A move advances by 0 to 4 frames."""
SUBSAMPLING = 8
"""Feature frames for one encoder frame."""


@dataclass(frozen=True, slots=True)
class Size:
    """What makes a model large or small."""

    width: int = 176
    layers: int = 8
    heads: int = 4
    kernel: int = 9
    """Frames of the convolution in each block."""
    expansion: int = 4
    """Width of the feed-forward layers over `width`."""
    channels: int = 48
    """Of the subsampling's convolutions."""
    predictor: int = 160
    joiner: int = 224


class Subsampling(nn.Module):
    """NeMo's `dw_striding` by 8: three convolutions of stride 2, two of them depthwise with a pointwise one behind."""

    def __init__(self, mels: int, channels: int, width: int) -> None:
        super().__init__()
        self.strided = nn.Conv2d(1, channels, 3, 2, 1)
        self.depthwise = nn.ModuleList(nn.Conv2d(channels, channels, 3, 2, 1, groups=channels) for _ in range(2))
        self.pointwise = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(2))
        self.out = nn.Linear(channels * math.ceil(mels / SUBSAMPLING), width)
        # On a CPU this layout in float32 takes half the time of the usual one, and of bfloat16 (48 channels).
        self.to(memory_format=torch.channels_last)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, frames, mels) to (B, T, width), and lengths in T."""
        with torch.autocast(features.device.type, enabled=False):
            return self._subsampled(features.float(), lengths)

    def _subsampled(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        hidden, lengths = self.strided(features.unsqueeze(1)), _halved(lengths)
        hidden = _kept(functional.relu(hidden), lengths)
        for depthwise, pointwise in zip(self.depthwise, self.pointwise, strict=True):
            lengths = _halved(lengths)
            hidden = _kept(functional.relu(pointwise(depthwise(hidden))), lengths)
        return self.out(hidden.transpose(1, 2).flatten(2)), lengths


def _halved(lengths: Tensor) -> Tensor:
    return torch.div(lengths - 1, 2, rounding_mode="floor") + 1


def _kept(hidden: Tensor, lengths: Tensor) -> Tensor:
    """Zero past each length, so that an utterance gives the same alone and in a batch. (B, channels, frames, bands)."""
    frames = torch.arange(hidden.shape[2], device=hidden.device)
    return hidden * (frames < lengths[:, None]).to(hidden.dtype)[:, None, :, None]


class RelativeAttention(nn.Module):
    """Self-attention with Transformer-XL's relative positions."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries, self.keys, self.values, self.out = (nn.Linear(width, width) for _ in range(4))
        self.positions = nn.Linear(width, width, bias=False)
        self.content_bias, self.position_bias = (nn.Parameter(torch.zeros(heads, 1, width // heads)) for _ in range(2))

    def forward(self, hidden: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """Hidden (B, T, width), position encodings (1, 2T-1, width), mask (B, 1, 1, T) to be added."""
        batch, frames, width = hidden.shape
        queries, keys, values = (
            project(hidden).view(batch, frames, self.heads, -1).transpose(1, 2)
            for project in (self.queries, self.keys, self.values)
        )
        where = self.positions(positions).view(1, 2 * frames - 1, self.heads, -1).transpose(1, 2)
        by_content = (queries + self.content_bias) @ keys.transpose(-1, -2)
        by_position = _shifted((queries + self.position_bias) @ where.transpose(-1, -2))
        weights = ((by_content + by_position) / math.sqrt(width // self.heads) + mask).softmax(-1)
        heard = weights.to(values.dtype) @ values
        return self.out(heard.transpose(1, 2).reshape(batch, frames, width))


def _shifted(scores: Tensor) -> Tensor:
    """From scores by distance (B, heads, T, 2T-1) to scores by frame (B, heads, T, T)."""
    batch, heads, frames, distances = scores.shape
    padded = functional.pad(scores, (1, 0)).view(batch, heads, distances + 1, frames)
    return padded[:, :, 1:].reshape(batch, heads, frames, distances)[..., :frames]


class Convolution(nn.Module):
    """The conformer's convolution module, with layer norm in place of batch norm: it has no state to fold."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.gated = nn.Linear(width, 2 * width)
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, width)

    def forward(self, hidden: Tensor, keep: Tensor) -> Tensor:
        """Hidden (B, T, width), and `keep` (B, T, 1): 0 past an utterance's end."""
        hidden = functional.glu(self.gated(hidden), -1) * keep
        hidden = self.depthwise(hidden.transpose(1, 2)).transpose(1, 2)
        return self.out(functional.silu(self.norm(hidden)))


class Block(nn.Module):
    """Half a feed-forward layer, attention, convolution, the other half."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        width = size.width
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(5))
        self.before, self.after = (
            nn.Sequential(nn.Linear(width, size.expansion * width), nn.SiLU(), nn.Linear(size.expansion * width, width))
            for _ in range(2)
        )
        self.attention = RelativeAttention(width, size.heads)
        self.convolution = Convolution(width, size.kernel)

    def forward(self, hidden: Tensor, positions: Tensor, mask: Tensor, keep: Tensor) -> Tensor:
        """Hidden (B, T, width); the rest as in the layers."""
        hidden = hidden + 0.5 * self.before(self.norms[0](hidden))
        hidden = hidden + self.attention(self.norms[1](hidden), positions, mask)
        hidden = hidden + self.convolution(self.norms[2](hidden), keep)
        return self.norms[4](hidden + 0.5 * self.after(self.norms[3](hidden)))


class Encoder(nn.Module):
    """Features to one vector every 80 ms."""

    def __init__(self, mels: int, size: Size) -> None:
        super().__init__()
        self.width = size.width
        self.middle = size.layers // 2
        """The block behind which an auxiliary loss listens."""
        self.subsampling = Subsampling(mels, size.channels, size.width)
        self.blocks = nn.ModuleList(Block(size) for _ in range(size.layers))
        rates = torch.exp(torch.arange(0, size.width, 2) * (-math.log(10_000.0) / size.width))
        self.register_buffer("rates", rates, persistent=False)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features (B, frames, mels) to (B, T, width), lengths in T, and the middle block's output."""
        hidden, lengths = self.subsampling(features, lengths)
        frames = hidden.shape[1]
        keep = torch.arange(frames, device=hidden.device) < lengths[:, None]
        mask = torch.where(keep, 0.0, -1e4)[:, None, None, :]
        positions = self._positions(frames).to(hidden.dtype)
        middle = hidden
        for number, block in enumerate(self.blocks, 1):
            hidden = block(hidden, positions, mask, keep.to(hidden.dtype)[..., None])
            middle = hidden if number == self.middle else middle
        return hidden, lengths, middle

    def _positions(self, frames: int) -> Tensor:
        """Encodings of the distances T-1 ... -(T-1): (1, 2T-1, width)."""
        # Two ranges: torch's ONNX export refuses one with a negative step.
        ahead = torch.arange(frames, device=self.rates.device)
        distances = torch.cat([frames - 1 - ahead, -1 - ahead[: frames - 1]])
        angles = distances.to(torch.float32)[:, None] * self.rates
        return torch.cat([angles.sin(), angles.cos()], -1)[None]


class Predictor(nn.Module):
    """Tokens so far to one vector: an LSTM that starts from the blank."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens + 1, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)

    def forward(
        self, tokens: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Tokens (B, U) to (B, U, width), and the state behind them."""
        outputs, state = self.lstm(self.embedding(tokens), state)
        return outputs, state


class Joiner(nn.Module):
    """One encoder frame and one predictor output to scores of tokens, blank and durations, in this order."""

    def __init__(self, size: Size, tokens: int) -> None:
        super().__init__()
        self.from_encoder = nn.Linear(size.width, size.joiner)
        self.from_predictor = nn.Linear(size.predictor, size.joiner)
        self.out = nn.Linear(size.joiner, tokens + 1 + DURATIONS)

    def forward(self, encoded: Tensor, predicted: Tensor) -> Tensor:
        """Both already projected to the joiner's width, and of shapes that broadcast."""
        return self.out(functional.relu(encoded + predicted))


class Transducer(nn.Module):
    """The whole model."""

    def __init__(self, mels: int, tokens: int, size: Size) -> None:
        super().__init__()
        self.tokens = tokens
        """Also the blank's id."""
        self.encoder = Encoder(mels, size)
        self.predictor = Predictor(tokens, size.predictor)
        self.joiner = Joiner(size, tokens)

    def predict(self, tokens: Tensor) -> Tensor:
        """Predictor outputs before each of the tokens (B, U) and behind the last: (B, U+1, joiner width)."""
        start = tokens.new_full((len(tokens), 1), self.tokens)
        return self.joiner.from_predictor(self.predictor(torch.cat([start, tokens], 1))[0])
