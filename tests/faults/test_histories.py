"""A few of the random histories of queue, store and spool; `tests.faults.long` lives ten thousand."""

from tests.faults.histories import live_histories

HISTORIES = 100


def test_any_history_keeps_every_promise() -> None:
    """Submissions, force, ends, troubles, erasure, callers, crashes and restarts in any order: the queue, the store and
    the spool are as the model says, after each step, and empty in the end."""
    live_histories(HISTORIES, seed=0)
