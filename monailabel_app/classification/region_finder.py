"""Where the structure lies that a group of attributes is about: as somebody outlined it, else as it is predicted."""

from __future__ import annotations

import SimpleITK as sitk

from monailabel_app.classification.groups import ANY_SEGMENT, Group
from monailabel_app.classification.material import outline_of, region_value
from monailabel_app.classification.preparation import segment_mask
from monailabel_app.errors import BadInput, NoPublishedVersion
from monailabel_app.inference.service import InferenceService
from monailabel_app.store.images import read_image
from monailabel_app.store.pixels import grey
from monailabel_app.store.store import Store
from monailabel_app.training.jobs import SEGMENTATION


class RegionFinder:
    """Finds the structure in a case of the store or in an image that was sent (see `groups.FindRegion`)."""

    def __init__(self, store: Store, inference: InferenceService) -> None:
        self.store = store
        self.inference = inference

    def __call__(self, group: Group, case_id: str | None, image: sitk.Image) -> sitk.Image | None:
        """Mask of the structure that a group of attributes is about; None if they are about the whole image.

        It is taken from the annotation that says where it is in the case (by id; None for an image that was sent), as
        for training, else from a prediction.

        Raises:
            NoPublishedVersion: It is not outlined, and there is no version to predict it with.
            BadInput: It is not outlined, and the published version does not know it.
        """
        if group.segment is None:
            return None
        drawn = outline_of(self.store, case_id, group.segment) if case_id is not None else None
        if drawn is not None and drawn.file is not None:
            return segment_mask(read_image(drawn.file), region_value(drawn.labels, group.segment))
        if self.inference.registry.published_number(SEGMENTATION) is None:
            raise NoPublishedVersion(
                f"'{group.segment}' is not outlined in this case, and no segmentation is published that could find it: "
                "outline it, then ask for its class"
            )
        return self._predicted(group.segment, image)

    def _predicted(self, segment: str, image: sitk.Image) -> sitk.Image:
        version, prediction = self.inference.predict(SEGMENTATION, grey(image))
        names = {name: value for value, name in enumerate(version.record.plan.labels, start=1)}
        if segment not in (ANY_SEGMENT, *names):
            raise BadInput(
                f"'{segment}' is not outlined in this case, and the published segmentation does not know it: "
                "outline it, then ask for its class"
            )
        label = sitk.GetImageFromArray(prediction.label_map)
        label.CopyInformation(image)
        return segment_mask(label, region_value(names, segment))
