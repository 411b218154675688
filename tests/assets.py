"""Where the tests find real speech and a real small model. Both lie outside the project and may be absent."""

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"
ASSETS = Path(os.environ.get("STT_ASSETS", SHARED / "assets"))
"""Recorded speech and awkward files."""
TINY_MODEL = Path(os.environ.get("STT_TINY_MODEL", SHARED / "models" / "tiny"))
"""A small Parakeet-shaped model that knows six English sentence templates."""

needs_assets = pytest.mark.skipif(not ASSETS.is_dir(), reason=f"no speech assets at {ASSETS}")
needs_model = pytest.mark.skipif(not TINY_MODEL.is_dir(), reason=f"no small model at {TINY_MODEL}")
