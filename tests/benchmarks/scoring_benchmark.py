"""Scoring against the platform's own: ``python tests/benchmarks/scoring_benchmark.py`` prints Markdown tables.

One network, trained for a short while on phantoms or (``--data``) on the first cases of an annotated set, scores the
same cases in the same run

- by the platform's epistemic scoring (version 2, five passes with dropout, its defaults but for the device), on an
  inference task with the plan's spacing, patch and normalisation, and
- by ours, for all strategies at once, from the image file and from a prepared volume; case by case in turns with the
  platform, as other work on the machine would else count for one of them alone.

The rank correlation (Spearman) says whether fewer passes or a coarse grid order the cases as `THOROUGH` looks at the
plan's own grid do; those under another seed say what chance leaves of it at best. Beside it is the rank correlation of
the score with the voxels that the network gets wrong. At last, the time for one choice among many scored cases, in a
store of that size, with none of them finished and with many.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `labelloop serve` does, before torch is loaded

import numpy as np
import SimpleITK as sitk
import torch
from scipy.stats import spearmanr

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from monailabel_app.active_learning.case_looks import CaseLooks
from monailabel_app.active_learning.case_pool import CasePool
from monailabel_app.active_learning.evidence import Evidence, Measure
from monailabel_app.active_learning.given import Asked
from monailabel_app.active_learning.looking import LookOptions
from monailabel_app.active_learning.next_case import NextCase
from monailabel_app.active_learning.pool import Pool
from monailabel_app.active_learning.scoring import row_of
from monailabel_app.active_learning.strategies import strategies_for
from monailabel_app.active_learning.strategies.figures import case_scores
from monailabel_app.classification.region_finder import RegionFinder
from monailabel_app.inference.predictor import Predictor
from monailabel_app.inference.service import InferenceService, LoadedVersion
from monailabel_app.models.networks import Weights, build_network, weights_of
from monailabel_app.models.plan import Plan
from monailabel_app.models.registry import Registry
from monailabel_app.models.version import VersionRecord
from monailabel_app.store.annotations import Revision, Status
from monailabel_app.store.store import Store
from monailabel_app.store.truth import Truth
from monailabel_app.store.workspace import Workspace
from monailabel_app.training.dataset import TrainingCase
from monailabel_app.training.planning import make_plan
from monailabel_app.training.trainer import Schedule, fit
from sample_data import write_studies
from tests.builders import version_record, write_label_map, write_volume

PASSES = 5
DROPOUT = 0.1
TAUGHT = {"phantoms": 8, "data": 24}
"""Cases that the network is trained on; none of them is scored."""

THOROUGH = LookOptions(dropout_passes=PASSES)
MEASURES = (Measure.ENTROPY, Measure.MARGIN, Measure.BALD, Measure.ALEATORIC)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with images/ and labels/ to use instead of phantoms")
    parser.add_argument("--label", nargs="+", default=["anterior=1", "posterior=2"], help="what labels/ holds")
    parser.add_argument("--cases", type=int, default=36, help="cases to rank")
    parser.add_argument("--skip", type=int, default=0, help="cases to leave out before them, such as others looked at")
    parser.add_argument("--timed", type=int, default=3, help="of these, how many the platform scores; 0 leaves it out")
    parser.add_argument("--size", type=int, nargs=3, default=(160, 128, 96), help="voxels of a phantom")
    parser.add_argument("--spacing", type=float, nargs=3, default=(2.0, 2.0, 2.5), help="mm")
    parser.add_argument("--coarsening", type=float, nargs="*", default=[1.25, 1.5], help="coarser grids to compare")
    parser.add_argument("--steps", type=int, default=500, help="training steps of the network")
    parser.add_argument("--network", type=Path, help="file to keep the network in; where there is one, it is taken")
    parser.add_argument("--scored", type=int, default=10_000, help="cases in the store for one choice; 0 leaves it out")
    parser.add_argument("--finished", type=int, default=3_000, help="of these, cases that are finished in the end")
    parser.add_argument("--choices-only", action="store_true", help="only the time for one choice")
    asked = parser.parse_args()
    logging.disable(logging.INFO)
    with TemporaryDirectory() as folder:
        if asked.choices_only:
            choose(Path(folder) / "many", asked, untrained())
            return
        taught, pool, truth = cases_of(Path(folder), asked)
        plan, weights = network_of(taught, truth, asked)
        store = Store(workspace=Workspace(Path(folder) / "workspace"), studies=pool)
        store.catalogue.refresh()
        record = version_record().model_copy(update={"plan": plan, "number": 1})
        version = LoadedVersion(record, Predictor(plan, weights))
        print(
            f"{asked.cases} {'cases' if asked.data else 'phantoms'}; {torch.get_num_threads()} threads, "
            f"{version.predictor.device}; plan {plan.spacing} mm, patch {plan.patch_size}, {asked.steps} training steps"
        )
        if asked.timed:
            time_looks(store, version, asked)
        rank(store, version, truth, asked)
        if asked.scored:
            choose(Path(folder) / "many", asked, version)


def cases_of(folder: Path, asked: argparse.Namespace) -> tuple[list[Path], Path, Truth]:
    """Images to train on, the folder of those to score, and the truth about both."""
    pool = folder / "pool"
    pool.mkdir()
    if asked.data:
        names = {name: int(value) for name, value in (one.split("=") for one in asked.label)}
        truth = Truth.read(asked.data / "labels", names)
        images, number = sorted((asked.data / "images").glob("*.nii.gz")), TAUGHT["data"]
    else:
        number = TAUGHT["phantoms"]
        shape = {"size": tuple(asked.size), "spacing": tuple(asked.spacing), "dicom": False}
        made = write_studies(folder / "made", cases=number + asked.skip + asked.cases, seed=1, **shape)
        truth, images = Truth.read(made.labels), sorted(made.images.glob("*.nii.gz"))
    for path in images[number + asked.skip :][: asked.cases]:
        shutil.copy(path, pool)
    return images[:number], pool, truth


def network_of(taught: list[Path], truth: Truth, asked: argparse.Namespace) -> tuple[Plan, Weights]:
    """The network that was kept, or one that is trained now; on one thread, which does not wait for another's."""
    if asked.network and asked.network.exists():
        kept = torch.load(asked.network)
        return Plan.model_validate_json(kept["plan"]), kept["weights"]
    cases = [
        TrainingCase(id=path.stem, image=path, label=truth.file(_id(path)), label_names=truth.names) for path in taught
    ]
    overrides = {"network": {"dropout": DROPOUT, "deep_supervision": False}}  # the platform cannot take the latter
    plan = make_plan(cases, labels=list(truth.names), device_memory_gb=None, overrides=overrides)
    schedule = Schedule(epochs=1, steps_per_epoch=asked.steps)
    weights = on_one_thread(lambda: fit(plan=plan, train=cases, validation=(), schedule=schedule, seed=0).weights)
    if asked.network:
        torch.save({"plan": plan.model_dump_json(), "weights": weights}, asked.network)
    return plan, weights


def _id(path: Path) -> str:
    return path.name.removesuffix(".nii.gz")


def on_one_thread(action: Callable[[], Any]) -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return action()
    finally:
        torch.set_num_threads(threads)


def seconds(action: Callable[[], object]) -> tuple[float, float]:
    """By the clock, and of the processor."""
    began, worked = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - began, time.process_time() - worked


# --- throughput ------------------------------------------------------------------------------------------------------


def time_looks(store: Store, version: LoadedVersion, asked: argparse.Namespace) -> None:
    """Ours and the platform's in turns, and the median time of a case."""
    ids = store.catalogue.usable_ids()[: asked.timed]
    finder = RegionFinder(store, InferenceService(Registry(store.database, store.workspace.versions)))
    looks = {name: CaseLooks(store, finder, options) for name, options in settings(asked).items()}
    theirs: list[tuple[float, float]] = []
    ours: dict[str, list[tuple[float, float]]] = {}
    for one in looks.values():
        one.look(store.catalogue.usable_ids()[-1], version)  # what is made once for each shape
    for case_id in ids:
        theirs.append(seconds(partial(platforms_scoring, store, version, [case_id])))
        for name, one in looks.items():
            for path in one.volumes.folder.glob("*.npy"):
                path.unlink()
            for how in ("from the file", "prepared"):
                ours.setdefault(f"{name} | {how}", []).append(seconds(partial(one.look, case_id, version)))
    clock, worked = (statistics.median(times) for times in zip(*theirs, strict=True))
    print(f"\n| a look at a case, median of {len(ids)} | volume | by the clock | ratio | processor | ratio |")
    print("|---|---|---:|---:|---:|---:|")
    print(f"| the platform, {PASSES} passes | from the file | {clock:.2f} s | 1 | {worked:.2f} s | 1 |")
    for name, times in ours.items():
        by_clock, by_work = (statistics.median(of) for of in zip(*times, strict=True))
        ratios = (f"{one:.2f} s | {all_of_it / one:.1f}" for one, all_of_it in ((by_clock, clock), (by_work, worked)))
        print(f"| {name} | {' | '.join(ratios)} |", flush=True)


def settings(asked: argparse.Namespace) -> dict[str, LookOptions]:
    """The looks that are compared, by name."""
    default = LookOptions()
    coarse = {f"{length:g}x coarser": replace(default, coarsening=length) for length in asked.coarsening}
    return {"the default": default, f"{THOROUGH.dropout_passes} passes": THOROUGH, **coarse}


# --- ranks -----------------------------------------------------------------------------------------------------------


def rank(store: Store, version: LoadedVersion, truth: Truth, asked: argparse.Namespace) -> None:
    """Spearman's correlation of each look's scores with a thorough one's, and with the errors of the prediction."""
    ids = store.catalogue.usable_ids()
    finder = RegionFinder(store, InferenceService(Registry(store.database, store.workspace.versions)))

    def evidence(options: LookOptions) -> dict[str, Evidence]:
        looks = CaseLooks(store, finder, options)
        return on_one_thread(lambda: {case_id: looks.look(case_id, version) for case_id in ids})

    dice, wrong = on_one_thread(lambda: errors(store, version, truth, ids))
    print(f"\nMean Dice of the network on the {len(ids)} cases: {dice:.3f}.\n")
    print(
        f"| Spearman with {THOROUGH.dropout_passes} passes at full resolution |", *(f"{m} |" for m in MEASURES), end=""
    )
    print(" entropy with errors |\n|---|" + "---:|" * (len(MEASURES) + 1))
    full = evidence(THOROUGH)
    chance = {f"{THOROUGH.dropout_passes} passes, another seed": replace(THOROUGH, seed=1)}
    for name, options in {**settings(asked), **chance}.items():
        found = full if options == THOROUGH else evidence(options)
        ranks = " | ".join(f"{spearman(scores(full, m), scores(found, m)):.3f}" for m in MEASURES)
        print(f"| {name} | {ranks} | {spearman(scores(found, Measure.ENTROPY), wrong):.2f} |", flush=True)


def scores(evidence: dict[str, Evidence], measure: Measure) -> np.ndarray:
    """The scores that strategies go by, cases in their order."""
    ids = sorted(evidence)
    return case_scores(Pool(candidates=tuple(ids), evidence=evidence), ids, measure)


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    return float(spearmanr(one, other).statistic)


def errors(store: Store, version: LoadedVersion, truth: Truth, ids: list[str]) -> tuple[float, np.ndarray]:
    """Mean Dice, and how wrong the prediction of each case is: wrong voxels of each label as a multiple of their mean,
    averaged over the labels."""
    wrong, dice = [], []
    for case_id in sorted(ids):
        predicted = version.predictor.predict(sitk.ReadImage(str(store.catalogue.image_file(case_id)))).label_map
        label = sitk.GetArrayFromImage(sitk.ReadImage(str(truth.file(case_id))))
        pairs = [
            (predicted == channel, label == truth.names[name])
            for channel, name in enumerate(version.record.plan.labels, 1)
        ]
        wrong.append([float((one != other).sum()) for one, other in pairs])
        dice += [2 * (one & other).sum() / (one.sum() + other.sum()) for one, other in pairs if other.any()]
    of_labels = np.array(wrong)
    return float(np.mean(dice)), (of_labels / np.maximum(of_labels.mean(0), 1)).mean(1)


# --- the platform's own ----------------------------------------------------------------------------------------------


def platforms_scoring(store: Store, version: LoadedVersion, ids: list[str]) -> None:
    """The platform's own scoring; one case at a time, as ours."""
    from monailabel.tasks.scoring.epistemic_v2 import EpistemicScoring

    device = str(version.predictor.device)
    scoring = EpistemicScoring(_platform_task(version), simulation_size=PASSES)
    files = {case_id: str(store.catalogue.image_file(case_id)) for case_id in ids}
    datastore = SimpleNamespace(
        get_unlabeled_images=lambda: list(files),
        get_image_info=lambda case_id: {},
        get_image_uri=lambda case_id: files[case_id],
        update_image_info=lambda case_id, info: None,
    )
    try:
        scoring({"max_workers": 1, "device": device}, datastore)
    finally:
        version.predictor.network.eval()


def _platform_task(version: LoadedVersion) -> Any:
    """An inference task as the platform's radiology app writes them, with our network and plan."""
    from monai.transforms import (
        Activationsd,
        DeleteItemsd,
        EnsureChannelFirstd,
        EnsureTyped,
        LoadImaged,
        NormalizeIntensityd,
        Orientationd,
        Spacingd,
    )
    from monailabel.interfaces.tasks.infer_v2 import InferType
    from monailabel.tasks.infer.basic_infer import BasicInferTask
    from monailabel.transform.post import Restored

    plan: Plan = version.record.plan
    device = str(version.predictor.device)

    class Segmentation(BasicInferTask):
        def __init__(self) -> None:
            super().__init__(
                path=None,
                network=version.predictor.network,
                type=InferType.SEGMENTATION,
                labels=plan.labels,
                dimension=3,
                description="the same network",
                roi_size=plan.patch_size,
                train_mode=True,
                skip_writer=True,
                config={"device": device},
            )

        def _get_network(self, device: str, data: Any) -> Any:
            return self.network.train()

        def pre_transforms(self, data: Any = None) -> list[Any]:
            return [
                DeleteItemsd(keys="image_path"),  # Spacingd of MONAI 1.6 takes the platform's path for a header
                LoadImaged(keys="image", image_only=False),
                EnsureTyped(keys="image", device=data.get("device")),
                EnsureChannelFirstd(keys="image"),
                Orientationd(keys="image", axcodes="LPS", labels=None),
                Spacingd(keys="image", pixdim=plan.spacing),
                NormalizeIntensityd(keys="image"),
            ]

        def post_transforms(self, data: Any = None) -> list[Any]:
            return [
                EnsureTyped(keys="pred", device=data.get("device")),
                Activationsd(keys="pred", softmax=True),
                Restored(keys="pred", ref_image="image"),
            ]

    return Segmentation()


# --- one choice among many -------------------------------------------------------------------------------------------


def untrained() -> LoadedVersion:
    """A version to enter scores under, which looks at nothing."""
    record = version_record()
    return LoadedVersion(record, Predictor(record.plan, weights_of(build_network(record.plan))))


def choose(folder: Path, asked: argparse.Namespace, version: LoadedVersion) -> None:
    """The time of one choice by each strategy, with all cases scored, before any is finished and with many."""
    record: VersionRecord = version.record
    content = write_volume(folder / "template.nii.gz").read_bytes()
    (folder / "studies").mkdir()
    for index in range(asked.scored):
        (folder / "studies" / f"case-{index:05}.nii.gz").write_bytes(content)
    store = Store(workspace=Workspace(folder / "workspace"), studies=folder / "studies")
    store.catalogue.refresh()
    registry = Registry(store.database, store.workspace.versions)
    registered = registry.register(record, weights_of(version.predictor.network))
    registry.publish(record.task, registered.number, "benchmark", "to choose with")
    random = np.random.default_rng(0)
    store.scores.put(
        *(
            row_of(_made_up(case.id, record, random), version, case.id, case.fingerprint)
            for case in store.catalogue.cases()
        )
    )
    print(f"\nOne choice among {asked.scored:,} scored cases:\n")
    print("| strategy | first, nothing read | first, read ahead | then |\n|---|---:|---:|---:|")
    for name in strategies_for("segmentation"):
        chooser, warm = NextCase(store, CasePool(store, registry)), NextCase(store, pools := CasePool(store, registry))
        first, _ = seconds(partial(chooser.choose, Asked(f"{name} cold", name)))
        pools.read_ahead()
        times = [seconds(partial(warm.choose, Asked(f"{name} {n}", name)))[0] for n in range(4)]
        print(f"| {name} | {first:.2f} s | {times[0]:.2f} s | {statistics.median(times[1:]):.2f} s |", flush=True)
    if asked.finished:
        finish(store, asked.finished)
        choose_late(store, registry, asked)


def finish(store: Store, number: int) -> None:
    """Have the first cases finished."""
    label = write_label_map(store.workspace.root / "sent.nii.gz")
    revision = Revision(Status.FINAL, label_map=label, label_names={"organ": 1})
    store.split.name_validation_patients(["somebody else"])  # so that all of them train
    with store.database.write():
        for case_id in store.catalogue.usable_ids()[:number]:
            store.annotations.save(case_id, "benchmark", revision)


def choose_late(store: Store, registry: Registry, asked: argparse.Namespace) -> None:
    """The time of one choice by each strategy among the scored cases that are left, with those finished beside them."""
    print(f"\nOne choice with {asked.finished:,} of the {asked.scored:,} finished, median of 3:\n")
    print("| strategy | by the clock | processor |\n|---|---:|---:|")
    chooser = NextCase(store, CasePool(store, registry))
    chooser.choose(Asked("reader"))  # which reads the scores
    for name in strategies_for("segmentation"):
        times = [seconds(partial(chooser.choose, Asked(f"{name} late {n}", name))) for n in range(3)]
        clock, worked = (statistics.median(of) for of in zip(*times, strict=True))
        print(f"| {name} | {clock:.2f} s | {worked:.2f} s |", flush=True)


def _made_up(case_id: str, record: VersionRecord, random: np.random.Generator) -> Evidence:
    labels = record.plan.labels
    by_class = {str(m): dict(zip(labels, random.gamma(2, 1, len(labels)).tolist(), strict=True)) for m in Measure}
    return Evidence(
        case_id=case_id,
        task=record.task,
        version=record.number,
        foreground_mm3=dict(zip(labels, random.gamma(2, 1e4, len(labels)).tolist(), strict=True)),
        scores={measure: sum(of_class.values()) for measure, of_class in by_class.items()},
        by_class=by_class,
        embedding=random.normal(size=128),
    )


if __name__ == "__main__":
    main()
