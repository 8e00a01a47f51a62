"""One look at an image: the numbers are those of the probabilities, whatever the windows, and the same each time."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from monailabel_app.active_learning import windows
from monailabel_app.active_learning.aggregation import aggregate
from monailabel_app.active_learning.class_looking import look_at_class
from monailabel_app.active_learning.evidence import Evidence, Measure
from monailabel_app.active_learning.looking import LookOptions, ask_members, look_at, uncertainty_image
from monailabel_app.active_learning.members import VariedImages, dropout_on, seeded
from monailabel_app.active_learning.windows import Axis
from monailabel_app.classification.predictor import ClassificationPredictor
from monailabel_app.errors import BadInput
from monailabel_app.inference.predictor import Predictor
from monailabel_app.inference.service import LoadedVersion
from monailabel_app.models.networks import build_network
from monailabel_app.models.plan import Augmentation, Plan
from tests.builders import version_record
from tests.unit.test_classifier_predictor import plan_of, volume, weights_of
from tests.unit.test_predictor import make_plan, random_image, random_weights

EXACT = LookOptions(coarsening=1.0)


def version_of(plan: Plan, number: int = 3) -> LoadedVersion:
    record = version_record().model_copy(update={"plan": plan, "number": number})
    predictor = Predictor(plan, random_weights(plan), "cpu")
    predictor.precision = None
    return LoadedVersion(record, predictor)


def with_dropout(dropout: float, **changes: object) -> Plan:
    return make_plan(**changes).with_overrides({"network": {"dropout": dropout}})


def without_variation(**changes: object) -> Plan:
    """A plan whose training varied nothing, so that all varied images are the plain one."""
    return make_plan(augmentation={"brightness": 0, "contrast": 0, "noise": 0}, **changes)


def same(one: Evidence, other: Evidence) -> bool:
    embeddings = np.array_equal(one.embedding, other.embedding) and np.array_equal(one.gradient, other.gradient)
    return embeddings and one.model_dump_json() == other.model_dump_json()


def test_scores_are_those_of_the_predictors_own_probabilities() -> None:
    version = version_of(without_variation())
    image = random_image(16, 16, 16)
    image.SetSpacing((1.0, 1.0, 1.0))
    evidence = look_at(image, version, case_id="x", options=EXACT)
    probabilities = version.predictor.probabilities(version.predictor.prepare(image))[None]
    expected = aggregate(probabilities, ["one", "two"], 1.0)
    assert evidence.case_id == "x" and evidence.version == 3 and evidence.task == "segmentation"
    assert evidence.scores[Measure.ENTROPY] == pytest.approx(expected.scores[Measure.ENTROPY], rel=0.02)
    assert evidence.scores[Measure.MARGIN] == pytest.approx(expected.scores[Measure.MARGIN], rel=0.02)
    assert evidence.scores[Measure.BALD] == pytest.approx(0, abs=1e-6), "the members are all the same"
    for label, volume_mm3 in expected.foreground_mm3.items():
        assert evidence.foreground_mm3[label] == pytest.approx(volume_mm3, rel=0.02)


@pytest.mark.parametrize(("dimension", "size"), [(3, (41, 17, 30)), (3, (5, 9, 40)), (2, (40, 9)), (2, (20, 24, 1))])
def test_windows_cover_every_voxel_once(dimension: int, size: tuple[int, ...]) -> None:
    version = version_of(make_plan(dimension))
    prepared = version.predictor.prepare(random_image(*size))
    members = ask_members(prepared.tensor, version.predictor, EXACT).said
    inside = size[:dimension] if dimension == 3 else (1, *size[:dimension])
    assert tuple(members.shape) == (4, 3, *inside)
    torch.testing.assert_close(members.float().sum(1), torch.ones(4, *inside), atol=2e-3, rtol=0)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 15, 16, 17, 30, 64, 101])
def test_windows_of_the_patch_cover_an_axis_without_a_gap(length: int) -> None:
    axis = Axis.cover(length, patch=16, factor=4)
    kept = [place for cut in axis.cuts for place in range(cut.begin, cut.end)]
    assert kept == list(range(length))
    assert axis.size == (16 if length > 12 else max(8, 4 * -(-length // 4)))
    assert all(cut.start <= cut.begin and cut.end <= cut.start + axis.size for cut in axis.cuts)


def test_windows_looked_at_together_say_what_they_say_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    version = version_of(without_variation())
    tensor = version.predictor.prepare(random_image(41, 17, 30)).tensor
    together = ask_members(tensor, version.predictor, EXACT)
    monkeypatch.setitem(windows.VOXELS_AT_ONCE, "cpu", 1)
    alone = ask_members(tensor, version.predictor, EXACT)
    torch.testing.assert_close(alone.said, together.said, atol=2e-3, rtol=0)
    np.testing.assert_allclose(alone.embedding, together.embedding, rtol=1e-3, atol=1e-4)


def test_an_image_that_would_not_fit_into_memory_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "MOST_OF_MEMORY", 1e-9)
    with pytest.raises(BadInput, match="too large to be looked at.*coarser"):
        look_at(random_image(16, 16, 16), version_of(make_plan()), case_id="a")


def test_a_case_without_foreground_has_a_score_of_nothing() -> None:
    for plan in (make_plan(), with_dropout(0.2)):
        version = version_of(plan)
        with torch.no_grad():  # the background wins everywhere
            dict(version.predictor.network.named_parameters())["output_block.conv.conv.bias"][0] += 1000
        evidence = look_at(random_image(20, 20, 20), version, case_id="x")
        assert set(evidence.foreground_mm3.values()) == {0.0}
        assert set(evidence.scores.values()) == {0.0} and np.isfinite(evidence.embedding).all()


def test_the_same_look_gives_the_same_numbers_and_another_case_other_draws() -> None:
    version = version_of(with_dropout(0.3))
    image = random_image(20, 20, 20)
    first = look_at(image, version, case_id="x")
    torch.rand(7)  # other chance in between
    state = torch.get_rng_state()
    assert same(first, look_at(image, version, case_id="x"))
    assert torch.equal(state, torch.get_rng_state()), "the chance of others is left alone"
    assert look_at(image, version, case_id="y").scores[Measure.BALD] != first.scores[Measure.BALD]


def test_dropout_makes_members_that_disagree_and_the_network_is_as_before() -> None:
    image = random_image(20, 20, 20)
    dropped = version_of(with_dropout(0.4))
    plain = version_of(without_variation())
    assert look_at(image, dropped, case_id="x").scores[Measure.BALD] > 1e-3
    assert look_at(image, plain, case_id="x").scores[Measure.BALD] < 1e-6
    assert not any(module.training for module in dropped.predictor.network.modules())
    before = dropped.predictor.predict(image).label_map
    look_at(image, dropped, case_id="x")
    np.testing.assert_array_equal(dropped.predictor.predict(image).label_map, before)


def test_dropout_leaves_features_out_but_never_answers() -> None:
    network = build_network(with_dropout(0.5)).eval()
    with dropout_on(network):
        assert any(module.training for module in network.modules())
        logits = network(torch.randn(1, 1, 16, 16, 16))
    assert not (logits == 0).any()
    assert build_network(make_plan()).state_dict().keys() == network.state_dict().keys()


def test_features_are_left_out_in_their_share_and_the_rest_made_up_for() -> None:
    network = torch.nn.Sequential(torch.nn.Dropout(0.3))
    features = torch.full((3, 100_001), 2.0)
    for kind in (torch.float32, torch.bfloat16):
        with seeded(torch.device("cpu"), "x"), dropout_on(network):
            dropped = network(features.to(kind)).float()
            assert not torch.equal(dropped, network(features.to(kind)).float())
        with seeded(torch.device("cpu"), "x"), dropout_on(network):
            assert torch.equal(dropped, network(features.to(kind)).float())
        assert (dropped == 0).float().mean() == pytest.approx(0.3, abs=0.005)
        torch.testing.assert_close(
            dropped[dropped != 0], torch.full((int((dropped != 0).sum()),), 2 / 0.7), rtol=0.01, atol=0
        )
    assert torch.equal(network.eval()(features), features) and network[0].forward.__func__ is torch.nn.Dropout.forward


def test_two_passes_with_dropout_are_the_members() -> None:
    version = version_of(with_dropout(0.3))
    tensor = version.predictor.prepare(random_image(16, 16, 16)).tensor
    first, second = ask_members(tensor, version.predictor, LookOptions()).said
    assert not torch.equal(first, second)


def test_varied_images_are_mirrored_back() -> None:
    varied = VariedImages(Augmentation(mirror_axes=(0, 2), brightness=0, contrast=0, noise=0), passes=3)
    images = torch.randn(2, 1, 4, 5, 6)
    batch = varied.apply(images)
    assert batch.shape == (8, 1, 4, 5, 6) and not torch.equal(batch[2:4], images)
    for member in varied.undo(batch):
        torch.testing.assert_close(member, images)


def test_where_a_structure_is_does_not_change_brightness() -> None:
    varied = VariedImages(Augmentation(), passes=3).apply(torch.ones(1, 2, 4, 4), grey_channels=1)
    assert (varied[:, 1] == 1).all() and not (varied[1:, 0] == 1).any()


def test_the_embedding_is_the_mean_of_the_deepest_features() -> None:
    version = version_of(without_variation())
    prepared = version.predictor.prepare(random_image(16, 16, 16))
    seen = []
    hook = version.predictor.network.bottleneck.register_forward_hook(lambda *call: seen.append(call[-1]))
    with torch.no_grad():
        version.predictor.network(prepared.tensor[None])
    hook.remove()
    embedding = look_at(random_image(16, 16, 16), version, case_id="x", options=EXACT).embedding
    np.testing.assert_allclose(embedding, seen[0].mean((0, 2, 3, 4)).numpy(), rtol=1e-4, atol=1e-5)


def test_segresnet_gives_evidence_too() -> None:
    network = {"kind": "segresnet", "filters": [8, 16, 32], "deep_supervision": False, "dropout": 0.2}
    version = version_of(make_plan().with_overrides({"network": network}))
    evidence = look_at(random_image(20, 20, 20), version, case_id="x")
    assert evidence.scores[Measure.BALD] > 0 and evidence.embedding.shape == (32,)


@pytest.mark.parametrize("measure", [Measure.ENTROPY, Measure.MARGIN, Measure.BALD, Measure.ALEATORIC])
def test_the_map_lies_on_the_image(measure: Measure) -> None:
    image = random_image(23, 31, 17)
    image.SetSpacing((1.5, 1.0, 2.0))
    image.SetOrigin((5, -7, 11))
    image.SetDirection((0, 0, 1, 1, 0, 0, 0, -1, 0))
    shown = uncertainty_image(image, version_of(with_dropout(0.2, spacing=(2.0, 2.0, 2.0))), measure)
    assert shown.GetPixelID() == sitk.sitkFloat32
    assert (shown.GetSize(), shown.GetSpacing()) == (image.GetSize(), image.GetSpacing())
    assert (shown.GetOrigin(), shown.GetDirection()) == (image.GetOrigin(), image.GetDirection())
    values = sitk.GetArrayFromImage(shown)
    assert np.isfinite(values).all() and values.min() >= 0 and 0 < values.max() <= 1.1


def test_what_has_no_map_is_refused() -> None:
    with pytest.raises(BadInput, match="entropy"):
        uncertainty_image(random_image(16, 16, 16), version_of(make_plan()), Measure.CLASS_ENTROPY)


def test_an_image_of_another_dimension_is_refused() -> None:
    with pytest.raises(BadInput, match="3D"):
        look_at(random_image(16, 16), version_of(make_plan()), case_id="x")


# --- classification --------------------------------------------------------------------------------------------------


def class_version(**changes: object) -> LoadedVersion:
    plan = plan_of(**changes)
    record = version_record("classification").model_copy(update={"number": 2})
    return LoadedVersion(record, ClassificationPredictor(plan, weights_of(plan), "cpu"))


def test_a_classified_case_has_the_predictors_probabilities() -> None:
    version = class_version()
    evidence = look_at_class(volume(), version, case_id="x")
    said = version.predictor.predict(volume())
    assert evidence.findings == {"findings"} and evidence.task == "classification" and evidence.version == 2
    for attribute, classes in said.probabilities.items():
        assert evidence.probabilities[attribute] == pytest.approx(classes, abs=1e-5)
    np.testing.assert_allclose(evidence.embedding, said.features, rtol=1e-4, atol=1e-5)
    assert set(evidence.by_class[Measure.BALD]) == {
        *("type: benign", "type: malignant", "grade: 0", "grade: 1", "grade: 2", "findings: nodule"),
        "findings: effusion",
    }
    assert 0 < evidence.scores[Measure.BALD] < evidence.scores[Measure.ALEATORIC]
    assert same(evidence, look_at_class(volume(), version, case_id="x"))
    json.loads(evidence.model_dump_json())


def test_without_dropout_the_varied_images_are_the_members() -> None:
    network = {"width": 8, "strides": [[1, 1, 1], [2, 2, 2]], "dropout": 0.0}
    still = {"brightness": 0, "contrast": 0, "noise": 0}
    evidence = look_at_class(volume(), class_version(network=network, augmentation=still), case_id="x")
    assert evidence.scores[Measure.BALD] == pytest.approx(0, abs=1e-6)


def test_the_gradient_is_badges_and_stays_short() -> None:
    attributes = [{"name": "type", "kind": "single", "classes": ["benign", "malignant"]}]
    evidence = look_at_class(volume(), class_version(attributes=attributes), case_id="x")
    classes = evidence.probabilities["type"]
    likeliest = max(classes, key=classes.get)
    errors = [value - (name == likeliest) for name, value in classes.items()]
    np.testing.assert_allclose(evidence.gradient, np.outer(errors, evidence.embedding).ravel(), rtol=1e-3, atol=1e-5)
    many = [{"name": "type", "kind": "single", "classes": [f"class {n}" for n in range(40)]}]
    assert look_at_class(volume(), class_version(attributes=many), case_id="x").gradient.shape == (512,)
