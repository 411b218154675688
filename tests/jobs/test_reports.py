"""What a decode child may say, and what nobody believes it."""

import json
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_server.errors import AudioLost, AudioTooLong, AudioTooShort, BadAudio, Internal, StorageFull, SttError
from stt_server.jobs.reports import MOST_BYTES, Report, dump, load
from stt_server.speech.chunking import Window
from stt_server.speech.transcribe import Prepared
from stt_server.types import Span

LONGEST = 14_400.0
TIMES = st.lists(st.floats(0, LONGEST), min_size=4, max_size=4).map(sorted)
WINDOWS = st.builds(
    lambda index, times, joined, cuts: Window(
        index,
        Span(times[0], times[3]),
        Span(times[1], times[2]),
        joined,
        tuple(sorted({cut for cut in cuts if times[0] < cut < times[3]})),
    ),
    st.integers(0, 10_000),
    TIMES,
    st.booleans(),
    st.lists(st.floats(0, LONGEST), max_size=90),
)


@given(WINDOWS | st.floats(0, LONGEST) | st.builds(Prepared, st.floats(0, LONGEST)))
@settings(deadline=None)
def test_reports_come_back_equal(report: Report) -> None:
    """Every window and every time arrives as it was, to the last bit."""
    assert load(dump(report), longest=LONGEST) == report
    assert len(dump(report)) < MOST_BYTES


@pytest.mark.parametrize("kind", [BadAudio, AudioTooLong, AudioTooShort, AudioLost, Internal])
def test_errors_come_back_equal(kind: type[SttError]) -> None:
    """What a decoder may find wrong arrives with its words."""
    error = load(dump(kind("So it is: é.", param="file")), longest=LONGEST)
    assert isinstance(error, SttError)
    assert (type(error), error.message, error.param) == (kind, "So it is: é.", "file")


def test_a_full_disk_says_when_to_come_again() -> None:
    """As everywhere."""
    error = load(dump(StorageFull(retry_after=30)), longest=LONGEST)
    assert isinstance(error, StorageFull)
    assert error.retry_after >= 1


def nonsense() -> list[bytes]:
    """What only a child says that has been taken over."""
    window: list[Any] = [0, 1.0, 4.0, 2.0, 3.0, False, [2.5]]
    wrongs: list[Any] = [None, "1", float("nan"), float("inf"), -1.0, LONGEST + 1, 10**400, []]
    changed: list[Any] = [
        [*window[:at], wrong, *window[at + 1 :]]
        for at in range(7)
        for wrong in wrongs
        if not (at == 0 and wrong == 10**400) and not (at == 6 and wrong == [])
    ]
    strange: list[Any] = [
        [0, 3.0, 1.0, 3.0, 1.0, False, []],
        *([*window[:6], cuts] for cuts in ([1.0], [4.0], [2.5, 2.5], [3.0, 2.0], [0.5], [5.0], [None], [[2.0]])),
    ]
    codes: list[Any] = ["unauthorized", "", [], {}, None, 1]
    rests: list[list[Any]] = [[], [None, None], ["x", 1], [{}, None], ["x", None, 1]]
    contents: list[Any] = [
        *({"window": rows} for rows in [*changed, *strange, window[:6], [*window, 1], {}, None]),
        *({"duration": wrong} for wrong in wrongs),
        *({"error": ["invalid_audio", *rest]} for rest in rests),
        *({"error": [code, "x", None]} for code in codes),
        {"error": "invalid_audio"},
        *(None, True, [], {}, "text", -1.0, LONGEST + 1, float("nan"), {"windows": window}),
    ]
    return [json.dumps(content).encode() for content in contents]


@pytest.mark.parametrize("text", [b"", b"\xff", b"[" * MOST_BYTES, pickle.dumps(BadAudio()), *nonsense()])
def test_nonsense_is_no_report(text: bytes) -> None:
    """Least of all a pickle, which could run anything."""
    with pytest.raises(ValueError):
        load(text, longest=LONGEST)


@given(st.binary(max_size=MOST_BYTES) | st.text().map(str.encode))
def test_any_bytes(text: bytes) -> None:
    """Whatever comes, it is a report or a ValueError."""
    try:
        load(text, longest=LONGEST)
    except ValueError:
        return
