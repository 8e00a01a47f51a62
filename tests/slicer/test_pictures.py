"""The pictures of the documentation are there, show something, and are all used. Taking them is another command."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EXTENSION = Path(__file__).resolve().parents[2] / "slicer_extension"
SCREENSHOTS = EXTENSION / "Screenshots"
LARGEST_BYTES, WIDEST = 150_000, 1280
_LINK = re.compile(r"!\[([^\]]*)\]\(([^)]+)\)")


def linked(text: str) -> dict[str, str]:
    """The pictures that a page shows, with what it says of each for those who cannot see it."""
    return {target: alternative for alternative, target in _LINK.findall(text)}


def problem(path: Path) -> str:
    """What is wrong with a picture; empty if nothing is."""
    if not path.is_file():
        return f"{path.name} is not there"
    if path.stat().st_size > LARGEST_BYTES:
        return f"{path.name} has {path.stat().st_size} bytes, more than {LARGEST_BYTES}"
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    if pixels.shape[1] > WIDEST:
        return f"{path.name} is {pixels.shape[1]} pixels wide, more than {WIDEST}"
    commonest = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)[1].max() / pixels[..., 0].size
    return f"{path.name} is all of one colour" if commonest > 0.98 else ""


README = linked((EXTENSION / "README.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("target", sorted(README))
def test_the_readme_shows_pictures_that_are_there(target: str) -> None:
    assert not problem(EXTENSION / target)
    assert README[target], f"{target} has no words for those who cannot see it"


def test_every_picture_is_used() -> None:
    cmake = (EXTENSION / "CMakeLists.txt").read_text(encoding="utf-8")
    in_index = set(re.findall(r"/(Screenshots/[^\s\"]+)", cmake))
    kept = {f"Screenshots/{path.name}" for path in SCREENSHOTS.iterdir()}
    assert kept, "take them: python -m tests.slicer.pictures"
    assert not kept - set(README) - in_index


def test_a_missing_an_empty_and_a_large_picture_are_named(tmp_path: Path) -> None:
    picture = tmp_path / "one.png"
    assert problem(picture) == "one.png is not there"
    Image.new("RGB", (100, 100), "grey").save(picture)
    assert problem(picture) == "one.png is all of one colour"
    noise = np.random.default_rng(0).integers(0, 256, (50, 1300, 3), np.uint8)
    Image.fromarray(noise).save(picture)
    assert "bytes" in problem(picture)
    Image.fromarray(np.repeat(noise[:2], 5, axis=0)).save(picture)
    assert "1300 pixels wide" in problem(picture)
    Image.fromarray(noise[:, :600]).save(picture)
    assert problem(picture) == ""


def test_links_are_found() -> None:
    assert linked("a ![the panel](Screenshots/a.png) b [text](c.md)") == {"Screenshots/a.png": "the panel"}
