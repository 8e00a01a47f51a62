"""A server with synthetic images in its bank."""

from __future__ import annotations

from pathlib import Path

from sample_data import StudySet
from tests.slicer.story.site import Site, make_versions
from tests.slicer.story.synthetic_site import annotate, fill_bank, keep_verdict, write_phantoms

_CASES, _ANNOTATED, _SEED = 8, 5, 5
_SIZE, _SPACING = (72, 72, 48), (4.6, 4.6, 4.4)


class ImageBank:
    """Phantoms that a colleague has annotated, with samples made from them, and a running server.

    The samples are phantoms with noise, not a generator's: a good one takes longer than a picture may.

    Attributes:
        url: Where the server listens.
    """

    def __init__(self, folder: Path) -> None:
        self._studies: StudySet = write_phantoms(
            folder / "bank-studies", cases=_CASES, seed=_SEED, size=_SIZE, spacing=_SPACING
        )
        site = folder / "bank-site"
        make_versions(site / "workspace")
        fill_bank(site / "workspace", self._studies, candidates=6, failed=2)
        keep_verdict(site / "workspace")
        self._site = Site(self._studies.images, site)
        self.url = self._site.url
        self._site.__enter__()
        annotate(self._site.client, self._studies, cases=_ANNOTATED)

    def close(self) -> None:
        self._site.__exit__(None, None, None)
