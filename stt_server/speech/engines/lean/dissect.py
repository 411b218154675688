"""The parts of a published encoder, found by how its data flows, whatever glue lies between them."""

from collections.abc import Callable
from math import prod

from onnx import NodeProto

from stt_server.speech.engines.lean.anatomy import (
    Anatomy,
    Attention,
    Conv,
    Convolution,
    FeedForward,
    Norm,
    Product,
    Stage,
    Strange,
    Subsampling,
)
from stt_server.speech.engines.lean.chart import Chart, Part, attributes, only

_SILU = frozenset({"Sigmoid", "Mul", "QuickGelu", "Swish"})
_FUNCTIONS = frozenset({
    "BatchNormalization", "Celu", "Clip", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Log",
    "MatMul", "MaxPool", "Mish", "Mul", "PRelu", "Pow", "ReduceMean", "Relu", "Selu", "Sigmoid", "Softmax", "Softplus",
    "Sqrt", "Swish", "Tanh", "ThresholdedRelu",
})  # fmt: skip
"""What computes rather than rearranges, masks or counts. Whatever is not named here is seen in the trial."""
_MASK = frozenset({"Mul"})


def dissect(chart: Chart) -> Anatomy:
    """Find everything. Raises `Strange` where something is missing, or there is something else."""
    if len(chart.inputs) != 2 or len(chart.outputs) != 2:
        raise Strange(f"it takes {len(chart.inputs)} values and gives {len(chart.outputs)}")
    stream = _first(chart)
    subsampling, stages = _subsampling(chart, stream), []
    while (norm := _norm_of(chart, stream)) is not None:
        stages.append(_stage(chart, norm))
        stream = stages[-1].after
    if not stages or stages[-1].branch is not None:
        raise Strange("its last stage is no normalisation")
    last = chart.sources(chart.outputs[0], stream)
    if last.ends != {stream} or not last.operators <= {"Transpose", "Identity"}:
        raise Strange("something is done behind its last stage")
    anatomy = Anatomy(subsampling, tuple(stages))
    _check_widths(anatomy)
    return anatomy


def _first(chart: Chart) -> str:
    """The stream before its first stage: what is normalised before anything else has been."""
    norms = [part for part in chart.parts.values() if isinstance(part, Norm)]
    first = [norm for norm in norms if not _normed_before(chart, norm)]
    return str(only([norm.x for norm in first], "first normalisation"))


def _normed_before(chart: Chart, norm: Norm) -> bool:
    seen, ahead = set(), [norm.x]
    while ahead:
        value = ahead.pop()
        if value in seen:
            continue
        seen.add(value)
        part = chart.parts.get(value)
        if isinstance(part, Norm):
            return True
        ahead += [part.x] if part else list(getattr(chart.makers.get(value), "input", ()))
    return False


def _norm_of(chart: Chart, stream: str) -> Norm | None:
    """What normalises the stream as it is."""
    norms = [part for part in chart.parts.values() if isinstance(part, Norm) and part.x == stream]
    return only(norms, f"normalisation of {stream}") if norms else None


# -- Before the stream -----------------------------------------------------------------------------


def _subsampling(chart: Chart, stream: str) -> Subsampling:
    behind = chart.sources(stream)
    out = _product(only(behind.parts, "product that makes the stream"))
    if behind.operators & _FUNCTIONS - _MASK:
        raise Strange("the stream is more than a product")
    convolutions: list[Conv | Product] = []
    relus: list[bool] = []
    value = out.x
    while (found := chart.sources(value)).parts:
        part = only(found.parts, "convolution")
        strange = found.operators & _FUNCTIONS - _MASK - {"Relu"}
        if isinstance(part, Norm) or strange:
            raise Strange(f"between the subsampling's convolutions is {', '.join(sorted(strange))}")
        convolutions.insert(0, part)
        relus.insert(0, "Relu" in found.operators)
        value = part.x
    if not convolutions or chart.inputs[0] not in found.ends or found.operators & _FUNCTIONS - _MASK:
        raise Strange("its convolutions do not begin at its input")
    return Subsampling(tuple(convolutions), tuple(relus), out, _factor(chart, stream, out.output), stream)


def _factor(chart: Chart, name: str, output: str) -> float:
    """What a value is times an output, as far as numbers say."""
    factor = 1.0
    while name != output:
        node = chart.makers.get(name)
        operand = None if node is None else next((value for value in node.input if value not in chart.weights), None)
        if node is None or operand is None or node.op_type not in ("Mul", "Div", "Identity", "Reshape", "Transpose"):
            raise Strange(f"{name} is more than a multiple of a product")
        if node.op_type in ("Mul", "Div"):
            number = chart.scalar(next((value for value in node.input if value != operand), ""))
            if number is None or (node.input[0] != operand and node.op_type == "Div"):
                raise Strange(f"{name} is more than a multiple of a product")
            factor = factor * number if node.op_type == "Mul" else factor / number
        name = operand
    return factor


# -- The stream ------------------------------------------------------------------------------------


def _stage(chart: Chart, norm: Norm) -> Stage:
    for add in chart.readers[norm.x]:
        if add.op_type != "Add":
            continue
        other = next((name for name in add.input if name != norm.x), "")
        behind = chart.sources(other, norm.x)
        if norm.x not in behind.ends and behind.parts:
            out = _product(only(behind.parts, "product at the end of a branch"))
            branch = _branch(chart, norm, out)
            return Stage(norm, branch, _factor(chart, other, out.output), add.output[0])
    return Stage(norm, None, 1.0, norm.output)


def _branch(chart: Chart, norm: Norm, out: Product) -> FeedForward | Attention | Convolution:
    behind = chart.sources(out.x)
    if "Softmax" in behind.operators:
        return _attention(chart, norm, out)
    part = only(behind.parts, "part before the end of a branch")
    if isinstance(part, Product):
        if part.x != norm.output or not behind.operators <= _SILU:
            raise Strange("a feed-forward stage is not as expected")
        return FeedForward(part, out)
    return _convolution(chart, norm, part, out)


def _convolution(chart: Chart, norm: Norm, part: Norm | Conv, out: Product) -> Convolution:
    inner = part if isinstance(part, Norm) else None
    depthwise = only(chart.sources(inner.x).parts, "convolution along time") if inner else part
    if not isinstance(depthwise, Conv):
        raise Strange("a convolution stage has no convolution")
    gated = _product(only(chart.sources(depthwise.x).parts, "gated product"))
    if chart.sources(gated.x).ends != {norm.output}:
        raise Strange("a convolution stage does not begin with a product")
    width, kernel = depthwise.weight.dims[0], depthwise.weight.dims[-1]
    if list(depthwise.weight.dims) != [width, 1, kernel] or kernel % 2 == 0 or gated.outputs != 2 * width:
        raise Strange(f"a convolution stage has weights of {list(depthwise.weight.dims)} behind {gated.outputs} values")
    if attributes(depthwise.node).get("group", 1) != width:
        raise Strange("its convolution along time mixes channels")
    return Convolution(gated, depthwise, inner, out)


def _attention(chart: Chart, norm: Norm, out: Product) -> Attention:
    """Which product is which follows from the matrix products of two values: weights by values, queries by keys,
    queries by positions."""
    heard = only(chart.path(out.x, _multiplies(chart)), "product of weights and values")
    weights, values = _sides(chart, heard)
    scores = chart.path(weights, _multiplies(chart))
    if len(scores) != 2:
        raise Strange(f"{len(scores)} kinds of scores instead of two")
    found: dict[bool, tuple[list[tuple[str, Part]], list[bool]]] = {}
    for node in scores:
        sides = [(name, only(chart.sources(name).parts, "product of a score")) for name in node.input]
        by_position = [not chart.sources(part.x).ends & {norm.output} for _, part in sides]
        found[any(by_position)] = (sides, by_position)
    if set(found) != {False, True}:
        raise Strange("its scores are not by content and by position")
    sides, by_position = found[True]
    if sum(by_position) != 1:
        raise Strange("queries do not meet positions")
    position_name, queries = sides[by_position.index(False)]
    _, positions = sides[by_position.index(True)]
    queries = _product(queries)
    content = [name for name, part in found[False][0] if part is queries]
    keys = [part for _, part in found[False][0] if part is not queries]
    u = _bias(chart, only(content, "place of the queries among the scores by content"))
    v = _bias(chart, position_name)
    stage = Attention(
        queries=queries,
        keys=_product(only(keys, "product for the keys")),
        values=_product(only(chart.sources(values).parts, "product for the values")),
        positions=_product(positions),
        content_bias=chart.weights[u],
        position_bias=chart.weights[v],
        out=out,
        heads=queries.outputs // chart.weights[u].dims[-1],
    )
    if any(part.x != norm.output for part in (stage.queries, stage.keys, stage.values)):
        raise Strange("queries, keys and values are not of the normalised stream")
    return stage


def _product(part: Part) -> Product:
    if not isinstance(part, Product):
        raise Strange(f"{part.output} does not come out of a product")
    return part


def _multiplies(chart: Chart) -> Callable[[NodeProto], bool]:
    """Whether a node multiplies two values."""
    return lambda node: node.op_type == "MatMul" and not set(node.input) & chart.weights.keys()


def _sides(chart: Chart, node: NodeProto) -> tuple[str, str]:
    """Weights and values of their product."""
    soft = ["Softmax" in chart.sources(name).operators for name in node.input]
    if sum(soft) != 1:
        raise Strange("weights do not meet values")
    return node.input[soft.index(True)], node.input[soft.index(False)]


def _bias(chart: Chart, name: str) -> str:
    """The constant that is added to the queries on their way to a score."""
    adds = chart.path(name, lambda node: node.op_type == "Add")
    add = only(adds, "bias of the queries")
    return str(only([value for value in add.input if value in chart.weights], "bias of the queries"))


# -- Sizes -----------------------------------------------------------------------------------------


def _check_widths(anatomy: Anatomy) -> None:
    """That whatever is joined fits; the rest is for the trial."""
    width = anatomy.width
    for stage in anatomy.stages:
        match stage.branch:
            case FeedForward(widen, narrow):
                sizes = [(widen.inputs, width), (narrow.inputs, widen.outputs), (narrow.outputs, width)]
            case Convolution(gated, _, _, out):
                sizes = [(gated.inputs, width), (out.inputs, gated.outputs // 2), (out.outputs, width)]
            case Attention() as attention:
                products = (attention.queries, attention.keys, attention.values, attention.positions, attention.out)
                sizes = [(size, width) for product in products for size in (product.inputs, product.outputs)]
                sizes.append((attention.heads * attention.content_bias.dims[-1], width))
                for bias in (attention.content_bias, attention.position_bias):
                    sizes.append((prod(bias.dims), width))
            case _:
                sizes = []
        if strange := [found for found, expected in sizes if found != expected]:
            raise Strange(f"a {type(stage.branch).__name__} of width {strange[0]} in a stream of {width}")
