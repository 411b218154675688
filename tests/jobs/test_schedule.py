"""Whose window comes next."""

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from stt_server.jobs.schedule import OTHERS_EVERY, Schedule, Work


def drain(schedule: Schedule[str]) -> list[str]:
    taken = []
    while (window := schedule.take()) is not None:
        taken.append(window)
    return taken


def test_a_short_file_overtakes_a_long_one() -> None:
    """A voicemail that comes after the first window of a long file is taken at the next window."""
    schedule: Schedule[str] = Schedule()
    long, short = Work[str](urgent=False, seq=1), Work[str](urgent=False, seq=2)
    for i in range(5):
        schedule.add(long, 20, f"long {i}")
    assert schedule.take() == "long 0"
    schedule.add(short, 8, "short")
    assert drain(schedule) == ["short", "long 1", "long 2", "long 3", "long 4"]


def test_callers_who_wait_go_first_but_nobody_starves() -> None:
    """While both wait, every fourth window is taken from those who do not wait in the call."""
    schedule: Schedule[str] = Schedule()
    call, job = Work[str](urgent=True, seq=2), Work[str](urgent=False, seq=1)
    for _ in range(12):
        schedule.add(call, 10, "call")
        schedule.add(job, 10, "job")
    taken = [schedule.take() for _ in range(12)]
    assert [i for i, window in enumerate(taken, 1) if window == "job"] == [OTHERS_EVERY, 8, 12]


def test_dropped_work_is_never_taken() -> None:
    """Windows of a caller who has gone are forgotten."""
    schedule: Schedule[str] = Schedule()
    gone, here = Work[str](urgent=True, seq=1), Work[str](urgent=True, seq=2)
    schedule.add(gone, 1, "gone")
    schedule.add(here, 1, "here")
    schedule.drop(gone)
    assert drain(schedule) == ["here"]


@given(st.lists(st.tuples(st.booleans(), st.lists(st.floats(0.1, 30), max_size=8)), max_size=8))
def test_every_window_is_taken_once_and_in_order(files: list[tuple[bool, list[float]]]) -> None:
    """Whatever waits, each window is taken exactly once, and those of one file in their order."""
    schedule: Schedule[tuple[int, int]] = Schedule()
    for number, (urgent, lengths) in enumerate(files):
        work = Work[tuple[int, int]](urgent=urgent, seq=number)
        for index, seconds in zip(count(), lengths, strict=False):
            schedule.add(work, seconds, (number, index))
    assert len(schedule) == sum(len(lengths) for _, lengths in files)
    taken = []
    while (window := schedule.take()) is not None:
        taken.append(window)
    assert sorted(taken) == [(n, i) for n, (_, lengths) in enumerate(files) for i in range(len(lengths))]
    for number in range(len(files)):
        indices = [i for n, i in taken if n == number]
        assert indices == sorted(indices)
