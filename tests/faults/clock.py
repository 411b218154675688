"""A wall clock that goes wrong while the server runs, for the server alone."""

import sys
import time
from datetime import datetime, tzinfo
from pathlib import Path


def shift_clock(offset: Path) -> None:
    """From now on the wall clock of this process is off by the seconds in that file, which may change."""
    right = time.time

    def wrong() -> float:
        return right() + float(offset.read_text())

    class WrongDatetime(datetime):
        """What every module of the server takes for `datetime`."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.fromtimestamp(wrong(), tz)

    time.time = wrong
    for name, module in list(sys.modules.items()):
        if name.startswith("stt_server") and getattr(module, "datetime", None) is datetime:
            module.datetime = WrongDatetime  # type: ignore[attr-defined]
