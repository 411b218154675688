"""Making the fast form of an encoder: the lean one where it proves itself, else the rewritten one.

The original is read anew for each form, and the trial runs with neither in memory: never more than two encoders are.
Nor are there two files: weights come first and the graph last, so that a graph that is tried gives way to the one that
is kept.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

    from stt_server.speech.engines.lean.trial import Heard

log = logging.getLogger(__name__)

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
    """That of the file."""


class Unusable(Exception):
    """The original is no graph."""


def make(encoder: Path, path: Path, report: Report) -> Made:
    """Write the fastest form there is to a file; it is empty where there is none. Raises `Unusable` and `OSError`."""
    draft = _Draft(path)
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


# -- The file --------------------------------------------------------------------------------------

_GRAPH, _WEIGHT = b"\x3a", b"\x2a"
"""How protocol buffers announce a model's graph (field 7), and a weight in it (field 5)."""


@dataclass
class _Draft:
    """A model file, written weight by weight, so that it is never whole in memory a second time.

    Where a field occurs twice, readers of protocol buffers merge: so each weight may come as a piece of graph of its
    own, and the rest of the graph after them.
    """

    path: Path
    holds: "ModelProto | None" = None
    """The graph that its weights belong to."""
    _length: int = 0
    _digest: Any = field(default_factory=hashlib.sha256)

    def write(self, weights: "Iterator[TensorProto]", frame: "ModelProto", size: int, report: Report) -> None:
        """Write weights, of some size in all."""
        self._digest, self._length, self.holds = hashlib.sha256(), 0, frame
        with self.path.open("wb") as file:
            for weight in weights:
                for piece in _pieces(weight):
                    file.write(piece)
                    self._digest.update(piece)
                    self._length += len(piece)
                report(min(1.0, self._length / size))
        report(1.0)

    def finish(self, frame: "ModelProto") -> str:
        """Put a graph behind the weights, in place of what is there; returns the file's checksum."""
        digest, content = self._digest.copy(), frame.SerializeToString()
        digest.update(content)
        with self.path.open("r+b") as file:
            file.truncate(self._length)
            file.seek(self._length)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return str(digest.hexdigest())

    def clear(self) -> str:
        """Leave it empty."""
        self.path.write_bytes(b"")
        return hashlib.sha256().hexdigest()


def _pieces(weight: "TensorProto") -> Iterator[bytes]:
    content = weight.SerializeToString()
    header = _WEIGHT + _varint(len(content))
    yield _GRAPH + _varint(len(header) + len(content)) + header
    yield content


def _varint(value: int) -> bytes:
    """A number as protocol buffers write it: seven bits a byte, the lowest first, the top bit where more follow."""
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])
