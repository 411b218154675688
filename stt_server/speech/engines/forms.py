"""Making the fast form of an encoder: the lean one where it proves itself, else the rewritten one.

The original is read anew for each form, and the trial runs with neither in memory: never more than two encoders are.
Nor are there two on disk: the graphs that are tried share their weights with the one that is kept.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

    from stt_server.speech.engines.lean.trial import Heard

log = logging.getLogger(__name__)

GRAPH, WEIGHTS = "encoder.onnx", "encoder.weights"
FILES = (WEIGHTS, GRAPH)
"""Of what is made, in the order of their checksum."""

Report = Callable[[float], None]
"""Called with the share of the work that is done: 0 to 1."""


class Form(StrEnum):
    """What can be made of an original."""

    LEAN = "lean"
    REWRITTEN = "rewritten"
    NOTHING = "nothing"
    """It has nothing to gain."""


@dataclass(frozen=True, slots=True)
class Made:
    """What was made of which original."""

    form: Form
    original: str
    """The original's SHA-256."""
    own: str
    """`checksum` of what was made."""


class Unusable(Exception):
    """The original is no graph."""


def make(encoder: Path, folder: Path, report: Report) -> Made:
    """Write the fastest form there is into a folder; it is empty where there is none. Raises `Unusable`, `OSError`."""
    draft = _Draft(folder)
    plain = _rewrite(encoder, draft, lambda share: report(share / 2))
    try:
        frame = _prove(encoder, draft, plain, lambda share: report((1 + share) / 2))
    except OSError:
        raise
    except Exception as error:  # whatever a strange graph trips over must not cost its rewritten form
        log.warning("the encoder has no lean form", extra={"file": encoder.name, "reason": _reason(error)})
    else:
        return Made(Form.LEAN, plain.original, draft.finish(frame))
    if plain.changes and draft.holds is not plain.frame:
        plain = _rewrite(encoder, draft, lambda _: None)
    report(1.0)
    if not plain.changes:
        return Made(Form.NOTHING, plain.original, draft.clear())
    return Made(Form.REWRITTEN, plain.original, draft.finish(plain.frame))


def _reason(error: Exception) -> str:
    return str(getattr(error, "message", error)) or type(error).__name__


# -- The forms -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Plain:
    original: str
    frame: "ModelProto"
    changes: int


def _rewrite(encoder: Path, draft: "_Draft", report: Report) -> _Plain:
    """Write the rewritten form's weights."""
    from stt_server.speech.engines.rewrite import rewrite

    checksum, model = _read(encoder)
    try:
        rewritten = rewrite(model)
    except ValueError as error:
        raise Unusable(str(error)) from error
    draft.write(rewritten.weights(), rewritten.frame, encoder.stat().st_size, report)
    counts = {"signed": rewritten.signed, "pointwise": rewritten.pointwise, "floated": rewritten.floated}
    log.info("encoder rewritten", extra={"file": encoder.name, **counts})
    return _Plain(checksum, rewritten.frame, rewritten.changes)


def _prove(encoder: Path, draft: "_Draft", plain: _Plain, report: Report) -> "ModelProto":
    """Write the lean form's weights, and see that it does what the rewritten one does. Returns its graph."""
    from stt_server.speech.engines.lean import trial

    stages, heard = _listen(encoder, draft, plain)
    frame = _assemble(encoder, draft, report)
    draft.finish(trial.prompted(frame, stages))
    error = trial.compare(draft.path, stages, heard)
    log.info("lean encoder proved", extra={"file": encoder.name, "stages": len(stages), "error": round(error, 4)})
    return frame


def _listen(encoder: Path, draft: "_Draft", plain: _Plain) -> "tuple[tuple[tuple[str, str], ...], list[Heard]]":
    """What the rewritten form makes of the trial's features, between its stages."""
    from stt_server.speech.engines.lean import trial

    stages, mels = _outline(encoder)
    draft.finish(trial.watched(plain.frame, stages))
    return stages, trial.listen(draft.path, stages, mels)


def _outline(encoder: Path) -> tuple[tuple[tuple[str, str], ...], int]:
    """Names of the stages' values, and the number of mel bands."""
    from stt_server.speech.engines.lean.chart import Chart
    from stt_server.speech.engines.lean.dissect import dissect
    from stt_server.speech.engines.lean.positions import mel_bands

    _, model = _read(encoder)
    anatomy = dissect(Chart(model.graph))
    return tuple((stage.norm.x, stage.norm.output) for stage in anatomy.stages), mel_bands(model, anatomy)


def _assemble(encoder: Path, draft: "_Draft", report: Report) -> "ModelProto":
    from stt_server.speech.engines.lean.assemble import LONGEST, assemble
    from stt_server.speech.engines.lean.chart import Chart
    from stt_server.speech.engines.lean.dissect import dissect
    from stt_server.speech.engines.lean.positions import encodings

    _, model = _read(encoder)
    chart = Chart(model.graph)
    anatomy = dissect(chart)
    assembled = assemble(model, anatomy, encodings(model, chart, anatomy, LONGEST))
    draft.write(assembled.weights(), assembled.frame, encoder.stat().st_size, report)
    return assembled.frame


def _read(encoder: Path) -> "tuple[str, ModelProto]":
    """The original's checksum and the original: both of the same bytes."""
    # Imported late: a quarter of a second that a start from a prepared graph does not need.
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    content = encoder.read_bytes()
    try:
        return hashlib.sha256(content).hexdigest(), ModelProto.FromString(content)
    except (DecodeError, ValueError) as error:
        raise Unusable(str(error)) from error


# -- The files -------------------------------------------------------------------------------------

_SMALL = 1024
"""Bytes of a weight that stays in the graph: shapes and the like, which must be known when it is loaded."""
_ALIGNMENT = 4096
"""Of weights in their file: a page, so that each can be mapped where it lies."""


@dataclass
class _Draft:
    """A graph and its weights, written weight by weight: never whole in memory a second time.

    The weights have a file of their own, which is mapped and not read when the graph is loaded: in half the time, and
    in less memory.
    """

    folder: Path
    holds: "ModelProto | None" = None
    """The graph that the weights belong to."""
    _weights: "list[TensorProto]" = field(default_factory=list)
    """As the graph holds them: small ones whole, of the others where they lie."""
    _digest: Any = field(default_factory=hashlib.sha256)

    @property
    def path(self) -> Path:
        """The graph's file."""
        return self.folder / GRAPH

    def write(self, weights: "Iterator[TensorProto]", frame: "ModelProto", size: int, report: Report) -> None:
        """Write weights, of some size in all."""
        self._digest, self._weights, self.holds = hashlib.sha256(), [], frame
        self.folder.mkdir(exist_ok=True)
        with (self.folder / WEIGHTS).open("wb") as file:
            for weight in weights:
                self._weights.append(self._written(weight, file))
                report(min(1.0, file.tell() / size))
            file.flush()
            os.fsync(file.fileno())
        report(1.0)

    def _written(self, weight: "TensorProto", file: BinaryIO) -> "TensorProto":
        from onnx import TensorProto, numpy_helper

        content = numpy_helper.to_array(weight).tobytes()
        if len(content) < _SMALL:
            return weight
        place = TensorProto(name=weight.name, dims=weight.dims, data_type=weight.data_type)
        place.data_location = TensorProto.EXTERNAL
        for key, value in (("location", WEIGHTS), ("offset", file.tell()), ("length", len(content))):
            place.external_data.add(key=key, value=str(value))
        for piece in (content, bytes(-len(content) % _ALIGNMENT)):
            file.write(piece)
            self._digest.update(piece)
        return place

    def finish(self, frame: "ModelProto") -> str:
        """Write a graph over these weights, in place of what is there; returns the checksum of both."""
        whole = type(frame)()
        whole.CopyFrom(frame)
        whole.graph.initializer.extend(self._weights)
        digest, content = self._digest.copy(), whole.SerializeToString()
        digest.update(content)
        with self.path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return str(digest.hexdigest())

    def clear(self) -> str:
        """Leave nothing."""
        for name in FILES:
            (self.folder / name).unlink(missing_ok=True)
        return checksum(self.folder)


def checksum(folder: Path) -> str:
    """The SHA-256 of what lies in a made folder."""
    digest = hashlib.sha256()
    for path in (folder / name for name in FILES):
        if path.is_file():
            with path.open("rb") as file:
                hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()
