"""Where long audio is cut."""

from itertools import pairwise, zip_longest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_server.speech.chunking import (
    CUT_PAUSE,
    LARGEST_SHARE,
    MAX_PAUSE,
    MIN_PAUSE,
    OVERLAP,
    SHORTEST_PART,
    Cutter,
    Window,
    divide,
    halves,
)
from stt_server.types import Span

HARD_CAP = 30.0
CLOSE = 1e-6
"""Seconds that sums of floats may be off."""


@st.composite
def speech(draw: st.DrawFn) -> tuple[list[Span], float]:
    """Any spans, and the duration of the recording around them."""
    pauses = st.one_of(st.just(0.0), st.floats(0.01, 1.5), st.floats(0.2, 8))
    lengths = st.one_of(st.floats(0.05, 4), st.floats(0.1, 10), st.floats(10, 80))
    spans, now = [], 0.0
    for pause, length in draw(st.lists(st.tuples(pauses, lengths), max_size=40)):
        spans.append(Span(now + pause, now + pause + length))
        now = spans[-1].end
    return spans, now + draw(st.sampled_from([0.0, 0.1, 1.0, 5.0]))


def cut(spans: list[Span], duration: float, **lengths: float) -> list[Window]:
    cutter = Cutter(**lengths)
    return cutter.feed(spans, now=spans[-1].end if spans else duration) + cutter.finish(duration)


def spans_of(*edges: float) -> list[Span]:
    return [Span(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True)]


@given(speech())
@settings(deadline=None)
def test_every_second_of_speech_is_owned_once(given_: tuple[list[Span], float]) -> None:
    """What windows answer for is disjoint, in order, and holds all speech."""
    spans, duration = given_
    windows = cut(spans, duration)
    assert all(a.owned.end <= b.owned.start + CLOSE for a, b in pairwise(windows))
    owned = sum(
        max(0.0, min(window.owned.end, span.end) - max(window.owned.start, span.start))
        for span in spans
        for window in windows
    )
    assert owned == pytest.approx(sum(span.duration for span in spans), abs=1e-4)


@given(speech())
@settings(deadline=None)
def test_windows_are_bounded(given_: tuple[list[Span], float]) -> None:
    """Windows are numbered in order, lie in the recording, under the hard cap, and hear all they own."""
    spans, duration = given_
    windows = cut(spans, duration)
    assert [window.index for window in windows] == list(range(len(windows)))
    for window in windows:
        assert 0 <= window.span.start <= window.owned.start < window.owned.end <= window.span.end <= duration + CLOSE
        assert window.span.duration <= HARD_CAP
    for before, after in pairwise(windows):
        if after.joined:
            assert after.owned.start == before.owned.end, "a seam has no hole"
            assert before.span.end > before.owned.end or before.owned.end >= duration - CLOSE
            assert after.span.start < after.owned.start
        else:
            assert before.span == Span(before.span.start, before.owned.end)
            assert after.span.start == after.owned.start >= before.span.end - CLOSE
    assert not windows or not windows[0].joined


@given(speech())
@settings(deadline=None)
def test_long_silence_is_left_out(given_: tuple[list[Span], float]) -> None:
    """No window holds a silence longer than the limit."""
    spans, duration = given_
    for window in cut(spans, duration):
        inside = [span for span in spans if span.end > window.owned.start and span.start < window.owned.end]
        assert all(b.start - a.end <= MAX_PAUSE + CLOSE for a, b in pairwise(inside))
        assert inside[0].start - window.owned.start <= 1
        assert window.owned.end - inside[-1].end <= 1


@given(speech(), st.data())
@settings(deadline=None)
def test_cutting_while_listening_gives_the_same_windows(given_: tuple[list[Span], float], data: st.DataObject) -> None:
    """However the speech is fed, the windows are the same, and their audio can be read when they come."""
    spans, duration = given_
    cutter, windows = Cutter(), []
    for span, following in zip_longest(spans, spans[1:]):
        upper = following.start if following else duration
        now = data.draw(st.floats(span.end, max(span.end, upper)))
        ready = cutter.feed([span], now=now)
        assert all(window.span.end <= now for window in ready)
        windows += ready
    windows += cutter.finish(duration)
    assert windows == cut(spans, duration)


def test_windows_come_while_somebody_still_talks() -> None:
    """The recogniser has work after some 45 s, not at the end."""
    cutter = Cutter()
    pieces = [Span(n * 7.0, n * 7.0 + 7) for n in range(100)]
    counts = [len(cutter.feed([piece], now=piece.end)) for piece in pieces]
    assert sum(counts[:8]) >= 1
    assert sum(counts) >= 680 / 25


@pytest.mark.parametrize(
    ("spans", "ends"),
    [
        pytest.param(spans_of(1, 4), [4.4], id="a short one stays whole"),
        pytest.param(spans_of(0, 6, 6.8, 12, 12.3, 19), [19.4], id="short pauses stay inside"),
        pytest.param(spans_of(0, 11, 11.3, 14, 14.9, 18, 18.2, 36), [14.4, 36.4], id="the longest pause is taken"),
        pytest.param(spans_of(0, 5, 7.5, 12), [5.4, 12.4], id="a long silence ends a window"),
        pytest.param(spans_of(0, 12, 12.3, 21), [21.4], id="rather a second too long than a lone word"),
        pytest.param(spans_of(0, 12, 12.4, 24.5), [12.2, 24.9], id="two halves rather than one too long"),
        pytest.param(spans_of(0, 19.5, 19.8, 20.3), [20.7], id="no tiny last window"),
        pytest.param(spans_of(0, 7, 7, 14, 14, 21, 21, 28, 28, 35), [14, 35.4], id="a seam when nobody pauses"),
        pytest.param(
            spans_of(0, 8, 8.3, 15, 15, 22, 22, 29, 29, 36, 36, 40), [8.15, 22, 40.4], id="a pause before a seam"
        ),
    ],
)
def test_cuts_are_where_one_would_make_them(spans: list[Span], ends: list[float | None]) -> None:
    """Pauses rather than speech, long pauses rather than short ones, comfortable lengths rather than odd ones."""
    windows = cut(spans, 100)
    found = [round(window.owned.end, 2) for window in windows]
    assert len(found) == len(ends)
    assert [end for end, wish in zip(found, ends, strict=True) if wish is not None] == [e for e in ends if e]


def test_a_seam_is_heard_from_both_sides() -> None:
    """Where nobody pauses, both windows hear more than a second of the other's audio."""
    first, second = cut(spans_of(0, 9, 9, 18, 18, 27, 27, 30), 30)
    assert first.span.end == first.owned.end + OVERLAP
    assert second.span.start == second.owned.start - OVERLAP
    assert second.joined


def test_lengths_can_be_chosen() -> None:
    """A lone request of 16 s can be made two windows, for two processors."""
    spans = spans_of(0, 4, 4.5, 8, 8.6, 12, 12.3, 16)
    assert len(cut(spans, 16)) == 1
    assert [round(window.owned.end, 1) for window in cut(spans, 16, shortest=5, longest=10)] == [8.3, 16]


@given(st.floats(0, 1000), st.floats(0, OVERLAP), st.floats(1, 28), st.floats(0, OVERLAP), st.booleans())
def test_halves_answer_for_all_the_window_hears(
    start: float, before: float, length: float, after: float, joined: bool
) -> None:
    """Two halves hear and own together what the window heard, and share the middle."""
    window = Window(
        7, Span(start, start + before + length + after), Span(start + before, start + before + length), joined
    )
    left, right = halves(window)
    assert (left.index, right.index) == (0, 1)
    assert (left.span.start, right.span.end) == (window.span.start, window.span.end)
    assert (left.owned.start, right.owned.end) == (window.span.start, window.span.end)
    assert left.owned.end == right.owned.start
    assert left.span.end > right.span.start + min(1, length / 2)
    assert right.joined
    assert not left.joined


def test_two_spans_almost_touching_are_no_pause() -> None:
    """A silence shorter than `MIN_PAUSE` is cut like speech, with overlap."""
    gap = MIN_PAUSE / 2
    windows = cut(spans_of(0, 15, 15 + gap, 30), 30)
    assert [window.joined for window in windows] == [False, True]


@given(speech(), st.integers(0, 16))
@settings(deadline=None)
def test_a_window_is_divided_in_its_pauses(given_: tuple[list[Span], float], most: int) -> None:
    """Parts share the window without hole or overlap, none tiny, none nearly all of it, and no speech is cut."""
    spans, duration = given_
    for window in cut(spans, duration):
        parts = divide(window, most)
        assert window.index == 0 or not window.cuts
        if len(parts) == 1:
            assert parts == [window]
            continue
        assert len(parts) <= most
        assert [part.index for part in parts] == list(range(len(parts)))
        assert all(part.span == part.owned and not part.joined for part in parts)
        assert (parts[0].span.start, parts[-1].span.end) == (window.span.start, window.span.end)
        assert all(a.span.end == b.span.start for a, b in pairwise(parts))
        assert all(part.span.duration >= SHORTEST_PART for part in parts)
        assert all(part.span.duration <= LARGEST_SHARE * window.span.duration for part in parts)
        for at in (part.span.start for part in parts[1:]):
            assert all(not span.start - CUT_PAUSE / 3 < at < span.end + CUT_PAUSE / 3 for span in spans)


def test_long_pauses_are_places_to_cut() -> None:
    """Short ones are not, and later windows have none."""
    windows = cut(spans_of(0.3, 5, 5.4, 10, 10.2, 12, 15, 20, 20.5, 26), 26.5)
    assert [window.cuts for window in windows] == [(5.2,), ()]
    assert [part.span for part in divide(windows[0], 2)] == [Span(0, 5.2), Span(5.2, 12.4)]


@pytest.mark.parametrize(
    ("cuts", "most", "ends"),
    [
        pytest.param((5.0,), 1, [10], id="one core"),
        pytest.param((), 2, [10], id="nowhere to cut"),
        pytest.param((2.0, 7.5), 2, [10], id="nowhere in the middle"),
        pytest.param((4.0, 5.2, 6.1), 2, [5.2, 10], id="nearest to the middle"),
        pytest.param((5.2,), 16, [5.2, 10], id="no more parts than pauses"),
        pytest.param((3.0, 5.9), 16, [5.9, 10], id="no part shorter than four seconds"),
    ],
)
def test_where_a_window_is_divided(cuts: tuple[float, ...], most: int, ends: list[float]) -> None:
    """Into parts of like length, or not at all."""
    window = Window(0, Span(0, 10), Span(0, 10), cuts=cuts)
    assert [part.span.end for part in divide(window, most)] == ends
