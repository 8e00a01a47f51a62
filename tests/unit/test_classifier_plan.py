"""Classification plans: what they accept, how they are written, and what planning makes of classified cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from pydantic import ValidationError

from monailabel_app.classification.dataset import ClassifiedCase
from monailabel_app.classification.networks import build_classifier
from monailabel_app.classification.plan import Balance, ClassificationPlan, ClassifierKind, NormKind, UpdateRule
from monailabel_app.classification.planning import make_classification_plan
from monailabel_app.errors import BadInput
from monailabel_app.models.plan import OVERRIDDEN, IntensityKind
from monailabel_app.store.scheme import Attribute

KIND = Attribute(name="kind", classes=["a", "b"])
LESION = Attribute(name="lesion", scope="segment", classes=["benign", "malignant"])


def plan_fields(**changes: Any) -> dict[str, Any]:
    fields = {
        "attributes": [{"name": "kind", "kind": "single", "classes": ["a", "b"]}],
        "dimension": 2,
        "size": [28, 28],
        "normalisation": {"kind": "mr"},
        "network": {"strides": [[1, 1], [2, 2]]},
    }
    return fields | changes


def picture(folder: Path, number: int, size: tuple[int, int] = (30, 20), *, colors: bool = False) -> Path:
    path = folder / f"{number}.png"
    random = np.random.default_rng(number)
    shape = (*size[::-1], 3) if colors else size[::-1]
    sitk.WriteImage(sitk.GetImageFromArray(random.integers(0, 255, shape).astype(np.uint8), isVector=colors), str(path))
    return path


def pictures(folder: Path, answers: list[Any], **options: Any) -> list[ClassifiedCase]:
    return [
        ClassifiedCase(f"case{n}", picture(folder, n, **options), {"kind": answer}) for n, answer in enumerate(answers)
    ]


def volume(
    folder: Path,
    name: str,
    answers: dict[str, Any],
    *,
    size: tuple[int, ...] = (40, 36, 20),
    spacing: tuple[float, ...] = (2.0, 2.0, 3.0),
    segment: bool = False,
    air: bool = False,
    modality: str | None = None,
) -> ClassifiedCase:
    voxels = np.random.default_rng(0).normal(60, 10, size[::-1]).astype(np.int16)
    if air:
        voxels[..., :4] = -1000
    label = np.zeros(size[::-1], np.uint8)
    label[8:12, 10:16, 12:22] = 5  # 20 x 12 x 12 mm
    for array, kind in ((voxels, "image"), (label, "label")):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(spacing)
        sitk.WriteImage(image, str(folder / f"{name}-{kind}.nrrd"))
    region = folder / f"{name}-label.nrrd" if segment else None
    return ClassifiedCase(name, folder / f"{name}-image.nrrd", answers, modality, region, 5 if segment else None)


def test_a_plan_survives_json() -> None:
    plan = ClassificationPlan.model_validate(plan_fields(reasons={"size": "because"}, region=10.0))
    assert ClassificationPlan.model_validate_json(plan.model_dump_json()) == plan


@pytest.mark.parametrize(
    "changes",
    [
        {"surprise": 1},
        {"attributes": []},
        {"attributes": plan_fields()["attributes"] * 2},
        {"attributes": [{"name": "kind", "kind": "single", "classes": ["a"]}]},
        {"attributes": [{"name": "kind", "kind": "single", "classes": ["a", "a"]}]},
        {"size": [28]},
        {"size": [28, 2]},
        {"spacing": [1.0, 1.0, 1.0]},
        {"spacing": [1.0, 0.0]},
        {"channels": 2},
        {"region": -1},
        {"batch_size": 1},
        {"label_smoothing": 1.0},
        {"network": {"strides": []}},
        {"network": {"strides": [[1, 1, 1]]}},
        {"network": {"width": 12, "strides": [[1, 1]]}},
        {"augmentation": {"mirror_axes": [2]}},
        {"augmentation": {"shift": 0.9}},
        {"optimizer": "lion"},
        {"dimension": 3},
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ClassificationPlan.model_validate(plan_fields(**changes))


def test_overrides_are_merged_and_named_in_the_reasons() -> None:
    plan = ClassificationPlan.model_validate(plan_fields(reasons={"size": "usual", "network": "small"}))
    changed = plan.with_overrides({"network": {"kind": "resnet18"}, "optimizer": "momentum"})
    assert changed.network.kind is ClassifierKind.RESNET18
    assert changed.network.strides == plan.network.strides
    assert changed.reasons == {"size": "usual", "network": OVERRIDDEN, "optimizer": OVERRIDDEN}
    with pytest.raises(BadInput, match="network"):
        plan.with_overrides({"network": {"kind": "alexnet"}})
    with pytest.raises(BadInput, match="nonsense"):
        plan.with_overrides({"nonsense": 1})


def test_the_learning_rate_follows_the_update_rule_unless_it_is_named() -> None:
    plan = ClassificationPlan.model_validate(plan_fields())
    rates = {rule: plan.with_overrides({"optimizer": rule}).peak_rate for rule in UpdateRule}
    assert rates["sgd"] > rates["momentum"] > rates["adagrad"] > rates["adamw"] > rates["rmsprop"]
    assert plan.with_overrides({"learning_rate": 0.5, "optimizer": "sgd"}).peak_rate == 0.5


def test_small_pictures_are_seen_as_they_are(tmp_path: Path) -> None:
    plan = make_classification_plan(pictures(tmp_path, ["a", "b", "a", "b"], size=(28, 28)), [KIND])
    assert (plan.dimension, plan.size, plan.spacing, plan.channels, plan.region) == (2, (28, 28), None, 1, None)
    assert (plan.normalisation.clip, plan.normalisation.kind) == ((0, 255), IntensityKind.CT), "one scale for all"
    assert plan.normalisation.mean == pytest.approx(127, abs=5)
    assert plan.balance is Balance.NONE
    named = {"spacing", "size", "region", "batch_size", "network", "channels", "normalisation", "balance"}
    assert set(plan.reasons) == named | {"augmentation"}
    assert build_classifier(plan)(torch.zeros(2, 1, 28, 28))["kind"].shape == (2, 2)


def test_pictures_of_16_bits_have_no_common_scale(tmp_path: Path) -> None:
    cases = pictures(tmp_path, ["a", "b"])
    sitk.WriteImage(sitk.Cast(sitk.ReadImage(str(cases[0].image)), sitk.sitkUInt16) * 7, str(cases[0].image))
    assert make_classification_plan(cases, [KIND]).normalisation.kind is IntensityKind.MR


def test_large_pictures_are_shrunk_and_keep_their_shape(tmp_path: Path) -> None:
    cases = pictures(tmp_path, ["a", "b"], size=(1200, 600))
    cpu, gpu = (make_classification_plan(cases, [KIND], None, memory) for memory in (None, 16.0))
    assert np.prod(cpu.size) < 20_000
    assert cpu.size[0] / cpu.size[1] == pytest.approx(2, rel=0.1)
    assert np.prod(gpu.size) > 4 * np.prod(cpu.size)
    assert cpu.network.strides[0] == (2, 1), "the long axis first"


def test_colours_are_seen_only_where_there_are_any(tmp_path: Path) -> None:
    cases = pictures(tmp_path, ["a", "b"], colors=True)
    assert make_classification_plan(cases, [KIND]).channels == 3
    grey = np.repeat(np.arange(600, dtype=np.uint8).reshape(20, 30, 1), 3, 2)
    for case in cases:
        sitk.WriteImage(sitk.GetImageFromArray(grey, isVector=True), str(case.image))
    assert make_classification_plan(cases, [KIND]).channels == 1


def test_rare_classes_are_drawn_more_often(tmp_path: Path) -> None:
    plan = make_classification_plan(pictures(tmp_path, ["a"] * 9 + ["b"]), [KIND])
    assert plan.balance is Balance.SAMPLING
    assert "9.0 times" in plan.reasons["balance"]


def test_small_batches_get_group_normalisation(tmp_path: Path) -> None:
    few = make_classification_plan(pictures(tmp_path, ["a", "b"] * 10), [KIND])
    many = make_classification_plan(pictures(tmp_path, ["a", "b"] * 40), [KIND])
    assert (few.network.norm, many.network.norm) == (NormKind.GROUP, NormKind.BATCH)
    assert few.batch_size < 16 <= many.batch_size


def test_whole_volumes_are_seen_at_their_voxel_size_if_the_machine_can(tmp_path: Path) -> None:
    cases = [volume(tmp_path, answer, {"kind": answer}, air=True) for answer in "ab"]
    plan = make_classification_plan(cases, [KIND])
    assert (plan.dimension, plan.size, plan.spacing) == (3, (40, 36, 20), (2.0, 2.0, 3.0))
    assert plan.normalisation.kind is IntensityKind.CT
    assert plan.normalisation.mean == pytest.approx(60, abs=2), "air does not count"
    fine = [volume(tmp_path, answer, {"kind": answer}, size=(160, 144, 60), spacing=(0.5, 0.5, 1.0)) for answer in "ab"]
    plan = make_classification_plan(fine, [KIND])
    assert np.prod(plan.size) < 200_000
    assert np.all(np.array(plan.size) * plan.spacing >= np.array((80, 72, 60)) - 0.1), "all of it is seen"


def test_segments_are_seen_with_their_surroundings(tmp_path: Path) -> None:
    cases = [volume(tmp_path, answer, {"lesion": answer}, segment=True) for answer in ("benign", "malignant")]
    plan = make_classification_plan(cases, [LESION])
    assert plan.region == 10.0
    extent = np.array(plan.size) * plan.spacing
    assert np.all(extent >= (40, 32, 32))
    assert np.all(extent < np.array((40, 32, 32)) + 4 * np.array(plan.spacing) + 1)
    assert plan.augmentation.mirror_axes == (0, 1, 2)
    assert make_classification_plan(cases, [LESION], {"region": None}).size == (40, 36, 20)
    without = ClassifiedCase("none", cases[0].image, {"lesion": "benign"})
    with pytest.raises(BadInput, match="none: "):
        make_classification_plan([*cases, without], [LESION])


def test_a_question_about_the_case_is_answered_from_the_whole(tmp_path: Path) -> None:
    cases = [volume(tmp_path, answer, {"kind": answer}, segment=True) for answer in "ab"]
    assert make_classification_plan(cases, [KIND]).region is None


def test_modality_comes_from_the_header_or_else_from_the_voxels(tmp_path: Path) -> None:
    def kind(**options: Any) -> IntensityKind:
        cases = [volume(tmp_path, answer, {"kind": answer}, **options) for answer in "ab"]
        return make_classification_plan(cases, [KIND]).normalisation.kind

    assert kind(air=True) is IntensityKind.CT
    assert kind() is IntensityKind.MR
    assert kind(modality="CT") is IntensityKind.CT
    assert kind(air=True, modality="MR") is IntensityKind.MR


def test_segments_are_mirrored_unless_a_side_is_named_and_whole_cases_are_not(tmp_path: Path) -> None:
    assert make_classification_plan(pictures(tmp_path, ["a", "b"]), [KIND]).augmentation.mirror_axes == ()
    cases = [volume(tmp_path, answer, {"side": answer}, segment=True) for answer in ("left", "right")]
    side = Attribute(name="side", scope="segment", classes=["left", "right"])
    assert make_classification_plan(cases, [side]).augmentation.mirror_axes == (1, 2)
    findings = Attribute(name="side", scope="segment", classes=["left", "right", "upper", "lower"])
    assert make_classification_plan(cases, [findings]).augmentation.mirror_axes == (1,)


def test_attributes_that_cannot_be_learnt_are_left_out(tmp_path: Path) -> None:
    cases = pictures(tmp_path, ["a", "b", None, "gone"])
    for case, grade in zip(cases, ("0", "0", None, "0"), strict=True):
        case.answers["grade"] = grade
    grade = Attribute(name="grade", kind="ordinal", classes=["0", "1"])
    unasked = Attribute(name="unasked", kind="multi", classes=["x"])
    plan = make_classification_plan(cases, [KIND, grade, unasked])
    assert [one.name for one in plan.attributes] == ["kind"]
    with pytest.raises(BadInput, match="at least two classes"):
        make_classification_plan(cases, [grade, unasked])


def test_a_finding_that_no_case_is_known_to_lack_is_left_out(tmp_path: Path) -> None:
    findings = Attribute(name="kind", kind="multi", classes=["effusion", "nodule", "fracture"])
    known = [{"effusion": True, "nodule": False}, {"effusion": False, "nodule": True}]
    cases = pictures(tmp_path, known)
    assert make_classification_plan(cases, [findings]).attributes[0].classes == ("effusion", "nodule")
    cases[0].answers["kind"] = {**known[0], "fracture": True}
    assert make_classification_plan(cases, [findings]).attributes[0].classes == ("effusion", "nodule")
    cases[1].answers["kind"] = {**known[1], "fracture": False}
    assert make_classification_plan(cases, [findings]).attributes[0].classes == ("effusion", "nodule", "fracture")


def test_planning_needs_cases_of_one_sort_and_obeys_overrides(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="none yet"):
        make_classification_plan([], [KIND])
    cases = pictures(tmp_path, ["a", "b"])
    plan = make_classification_plan(cases, [KIND], {"size": [48, 48], "network": {"kind": "densenet121"}})
    assert plan.size == (48, 48)
    assert plan.reasons["size"] == OVERRIDDEN
    with pytest.raises(BadInput, match="2D"):
        make_classification_plan([*cases, volume(tmp_path, "v", {"kind": "a"})], [KIND])
