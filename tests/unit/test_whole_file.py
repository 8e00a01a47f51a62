"""A file is there as a whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from monailabel_app.store import whole_file
from monailabel_app.store.whole_file import write_whole


@pytest.mark.parametrize(
    ("content", "expected"), [("Größe: 3 mm\n", "Größe: 3 mm\n".encode()), (b"\x00\xff", b"\x00\xff")]
)
def test_text_and_bytes_arrive_in_a_folder_that_is_made(tmp_path: Path, content: str | bytes, expected: bytes) -> None:
    file = tmp_path / "new" / "one"
    write_whole(file, content)
    assert file.read_bytes() == expected and os.listdir(file.parent) == ["one"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "record.json"
    write_whole(file, "old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(whole_file.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(file, "new")
    assert file.read_text() == "old" and os.listdir(tmp_path) == ["record.json"]
