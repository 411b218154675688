"""No lean graph is believed: what it computes is compared, stage by stage, with what the original does."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto

from stt_server.speech.engines.lean import trial
from stt_server.speech.engines.lean.anatomy import Anatomy, Attention, Convolution, FeedForward, Strange
from stt_server.speech.engines.lean.assemble import LONGEST, assemble
from stt_server.speech.engines.lean.chart import Chart
from stt_server.speech.engines.lean.dissect import dissect
from stt_server.speech.engines.lean.positions import encodings
from stt_server.speech.engines.rewrite import rewrite
from tests.speech.engines.graphs import Array
from tests.speech.engines.lean.exports import MELS


def save(frame: ModelProto, weights: Callable[[], Iterable[TensorProto]], path: Path) -> Path:
    model = ModelProto()
    model.CopyFrom(frame)
    model.graph.initializer.extend(weights())
    onnx.save(model, path)
    return path


def judge(published: Path, folder: Path, spoil: Callable[[Anatomy], Anatomy], turn: int = 0) -> float:
    """The error of a lean graph that was made of something else than what was found."""
    model = onnx.load(published)
    chart = Chart(model.graph)
    anatomy = dissect(chart)
    table: Array = np.roll(encodings(model, chart, anatomy, LONGEST), turn, axis=0)
    lean, plain = assemble(model, spoil(anatomy), table), rewrite(model)
    watched = save(trial.watched(plain.frame, lean.stages), plain.weights, folder / "watched.onnx")
    heard = trial.listen(watched, lean.stages, MELS)
    prompted = save(trial.prompted(lean.frame, lean.stages), lean.weights, folder / "prompted.onnx")
    return trial.compare(prompted, lean.stages, heard)


def changed(anatomy: Anatomy, number: int, **changes: object) -> Anatomy:
    """Another stage in one's place."""
    stages = list(anatomy.stages)
    stages[number] = replace(stages[number], **changes)  # type: ignore[arg-type]
    return replace(anatomy, stages=tuple(stages))


def test_what_is_right_passes(published: Path, tmp_path: Path) -> None:
    """By far."""
    assert 0 < judge(published, tmp_path, lambda anatomy: anatomy) < trial.TOLERANCE / 3


def _attention(anatomy: Anatomy, *names: str) -> Anatomy:
    """One attention stage, two of its parts in each other's place."""
    part = anatomy.stages[6].branch
    assert isinstance(part, Attention)
    one, other = names
    swapped = {one: getattr(part, other), other: getattr(part, one)}
    return changed(anatomy, 6, branch=replace(part, **swapped))


def _feed_forward(anatomy: Anatomy) -> Anatomy:
    part, other = anatomy.stages[0].branch, anatomy.stages[3].branch
    assert isinstance(part, FeedForward)
    assert isinstance(other, FeedForward)
    return changed(anatomy, 0, branch=replace(part, narrow=other.narrow))


def _convolution(anatomy: Anatomy) -> Anatomy:
    part = anatomy.stages[7].branch
    assert isinstance(part, Convolution)
    return changed(anatomy, 7, branch=replace(part, depthwise=replace(part.depthwise, bias=None)))


def _subsampling(anatomy: Anatomy, **changes: object) -> Anatomy:
    return replace(anatomy, subsampling=replace(anatomy.subsampling, **changes))  # type: ignore[arg-type]


MISTAKES: dict[str, Callable[[Anatomy], Anatomy]] = {
    "queries for keys": lambda anatomy: _attention(anatomy, "queries", "keys"),
    "keys for values": lambda anatomy: _attention(anatomy, "keys", "values"),
    "the other bias": lambda anatomy: _attention(anatomy, "content_bias", "position_bias"),
    "positions for keys": lambda anatomy: _attention(anatomy, "positions", "keys"),
    "a whole for a half": lambda anatomy: changed(anatomy, 8, factor=1.0),
    "another stage's weights": _feed_forward,
    "no bias": _convolution,
    "another normalisation": lambda anatomy: changed(
        anatomy, 5, norm=replace(anatomy.stages[5].norm, gain=anatomy.stages[6].norm.gain)
    ),
    "no root of the width": lambda anatomy: _subsampling(anatomy, factor=5.5),
    "one function too few": lambda anatomy: _subsampling(anatomy, relus=(True, False, True, False, False)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_noticed(published: Path, tmp_path: Path, mistake: str) -> None:
    """In whichever stage it was made, although shapes fit."""
    with pytest.raises(Strange, match="differs by"):
        judge(published, tmp_path, MISTAKES[mistake])


@pytest.mark.parametrize("turn", [1, -1])
def test_positions_one_off_are_noticed(published: Path, tmp_path: Path, turn: int) -> None:
    """The classic mistake of relative shifts."""
    with pytest.raises(Strange, match="differs by"):
        judge(published, tmp_path, lambda anatomy: anatomy, turn)


def test_what_is_not_a_number_is_noticed() -> None:
    """It is not larger than anything."""
    values = {"": np.ones(3), "/number": np.ones(1), "a": np.ones(3), "b": np.ones(3)}
    heard = [error for _, error in trial.errors((("a", "b"),), values, values | {"b": np.full(3, np.nan)})]
    assert np.isnan(heard[1])
    assert not heard[1] <= trial.TOLERANCE
