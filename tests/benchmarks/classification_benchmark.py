"""How well classification learns, from image files to predictions, on data it has not seen.

    python tests/benchmarks/classification_benchmark.py [--only pneumonia|mednist|phantoms]

Writes ``results/classification/table.md`` and ``table.json`` beside this file. The pictures come from the folder of
real images (see ``tests/conftest.py``) and are written as PNG files first; the phantoms are generated. Nothing is
chosen on the test cases: the plan is the default one, the number of steps is fixed, and the epoch is chosen on cases
held out of the training part, or is the last where that is small.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from monailabel_app.classification.bootstrap import Figure  # noqa: E402
from monailabel_app.classification.dataset import ClassifiedCase  # noqa: E402
from monailabel_app.classification.figures import evaluate_answers  # noqa: E402
from monailabel_app.classification.planning import make_classification_plan  # noqa: E402
from monailabel_app.classification.predictor import ClassificationPredictor  # noqa: E402
from monailabel_app.classification.trainer import fit_classifier  # noqa: E402
from monailabel_app.store.scheme import Attribute, Scope  # noqa: E402
from monailabel_app.training.schedule import Schedule  # noqa: E402
from sample_data.phantom import LABEL_NAMES  # noqa: E402
from sample_data.study_set import write_studies  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "classification"
HELD_OUT = 0.15
STEPS_PER_EPOCH = 25
MNIST_CASES = 20
PHANTOMS, PHANTOM_SEED, PHANTOM_CASES = 150, 11, 60


@dataclass(frozen=True)
class Task:
    """What is learnt from what, and what must come out: goals by figure; none are for information."""

    name: str
    attribute: Attribute
    train: Sequence[ClassifiedCase]
    validation: Sequence[ClassifiedCase]
    test: Sequence[ClassifiedCase]
    steps: int
    goals: dict[str, float]
    max_minutes: float = 10.0


@dataclass(frozen=True)
class Row:
    """What came out; figures with their 95 % intervals."""

    name: str
    network: str
    size: tuple[int, ...]
    training_cases: int
    validation_cases: int
    test_cases: int
    steps: int
    chosen_epoch: int
    minutes: float
    cpu_minutes: float
    auc: tuple[float, float, float]
    accuracy: tuple[float, float, float]
    balanced_accuracy: tuple[float, float, float]
    confusion: list[list[int]]
    goals: dict[str, float]
    met: bool


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=TASKS, help="one of the three")
    parser.add_argument("--seed", type=int, default=0, help="of all chance in training")
    options = parser.parse_args()
    file = RESULTS / "table.json"
    kept = json.loads(file.read_text()) if options.only and file.is_file() else {}
    for name in [options.only] if options.only else TASKS:
        with TemporaryDirectory() as folder:
            kept[name] = [asdict(measure(task, options.seed)) for task in TASKS[name](Path(folder))]
        RESULTS.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(kept, indent=2) + "\n")
        table = as_table([row for one in TASKS for row in kept.get(one, [])])
        (RESULTS / "table.md").write_text(table)
    print(table)
    return 0 if all(row["met"] for rows in kept.values() for row in rows) else 1


def measure(task: Task, seed: int) -> Row:
    """Plan, train, predict each test case from its file, and compare."""
    began, busy = time.perf_counter(), time.process_time()
    plan = make_classification_plan(task.train, [task.attribute])
    schedule = Schedule(
        epochs=-(-task.steps // STEPS_PER_EPOCH), steps_per_epoch=STEPS_PER_EPOCH, max_seconds=60 * task.max_minutes
    )
    fit = fit_classifier(plan=plan, train=task.train, validation=task.validation, schedule=schedule, seed=seed)
    minutes, cpu_minutes = (time.perf_counter() - began) / 60, (time.process_time() - busy) / 60
    predictor = ClassificationPredictor(plan, fit.weights, "cpu")
    stated = [predictor.predict_case(case).arrays for case in task.test]
    answers, patients = [case.answers for case in task.test], [case.patient for case in task.test]
    found = evaluate_answers(plan.attributes, answers, stated, patients).attributes[task.attribute.name]
    figures = {"auc": found.macro_auc, "accuracy": found.accuracy, "balanced_accuracy": found.balanced_accuracy}
    return Row(
        name=task.name,
        network=plan.network.kind,
        size=plan.size,
        training_cases=len(task.train),
        validation_cases=len(task.validation),
        test_cases=len(task.test),
        steps=len(fit.curve) * STEPS_PER_EPOCH,
        chosen_epoch=fit.best_epoch,
        minutes=round(minutes, 2),
        cpu_minutes=round(cpu_minutes, 2),
        **{name: with_interval(figure) for name, figure in figures.items()},
        confusion=found.confusion,
        goals=task.goals,
        met=minutes <= task.max_minutes and all(figures[name].value >= goal for name, goal in task.goals.items()),
    )


def with_interval(figure: Figure) -> tuple[float, float, float]:
    return round(figure.value, 4), round(figure.low, 4), round(figure.high, 4)


def as_table(rows: Sequence[dict]) -> str:
    """Markdown."""
    lines = [
        "| what | trained on (held out to choose the epoch) | network | minutes (of a processor core) | AUC | accuracy "
        "| balanced accuracy | goal |",
        "|---|---|---|---:|---|---|---|---|",
    ]
    for row in rows:
        figures = ("{:.3f} ({:.3f}-{:.3f})".format(*row[name]) for name in ("auc", "accuracy", "balanced_accuracy"))
        goals = ", ".join(f"{name.replace('_', ' ')} {goal:g}" for name, goal in row["goals"].items())
        lines.append(
            f"| {row['name']}, {row['test_cases']} test cases | {row['training_cases']} ({row['validation_cases']}) | "
            f"{row['network']}, {' x '.join(map(str, row['size']))}, {row['steps']} steps | {row['minutes']:.1f} "
            f"({row['cpu_minutes']:.1f}) | {' | '.join(figures)} | "
            f"{goals + ': ' + ('met' if row['met'] else 'MISSED') if goals else 'none'} |"
        )
    note = (
        "Figures with 95 % bootstrap intervals; the answer is the most probable class. Minutes are those of planning,"
    )
    return "\n".join([*lines, "", f"{note} reading and training; those of prediction are not in them.", ""])


# --- pictures ---------------------------------------------------------------------------------------------------------


def real_data() -> Path:
    named = os.environ.get("LABELLOOP_REAL_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        sys.exit(f"no real images: {folder} is not there; name their folder in LABELLOOP_REAL_DATA")
    return folder


def write_picture(folder: Path, name: str, pixels: np.ndarray, attribute: str, answer: str) -> ClassifiedCase:
    path = folder / f"{name}.png"
    sitk.WriteImage(sitk.GetImageFromArray(pixels), str(path))
    return ClassifiedCase(name, path, {attribute: answer}, patient=name)


def pneumonia(folder: Path) -> Iterator[Task]:
    """PneumoniaMNIST: trained on its training part alone, a share of which is held out to choose the epoch."""
    arrays = np.load(real_data() / "pneumoniamnist" / "pneumoniamnist.npz")
    classes = ["normal", "pneumonia"]
    parts = {
        part: [
            write_picture(folder, f"{part}{number:05d}", pixels, "finding", classes[int(label)])
            for number, (pixels, label) in enumerate(
                zip(arrays[f"{part}_images"], arrays[f"{part}_labels"].ravel(), strict=True)
            )
        ]
        for part in ("train", "test")
    }
    order = np.random.default_rng(0).permutation(len(parts["train"]))
    held_out = int(HELD_OUT * len(order))
    yield Task(
        name="PneumoniaMNIST",
        attribute=Attribute(name="finding", classes=classes),
        train=[parts["train"][number] for number in order[held_out:]],
        validation=[parts["train"][number] for number in order[:held_out]],
        test=parts["test"],
        steps=1000,
        goals={"auc": 0.94, "accuracy": 0.83},
    )


def mednist(folder: Path) -> Iterator[Task]:
    """MedNIST: twenty cases of each class, the rest for the test."""
    classes = sorted(path.name for path in (real_data() / "mednist").iterdir() if path.is_dir())
    random = np.random.default_rng(1)
    train, test = [], []
    for name in classes:
        files = sorted((real_data() / "mednist" / name).glob("*.jpeg"))
        for place, number in enumerate(random.permutation(len(files))):
            pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(files[number])))
            case = write_picture(folder, f"{name}-{files[number].stem}", pixels, "part", name)
            (train if place < MNIST_CASES else test).append(case)
    yield Task(
        name=f"MedNIST, {MNIST_CASES} cases a class",
        attribute=Attribute(name="part", classes=classes),
        train=train,
        validation=[],
        test=test,
        steps=400,
        goals={"accuracy": 0.97},
    )


# --- phantoms ---------------------------------------------------------------------------------------------------------


def phantoms(folder: Path) -> Iterator[Task]:
    """Abdominal CT phantoms: the class of each lesion from the region around it, and the worst from the whole case."""
    write_studies(folder, cases=PHANTOMS, seed=PHANTOM_SEED, dicom=False)
    truth = json.loads((folder / "truth.json").read_text())["cases"]
    with_lesions = [case for case in truth if case["lesions"]]
    lesions = [[*lesions_of(folder, case)] for case in with_lesions]
    whole = [whole_case(folder, case) for case in with_lesions]
    classes = ["benign", "malignant"]
    yield Task(
        name=f"Lesions of {PHANTOM_CASES} phantoms, the region around each",
        attribute=Attribute(name="lesion", scope=Scope.SEGMENT, segment="lesion", classes=classes),
        train=[lesion for case in lesions[:PHANTOM_CASES] for lesion in case],
        validation=[],
        test=[lesion for case in lesions[PHANTOM_CASES:] for lesion in case],
        steps=500,
        goals={"balanced_accuracy": 0.9},
    )
    yield Task(
        name=f"Worst lesion of {PHANTOM_CASES} phantoms, whole case",
        attribute=Attribute(name="worst", classes=classes),
        train=whole[:PHANTOM_CASES],
        validation=[],
        test=whole[PHANTOM_CASES:],
        steps=300,
        goals={},
    )


def lesions_of(folder: Path, case: dict) -> Iterator[ClassifiedCase]:
    """One classified case for each lesion; its region is a component of the lesions' label map."""
    label = sitk.ReadImage(str(folder / case["label"]))
    components, _ = ndimage.label(sitk.GetArrayViewFromImage(label) == LABEL_NAMES["lesion"], np.ones((3, 3, 3)))
    numbered = sitk.GetImageFromArray(components.astype(np.uint8))
    numbered.CopyInformation(label)
    path = folder / f"{case['id']}-lesions.nii.gz"
    sitk.WriteImage(numbered, str(path))
    for lesion in case["lesions"]:
        value = numbered[label.TransformPhysicalPointToIndex(lesion["centre_mm"])]
        answers = {"lesion": lesion["kind"]}
        image = folder / case["image"]
        yield ClassifiedCase(f"{case['id']}-{lesion['id']}", image, answers, "CT", path, value, case["id"])


def whole_case(folder: Path, case: dict) -> ClassifiedCase:
    kinds = {lesion["kind"] for lesion in case["lesions"]}
    worst = "malignant" if "malignant" in kinds else "benign"
    return ClassifiedCase(case["id"], folder / case["image"], {"worst": worst}, "CT", patient=case["id"])


TASKS: dict[str, Callable[[Path], Iterator[Task]]] = {
    "pneumonia": pneumonia,
    "mednist": mednist,
    "phantoms": phantoms,
}


if __name__ == "__main__":
    sys.exit(main())
