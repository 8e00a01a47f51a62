"""Plans: what they accept, how they are written, and what planning makes of annotated cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from pydantic import ValidationError

from monailabel_app.errors import BadInput, NotFound
from monailabel_app.models.networks import (
    build_network,
    load_weights,
    logits_by_level,
    save_weights,
    set_weights,
    warm_start,
    weights_of,
)
from monailabel_app.models.plan import OVERRIDDEN, IntensityKind, NetworkKind, Plan, sided_axes
from monailabel_app.training.dataset import TrainingCase
from monailabel_app.training.planning import make_plan


def plan_fields(**changes: Any) -> dict[str, Any]:
    network = {"filters": [8, 16, 32], "strides": [[1] * 3, [2] * 3, [2] * 3], "kernels": [[3] * 3] * 3}
    fields = {
        "labels": ["liver", "spleen"],
        "dimension": 3,
        "spacing": [1.5, 1.5, 2.0],
        "patch_size": [16, 16, 8],
        "batch_size": 2,
        "normalisation": {"kind": "ct", "clip": [-100, 200], "mean": 60, "std": 30},
        "network": network,
    }
    return fields | changes


def write_case(
    folder: Path,
    *,
    size: tuple[int, ...] = (24, 24, 16),
    spacing: tuple[float, ...] = (2.0, 2.0, 3.0),
    air: int = 0,
    modality: str | None = None,
    direction: tuple[float, ...] | None = None,
) -> TrainingCase:
    random = np.random.default_rng(0)
    voxels = random.normal(60, 10, size[::-1]).astype(np.int16)
    voxels[..., :4] = air
    mask = np.zeros(size[::-1], np.uint8)
    mask[tuple(slice(n // 4, 3 * n // 4) for n in size[::-1])] = 1
    name = f"case{len(list(folder.iterdir()))}"
    for array, kind in ((voxels, "image"), (mask, "label")):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(spacing)
        if direction is not None:
            image.SetDirection(direction)
        sitk.WriteImage(image, str(folder / f"{name}-{kind}.nrrd"))
    return TrainingCase(name, folder / f"{name}-image.nrrd", folder / f"{name}-label.nrrd", {"liver": 1}, modality)


def test_a_plan_survives_json() -> None:
    plan = Plan.model_validate(plan_fields(reasons={"spacing": "because"}))
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    assert plan.channels == 3
    assert plan.divisor == (4, 4, 4)


@pytest.mark.parametrize(
    "changes",
    [
        {"surprise": 1},
        {"labels": []},
        {"labels": ["liver", "liver"]},
        {"labels": [f"label {n}" for n in range(256)]},
        {"spacing": [1.0, 1.0]},
        {"spacing": [1.0, 0.0, 1.0]},
        {"patch_size": [16, 16, 10]},
        {"patch_size": [4, 4, 4]},
        {"normalisation": {"kind": "ct"}},
        {"normalisation": {"kind": "ct", "clip": [200, -100], "mean": 60, "std": 30}},
        {"normalisation": {"kind": "mr", "mean": 60}},
        {"augmentation": {"mirror_axes": [3]}},
        {"augmentation": {"noise": 1.5}},
        {"dimension": 2},
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Plan.model_validate(plan_fields(**changes))


def test_overrides_are_merged_and_named_in_the_reasons() -> None:
    plan = Plan.model_validate(plan_fields(reasons={"spacing": "usual", "network": "small"}))
    changed = plan.with_overrides({"network": {"filters": [16, 32, 64]}, "batch_size": 1})
    assert changed.network.filters == (16, 32, 64)
    assert changed.network.strides == plan.network.strides
    assert changed.batch_size == 1
    assert changed.reasons == {"spacing": "usual", "network": OVERRIDDEN, "batch_size": OVERRIDDEN}
    assert plan.batch_size == 2


@pytest.mark.parametrize("overrides", [{"patch": 3}, {"batch_size": "many"}, {"network": {"filters": [8]}}])
def test_overrides_that_do_not_fit_are_the_users_mistake(overrides: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=next(iter(overrides))):
        Plan.model_validate(plan_fields()).with_overrides(overrides)


@pytest.mark.parametrize(
    ("labels", "axes"),
    [
        (["left_kidney", "right_kidney"], (0,)),
        (["KidneyLeft"], (0,)),
        (["rightkidney"], (0,)),
        (["lung_r"], (0,)),
        (["anterior hippocampus", "posterior"], (1,)),
        (["upper lobe left"], (0, 2)),
        (["liver", "vertebra L1", "colon"], ()),
    ],
)
def test_sides_in_the_names_of_labels_are_seen(labels: list[str], axes: tuple[int, ...]) -> None:
    assert sided_axes(labels) == axes


def test_sided_labels_switch_mirroring_off(tmp_path: Path) -> None:
    case = write_case(tmp_path)
    assert make_plan([case], labels=["liver"], device_memory_gb=8).augmentation.mirror_axes == (0,)
    sided = make_plan([case], labels=["left_kidney", "right_kidney"], device_memory_gb=8)
    assert sided.augmentation.mirror_axes == ()
    assert "side" in sided.reasons["augmentation"]


def test_modality_comes_from_the_header_or_else_from_the_voxels(tmp_path: Path) -> None:
    def kind(**options: Any) -> IntensityKind:
        case = write_case(tmp_path, **options)
        return make_plan([case], labels=["liver"], device_memory_gb=None).normalisation.kind

    assert kind(air=-1000) is IntensityKind.CT
    assert kind(air=0) is IntensityKind.MR
    assert kind(air=0, modality="CT") is IntensityKind.CT
    assert kind(air=-1000, modality="PT") is IntensityKind.MR
    cases = [write_case(tmp_path, air=-1000), write_case(tmp_path, air=0)]
    assert make_plan(cases, labels=["liver"], device_memory_gb=None).normalisation.kind is IntensityKind.MR


def test_ct_statistics_are_those_of_the_structures(tmp_path: Path) -> None:
    found = make_plan([write_case(tmp_path, air=-1000)], labels=["liver"], device_memory_gb=None).normalisation
    assert found.mean == pytest.approx(60, abs=2)
    assert found.std == pytest.approx(10, abs=1.5)
    assert -1000 < found.clip[0] < 60 < found.clip[1]


def test_a_cpu_gets_coarser_voxels_and_a_smaller_network_than_a_gpu(tmp_path: Path) -> None:
    case = write_case(tmp_path, size=(256, 256, 80), spacing=(0.8, 0.8, 2.0))
    cpu = make_plan([case], labels=["liver"], device_memory_gb=None)
    gpu = make_plan([case], labels=["liver"], device_memory_gb=12)
    assert gpu.spacing == (0.8, 0.8, 2.0)
    assert np.prod(np.array([256, 256, 80]) * gpu.spacing / cpu.spacing) <= 2_000_000
    assert cpu.spacing[2] == 2.0, "the finest axes are coarsened first"
    assert cpu.network.filters[0] < gpu.network.filters[0] == 32
    assert np.prod(cpu.patch_size) < np.prod(gpu.patch_size)
    assert set(cpu.reasons) >= {"spacing", "patch_size", "batch_size", "normalisation", "network", "augmentation"}


def test_thick_slices_are_not_convolved_across_at_first(tmp_path: Path) -> None:
    case = write_case(tmp_path, size=(96, 96, 12), spacing=(1.0, 1.0, 6.0))
    plan = make_plan([case], labels=["liver"], device_memory_gb=None)
    assert plan.network.kernels[0] == (3, 3, 1)
    assert plan.network.strides[1] == (2, 2, 1)


def test_lower_levels_are_not_trained_on_labels_that_are_gone_there(tmp_path: Path) -> None:
    large = write_case(tmp_path, size=(48, 48, 48), spacing=(2.0, 2.0, 2.0))
    assert make_plan([large], labels=["liver"], device_memory_gb=None).network.deep_supervision
    small = write_case(tmp_path, size=(12, 12, 12), spacing=(2.0, 2.0, 2.0))
    plan = make_plan([small], labels=["liver"], device_memory_gb=None)
    assert not plan.network.deep_supervision
    assert "about 6 voxels across" in plan.reasons["network"]


def test_axes_of_a_plan_are_canonical(tmp_path: Path) -> None:
    # The file's axes run to S, L, P: its third axis, of 1 mm, is the patient's P.
    case = write_case(tmp_path, size=(16, 24, 32), spacing=(4.0, 2.0, 1.0), direction=(0, 1, 0, 0, 0, 1, 1, 0, 0))
    assert make_plan([case], labels=["liver"], device_memory_gb=8).spacing == (2.0, 1.0, 4.0)


def test_two_dimensional_images_get_a_two_dimensional_plan(tmp_path: Path) -> None:
    flat = write_case(tmp_path, size=(64, 48), spacing=(1.0, 1.0))
    plan = make_plan([flat], labels=["liver"], device_memory_gb=None)
    assert plan.dimension == 2
    assert build_network(plan).eval()(torch.zeros(1, 1, *plan.patch_size)).shape == (1, 2, *plan.patch_size)
    with pytest.raises(BadInput, match="2D"):
        make_plan([flat, write_case(tmp_path)], labels=["liver"], device_memory_gb=None)


def test_planning_needs_cases_and_obeys_overrides(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="none yet"):
        make_plan([], labels=["liver"], device_memory_gb=None)
    overrides = {"spacing": [4, 4, 4]}
    plan = make_plan([write_case(tmp_path)], labels=["liver"], device_memory_gb=None, overrides=overrides)
    assert plan.spacing == (4.0, 4.0, 4.0)
    assert plan.reasons["spacing"] == OVERRIDDEN


@pytest.mark.parametrize("kind", list(NetworkKind))
def test_networks_give_logits_for_each_label(kind: NetworkKind) -> None:
    network = plan_fields()["network"] | {"kind": kind, "deep_supervision": kind is NetworkKind.DYNUNET}
    plan = Plan.model_validate(plan_fields(network=network))
    levels = logits_by_level(build_network(plan), torch.zeros(2, 1, *plan.patch_size))
    assert levels[0].shape == (2, 3, *plan.patch_size)
    assert len(levels) == (2 if kind is NetworkKind.DYNUNET else 1)


def test_weights_survive_the_disk(tmp_path: Path) -> None:
    plan = Plan.model_validate(plan_fields())
    weights = weights_of(build_network(plan))
    path = tmp_path / "versions" / "weights.safetensors"
    save_weights(path, weights)
    loaded = load_weights(path)
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name], "nothing temporary is left"
    network = build_network(plan)
    set_weights(network, loaded)
    assert all(torch.equal(value, weights[name]) for name, value in weights_of(network).items())


def test_missing_damaged_and_foreign_weights_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        load_weights(tmp_path / "none.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes(b"\x20\0\0\0\0\0\0\0not a header")
    with pytest.raises(BadInput, match="damaged"):
        load_weights(tmp_path / "damaged.safetensors")
    one_label = build_network(Plan.model_validate(plan_fields(labels=["liver"])))
    with pytest.raises(BadInput, match="another shape"):
        set_weights(one_label, weights_of(build_network(Plan.model_validate(plan_fields()))))


def test_warm_start_moves_output_channels_by_name() -> None:
    old, new = ["liver", "spleen"], ["pancreas", "spleen", "liver"]
    source = weights_of(build_network(Plan.model_validate(plan_fields(labels=old))))
    network = build_network(Plan.model_validate(plan_fields(labels=new)))
    fresh = weights_of(network)
    filled = warm_start(network, source, old_labels=old, new_labels=new)
    result = weights_of(network)
    assert filled == len(result)
    for name, value in result.items():
        if value.shape == source[name].shape:
            assert torch.equal(value, source[name])
        else:
            assert torch.equal(value[[0, 2, 3]], source[name][[0, 2, 1]])
            assert torch.equal(value[1], fresh[name][1])
