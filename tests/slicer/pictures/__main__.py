"""``python -m tests.slicer.pictures``: play the tutorial and take its pictures."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from tests.slicer import bed

STORIES = ("segmentation", "classes", "augmentation", "selection")
SCREENSHOTS = Path(__file__).resolve().parents[3] / "slicer_extension" / "Screenshots"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.slicer.pictures", description=__doc__)
    parser.add_argument("--out", type=Path, default=SCREENSHOTS, help="folder for the PNG files")
    parser.add_argument("--only", choices=STORIES, help="one of the stories")
    asked = parser.parse_args()
    out = asked.out
    began = time.monotonic()

    def log(text: str) -> None:
        sys.stdout.write(f"{time.monotonic() - began:5.0f} s  {text}\n")
        sys.stdout.flush()

    bed.install()
    from . import augmentation, classes, selection, tutorial  # the test bed comes first: these import slicer and qt
    from .hospital import Hospital
    from .image_bank import ImageBank
    from .reading_room import ReadingRoom
    from .stage import Stage

    wanted = (asked.only,) if asked.only else STORIES
    with tempfile.TemporaryDirectory() as folder:
        if "segmentation" in wanted:
            log("phantoms are made")
            with closing(Hospital(Path(folder))) as hospital, closing(Stage(hospital, out, log)) as stage:
                for step in tutorial.STEPS:
                    step(stage)
        if "classes" in wanted:
            log("small pictures are made")
            with closing(ReadingRoom(Path(folder))) as room, closing(Stage(room, out, log)) as stage:
                for step in classes.STEPS:
                    step(stage, room)
        if "augmentation" in wanted:
            log("synthetic images are made")
            with closing(ImageBank(Path(folder))) as bank, closing(Stage(bank, out, log)) as stage:
                for step in augmentation.STEPS:
                    step(stage, bank)
        if "selection" in wanted:
            log("phantoms are made")
            with closing(Hospital(Path(folder) / "selection")) as hospital, closing(Stage(hospital, out, log)) as stage:
                for step in selection.STEPS:
                    step(stage)
    log(f"the pictures are in {out}")


if __name__ == "__main__":
    main()
