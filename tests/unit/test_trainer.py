"""Training small networks for real, each for a few seconds."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from monailabel_app.errors import BadInput, GeometryMismatch, UnreadableImage
from monailabel_app.inference.predictor import Predictor
from monailabel_app.models.plan import Augmentation, Plan
from monailabel_app.training.augmentation import RandomDeformation, RandomIntensity
from monailabel_app.training.cross_validation import cross_validate, split_groups
from monailabel_app.training.dataset import PatchSampler, TrainingCase, prepare_case
from monailabel_app.training.evaluation import EvaluationKind, evaluate
from monailabel_app.training.loss import merge_missing, segmentation_loss
from monailabel_app.training.schedule import OptimizerKind, Phase, Progress, Schedule
from monailabel_app.training.trainer import fit

STILL = Augmentation(rotation_degrees=0, scaling=0, brightness=0, contrast=0, gamma=0, noise=0, low_resolution=0)
SHORT = Schedule(epochs=3, steps_per_epoch=10, learning_rate=5e-3)
NAMES = {"bright": 1, "dark": 2}


def make_plan(labels: tuple[str, ...] = ("bright", "dark"), **changes: object) -> Plan:
    network = {"filters": [8, 16, 32], "strides": [[1] * 3, [2] * 3, [2] * 3], "kernels": [[3] * 3] * 3}
    fields = {
        "labels": list(labels),
        "dimension": 3,
        "spacing": (1.0, 1.0, 1.0),
        "patch_size": (16, 16, 16),
        "batch_size": 2,
        "normalisation": {"kind": "mr"},
        "network": network,
        "augmentation": STILL,
    }
    return Plan.model_validate(fields | changes)


def write_case(
    folder: Path, seed: int, *, names: dict[str, int] = NAMES, drawn: tuple[str, ...] | None = None
) -> TrainingCase:
    """A bright and a dark ball in noise, 20 x 18 x 16 voxels of 1 mm; `drawn` are those in the label map."""
    random = np.random.default_rng(seed)
    voxels = random.normal(100, 5, (16, 18, 20))
    mask = np.zeros(voxels.shape, np.uint8)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in voxels.shape], indexing="ij"), -1)
    for name, x, grey in (("bright", 5, 150), ("dark", 14, 50)):
        ball = np.linalg.norm(index - (random.integers(6, 10), random.integers(6, 12), x), axis=-1) < 4.3
        voxels[ball] += grey - 100
        if name in (names if drawn is None else drawn):
            mask[ball] = names[name]
    image, label = folder / f"{seed}.nrrd", folder / f"{seed}-{'-'.join(map(str, names.values()))}-label.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(voxels.astype(np.float32)), str(image))
    sitk.WriteImage(sitk.GetImageFromArray(mask), str(label))
    return TrainingCase(f"case{seed}", image, label, names, "MR")


def test_one_case_is_learnt_by_heart(tmp_path: Path) -> None:
    case = write_case(tmp_path, 1)
    reports: list[Progress] = []
    schedule = Schedule(epochs=8, steps_per_epoch=20, learning_rate=5e-3)
    result = fit(plan=make_plan(), train=[case], validation=[case], schedule=schedule, on_progress=reports.append)
    scores = evaluate(Predictor(make_plan(), result.weights, "cpu"), [case])
    assert scores.labels["bright"].dice > 0.9
    assert scores.labels["dark"].dice > 0.9
    assert result.best_dice == max(r.validation_dice for r in result.curve if r.validation_dice is not None)
    assert result.curve[-1].validation_dice is not None, "validated at the end"
    assert result.curve[-1].train_loss < result.curve[0].train_loss
    assert [record.epoch for record in result.curve] == list(range(1, 9))
    assert result.curve[-1].learning_rate < 0.1 * schedule.learning_rate
    assert not result.stopped
    assert {report.phase for report in reports} >= {Phase.TRAINING, Phase.VALIDATING, Phase.FINISHED}
    assert reports[-1].seconds_left == 0
    assert reports[-1].step == 160


@pytest.mark.parametrize("changes", [{"kind": "segresnet", "deep_supervision": False}, {"deep_supervision": False}])
def test_other_networks_and_sgd_learn_too(tmp_path: Path, changes: dict[str, object]) -> None:
    plan = make_plan().with_overrides({"network": changes})
    schedule = replace(SHORT, optimizer=OptimizerKind.SGD, learning_rate=1e-2)
    result = fit(plan=plan, train=[write_case(tmp_path, 1)], validation=[], schedule=schedule)
    assert result.curve[-1].train_loss < 0.8 * result.curve[0].train_loss
    assert result.best_dice is None
    assert result.best_epoch == 3


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    case = write_case(tmp_path, 1)
    runs = [
        fit(plan=make_plan(), train=[case], validation=[], schedule=replace(SHORT, epochs=1), seed=seed).weights
        for seed in (3, 3, 4)
    ]
    same, other = ([torch.equal(runs[0][name], run[name]) for name in runs[0]] for run in runs[1:])
    assert all(same)
    assert not all(other)


def test_label_names_carry_the_meaning_and_voxel_values_do_not(tmp_path: Path) -> None:
    plain = [write_case(tmp_path, seed) for seed in (1, 2)]
    swapped = [plain[0], write_case(tmp_path, 2, names={"dark": 7, "bright": 40})]
    one, other = (
        fit(plan=make_plan(), train=cases, validation=[], schedule=SHORT).weights for cases in (plain, swapped)
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_label_that_was_not_annotated_is_not_taught_as_background(tmp_path: Path) -> None:
    both = write_case(tmp_path, 1)
    only_bright = write_case(tmp_path, 2, names={"bright": 1})
    absent = write_case(tmp_path, 2, names=NAMES, drawn=("bright",))
    assert prepare_case(only_bright, make_plan()).missing.tolist() == [False, False, True]
    assert prepare_case(absent, make_plan()).missing.tolist() == [False, False, False]
    schedule = Schedule(epochs=5, steps_per_epoch=15, learning_rate=5e-3)
    found = {}
    for name, second in (("missing", only_bright), ("absent", absent)):
        weights = fit(plan=make_plan(), train=[both, second, second, second], validation=[], schedule=schedule).weights
        image = sitk.ReadImage(str(second.image))
        found[name] = Predictor(make_plan(), weights, "cpu").predict(image).volumes_ml["dark"]
    assert found["missing"] > 0.2, "the dark ball of the second case (0.33 ml) is found though nobody drew it there"
    assert found["absent"] < 0.1


def test_hidden_channels_do_not_change_the_loss() -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 8, 8, 8, generator=random, requires_grad=True)
    targets = torch.randint(0, 2, (2, 8, 8, 8), generator=random)
    missing = torch.tensor([[False, False, True]] * 2)
    segmentation_loss([logits], targets, missing).backward()
    gradient = logits.grad
    merged = merge_missing(logits, missing).softmax(1)
    plain = logits.softmax(1)
    torch.testing.assert_close(merged[:, 0], plain[:, 0] + plain[:, 2])
    torch.testing.assert_close(merged[:, 1], plain[:, 1])
    # Background and the hidden channel are pushed alike, in proportion to their share: the choice between is left open.
    share = plain[:, 2] / (plain[:, 0] + plain[:, 2])
    torch.testing.assert_close(gradient[:, 2], share * (gradient[:, 0] + gradient[:, 2]), atol=1e-7, rtol=1e-3)


def test_stopping_keeps_the_best_so_far(tmp_path: Path) -> None:
    case = write_case(tmp_path, 1)
    curve_seen = 0

    def look(progress: Progress) -> None:
        nonlocal curve_seen
        curve_seen = sum(record.validation_dice is not None for record in progress.curve)

    schedule = Schedule(epochs=1000, steps_per_epoch=5, learning_rate=5e-3)
    began = time.perf_counter()
    result = fit(
        plan=make_plan(),
        train=[case],
        validation=[case],
        schedule=schedule,
        on_progress=look,
        should_stop=lambda: curve_seen >= 2,
    )
    assert result.stopped
    assert time.perf_counter() - began < 30
    assert result.best_dice == max(r.validation_dice for r in result.curve if r.validation_dice is not None)
    best = evaluate(Predictor(make_plan(), result.weights, "cpu"), [case])
    assert best.mean_dice == pytest.approx(result.best_dice, abs=0.02)


def test_stopping_at_once_gives_the_start(tmp_path: Path) -> None:
    start = fit(plan=make_plan(), train=[write_case(tmp_path, 1)], validation=[], schedule=SHORT).weights
    result = fit(
        plan=make_plan(),
        train=[write_case(tmp_path, 2)],
        validation=[],
        schedule=SHORT,
        start_weights=start,
        should_stop=lambda: True,
    )
    assert result.stopped
    assert result.best_epoch == 0
    assert result.curve == []
    assert all(torch.equal(result.weights[name], start[name]) for name in start)


@pytest.mark.alone
def test_a_time_limit_is_kept_and_the_learning_rate_comes_down_in_time(tmp_path: Path) -> None:
    cases = [write_case(tmp_path, seed) for seed in (1, 2)]
    schedule = Schedule(epochs=10_000, steps_per_epoch=10, learning_rate=5e-3, max_seconds=6)
    reported: list[float] = []
    result = fit(
        plan=make_plan(),
        train=cases,
        validation=cases,
        schedule=schedule,
        on_progress=lambda progress: reported.append(time.perf_counter()),
    )
    assert 4 < result.seconds < 9
    assert result.curve[-1].learning_rate < 0.25 * schedule.learning_rate
    assert result.curve[-1].validation_dice is not None
    assert max(np.diff(reported)) < 2.5


def test_a_warm_start_keeps_what_was_learnt_when_labels_change(tmp_path: Path) -> None:
    case = write_case(tmp_path, 1)
    schedule = Schedule(epochs=5, steps_per_epoch=15, learning_rate=5e-3)
    old = fit(plan=make_plan(("bright", "dark")), train=[case], validation=[], schedule=schedule)
    new_plan = make_plan(("new", "dark", "bright"))
    started = fit(
        plan=new_plan,
        train=[case],
        validation=[],
        schedule=SHORT,
        start_weights=old.weights,
        start_labels=["bright", "dark"],
        should_stop=lambda: True,
    )
    scores = evaluate(Predictor(new_plan, started.weights, "cpu"), [case])
    fresh = fit(plan=new_plan, train=[case], validation=[], schedule=SHORT, should_stop=lambda: True)
    nothing = evaluate(Predictor(new_plan, fresh.weights, "cpu"), [case])
    assert scores.mean_dice > nothing.mean_dice + 0.3


def test_cases_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    case = write_case(tmp_path, 1)
    broken = tmp_path / "broken.nrrd"
    broken.write_bytes(case.image.read_bytes()[:200])
    with pytest.raises(UnreadableImage, match="broken"):
        fit(plan=make_plan(), train=[replace(case, image=broken)], validation=[], schedule=SHORT)
    elsewhere = sitk.ReadImage(str(case.label))
    elsewhere.SetOrigin((5, 0, 0))
    sitk.WriteImage(elsewhere, str(tmp_path / "elsewhere.nrrd"))
    with pytest.raises(GeometryMismatch, match="case1"):
        fit(plan=make_plan(), train=[replace(case, label=tmp_path / "elsewhere.nrrd")], validation=[], schedule=SHORT)
    with pytest.raises(BadInput, match="no annotated cases"):
        fit(plan=make_plan(), train=[], validation=[], schedule=SHORT)
    with pytest.raises(BadInput, match="None of the 1"):
        fit(plan=make_plan(("unknown",)), train=[case], validation=[], schedule=SHORT)
    with pytest.raises(BadInput, match="schedule"):
        Schedule(epochs=0)


def test_rare_labels_get_their_share_of_patches(tmp_path: Path) -> None:
    plan = make_plan(patch_size=(8, 8, 8))
    cases = [prepare_case(write_case(tmp_path, seed, names={"bright": 1}), plan) for seed in range(9)]
    cases.append(prepare_case(write_case(tmp_path, 9, names={"dark": 1}), plan))
    sampler = PatchSampler(cases, np.random.default_rng(0), foreground=1.0)
    drawn = [sampler.draw(plan.patch_size) for _ in range(300)]
    assert 100 < sum(case.id == "case9" for case, _ in drawn) < 200
    for case, centre in drawn:
        assert np.all(centre >= 3.5)
        assert np.all(centre <= np.array(case.target.shape) - 4.5)


def test_still_patches_are_exact_crops(tmp_path: Path) -> None:
    plan = make_plan(spacing=(1.0, 2.0, 0.5))
    case = prepare_case(write_case(tmp_path, 1), plan)
    assert case.target.shape == (20, 9, 32)
    centre = np.array([7.5, 4.0, 15.5])
    cpu = torch.device("cpu")
    image, target = (
        RandomDeformation(plan, np.random.default_rng(0)).draw(centre).apply(case.image, case.target, (8, 5, 16), cpu)
    )
    torch.testing.assert_close(image, case.image[:, 4:12, 2:7, 8:24].float(), atol=1e-4, rtol=1e-4)
    assert torch.equal(target, case.target[4:12, 2:7, 8:24])


def test_mirroring_turns_image_and_target_together(tmp_path: Path) -> None:
    plan = make_plan(augmentation=STILL.model_copy(update={"mirror_axes": (0,)}))
    case = prepare_case(write_case(tmp_path, 1), plan)
    size = tuple(case.target.shape)
    centre = (np.array(size) - 1) / 2
    mirrored = 0
    for seed in range(8):
        deformation = RandomDeformation(plan, np.random.default_rng(seed)).draw(centre)
        image, target = deformation.apply(case.image, case.target, size, torch.device("cpu"))
        flip = not torch.equal(target, case.target)
        mirrored += flip
        still = case.image.float()
        torch.testing.assert_close(image, still.flip(1) if flip else still, atol=1e-4, rtol=1e-4)
        assert torch.equal(target, case.target.flip(0) if flip else case.target)
    assert 0 < mirrored < 8


def test_deformed_targets_stay_on_their_structures(tmp_path: Path) -> None:
    strong = Augmentation(rotation_degrees=40, scaling=0.3, elastic_mm=2, bias_field=0.2)
    plan = make_plan(augmentation=strong)
    case = prepare_case(write_case(tmp_path, 1), plan)
    random = np.random.default_rng(0)
    deform, vary = RandomDeformation(plan, random), RandomIntensity(strong, random)
    for _ in range(10):
        image, target = deform.draw(np.array([10.0, 9.0, 8.0])).apply(
            case.image, case.target, (16, 16, 16), torch.device("cpu")
        )
        image = vary.apply(image[None])[0, 0]
        assert torch.isfinite(image).all()
        assert image[target == 1].mean() > image[target == 2].mean() + 1
        assert target.max() <= 2


def test_folds_keep_patients_together() -> None:
    groups = ["a", "a", "a", "b", "c", "c", "d"]
    folds = split_groups(groups, max_folds=3, seed=0)
    assert sorted(index for fold in folds for index in fold) == list(range(7))
    assert len(folds) == 3
    for name in "abcd":
        assert sum(any(groups[index] == name for index in fold) for fold in folds) == 1


def test_cross_validation_scores_each_case_once(tmp_path: Path) -> None:
    cases = [write_case(tmp_path, seed) for seed in (1, 2, 3)]
    common = {"plan": make_plan(), "schedule": replace(SHORT, epochs=4)}
    evaluation = cross_validate(cases=cases, groups=["a", "b", "b"], **common)
    assert evaluation.kind is EvaluationKind.CROSS_VALIDATION
    assert evaluation.folds == 2
    assert sorted(case.case_id for case in evaluation.cases) == ["case1", "case2", "case3"]
    assert evaluation.mean_dice > 0.3
    assert cross_validate(cases=cases, groups=["a", "a", "a"], **common) is None
    with pytest.raises(BadInput, match="one group"):
        cross_validate(cases=cases, groups=["a"], **common)
