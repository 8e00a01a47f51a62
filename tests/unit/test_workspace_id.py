"""A workspace has a name of its own, and keeps it."""

from __future__ import annotations

from pathlib import Path

from monailabel_app.store.database import Database
from monailabel_app.store.workspace_id import workspace_id


def test_a_workspace_keeps_its_id_and_shares_it_with_no_other(tmp_path: Path) -> None:
    first = workspace_id(Database(tmp_path / "a.sqlite"))
    assert first and workspace_id(Database(tmp_path / "a.sqlite")) == first
    assert workspace_id(Database(tmp_path / "b.sqlite")) != first
