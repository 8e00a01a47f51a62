"""What tests share.

Tests marked ``real_data`` read real images from a folder beside the repository (``../shared/data``), or from the one
that the environment variable ``LABELLOOP_REAL_DATA`` names. They are skipped where it is missing.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # how long an example takes says more of the machine than of us
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images; never written to."""
    named = os.environ.get("LABELLOOP_REAL_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real images: {folder} is not there; name their folder in LABELLOOP_REAL_DATA")
    return folder
