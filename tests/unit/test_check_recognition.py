"""The published classifier looks whether an image shows the class that it was made for."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from torch import Tensor

from monailabel_app.augmentation.checks.verdict import ClassImageChecks, Verdict
from monailabel_app.augmentation.synthetic import SyntheticClassImage
from monailabel_app.classification.networks import build_classifier, classifier_state
from monailabel_app.classification.plan import ClassificationPlan
from monailabel_app.classification.predictor import ClassificationPredictor, ClassPrediction
from tests.unit.test_class_images import examples
from tests.unit.test_generator_plan import classification_plan

SIZE = (16, 16)


class Seeing(ClassificationPredictor):
    """Knows class "yes" by its bright first half; or sees one class everywhere."""

    def __init__(self, plan: ClassificationPlan, always: str | None = None) -> None:
        super().__init__(plan, classifier_state(build_classifier(plan)), "cpu")
        self._always = always

    def predict_prepared(self, tensor: Tensor) -> ClassPrediction:
        middle = tensor.shape[1] // 2
        tilt = 3 * float(tensor[:, :middle].mean() - tensor[:, middle:].mean())
        if self._always is not None:
            tilt = 9.0 if self._always == "yes" else -9.0
        yes = 1 / (1 + math.exp(-tilt))
        probabilities = {one.name: {"yes": yes, "no": 1 - yes} for one in self.plan.attributes}
        return replace(super().predict_prepared(tensor), probabilities=probabilities)


def renamed(plan: ClassificationPlan) -> ClassificationPlan:
    return plan.model_copy(update={"attributes": (plan.attributes[0].model_copy(update={"name": "another"}),)})


def verdict_on(image: Tensor, class_name: str, predictor: ClassificationPredictor | None) -> Verdict:
    known = examples(SIZE)
    images = {one.id: one.image.float() for one in known}
    classes = {one.id: ("yes", "no")[one.class_number] for one in known}
    checks = ClassImageChecks(classification_plan(SIZE), "finding", images, classes, predictor)
    return checks.of_image(SyntheticClassImage(image, class_name, 0))


def image_of(number: int) -> Tensor:
    return examples(SIZE, (number,))[0].image.float()


def test_an_image_that_shows_the_class_asked_for_passes_and_one_of_another_class_fails() -> None:
    predictor = Seeing(classification_plan(SIZE))
    passed = verdict_on(image_of(0), "yes", predictor).checks[0]
    assert passed.name == "recognition" and passed.passed and passed.value > 0.9
    failed = verdict_on(image_of(1), "yes", predictor).checks[0]
    assert not failed.passed and failed.value < 0.1 and failed.details["no"] > 0.9
    assert "it looks like 'no'" in failed.reason and 0.4 < failed.limit <= 0.5


@pytest.mark.parametrize(
    ("predictor", "why"),
    [
        (None, "no classification model of such images and classes is published"),
        (Seeing(renamed(classification_plan(SIZE))), "no classification model of such images and classes"),
        (Seeing(classification_plan(SIZE), always="no"), "seldom sees 'yes' in real images of it"),
    ],
    ids=["none", "of another attribute", "that never sees the class"],
)
def test_what_the_classifier_cannot_tell_it_is_not_asked(predictor: ClassificationPredictor | None, why: str) -> None:
    check = verdict_on(image_of(1), "yes", predictor).checks[0]
    assert check.passed and check.value is None and why in check.reason
