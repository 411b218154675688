"""What an encoder of the FastConformer family (arXiv:2305.05084) is made of, as found in a graph.

The encoder is a stream of vectors, one every 80 ms. Each stage normalises the stream, computes something from that, and
adds it to the stream; the last stage of a block only normalises.
"""

from dataclasses import dataclass

from onnx import NodeProto, TensorProto


class Strange(Exception):
    """The graph is not, in every part, what the lean form is made from."""


@dataclass(frozen=True, slots=True)
class Product:
    """A matrix product with 8-bit weights, quantised as `quantize_dynamic` does it, scaled, with its bias."""

    x: str
    """What was quantised."""
    output: str
    """Scaled, the bias added."""
    weight: TensorProto
    """(in, out); or of a convolution over single points (out, in, 1, ...)."""
    zero: TensorProto | None
    """Zero points of the weights: one or one for each output. None: 0."""
    scale: TensorProto
    """Of the weights: likewise, float32."""
    bias: TensorProto | None
    """(out,), whatever axes of 1 are around it."""
    pointwise: bool
    """Whether the weights are laid out as a convolution's."""

    @property
    def inputs(self) -> int:
        """How many numbers go in."""
        return int(self.weight.dims[1 if self.pointwise else 0])

    @property
    def outputs(self) -> int:
        """How many numbers come out."""
        return int(self.weight.dims[0 if self.pointwise else 1])


@dataclass(frozen=True, slots=True)
class Conv:
    """Any other convolution: to be computed in float32, whether its weights were quantised or not."""

    node: NodeProto
    x: str
    output: str
    weight: TensorProto
    """(out, in / groups, ...)."""
    zero: TensorProto | None
    """Of quantised weights; None for 0."""
    scale: TensorProto | None
    """Of quantised weights; None where they are floats."""
    bias: TensorProto | None


@dataclass(frozen=True, slots=True)
class Norm:
    """A layer normalisation over the last axis."""

    x: str
    output: str
    gain: TensorProto
    """(width,)."""
    bias: TensorProto
    """Likewise."""
    epsilon: float


@dataclass(frozen=True, slots=True)
class FeedForward:
    """Two products, x * sigmoid(x) between them."""

    widen: Product
    narrow: Product


@dataclass(frozen=True, slots=True)
class Attention:
    """Self-attention with Transformer-XL's relative positions (arXiv:1901.02860, section 3.3)."""

    queries: Product
    keys: Product
    values: Product
    positions: Product
    """Of the encodings of distances, which do not depend on what is heard."""
    content_bias: TensorProto
    """Added to the queries that meet keys; heads times their width, in this order."""
    position_bias: TensorProto
    """Added to the queries that meet positions."""
    out: Product
    heads: int


@dataclass(frozen=True, slots=True)
class Convolution:
    """A gated product, a convolution along time for each channel, x * sigmoid(x), a product."""

    gated: Product
    depthwise: Conv
    norm: Norm | None
    """Behind the convolution; a batch normalisation is part of its weights already."""
    out: Product


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the stream."""

    norm: Norm
    """At its beginning."""
    branch: FeedForward | Attention | Convolution | None
    """What is computed of that. None: the normalised stream is the new one."""
    factor: float
    """Of the branch, before it is added."""
    after: str
    """Name of the stream behind it."""


@dataclass(frozen=True, slots=True)
class Subsampling:
    """Convolutions over frames and mel bands, and a product that makes the stream."""

    convolutions: tuple[Conv | Product, ...]
    """In their order; a product works on single points."""
    relus: tuple[bool, ...]
    """Whether negative values become 0 behind each of them."""
    out: Product
    factor: float
    """Of the stream."""
    stream: str
    """Its name."""


@dataclass(frozen=True, slots=True)
class Anatomy:
    """The whole encoder."""

    subsampling: Subsampling
    stages: tuple[Stage, ...]

    @property
    def width(self) -> int:
        """Of the stream's vectors."""
        return self.subsampling.out.outputs
