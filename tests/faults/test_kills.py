"""`kill -9` at random moments. The crash points have a test of their own; here it is time that decides."""

from pathlib import Path

from tests.faults.campaign import Campaign
from tests.faults.server import FakeServer, Launcher
from tests.sounds import speech_wav

JOBS, KILLS = 80, 8
"""In this suite; the claim of 1,000 jobs and 50 kills is checked by `tests.faults.long`."""


def test_kills_at_any_moment(launcher: Launcher, tmp_path: Path) -> None:
    """Whatever clients were told before the kills holds after them: no job lost, doubled or renamed, none risen."""
    campaign = Campaign(lambda: FakeServer(launcher, tmp_path, delay=0.01), speech_wav(3), "w1 w2", seed=5)
    report = campaign.run(jobs=JOBS, kills=KILLS)
    assert report.problems == []
    assert report.jobs >= JOBS
