"""Running a trained classification network on an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from monailabel_app.classification.calibration import Calibration
from monailabel_app.classification.dataset import ClassifiedCase, read_region
from monailabel_app.classification.figures import FINDING_FROM
from monailabel_app.classification.networks import build_classifier, set_classifier_state
from monailabel_app.classification.novelty import Reference, appearance_of, watched
from monailabel_app.classification.plan import ClassificationPlan, PlannedAttribute
from monailabel_app.classification.preparation import PreparedImage, prepare_image, read_case_image
from monailabel_app.classification.targets import probabilities_of
from monailabel_app.errors import BadInput, GeometryMismatch
from monailabel_app.inference.predictor import autocast, default_device, low_precision, memory_format
from monailabel_app.store.scheme import AttributeKind

HARDLY_SEEN = 10
"""A class with fewer training cases is one that the model has hardly seen."""

WORTH_A_WORD = 0.2
"""A class that the model has hardly seen is warned of from this probability on, or when it is predicted."""

SeenCases = Mapping[str, Mapping[str, int]]
"""Training cases by attribute and class."""


@dataclass(frozen=True)
class ClassPrediction:
    """What a version says about one image.

    Attributes:
        probabilities: By attribute and class, calibrated where the version is; those of findings need not sum to 1.
        features: What the network's heads saw, ``F``, float32.
        appearance: What the image looks like to the network, ``A``, float32, as `novelty.Reference` takes it.
        novelty: How unlike what the version has seen: above 1 beyond what is usual. None where it is not known.
        warnings: For people, each a sentence.
    """

    probabilities: dict[str, dict[str, float]]
    features: np.ndarray
    appearance: np.ndarray
    novelty: float | None
    warnings: list[str]

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The probabilities in the order of the classes, as `figures.evaluate_answers` takes them."""
        return {name: np.array(list(classes.values())) for name, classes in self.probabilities.items()}


class ClassificationPredictor:
    """A version's network, ready to classify images. Not for use by several threads at once.

    Args:
        plan: The version's plan.
        weights: The state of its network (see `networks.classifier_state`).
        device: Where to run; by default the GPU when there is one.
        calibration: Its temperatures; without, probabilities are the network's own.
        reference: What it has seen; without, novelty is not known.
        seen: How many training cases each class had; without, nothing is said about rare classes.

    Raises:
        BadInput: The weights do not belong to the plan.
    """

    def __init__(
        self,
        plan: ClassificationPlan,
        weights: Mapping[str, Tensor],
        device: torch.device | str | None = None,
        calibration: Calibration | None = None,
        reference: Reference | None = None,
        seen: SeenCases | None = None,
    ) -> None:
        self.plan = plan
        self.device = torch.device(device) if device is not None else default_device()
        self.calibration = calibration or Calibration()
        self.reference = reference
        self.seen = seen or {}
        network = build_classifier(plan)
        set_classifier_state(network, weights)
        self._layout = memory_format(self.device, plan.dimension)
        # Training runs in 16 bits on GPUs only, so a CPU gives the probabilities that were measured.
        self.precision = low_precision(self.device) if self.device.type == "cuda" else None
        self.network = network.to(self.device, memory_format=self._layout).eval()

    def prepare(self, image: sitk.Image, region: sitk.Image | None = None) -> PreparedImage:
        """The image as the network sees it.

        Raises:
            BadInput: The image has not the plan's number of dimensions, or the region is missing or empty.
            GeometryMismatch: The region does not lie on the image's voxels.
        """
        return prepare_image(image, self.plan, region)

    def predict(self, image: sitk.Image, region: sitk.Image | None = None) -> ClassPrediction:
        """Classify an image.

        Args:
            image: 2D or 3D, as `preparation.prepare_image` takes it.
            region: A mask of the segment (see `preparation.segment_mask`), for models that look at a segment.

        Raises:
            BadInput: The image has not the plan's number of dimensions, or the region is missing or empty.
            GeometryMismatch: The region does not lie on the image's voxels.
        """
        return self.predict_prepared(self.prepare(image, region).tensor)

    def predict_prepared(self, tensor: Tensor) -> ClassPrediction:
        """Classify an image as the network sees it, ``C x [D x] H x W`` of the plan's size."""
        batch = tensor[None].to(self.device).contiguous(memory_format=self._layout)
        with torch.inference_mode(), autocast(self.device, self.precision), watched(self.network) as seen:
            features = self.network.features(batch)
            logits = [head(features) for head in self.network.heads]
        stated = {
            one.name: self.calibration.apply(one, probabilities_of(one, values)[0].cpu().numpy())
            for one, values in zip(self.plan.attributes, logits, strict=True)
        }
        appearance = appearance_of(seen)[0]
        novelty = None if self.reference is None else self.reference.novelty(appearance)
        return ClassPrediction(
            probabilities={
                one.name: dict(zip(one.classes, map(float, stated[one.name]), strict=True))
                for one in self.plan.attributes
            },
            features=features[0].float().cpu().numpy(),
            appearance=appearance,
            novelty=novelty,
            warnings=[*self._unlike(novelty), *self._hardly_seen(stated)],
        )

    def predict_case(self, case: ClassifiedCase) -> ClassPrediction:
        """Read a case and classify it.

        Raises:
            UnreadableImage: A file cannot be read.
            BadInput, GeometryMismatch: The case does not suit the plan; the message names it.
        """
        image = read_case_image(case.image, self.plan.channels)
        region = read_region(case) if self.plan.region is not None else None
        try:
            return self.predict(image, region)
        except (BadInput, GeometryMismatch) as error:
            raise type(error)(f"{case.id}: {error}") from error

    def _unlike(self, novelty: float | None) -> list[str]:
        if novelty is None or novelty <= 1:
            return []
        return [
            "This image is unlike those that the model was trained on "
            f"({novelty:.1f} times the distance that is usual): do not rely on its answer."
        ]

    def _hardly_seen(self, stated: Mapping[str, np.ndarray]) -> list[str]:
        warnings = []
        for one in self.plan.attributes:
            counts = self.seen.get(one.name, {})
            for name, probability in zip(one.classes, stated[one.name], strict=True):
                predicted = probability >= (FINDING_FROM if one.kind is AttributeKind.MULTI else stated[one.name].max())
                count = counts.get(name, HARDLY_SEEN)
                if count < HARDLY_SEEN and (predicted or probability >= WORTH_A_WORD):
                    warnings.append(_rare(one, name, count))
        return warnings


def _rare(attribute: PlannedAttribute, name: str, count: int) -> str:
    cases = {0: "no training case", 1: "a single training case"}.get(count, f"only {count} training cases")
    return f"The model has seen {cases} of '{name}' ({attribute.name}): check this answer yourself."
