"""All checks of a generator's samples, prepared once from the training images, then cheap for each sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from monailabel_app.augmentation.checks.contrast import Contrast
from monailabel_app.augmentation.checks.diversity import Diversity
from monailabel_app.augmentation.checks.features import ClassifierFeatures, SegmenterFeatures
from monailabel_app.augmentation.checks.intensities import Intensities
from monailabel_app.augmentation.checks.judged import Judged, evenly
from monailabel_app.augmentation.checks.kid import kid_check
from monailabel_app.augmentation.checks.memorisation import NAME as MEMORISATION
from monailabel_app.augmentation.checks.memorisation import Memorisation, TextureMemorisation
from monailabel_app.augmentation.checks.recognition import Recognition
from monailabel_app.augmentation.checks.resegmentation import Resegmentation
from monailabel_app.augmentation.mask_anatomy import Anatomy
from monailabel_app.augmentation.mask_views import View
from monailabel_app.augmentation.synthetic import SyntheticClassImage, SyntheticPair
from monailabel_app.classification.plan import ClassificationPlan
from monailabel_app.classification.predictor import ClassificationPredictor
from monailabel_app.errors import BadInput
from monailabel_app.inference.predictor import Predictor
from monailabel_app.models.plan import Plan
from monailabel_app.store.checks import Check
from monailabel_app.store.samples import Nearest
from monailabel_app.training.dataset import PreparedCase

MOST_REAL = 64
"""Real images, evenly spread, that the figures of a version are compared with."""

MOST_COPIES = 0.1
"""Share of a version's samples that may be copies."""


@dataclass(frozen=True)
class Verdict:
    """What the checks say of one sample.

    Attributes:
        nearest: The training image that it is most like.
    """

    checks: list[Check]
    nearest: Nearest | None

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)


class PairChecks:
    """The checks of image and mask pairs.

    Args:
        plan: Of the pairs.
        cases: Training cases, prepared with it.
        predictor: The published segmenter; None before there is one.
        lesions: Names of lesion labels (see `MaskMaker`).
        patients: Of the cases; by default each is of another one.

    Raises:
        BadInput: There is no case.
    """

    def __init__(
        self,
        plan: Plan,
        cases: Sequence[PreparedCase],
        predictor: Predictor | None = None,
        lesions: Sequence[str] | None = None,
        patients: Mapping[str, str] | None = None,
    ) -> None:
        if not cases:
            raise BadInput("Synthetic images are checked against training images, and there is none.")
        self.plan = plan
        self._cases = list(cases)
        self._resegmentation = Resegmentation(plan, cases, predictor)
        images = {case.id: case.image[0].float().numpy() for case in cases}
        self._patients = patients or {}
        self._memorisation = Memorisation(images, plan.augmentation.mirror_axes, self._patients)
        self._textures: TextureMemorisation | None = None
        self._anatomy = Anatomy.of(plan, cases, lesions)
        self._intensities = Intensities(plan, cases)
        self._contrast = Contrast(plan, [Judged.of_case(case) for case in cases], self._anatomy)
        self._features = _segmenter_features(plan, predictor)

    def of_pair(self, pair: SyntheticPair) -> Verdict:
        """Check one pair."""
        judged = Judged.of_pair(pair)
        compared = self._texture().compare(judged) if pair.is_edit else self._memorisation.compare(judged.image)
        checks = [self._resegmentation.check(judged), compared.check, self._intensities.check(judged)]
        if self._anatomy.hosts:
            checks.append(self._contrast.check(judged))
        return Verdict(checks, compared.nearest)

    def of_version(self, pairs: Sequence[SyntheticPair], verdicts: Sequence[Verdict]) -> list[Check]:
        """Check the samples of a version together: diversity, kernel distance, share of copies.

        Args:
            pairs: Some samples; diversity and kernel distance are measured on those that were made as a whole.
            verdicts: Of each.
        """
        whole = [pair.values for pair in pairs if not pair.is_edit]
        real = [judged.image for judged in self._like(whole)]
        return [Diversity(real).check(whole), self.kid_of(pairs), copies_check(verdicts)]

    def kid_of(self, pairs: Sequence[SyntheticPair]) -> Check:
        """The kernel distance alone, to compare versions of a generator by."""
        whole = [pair.values for pair in pairs if not pair.is_edit]
        real = self._like(whole)
        features = [self._features.of(images) for images in ([one.image for one in real], whole)]
        return kid_check(*features, self._features.of([painted_flat(one) for one in real]), self._features.name)

    def _like(self, samples: Sequence[np.ndarray]) -> list[Judged]:
        """The parts of real images about their labels that are as large as samples at most."""
        real = []
        for number, case in enumerate(evenly(self._cases, MOST_REAL) if samples else []):
            image, target = case.image[0].float().numpy(), case.target.numpy()
            voxels = np.argwhere(target > 0)
            middle = voxels.mean(0) if len(voxels) else np.asarray(target.shape) / 2
            box = View.at(middle.tolist(), samples[number % len(samples)].shape, target.shape).box
            real.append(Judged(image[box], target[box]))
        return real

    def _texture(self) -> TextureMemorisation:
        if self._textures is None:
            judged = {case.id: Judged.of_case(case) for case in self._cases}
            mirrored = self.plan.augmentation.mirror_axes
            self._textures = TextureMemorisation(judged, self._anatomy, mirrored, self._patients)
        return self._textures


class ClassImageChecks:
    """The checks of images of a class.

    Args:
        plan: Of the images.
        attribute: That the classes are of.
        images: Training images by case, ``C x D x H x W``, of the plan's size, normalised.
        classes: Class of each.
        predictor: The published classifier; None before there is one.
        device: Where the untrained network runs that is asked where the classifier cannot be.
        patients: Of the cases; by default each is of another one.

    Raises:
        BadInput: There is no image.
    """

    def __init__(
        self,
        plan: ClassificationPlan,
        attribute: str,
        images: Mapping[str, Tensor],
        classes: Mapping[str, str],
        predictor: ClassificationPredictor | None = None,
        device: torch.device | str = "cpu",
        patients: Mapping[str, str] | None = None,
    ) -> None:
        if not images:
            raise BadInput("Synthetic images are checked against training images, and there is none.")
        self._images, self._classes = images, classes
        grey = {case: image.float().mean(0).numpy() for case, image in images.items()}
        self._memorisation = Memorisation(grey, plan.augmentation.mirror_axes, patients)
        alike = predictor if predictor is not None and _looks(predictor.plan) == _looks(plan) else None
        self._recognition = Recognition(attribute, images, classes, alike)
        self._features = _classifier_features(plan, alike, device)

    def of_image(self, made: SyntheticClassImage) -> Verdict:
        """Check one image."""
        compared = self._memorisation.compare(made.values)
        return Verdict([self._recognition.check(made.image, made.class_name), compared.check], compared.nearest)

    def of_version(self, made: Sequence[SyntheticClassImage], verdicts: Sequence[Verdict]) -> list[Check]:
        """Check the samples of a version together; diversity in the class that varies least against real ones."""
        return [self._diversity(made), self.kid_of(made), copies_check(verdicts)]

    def kid_of(self, made: Sequence[SyntheticClassImage]) -> Check:
        """The kernel distance alone, to compare versions of a generator by."""
        real = self._features.of([self._images[case] for case in evenly(list(self._images), MOST_REAL)])
        return kid_check(real, self._features.of([one.image for one in made]), None, self._features.name)

    def _diversity(self, made: Sequence[SyntheticClassImage]) -> Check:
        checks = []
        for name in sorted({one.class_name for one in made}):
            cases = evenly([case for case in self._images if self._classes[case] == name], MOST_REAL)
            real = [self._images[case].float().mean(0).numpy() for case in cases]
            checks.append(Diversity(real).check([one.values for one in made if one.class_name == name]))
        measured = [check for check in checks if check.value is not None]
        if not measured:
            return checks[0] if checks else Diversity([]).check([])
        return max(measured, key=lambda check: check.value - check.limit)


def _segmenter_features(plan: Plan, predictor: Predictor | None) -> SegmenterFeatures:
    """Of the published segmenter where grey values mean to it what they mean in the images, else untrained ones."""
    if predictor is None:
        return SegmenterFeatures(plan)
    if (predictor.plan.dimension, predictor.plan.normalisation) != (plan.dimension, plan.normalisation):
        return SegmenterFeatures(plan, device=predictor.device)
    return SegmenterFeatures(predictor.plan, predictor.network, predictor.device, spacing=plan.spacing)


def _classifier_features(
    plan: ClassificationPlan, predictor: ClassificationPredictor | None, device: torch.device | str
) -> ClassifierFeatures:
    """Of the published classifier, if there is one for such images; else untrained ones."""
    if predictor is None:
        return ClassifierFeatures(plan, device=device)
    return ClassifierFeatures(predictor.plan, predictor.network, predictor.device)


def _looks(plan: ClassificationPlan) -> tuple[object, ...]:
    """What images are like but for their size, to which any can be brought."""
    return plan.dimension, plan.channels, plan.region, plan.normalisation


def painted_flat(judged: Judged) -> np.ndarray:
    """A real mask painted with the mean grey value of each label: the least that a generator has to do better than."""
    flat = np.empty_like(judged.image)
    for channel in np.unique(judged.target):
        mask = judged.target == channel
        flat[mask] = judged.image[mask].mean()
    return flat


def copies_check(verdicts: Sequence[Verdict]) -> Check:
    """The share of samples that are copies of training images."""
    checks = [one for verdict in verdicts for one in verdict.checks if one.name == MEMORISATION]
    compared = [one for one in checks if one.value is not None]
    if not compared:
        reason = "Not measured: nothing was compared."
        return Check(name=MEMORISATION, value=None, limit=None, passed=True, reason=reason)
    copies = sum(not check.passed for check in compared)
    return Check(
        name=MEMORISATION,
        value=copies / len(compared),
        limit=MOST_COPIES,
        passed=copies <= MOST_COPIES * len(compared),
        reason=f"{copies} of {len(compared)} samples are copies of training images (at most {MOST_COPIES:.0%}).",
    )
