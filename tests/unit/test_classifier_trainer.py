"""Training small classifiers for real, each for a few seconds; and what answers mean to them."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from monailabel_app.classification.augmentation import RandomVariation
from monailabel_app.classification.dataset import ClassifiedCase, ExampleBatches, PreparedExample, prepare_example
from monailabel_app.classification.networks import (
    build_classifier,
    classifier_state,
    set_classifier_state,
    warm_start_classifier,
)
from monailabel_app.classification.plan import Balance, ClassificationPlan, UpdateRule
from monailabel_app.classification.targets import (
    MOST_REPEATED,
    UNKNOWN,
    area_under_curve,
    case_weights,
    class_weights,
    classification_loss,
    probabilities_of,
    score_of,
    standard_error,
    targets_of,
)
from monailabel_app.classification.trainer import EpochChoice, StateAverage, fit_classifier
from monailabel_app.errors import BadInput, UnreadableImage
from monailabel_app.models.networks import Weights
from monailabel_app.training.schedule import Phase, Progress, Schedule

STILL = {
    "rotation_degrees": 0,
    "scaling": 0,
    "shift": 0,
    "brightness": 0,
    "contrast": 0,
    "gamma": 0,
    "noise": 0,
    "low_resolution": 0,
}
SHAPE = {"name": "shape", "kind": "single", "classes": ["disc", "ring"]}
GRADE = {"name": "grade", "kind": "ordinal", "classes": ["small", "middle", "large"]}
FINDINGS = {"name": "findings", "kind": "multi", "classes": ["spot", "bar"]}
SHORT = Schedule(epochs=3, steps_per_epoch=10)


def make_plan(*attributes: dict[str, Any], **changes: Any) -> ClassificationPlan:
    fields = {
        "attributes": attributes or (SHAPE, GRADE, FINDINGS),
        "dimension": 2,
        "size": (16, 16),
        "normalisation": {"kind": "mr"},
        "network": {"width": 8, "strides": [[1, 1], [2, 2], [2, 2]], "dropout": 0},
        "augmentation": STILL,
        "batch_size": 8,
    }
    return ClassificationPlan.model_validate(fields | changes)


def write_case(folder: Path, seed: int) -> ClassifiedCase:
    """A disc or a ring of one of three sizes in noise, perhaps with a bright spot above and a bar below."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:16, :16]
    ring, grade, spot, bar = (int(random.integers(n)) for n in (2, 3, 2, 2))
    radius = 2.5 + 1.5 * grade
    distance = np.hypot(x - 7.5, y - 7.5)
    inside = (distance < radius) & (distance > (radius - 1.6) * ring)
    voxels = random.normal(100, 8, (16, 16)) + 80 * inside
    voxels[1:3, 6:9] += 120 * spot
    voxels[13:15, 2:14] += 120 * bar
    path = folder / f"{seed}.png"
    sitk.WriteImage(sitk.GetImageFromArray(voxels.clip(0, 255).astype(np.uint8)), str(path))
    answers = {
        "shape": SHAPE["classes"][ring],
        "grade": GRADE["classes"][grade],
        "findings": [name for name, there in zip(FINDINGS["classes"], (spot, bar), strict=True) if there],
    }
    return ClassifiedCase(f"case{seed}", path, answers)


def write_cases(folder: Path, count: int, first: int = 0) -> list[ClassifiedCase]:
    return [write_case(folder, seed) for seed in range(first, first + count)]


def predict(plan: ClassificationPlan, weights: Weights, cases: list[ClassifiedCase]) -> dict[str, np.ndarray]:
    network = build_classifier(plan)
    set_classifier_state(network, weights)
    images = torch.stack([prepare_example(case, plan).image.float() for case in cases])
    with torch.inference_mode():
        logits = network.eval()(images)
    return {one.name: probabilities_of(one, logits[one.name]).numpy() for one in plan.attributes}


def scores(plan: ClassificationPlan, weights: Weights, cases: list[ClassifiedCase]) -> dict[str, float | None]:
    found = predict(plan, weights, cases)
    truth = [targets_of(case.answers, plan) for case in cases]
    return {
        one.name: score_of(one, found[one.name], torch.stack([target[one.name] for target in truth]).numpy())
        for one in plan.attributes
    }


# --- training ---------------------------------------------------------------------------------------------------------


def test_all_kinds_of_attributes_are_learnt_at_once(tmp_path: Path) -> None:
    train, validation, test = (write_cases(tmp_path, n, first) for n, first in ((60, 0), (20, 100), (40, 200)))
    reports: list[Progress] = []
    result = fit_classifier(
        plan=make_plan(),
        train=train,
        validation=validation,
        schedule=Schedule(epochs=6, steps_per_epoch=25),
        on_progress=reports.append,
    )
    found = scores(make_plan(), result.weights, test)
    assert min(found.values()) > 0.85, found
    best = scores(make_plan(), result.weights, validation)
    assert result.best_score == pytest.approx(np.mean(list(best.values())), abs=0.03), "the weights are those measured"
    assert result.curve[result.best_epoch - 1].validation_score == result.best_score
    assert result.curve[-1].validation_score is not None, "validated at the end"
    assert result.curve[-1].train_loss < 0.7 * result.curve[0].train_loss
    assert [record.epoch for record in result.curve] == list(range(1, 7))
    assert result.curve[-1].learning_rate < 0.1 * make_plan().peak_rate
    assert {report.phase for report in reports} >= {Phase.TRAINING, Phase.VALIDATING, Phase.FINISHED}
    assert (reports[-1].step, reports[-1].seconds_left) == (150, 0)
    assert not result.stopped


@pytest.mark.parametrize("rule", list(UpdateRule))
def test_every_update_rule_learns(tmp_path: Path, rule: UpdateRule) -> None:
    plan = make_plan(SHAPE, optimizer=rule, initialisation="he")
    schedule = Schedule(epochs=4, steps_per_epoch=15)
    result = fit_classifier(plan=plan, train=write_cases(tmp_path, 24), validation=[], schedule=schedule)
    assert result.curve[-1].train_loss < 0.7 * result.curve[0].train_loss
    assert (result.best_score, result.best_epoch) == (None, 4)
    assert max(record.learning_rate for record in result.curve) <= plan.peak_rate


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    cases = write_cases(tmp_path, 10)
    runs = [
        fit_classifier(plan=make_plan(), train=cases, validation=[], schedule=SHORT, seed=seed).weights
        for seed in (3, 3, 4)
    ]
    same, other = ([torch.equal(runs[0][name], run[name]) for name in runs[0]] for run in runs[1:])
    assert all(same)
    assert not all(other)


def test_not_sure_and_not_asked_train_nothing(tmp_path: Path) -> None:
    plan = make_plan(SHAPE, GRADE)
    cases = write_cases(tmp_path, 12)
    doubtful = [replace(case, answers={"shape": case.answers["shape"], "grade": None}) for case in cases]
    never = [replace(case, answers={"shape": case.answers["shape"]}) for case in cases]
    unusable = [replace(write_case(tmp_path, 50), answers={"shape": None, "grade": None, "findings": ["bar"]})]
    one, other, more = (
        fit_classifier(plan=plan, train=train, validation=[], schedule=SHORT).weights
        for train in (doubtful, never, never + unusable)
    )
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert all(torch.equal(more[name], other[name]) for name in more), "a case without an answer is left out"
    fresh = fit_classifier(plan=plan, train=never, validation=[], schedule=SHORT, should_stop=lambda: True).weights
    assert torch.equal(one["heads.1.bias"], fresh["heads.1.bias"]), "the head of the grade has not moved"
    assert not torch.equal(one["heads.0.bias"], fresh["heads.0.bias"])


def test_a_warm_start_keeps_what_was_learnt_when_the_scheme_changes(tmp_path: Path) -> None:
    cases = write_cases(tmp_path, 40)
    old = make_plan(SHAPE)
    first = fit_classifier(plan=old, train=cases, validation=[], schedule=Schedule(epochs=5, steps_per_epoch=20))
    new = make_plan(GRADE, {"name": "shape", "kind": "single", "classes": ["square", "ring", "disc"]})
    renamed = make_plan({"name": "Shape", "kind": "single", "classes": ["DISC", "Ring"]})
    loud = build_classifier(renamed)
    warm_start_classifier(loud, first.weights, old=old, new=renamed)
    assert torch.equal(classifier_state(loud)["heads.0.bias"], first.weights["heads.0.bias"]), "capitals only"
    common = {"plan": new, "train": cases, "validation": [], "schedule": SHORT, "should_stop": lambda: True}
    warm = fit_classifier(**common, start_weights=first.weights, start_plan=old)
    assert (warm.stopped, warm.best_epoch, warm.curve) == (True, 0, [])
    found = predict(new, warm.weights, cases)["shape"][:, 1:].argmax(1)
    truth = np.array([["ring", "disc"].index(case.answers["shape"]) for case in cases])
    assert np.mean(found == truth) > 0.9
    cold = predict(new, fit_classifier(**common).weights, cases)["shape"][:, 1:].argmax(1)
    assert np.mean(cold == truth) < 0.8


def test_stopping_keeps_the_best_so_far(tmp_path: Path) -> None:
    cases = write_cases(tmp_path, 20)
    measured = 0

    def look(progress: Progress) -> None:
        nonlocal measured
        measured = sum(record.validation_score is not None for record in progress.curve)

    began = time.perf_counter()
    result = fit_classifier(
        plan=make_plan(),
        train=cases,
        validation=cases,
        schedule=Schedule(epochs=1000, steps_per_epoch=5),
        on_progress=look,
        should_stop=lambda: measured >= 2,
    )
    assert result.stopped
    assert time.perf_counter() - began < 30
    assert result.best_score == result.curve[result.best_epoch - 1].validation_score


@pytest.mark.alone
def test_a_time_limit_is_kept_and_the_learning_rate_comes_down_in_time(tmp_path: Path) -> None:
    cases = write_cases(tmp_path, 20)
    result = fit_classifier(
        plan=make_plan(),
        train=cases,
        validation=cases,
        schedule=Schedule(epochs=100_000, steps_per_epoch=10, max_seconds=4),
    )
    assert 2.5 < result.seconds < 7
    assert result.curve[-1].learning_rate < 0.3 * make_plan().peak_rate
    assert result.curve[-1].validation_score is not None


def test_when_reading_took_all_the_time_there_is_one_measured_step(tmp_path: Path) -> None:
    cases = write_cases(tmp_path, 10)
    schedule = Schedule(epochs=10, steps_per_epoch=10, max_seconds=1e-3)
    result = fit_classifier(plan=make_plan(), train=cases, validation=cases, schedule=schedule)
    assert [record.epoch for record in result.curve] == [1]
    assert result.best_score is not None and result.curve[0].learning_rate > 0


def test_a_segment_of_a_volume_is_learnt(tmp_path: Path) -> None:
    """Each volume has a bright and a dark ball; which of them is meant, only the region says."""
    cases = []
    for seed in range(12):
        random = np.random.default_rng(seed)
        voxels, label = random.normal(0, 5, (12, 14, 24)).astype(np.float32), np.zeros((12, 14, 24), np.uint8)
        index = np.stack(np.meshgrid(*[np.arange(n) for n in voxels.shape], indexing="ij"), -1)
        for value, (x, grey) in enumerate(((5, 60), (18, -60)), start=1):
            ball = np.linalg.norm(index - (6, random.integers(5, 9), x), axis=-1) < 3.2
            voxels[ball] += grey
            label[ball] = value
        for array, name in ((voxels, "image"), (label, "label")):
            sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / f"{seed}-{name}.nrrd"))
        image, region = tmp_path / f"{seed}-image.nrrd", tmp_path / f"{seed}-label.nrrd"
        cases += [
            ClassifiedCase(f"{seed}-{kind}", image, {"kind": kind}, "MR", region, value)
            for value, kind in ((1, "bright"), (2, "dark"))
        ]
    plan = make_plan(
        {"name": "kind", "kind": "single", "classes": ["bright", "dark"]},
        dimension=3,
        size=(12, 12, 12),
        spacing=(1.0, 1.0, 1.0),
        region=2.0,
        network={"width": 8, "strides": [[1] * 3, [2] * 3]},
    )
    schedule = Schedule(epochs=4, steps_per_epoch=10)
    result = fit_classifier(plan=plan, train=cases[:16], validation=[], schedule=schedule)
    assert scores(plan, result.weights, cases[16:])["kind"] == 1.0


def test_cases_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    case = write_case(tmp_path, 1)
    common = {"plan": make_plan(), "validation": [], "schedule": SHORT}
    with pytest.raises(BadInput, match="no classified cases"):
        fit_classifier(train=[], **common)
    with pytest.raises(BadInput, match="shape, grade, findings"):
        fit_classifier(train=[replace(case, answers={"shape": None})], **common)
    broken = tmp_path / "broken.png"
    broken.write_bytes(case.image.read_bytes()[:60])
    with pytest.raises(UnreadableImage, match="broken"):
        fit_classifier(train=[replace(case, image=broken)], **common)
    flat = make_plan(dimension=3, size=(8, 8, 8), network={"width": 8, "strides": [[1] * 3]})
    with pytest.raises(BadInput, match="case1: .*3D"):
        fit_classifier(train=[case], **(common | {"plan": flat}))


def test_the_latest_epoch_within_one_standard_error_of_the_best_is_chosen() -> None:
    choice = EpochChoice()
    measured = [(0.5, 0.1), (0.9, 0.1), (0.85, 0.1), (0.81, 0.3), (0.7, 0.1), (0.79, 0.1)]
    assert [choice.takes(*one) for one in measured] == [True, True, True, True, False, False]
    assert EpochChoice().takes(None, 0.0)


def test_averaged_statistics_of_batch_norm_go_with_the_averaged_weights() -> None:
    network = build_classifier(make_plan())
    average = StateAverage(network)
    running = next(value for name, value in network.named_buffers() if name.endswith("running_mean"))
    before = running.clone()
    running += 1
    average.update()
    average.swap()
    assert torch.all((running > before) & (running < before + 1))
    average.swap()
    torch.testing.assert_close(running, before + 1)


# --- batches ----------------------------------------------------------------------------------------------------------


def examples(plan: ClassificationPlan, *answers: dict[str, Any]) -> list[PreparedExample]:
    return [
        PreparedExample(str(n), torch.full((plan.input_channels, *plan.size), float(n)), targets_of(one, plan))
        for n, one in enumerate(answers)
    ]


@pytest.mark.parametrize(("balance", "share"), [(Balance.NONE, 0.1), (Balance.LOSS, 0.1), (Balance.SAMPLING, 0.5)])
def test_rare_classes_get_their_share_of_the_batches(balance: Balance, share: float) -> None:
    plan = make_plan(SHAPE, balance=balance, batch_size=10)
    cases = examples(plan, *[{"shape": "ring"}] * 4, *[{"shape": "disc"}] * 36)
    batches = ExampleBatches(plan, cases, np.random.default_rng(0), torch.device("cpu"))
    drawn = [batches.draw() for _ in range(40)]
    rings = torch.cat([targets["shape"] for _, targets in drawn])
    assert float((rings == 1).float().mean()) == pytest.approx(share, abs=0.02)
    counts = torch.cat([images[:, 0, 0, 0] for images, _ in drawn]).long().bincount()
    assert len(counts) == 40
    assert counts[:4].max() - counts[:4].min() <= 10, "each case as often as its like"
    assert counts[4:].max() - counts[4:].min() <= 10


def test_augmentation_moves_the_segment_with_its_image_and_leaves_its_values() -> None:
    plan = make_plan(
        SHAPE,
        region=1.0,
        augmentation={"rotation_degrees": 90, "scaling": 0.2, "shift": 0.1, "mirror_axes": (0, 1), "brightness": 0.5},
    )
    mask = torch.zeros(16, 16)
    mask[3:8, 6:13] = 1
    batch = torch.stack([mask * 4 - 2, mask]).expand(20, -1, -1, -1).contiguous()
    varied = RandomVariation(plan, np.random.default_rng(0)).apply(batch)
    assert varied.shape == batch.shape
    assert varied[:, 1].min() >= 0
    assert varied[:, 1].max() <= 1.001
    assert not torch.allclose(varied[0, 1], varied[1, 1])
    for image, segment in varied:
        assert image[segment > 0.9].mean() > image[segment < 0.1].mean() + 1


def test_without_augmentation_images_stay_as_they_are() -> None:
    batch = torch.randn(3, 1, 16, 16)
    torch.testing.assert_close(RandomVariation(make_plan(), np.random.default_rng(0)).apply(batch), batch)


def test_mirroring_keeps_to_its_axes() -> None:
    plan = make_plan(augmentation=STILL | {"mirror_axes": (1,)})
    batch = torch.randn(1, 1, 16, 16).expand(16, -1, -1, -1).contiguous()
    varied = RandomVariation(plan, np.random.default_rng(0)).apply(batch)
    same = [torch.allclose(one, batch[0], atol=1e-4) for one in varied]
    mirrored = [torch.allclose(one, batch[0].flip(2), atol=1e-4) for one in varied]
    assert all(a != b for a, b in zip(same, mirrored, strict=True))
    assert 0 < sum(mirrored) < 16


def test_rotations_are_in_mm() -> None:
    """With voxels four times as thick, a rotation of less than 15 degrees moves an end by less than half a voxel."""
    still = {**STILL, "rotation_degrees": 10}
    thick = make_plan(
        dimension=3, size=(16, 16, 8), spacing=(1.0, 1.0, 40.0), network={"strides": [[1] * 3]}, augmentation=still
    )
    batch = torch.zeros(8, 1, 16, 16, 8)
    batch[..., 4] = 1.0
    varied = RandomVariation(thick, np.random.default_rng(0)).apply(batch)
    assert varied[..., 4].mean() > 0.9, "the slice stays in its place"


# --- targets ----------------------------------------------------------------------------------------------------------


def test_answers_become_targets() -> None:
    plan = make_plan()
    targets = targets_of({"shape": "ring", "grade": None, "findings": ["bar"]}, plan)
    assert (int(targets["shape"]), int(targets["grade"]), targets["findings"].tolist()) == (1, UNKNOWN, [0, 1])
    nothing = targets_of({"shape": "a class of an earlier scheme", "findings": []}, plan)
    assert (int(nothing["shape"]), nothing["findings"].tolist()) == (UNKNOWN, [0, 0])
    assert targets_of({}, plan)["findings"].tolist() == [UNKNOWN, UNKNOWN]


def test_a_finding_that_was_not_asked_is_neither_there_nor_absent() -> None:
    targets = targets_of({"findings": {"spot": True}}, make_plan())
    assert targets["findings"].tolist() == [1, UNKNOWN]
    assert targets_of({"findings": {"gone": True}}, make_plan())["findings"].tolist() == [UNKNOWN, UNKNOWN]


def test_a_choice_is_read_as_a_whole_name_where_findings_are_asked_now() -> None:
    plan = make_plan({"name": "seen", "kind": "multi", "classes": ["nodule", "no nodule"]})
    assert targets_of({"seen": "no nodule"}, plan)["seen"].tolist() == [0, 1]


def test_a_single_finding_is_a_choice_where_one_is_asked_now() -> None:
    assert int(targets_of({"shape": ["ring"]}, make_plan())["shape"]) == 1
    assert int(targets_of({"shape": ["ring", "disc"]}, make_plan())["shape"]) == UNKNOWN


@pytest.mark.parametrize("balance", [Balance.NONE, Balance.LOSS])
def test_findings_that_were_not_asked_cost_nothing_and_weigh_nothing(balance: Balance) -> None:
    plan = make_plan(FINDINGS, label_smoothing=0.0)
    asked, half = (targets_of({"findings": one}, plan) for one in ({"spot": True, "bar": False}, {"spot": False}))
    examples = [asked, half, half]
    targets = {"findings": torch.stack([one["findings"] for one in examples])}
    weights = class_weights(plan, examples) if balance is Balance.LOSS else None
    logits = torch.zeros(3, 2, requires_grad=True)
    loss = classification_loss(plan, {"findings": logits}, targets, weights)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(np.log(2))
    assert logits.grad[1:, 1].tolist() == [0, 0] and bool(logits.grad[0, 1])
    # One case has the spot and two lack it; of the bar one absence is all that is known.
    torch.testing.assert_close(class_weights(plan, examples)["findings"], torch.tensor([[0.75, 1.5], [1.0, 1.0]]))
    assert case_weights(plan, examples) == pytest.approx([1.5, 0.75, 0.75])


def test_findings_that_were_not_asked_are_not_scored() -> None:
    findings = make_plan().attributes[2]
    truth = np.array([[0, 1], [0, 0], [1, UNKNOWN], [1, UNKNOWN]])
    found = np.array([[0.1, 0.9], [0.2, 0.1], [0.8, 0.95], [0.9, 0.0]])
    assert score_of(findings, found, truth) == 1.0
    assert standard_error(findings, 0.9, np.array([[0, UNKNOWN]] * 50)) == standard_error(
        findings, 0.9, np.array([[0, 1]] * 50)
    )


def test_probabilities_of_grades_never_contradict_each_other() -> None:
    grade = make_plan(GRADE).attributes[0]
    found = probabilities_of(grade, torch.randn(200, 2, generator=torch.Generator().manual_seed(0)) * 4)
    assert found.shape == (200, 3)
    assert found.min() >= 0
    torch.testing.assert_close(found.sum(1), torch.ones(200))
    sure = probabilities_of(grade, torch.tensor([[-9.0, 9.0], [9.0, -9.0], [9.0, 9.0]]))
    assert sure.argmax(1).tolist() == [0, 1, 2]


@pytest.mark.parametrize("attribute", [SHAPE, GRADE, FINDINGS])
def test_right_logits_cost_less_than_wrong_ones(attribute: dict[str, Any]) -> None:
    plan = make_plan(attribute, label_smoothing=0.0)
    name, classes = attribute["name"], attribute["classes"]
    each = [targets_of({name: [c] if attribute["kind"] == "multi" else c}, plan)[name] for c in classes]
    right = {
        "shape": [[9.0, -9], [-9, 9]],
        "grade": [[-9.0, 0], [9, -9], [9, 9]],
        "findings": [[9.0, -9], [-9, 9]],
    }[name]
    logits = torch.tensor(right)
    targets = {name: torch.stack(each)}
    assert float(classification_loss(plan, {name: logits}, targets)) < 1e-3
    assert float(classification_loss(plan, {name: -logits}, targets)) > 4


def test_a_batch_without_an_answer_costs_nothing() -> None:
    plan = make_plan()
    logits = {name: torch.randn(2, n, requires_grad=True) for name, n in (("shape", 2), ("grade", 2), ("findings", 2))}
    nothing = targets_of({}, plan)
    loss = classification_loss(plan, logits, {name: torch.stack([value] * 2) for name, value in nothing.items()})
    loss.backward()
    assert float(loss.detach()) == 0
    assert all(not value.grad.any() for value in logits.values())


def test_an_attribute_counts_as_much_with_few_answers_as_with_many() -> None:
    plan = make_plan(SHAPE, GRADE, label_smoothing=0.0)
    logits = {"shape": torch.zeros(4, 2), "grade": torch.zeros(4, 2)}
    targets = {"shape": torch.tensor([0, 1, 0, 1]), "grade": torch.tensor([2, -1, -1, -1])}
    assert float(classification_loss(plan, logits, targets)) == pytest.approx(np.log(2))


def test_weights_make_classes_count_alike() -> None:
    plan = make_plan()
    answers = [{"shape": "ring", "grade": "small", "findings": ["spot"]}] + [
        {"shape": "disc", "grade": "small", "findings": []}
    ] * 3
    targets = [targets_of(one, plan) for one in answers]
    weights = class_weights(plan, targets)
    torch.testing.assert_close(weights["shape"], torch.tensor([4 / 6, 2.0]))
    assert float(weights["grade"][0]) == 1
    torch.testing.assert_close(weights["findings"][0], torch.tensor([4 / 6, 2.0]))
    drawn = case_weights(plan, targets)
    assert drawn[0] > 1.5 * drawn[1] == drawn[2] * 1.5
    one_in_thousand = [targets_of({"shape": "ring"}, plan)] + [targets_of({"shape": "disc"}, plan)] * 999
    assert case_weights(plan, one_in_thousand).max() == MOST_REPEATED


def test_the_loss_can_be_weighted_too() -> None:
    plan = make_plan(SHAPE, label_smoothing=0.0)
    targets = {"shape": torch.tensor([1, 0, 0, 0])}
    weights = class_weights(plan, [targets_of({"shape": SHAPE["classes"][n]}, plan) for n in (1, 0, 0, 0)])
    logits = torch.tensor([[2.0, 0], [2, 0], [2, 0], [2, 0]])
    wrong, right, *_ = torch.nn.functional.cross_entropy(logits, targets["shape"], reduction="none").tolist()
    assert float(classification_loss(plan, {"shape": logits}, targets, weights)) == pytest.approx((wrong + right) / 2)


def test_a_perfect_score_on_few_cases_is_not_certain() -> None:
    shape, _, findings = make_plan().attributes
    few, many = (standard_error(shape, 1.0, np.arange(count) % 2) for count in (10, 1000))
    assert 0.05 < few < 0.15
    assert many < 0.005
    rare = standard_error(shape, 0.9, (np.arange(1000) < 10).astype(int))
    assert rare > 2 * standard_error(shape, 0.9, np.arange(1000) % 2), "the rare class decides"
    assert standard_error(findings, 0.9, np.array([[0, 1], [UNKNOWN, UNKNOWN]] * 50)) == pytest.approx(0.045, abs=0.005)


def test_scores_are_those_of_the_book() -> None:
    plan = make_plan()
    shape, _, findings = plan.attributes
    found = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.1, 0.9]])
    assert score_of(shape, found, np.array([0, 0, 0, 1, UNKNOWN])) == pytest.approx((2 / 3 + 0) / 2)
    assert score_of(shape, found, np.full(5, UNKNOWN)) is None
    truth = np.array([[0, 1], [0, 1], [1, 1], [1, 1], [UNKNOWN, UNKNOWN]])
    assert score_of(findings, 1 - found, truth) == 1.0, "of the second, present in all, nothing can be said"
    assert area_under_curve(np.array([0.5, 0.5, 0.5]), np.array([True, False, True])) == 0.5
    assert area_under_curve(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])) == 0.75
