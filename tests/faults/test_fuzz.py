"""A little of the fuzzing, every time; `tests.faults.long` does it for half an hour."""

from tests.faults.fuzz import fuzz, mutant, seeds

SECONDS = 4


def test_mutants_are_the_same_every_time() -> None:
    """A fault that is found is found again by its number."""
    assert [mutant(1, number) for number in range(50)] == [mutant(1, number) for number in range(50)]
    assert mutant(1, 3) != mutant(2, 3)
    assert len(seeds()) >= 20


def test_no_mutant_harms_the_server() -> None:
    """Broken files of every format cost at most a child: no server error, no long wait, no memory."""
    report = fuzz(SECONDS, seed=1)
    assert report["faults"] == []
    assert report["through the server"]
    assert report["through the child"]
