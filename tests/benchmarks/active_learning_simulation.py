"""Strategies compared on real images: hippocampus on MR (segmentation) and pneumonia on X-rays (classification).

    python tests/benchmarks/active_learning_simulation.py hippocampus [--data DIR] [--out DIR] [--jobs N] [--keep]
    python tests/benchmarks/active_learning_simulation.py pneumonia

Runs `labelloop simulate` with a small network, which takes an hour or so of one core; Ctrl-C keeps what is done, and
the same command goes on. Leaves the table, the report and the plots in the folder, and prints the report. With --keep,
these are copied to `results/active_learning` beside this file, without the paths of the machine.

What is to be compared was chosen by one criterion, that with cases drawn at random the figure rises with their number,
and on other images: volumes that are not among the `CASES`, and X-rays of the archive's validation part.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk

SMALL_SEGMENTATION = {
    "spacing": [2.0, 2.0, 2.0],
    "patch_size": [20, 28, 20],
    "batch_size": 2,
    "network": {
        "filters": [16, 32, 64],
        "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
        "kernels": [[3, 3, 3]] * 3,
        "deep_supervision": False,
    },
    "augmentation": dict.fromkeys(("rotation_degrees", "scaling", "gamma", "low_resolution"), 0.0),
}
"""Images are varied in their grey values alone: bent ones would stand in for cases, where structures are so alike."""
SMALL_CLASSIFICATION = {"size": [28, 28], "network": {"width": 16, "strides": [[1, 1], [2, 2], [2, 2]], "dropout": 0.2}}

HIPPOCAMPUS = ("random", "foreground-random", "entropy", "bald", "clasp-pe", "typiclust", "hybrid")
PNEUMONIA = ("random", "entropy", "bald", "typiclust", "badge", "hybrid")

CASES, VALIDATION = 60, 20
"""Volumes, and those of them to measure on."""

XRAYS, XRAYS_VALIDATION = 350, 200

CLASSES = ("normal", "pneumonia")

RESULTS = Path(__file__).resolve().parent / "results" / "active_learning"
PATHS = ("studies", "truth", "classes")
"""Settings that hold for one machine alone."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(__file__).resolve().parents[3] / "shared" / "data"
    parser.add_argument("which", choices=("hippocampus", "pneumonia"))
    parser.add_argument("--data", type=Path, default=shared, help="folder of the real images")
    parser.add_argument("--out", type=Path, default=Path("labelloop-simulation"))
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--jobs", type=int, help="arms side by side (default: the GPUs, or else the cores)")
    parser.add_argument("--keep", action="store_true", help="copy report, table and plots into the project")
    options = parser.parse_args()
    out = options.out / options.which
    out.mkdir(parents=True, exist_ok=True)
    arguments = hippocampus(options.data, out) if options.which == "hippocampus" else pneumonia(options.data, out)
    command = [sys.executable, "-m", "monailabel_app.cli", "simulate", "--out", str(out), *arguments]
    command += ["--seeds", str(options.seeds), *(["--jobs", str(options.jobs)] if options.jobs else [])]
    begun = time.monotonic()
    status = subprocess.run(command).returncode
    if options.keep:
        keep(out, RESULTS / options.which, f"python tests/benchmarks/{Path(__file__).name} {options.which}")
    print(f"\n{(out / 'report.md').read_text()}\nThis run: {(time.monotonic() - begun) / 60:.1f} minutes.")
    return status


def hippocampus(data: Path, out: Path) -> list[str]:
    """Batches of two at 2 mm: with more cases, or varied images in training, all strategies soon end alike."""
    (out / "plan.json").write_text(json.dumps(SMALL_SEGMENTATION))
    folder = data / "hippocampus"
    copy_volumes(folder / "images", out / "studies")
    return [
        *("--studies", str(out / "studies"), "--truth", str(folder / "labels")),
        *("--label", "anterior=1", "--label", "posterior=2", "--plan", str(out / "plan.json")),
        *("--strategies", ",".join(HIPPOCAMPUS), "--rounds", "5", "--batch", "2", "--validation", str(VALIDATION)),
        *("--steps", "150"),
    ]


def pneumonia(data: Path, out: Path) -> list[str]:
    (out / "plan.json").write_text(json.dumps(SMALL_CLASSIFICATION))
    studies = out / "studies"
    if not (studies / "truth.csv").exists():
        write_pictures(data / "pneumoniamnist" / "pneumoniamnist.npz", studies)
    return [
        *("--studies", str(studies / "images"), "--truth", str(studies / "truth.csv")),
        *("--classes", str(studies / "classes.json"), "--plan", str(out / "plan.json")),
        *("--strategies", ",".join(PNEUMONIA), "--rounds", "5", "--batch", "8"),
        *("--validation", str(XRAYS_VALIDATION), "--steps", "80"),
    ]


def keep(out: Path, folder: Path, command: str) -> None:
    """Copy what people read, and under `settings.json` what was compared."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in (out / "results.csv", *out.glob("*.png")):
        shutil.copyfile(file, folder / file.name)
    title, _, typed, *text = (out / "report.md").read_text().split("\n")
    assert typed.startswith("`labelloop simulate")  # in its place comes what leads to it on any machine
    (folder / "report.md").write_text("\n".join([title, "", f"`{command}`", *text]))
    settings = json.loads((out / "simulation.json").read_text())
    told = {name: value for name, value in settings.items() if name not in PATHS}
    (folder / "settings.json").write_text(json.dumps(told, indent=2) + "\n")


def copy_volumes(folder: Path, studies: Path) -> None:
    """Some of the volumes, drawn at random: those left serve to try settings on."""
    files = sorted(folder.glob("*.nii.gz"))
    studies.mkdir(parents=True, exist_ok=True)
    for place in np.random.default_rng(0).permutation(len(files))[:CASES]:
        shutil.copyfile(files[place], studies / files[place].name)


def write_pictures(archive: Path, folder: Path) -> None:
    """Some of the training images of the archive as PNG, with the scheme of classes, and the answers last."""
    arrays = np.load(archive)
    drawn = np.random.default_rng(0).permutation(len(arrays["train_images"]))[:XRAYS]
    images, labels = arrays["train_images"][drawn], arrays["train_labels"][drawn].ravel()
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        sitk.WriteImage(
            sitk.GetImageFromArray(np.ascontiguousarray(image)), str(folder / "images" / f"{number:04d}.png")
        )
    scheme = {"attributes": [{"name": "diagnosis", "classes": list(CLASSES)}]}
    (folder / "classes.json").write_text(json.dumps(scheme))
    with (folder / "truth.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["case", "diagnosis"])
        table.writerows([f"{number:04d}", CLASSES[int(label)]] for number, label in enumerate(labels))


if __name__ == "__main__":
    sys.exit(main())
