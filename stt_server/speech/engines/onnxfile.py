"""What an ONNX file says of itself, read without loading it.

sherpa-onnx ends the whole process when a valid file is of another kind than it expects, so it is looked at first. The
file is a protobuf message (onnx.proto): only the heads of its fields are read and the weights are jumped over, which
takes milliseconds for half a gigabyte.
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stt_server.errors import ModelBroken

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Kinds of fields, by the protobuf encoding."""
_MODEL_GRAPH, _MODEL_METADATA = 7, 14
_GRAPH_WEIGHT, _GRAPH_INPUT, _GRAPH_OUTPUT = 5, 11, 12
_VALUE_NAME, _VALUE_TYPE, _WEIGHT_NAME = 1, 2, 8
_TYPE_TENSOR, _TENSOR_ELEMENT = 1, 1
_ENTRY_KEY, _ENTRY_VALUE = 1, 2

_KINDS = {1: "float", 10: "float", 6: "int", 7: "int"}
"""By `TensorProto.DataType`: of 16 or 32 and of 32 or 64 bits. All else is `other`."""

_Span = tuple[int, int]
"""Where a field's bytes begin and end in the file."""


@dataclass(frozen=True, slots=True)
class Value:
    """What goes into a network, or comes out of it."""

    name: str
    kind: str
    """`float`, `int` or `other`."""


@dataclass(frozen=True, slots=True)
class Header:
    """An ONNX file without its operators and weights."""

    file: str
    """Its name."""
    metadata: dict[str, str]
    """What its exporter wrote into it."""
    inputs: tuple[Value, ...]
    """What it wants, without weights listed there too."""
    outputs: tuple[Value, ...]


def read_header(path: Path) -> Header:
    """Read it. Raises `ModelBroken`."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _read(path.name, data)
    except OSError as error:
        raise ModelBroken(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, IndexError) as error:  # an empty file cannot be mapped either
        raise ModelBroken(f"{path} is damaged, or no ONNX file: {error}.") from error


def _read(name: str, data: mmap.mmap) -> Header:
    metadata: dict[str, str] = {}
    places: dict[int, list[_Span]] = {_GRAPH_WEIGHT: [], _GRAPH_INPUT: [], _GRAPH_OUTPUT: []}
    graphs = 0
    for number, span in _fields(data, (0, len(data))):
        if number == _MODEL_METADATA:
            metadata[_text(data, span, _ENTRY_KEY)] = _text(data, span, _ENTRY_VALUE)
        elif number == _MODEL_GRAPH:
            graphs += 1
            for kind, place in _fields(data, span):
                if kind in places:
                    places[kind].append(place)
    if graphs != 1:
        raise ValueError("it holds no graph")
    weights = {_text(data, place, _WEIGHT_NAME) for place in places[_GRAPH_WEIGHT]}
    inputs = (_value(data, place) for place in places[_GRAPH_INPUT])
    outputs = (_value(data, place) for place in places[_GRAPH_OUTPUT])
    return Header(name, metadata, tuple(value for value in inputs if value.name not in weights), tuple(outputs))


def _value(data: mmap.mmap, place: _Span) -> Value:
    tensor = _last(data, _last(data, place, _VALUE_TYPE), _TYPE_TENSOR)
    element, _ = _varint(data, _last(data, tensor, _TENSOR_ELEMENT)[0]) if tensor[0] < tensor[1] else (0, 0)
    return Value(_text(data, place, _VALUE_NAME), _KINDS.get(element, "other"))


def _fields(data: mmap.mmap, span: _Span) -> Iterator[tuple[int, _Span]]:
    """Number and place of every field of a message, in order."""
    at, end = span
    while at < end:
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            length = _varint(data, at)[1] - at
        elif kind == _BYTES:
            length, at = _varint(data, at)
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"byte {at} begins nothing known")
        if at + length > end:
            raise ValueError(f"byte {at} announces more than there is")
        yield key >> 3, (at, at + length)
        at += length


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and where it ends."""
    value = shift = 0
    while shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError(f"byte {at} is in a number without end")


def _last(data: mmap.mmap, span: _Span, wanted: int) -> _Span:
    """The place of the field of that number; of several the last counts, and there is an empty one if there is none."""
    places = [place for number, place in _fields(data, span) if number == wanted]
    return places[-1] if places else (span[0], span[0])


def _text(data: mmap.mmap, span: _Span, wanted: int) -> str:
    return data[slice(*_last(data, span, wanted))].decode("utf-8", "replace")
