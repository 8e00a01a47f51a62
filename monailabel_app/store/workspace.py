"""The folder that holds everything LabelLoop writes."""

from __future__ import annotations

import os
from pathlib import Path

from monailabel_app.errors import BadInput


class Workspace:
    """The layout of a workspace folder. The studies folder itself is only ever read.

    Attributes:
        index: The embedded database (SQLite) with cases, annotations, versions and jobs.
        annotations: Label maps, ``<case>/<time>-<author>-<revision>.nii.gz``, never overwritten.
        uploads: Images that clients sent, one file a case.
        volumes: DICOM series as NIfTI, made when first needed; can be deleted at any time.
        versions: Trained models, ``<task>/v0001/``.
        jobs: One folder a training run, with its log.
        synthetic: Synthetic images, one folder each; never among the cases.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root).expanduser().resolve()
        self.index = self.root / "index.sqlite"
        self.annotations = self.root / "annotations"
        self.uploads = self.root / "uploads"
        self.mirror = self.root / "mirror"
        self.volumes = self.root / "volumes"
        self.versions = self.root / "versions"
        self.jobs = self.root / "jobs"
        self.synthetic = self.root / "synthetic"
        self.sessions = self.root / "sessions"
        self.logs = self.root / "logs"
        self.token = self.root / "token"

    def create(self) -> Workspace:
        """Make the folders that are missing.

        Raises:
            BadInput: The place cannot be written to.
        """
        folders = (
            *(self.annotations, self.uploads, self.volumes, self.versions),
            *(self.jobs, self.synthetic, self.sessions, self.logs),
        )
        try:
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(
                f"the workspace {self.root} cannot be written to ({error.strerror}): name another with --workspace DIR"
            ) from error
        return self

    def relative(self, path: Path) -> str:
        """The path as the index keeps it, so that a workspace can be moved."""
        return path.relative_to(self.root).as_posix()


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder survive a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
