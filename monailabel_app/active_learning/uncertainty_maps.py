"""Maps of where the published segmentation is uncertain, made when somebody wants to see one, and kept for a while."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from monailabel_app.active_learning.aggregation import check_has_map
from monailabel_app.active_learning.evidence import Measure
from monailabel_app.active_learning.looking import uncertainty_image
from monailabel_app.active_learning.prepared_volumes import BoundedFolder
from monailabel_app.errors import NoPublishedVersion
from monailabel_app.inference.service import InferenceService, LoadedVersion
from monailabel_app.store.images import read_image, write_image
from monailabel_app.store.pixels import grey
from monailabel_app.store.store import Store
from monailabel_app.training.jobs import SEGMENTATION

MAPS_FOLDER, MOST_MAP_BYTES = "uncertainty", 2**30
"""Below the workspace; can be deleted at any time."""


class UncertaintyMaps:
    """Makes each map once, by the version that is published when its turn comes."""

    def __init__(self, store: Store, inference: InferenceService) -> None:
        self.catalogue = store.catalogue
        self.inference = inference
        self.folder = BoundedFolder(store.workspace.root / MAPS_FOLDER, MOST_MAP_BYTES)

    def map_of(self, case_id: str, measure: Measure) -> tuple[Path, int]:
        """The file of a map on the image's grid, and the version that it is by.

        Raises:
            BadInput: The measure has no map.
            NotFound: There is no such case.
            NoPublishedVersion: No segmentation is published.
        """
        check_has_map(measure)
        while True:
            number = self.inference.registry.published_number(SEGMENTATION)
            if number is None:
                raise NoPublishedVersion("no segmentation is published yet: there is nothing to be uncertain")
            with suppress(_OtherVersion):
                return self._by_version(number, case_id, measure), number

    def _by_version(self, number: int, case_id: str, measure: Measure) -> Path:
        key = f"{case_id} {self.catalogue.get(case_id).fingerprint} {number} {measure}"
        return self.folder.file(key, ".nii.gz", lambda path: self._make(path, case_id, measure, number))

    def _make(self, path: Path, case_id: str, measure: Measure, number: int) -> None:
        image = grey(read_image(self.catalogue.image_file(case_id)))

        def look(version: LoadedVersion) -> None:
            if version.record.number != number:
                raise _OtherVersion
            write_image(uncertainty_image(image, version, measure), path)

        self.inference.run(SEGMENTATION, look)


class _OtherVersion(Exception):
    """Another version was published while the request waited for its turn."""
