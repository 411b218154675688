"""Parakeet TDT's three networks as NeMo exports them, in PyTorch: the same operators in the same places.

FastConformer: Rekesh et al. 2023 (arXiv:2305.05084). Conformer blocks: Gulati et al. 2020 (arXiv:2005.08100).
Relative positions: Dai et al. 2019 (arXiv:1901.02860). Token-and-duration transducer: Xu et al. 2023
(arXiv:2304.06795).

What a graph optimiser meets in the published files is therefore here too: masks before each convolution, pointwise
convolutions that are no matrix products, a relative shift by padding, batch norms to be folded. Linear layers of the
encoder have no biases, as in v3.

Shapes: B utterances, N feature frames (10 ms), T encoder frames (80 ms).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

DURATIONS = 5
"""A step advances by 0 to 4 frames."""
SUBSAMPLING = 8
_POSITIONS = 5000
"""Encoder frames that position encodings are kept for: 400 s, as NeMo does."""
_NO = -10_000.0
"""What NeMo's attention fills masked scores with."""


@dataclass(frozen=True, slots=True)
class Size:
    """Of v3, unless said otherwise."""

    layers: int = 24
    width: int = 1024
    heads: int = 8
    kernel: int = 9
    """Frames of the convolution in each block."""
    channels: int = 256
    """Of the subsampling's convolutions."""
    mels: int = 128
    hidden: int = 640
    """Width of the prediction network and of the joint."""
    tokens: int = 8192
    """Without the blank."""


class Subsampling(nn.Module):
    """`dw_striding` by 8, masked before each layer: frames past an utterance's end stay zero."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        channels = size.channels
        depthwise = {"kernel_size": 3, "stride": 2, "padding": 1, "groups": channels}
        self.conv = nn.Sequential(
            nn.Conv2d(1, channels, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, **depthwise),
            nn.Conv2d(channels, channels, 1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, **depthwise),
            nn.Conv2d(channels, channels, 1),
            nn.ReLU(),
        )
        self.out = nn.Linear(channels * (size.mels // SUBSAMPLING), size.width)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, mels) to (B, T, width), and lengths in T."""
        hidden, lengths = features.unsqueeze(1), lengths.float()
        mask = _frames_within(hidden, lengths)
        for layer in self.conv:
            hidden = layer(hidden * mask)
            if isinstance(layer, nn.Conv2d) and layer.stride[0] == 2:
                lengths = torch.floor((lengths - 1) / 2) + 1
                mask = _frames_within(hidden, lengths)
        hidden = hidden * mask
        batch, _, frames, _ = hidden.size()
        return self.out(hidden.transpose(1, 2).reshape(batch, frames, -1)), lengths.long()


def _frames_within(hidden: Tensor, lengths: Tensor) -> Tensor:
    """One before each utterance's end and zero behind it, (B, 1, frames, bands) of (B, channels, frames, bands)."""
    batch, _, frames, bands = hidden.size()
    within = torch.arange(frames, device=hidden.device).expand(batch, frames) < lengths.unsqueeze(1)
    return within.unsqueeze(-1).expand(batch, frames, bands).to(hidden.dtype).unsqueeze(1)


class Attention(nn.Module):
    """Self-attention with relative positions and two learnt biases."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads, self.depth = size.heads, size.width // size.heads
        self.query, self.key, self.value, self.out, self.position = (
            nn.Linear(size.width, size.width, bias=False) for _ in range(5)
        )
        self.content_bias, self.position_bias = (nn.Parameter(torch.zeros(size.heads, self.depth)) for _ in range(2))

    def forward(self, hidden: Tensor, positions: Tensor, masked: Tensor) -> Tensor:
        """Hidden (B, T, width), positions (1, 2T-1, width), `masked` (B, T, T)."""
        batch = hidden.size(0)
        query = self.query(hidden).view(batch, -1, self.heads, self.depth)
        key, value = (
            part(hidden).view(batch, -1, self.heads, self.depth).transpose(1, 2) for part in (self.key, self.value)
        )
        where = self.position(positions).view(1, -1, self.heads, self.depth).transpose(1, 2)
        content = torch.matmul((query + self.content_bias).transpose(1, 2), key.transpose(-2, -1))
        distance = _shift(torch.matmul((query + self.position_bias).transpose(1, 2), where.transpose(-2, -1)))
        scores = (content + distance[:, :, :, : content.size(-1)]) / math.sqrt(self.depth)
        masked = masked.unsqueeze(1)
        weights = torch.softmax(scores.masked_fill(masked, _NO), dim=-1).masked_fill(masked, 0.0)
        heard = torch.matmul(weights, value).transpose(1, 2).reshape(batch, -1, self.heads * self.depth)
        return self.out(heard)


def _shift(scores: Tensor) -> Tensor:
    """Scores by distance, (B, heads, T, 2T-1), so that column 0 is the first frame's in every row."""
    batch, heads, frames, distances = scores.size()
    padded = functional.pad(scores, pad=(1, 0)).view(batch, heads, -1, frames)
    return padded[:, :, 1:].view(batch, heads, frames, distances)


class FeedForward(nn.Module):
    """Four times wider and back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, T, width)."""
        return self.down(functional.silu(self.up(hidden)))


class Convolution(nn.Module):
    """The block's convolution, between two pointwise ones."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        width, kernel = size.width, size.kernel
        self.gated = nn.Conv1d(width, 2 * width, 1, bias=False)
        self.depthwise = nn.Conv1d(width, width, kernel, padding=(kernel - 1) // 2, groups=width, bias=False)
        self.norm = nn.BatchNorm1d(width)
        self.out = nn.Conv1d(width, width, 1, bias=False)

    def forward(self, hidden: Tensor, padding: Tensor) -> Tensor:
        """Hidden (B, T, width), `padding` (B, T)."""
        hidden = functional.glu(self.gated(hidden.transpose(1, 2)), dim=1)
        hidden = self.depthwise(hidden.masked_fill(padding.unsqueeze(1), 0.0))
        return self.out(functional.silu(self.norm(hidden))).transpose(1, 2)


class Block(nn.Module):
    """Half a feed-forward layer, attention, convolution, the other half."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(size.width) for _ in range(5))
        self.before, self.after = FeedForward(size.width), FeedForward(size.width)
        self.attention, self.convolution = Attention(size), Convolution(size)

    def forward(self, hidden: Tensor, positions: Tensor, masked: Tensor, padding: Tensor) -> Tensor:
        """As its layers."""
        hidden = hidden + self.before(self.norms[0](hidden)) * 0.5
        hidden = hidden + self.attention(self.norms[1](hidden), positions, masked)
        hidden = hidden + self.convolution(self.norms[2](hidden), padding)
        hidden = hidden + self.after(self.norms[3](hidden)) * 0.5
        return self.norms[4](hidden)


class Encoder(nn.Module):
    """Features to one vector every 80 ms."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.subsampling = Subsampling(size)
        self.blocks = nn.ModuleList(Block(size) for _ in range(size.layers))
        self.register_buffer("positions", _sinusoids(size.width))

    def forward(self, audio_signal: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """(B, mels, N) to (B, width, T), and lengths in T."""
        hidden, length = self.subsampling(audio_signal.transpose(1, 2), length)
        frames, centre = hidden.size(1), self.positions.size(1) // 2 + 1
        positions = self.positions[:, centre - frames : centre + frames - 1]
        within = torch.arange(frames, device=hidden.device).expand(length.size(0), -1) < length.unsqueeze(-1)
        pairs = within.unsqueeze(1).repeat([1, frames, 1])
        masked = ~torch.logical_and(pairs, pairs.transpose(1, 2))
        for block in self.blocks:
            hidden = block(hidden, positions, masked, ~within)
        return hidden.transpose(1, 2), length.to(torch.int64)


def _sinusoids(width: int) -> Tensor:
    """Encodings of the distances from `_POSITIONS` - 1 down to its negative: (1, distances, width)."""
    distances = torch.arange(_POSITIONS - 1, -_POSITIONS, -1.0).unsqueeze(1)
    angles = distances * torch.exp(torch.arange(0, width, 2.0) * -(math.log(10_000.0) / width))
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).unsqueeze(0)


class Decoder(nn.Module):
    """NeMo's name for the prediction network: an LSTM of two layers over the tokens so far."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size.tokens + 1, size.hidden, padding_idx=size.tokens)
        self.lstm = nn.LSTM(size.hidden, size.hidden, num_layers=2)

    def forward(self, targets: Tensor, target_length: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, ...]:
        """Tokens (B, U) and both states (2, B, width) to (B, width, U), lengths, and the states behind them."""
        outputs, (hidden, cell) = self.lstm(self.embedding(targets.long()).transpose(0, 1), (hidden, cell))
        return outputs.permute(1, 2, 0), target_length + 0, hidden, cell


class Joiner(nn.Module):
    """Encoder frames and predictions to scores of tokens, blank and durations."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.from_encoder = nn.Linear(size.width, size.hidden)
        self.from_decoder = nn.Linear(size.hidden, size.hidden)
        self.out = nn.Linear(size.hidden, size.tokens + 1 + DURATIONS)

    def forward(self, encoder_outputs: Tensor, decoder_outputs: Tensor) -> Tensor:
        """(B, width, T) and (B, width, U) to (B, T, U, scores)."""
        encoded = self.from_encoder(encoder_outputs.transpose(1, 2)).unsqueeze(2)
        predicted = self.from_decoder(decoder_outputs.transpose(1, 2)).unsqueeze(1)
        return self.out(functional.relu(encoded + predicted))


class DecoderJoint(nn.Module):
    """Both in one graph, as in onnx-asr's layout."""

    def __init__(self, decoder: Decoder, joiner: Joiner) -> None:
        super().__init__()
        self.decoder, self.joiner = decoder, joiner

    def forward(
        self, encoder_outputs: Tensor, targets: Tensor, target_length: Tensor, hidden: Tensor, cell: Tensor
    ) -> tuple[Tensor, ...]:
        """As its parts."""
        outputs, lengths, hidden, cell = self.decoder(targets, target_length, hidden, cell)
        return self.joiner(encoder_outputs, outputs), lengths, hidden, cell
