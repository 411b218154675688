"""The same as `stt-server download`: `python scripts/download_model.py [NAME] [--to FOLDER]`."""

import os
import sys
from pathlib import Path

INSTALLED = Path(__file__).resolve().parents[1] / ".venv" / "bin" / "python"

try:
    from stt_server.__main__ import main
except ImportError:
    # Some other Python: the one that scripts/setup has installed the server into knows it.
    if not INSTALLED.exists() or Path(sys.prefix).resolve() == INSTALLED.parents[1]:
        sys.exit("The server is not installed in this Python. Run scripts/setup first.")
    os.execv(INSTALLED, [str(INSTALLED), *sys.argv])  # noqa: S606 - no shell is wanted

if __name__ == "__main__":
    sys.argv[1:1] = ["download"]
    main()
