"""Classification as the platform sees it: a model that says which classes a case has, and why."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import SimpleITK as sitk
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from monailabel_app.classification.explanation import ExplanationMethod, explain
from monailabel_app.classification.groups import FindRegion, Group
from monailabel_app.classification.preparation import read_case_image, segment_mask
from monailabel_app.classification.version import check_looks_at
from monailabel_app.errors import BadInput
from monailabel_app.inference.service import InferenceService, LoadedVersion
from monailabel_app.models.plan import describe
from monailabel_app.store.geometry import Geometry
from monailabel_app.store.images import read_image, write_image
from monailabel_app.store.label_grid import onto_grid
from monailabel_app.store.scheme import spelled
from monailabel_app.tasks.segmentation import read_sent


class ExplanationRequest(BaseModel):
    """Which answer is to be explained.

    Attributes:
        class_name: By default the most probable one.
        by: By default what suits the network.
    """

    model_config = ConfigDict(extra="forbid")

    attribute: str
    class_name: str | None = Field(None, alias="class")
    by: ExplanationMethod | None = None


class ClassPredictor(InferTask):
    """Says which classes a case has, with the version that is published.

    Args:
        group: What is asked, and about what.
        find_region: Where the structure is that is asked about, unless a label map comes with the request.
    """

    def __init__(self, service: InferenceService, group: Group, find_region: FindRegion) -> None:
        what = f"'{group.segment}'" if group.segment else "the case"
        super().__init__(
            type=InferType.CLASSIFICATION,
            labels=[name for attribute in group.attributes for name in attribute.names],
            dimension=3,
            description=f"Classifies {what}, with the version that is published.",
        )
        self.service = service
        self.group = group
        self.find_region = find_region

    def is_valid(self) -> bool:
        return True

    def info(self) -> dict[str, Any]:
        return {**super().info(), "version": self.service.registry.published_number(self.group.task)}

    def __call__(self, request: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """Predict on ``request["image_file"]``; with ``explain`` (see `ExplanationRequest`) also say why.

        Returns:
            The file of the explanation (float, 0 to 1, on the image's grid; the caller deletes it) or None, and what is
            known: ``probabilities`` by attribute and class, ``warnings``, ``novelty`` (above 1: unlike what was
            trained on), ``version``, ``validation_score``, ``seconds``, and of an explanation ``explained``.

        Raises:
            NoPublishedVersion: There is no version to predict with.
            UnreadableImage: The image cannot be read.
            BadInput: The structure that is asked about is not outlined, or nothing of that name can be explained.
            GeometryMismatch: The label map that came with the request does not lie on the image.
            Conflict: The published version was made for another structure.
        """
        began = time.perf_counter()
        wanted = _explanation(request.get("explain"))
        path = Path(request["image_file"])
        image = read_sent(path) if path.is_dir() else read_case_image(path, channels=3)
        region = self._region(request, image)
        return self.service.run(self.group.task, lambda version: self._answer(version, image, region, wanted, began))

    def _region(self, request: dict[str, Any], image: sitk.Image) -> sitk.Image | None:
        if self.group.segment is not None and request.get("label_file") is not None:
            sent = segment_mask(read_image(Path(request["label_file"])), None)
            return onto_grid(sent, Geometry.of(image))
        return self.find_region(self.group, request.get("case_id"), image)

    def _answer(
        self,
        version: LoadedVersion,
        image: sitk.Image,
        region: sitk.Image | None,
        wanted: ExplanationRequest | None,
        began: float,
    ) -> tuple[str | None, dict[str, Any]]:
        check_looks_at(version.record, self.group)
        said = version.predictor.predict(image, region)
        probabilities = spelled(said.probabilities, self.group.attributes)  # capitals may have changed since
        known = {
            "model": self.group.task,
            "version": version.record.number,
            "validation_score": version.record.mean_score,
            "probabilities": probabilities,
            "novelty": said.novelty,
            "warnings": said.warnings,
        }
        file = None
        if wanted is not None:
            classes = probabilities.get(wanted.attribute)
            if classes is None:
                known_names = ", ".join(probabilities)
                raise BadInput(f"this version does not answer '{wanted.attribute[:60]}'; it answers: {known_names}")
            name = wanted.class_name or max(classes, key=lambda one: classes[one])
            why = explain(version.predictor, image, wanted.attribute, name, wanted.by, region)
            file = _written(why)
            known["explained"] = {"attribute": wanted.attribute, "class": name}
        return file, {**known, "seconds": round(time.perf_counter() - began, 3)}


def _explanation(fields: Any) -> ExplanationRequest | None:
    if fields is None:
        return None
    try:
        return ExplanationRequest.model_validate(fields)
    except ValidationError as error:
        raise BadInput(f"'explain' names an attribute, and perhaps a class and a method: {describe(error)}") from error


def _written(image: sitk.Image) -> str:
    with tempfile.NamedTemporaryFile(prefix="labelloop-", suffix=".nii.gz", delete=False) as file:
        path = Path(file.name)
    write_image(image, path)
    return str(path)
