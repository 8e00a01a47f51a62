"""The loop on real MR: 24 annotated cases, 40 frozen validation cases (Medical Segmentation Decathlon, Task04).

    python tests/benchmarks/hippocampus_loop.py [--data DIR] [--out DIR] [--training-minutes 3]

Writes the demo's report into the folder, and prints the figures as Markdown.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

GOAL_DICE, GOAL_MINUTES = 0.80, 20.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(__file__).resolve().parents[3] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=shared / "hippocampus", help="folder with images/ and labels/")
    parser.add_argument("--out", type=Path, default=Path("labelloop-demo/hippocampus"))
    parser.add_argument("--training-minutes", type=float, default=3.0)
    options = parser.parse_args()
    command = [
        *(sys.executable, "-m", "monailabel_app.cli", "demo", "--out", str(options.out)),
        *("--studies", str(options.data / "images"), "--truth", str(options.data / "labels")),
        *("--label", "anterior=1", "--label", "posterior=2"),
        *("--validation", "40", "--annotate", "24", "--batch", "8"),
        *("--training-minutes", str(options.training_minutes)),
    ]
    begun = time.monotonic()
    subprocess.run(command, check=True)
    minutes = (time.monotonic() - begun) / 60
    rounds = json.loads((options.out / "figures.json").read_text())["rounds"]
    print("\n| annotated cases | mean Dice on 40 validation cases | anterior | posterior | published |")
    print("|---:|---:|---:|---:|---|")
    for one in rounds:
        labels = " | ".join(f"{one['labels'][name]['dice']:.3f}" for name in ("anterior", "posterior"))
        published = "yes" if one["was_published"] else "no"
        print(f"| {one['annotated_cases']} | {one['dice']:.3f} | {labels} | {published} |")
    best = max(one["dice"] for one in rounds if one["in_use"])
    print(f"\nWhole run: {minutes:.1f} minutes (goal: {GOAL_MINUTES:g}); Dice {best:.3f} (goal: {GOAL_DICE:g}).")
    return 0 if best >= GOAL_DICE and minutes <= GOAL_MINUTES else 1


if __name__ == "__main__":
    sys.exit(main())
