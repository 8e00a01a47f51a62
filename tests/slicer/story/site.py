"""A hospital's side: studies, a workspace with versions, and the real server on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch

from monailabel_app.demo.client import LoopClient
from monailabel_app.demo.process import ServerProcess
from monailabel_app.models.networks import build_network, weights_of
from monailabel_app.models.registry import Registry
from monailabel_app.store.database import Database
from monailabel_app.store.workspace import Workspace
from tests.builders import small_plan, version_record

LABELS = ("liver", "spleen", "lesion")
TOKEN = "story-token-0123456789abcdefghijklmnopqrstuvwxyz"
DICE = (0.61, 0.72)
"""Validation Dice of the versions that `make_versions` registers, as their records say."""


class Site:
    """A server in a process of its own that can be killed and started again, on the same port and workspace.

    Attributes:
        studies: The folder of images.
        workspace: Where the server writes.
        http: For questions that the extension does not ask.
    """

    def __init__(self, studies: Path, folder: Path, *options: str, token: str = "") -> None:
        self.studies = studies
        self.workspace = folder / "workspace"
        options = ("--labels", ",".join(LABELS), *(("--token", token) if token else ()), *options)
        self._server = ServerProcess(studies, self.workspace, folder / "server.log", options)
        if token:
            self._server.client = LoopClient(self._server.url, token)
        self.url = self._server.url
        self.port = int(self.url.rsplit(":", 1)[1])

    def __enter__(self) -> Site:
        self._server.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.__exit__(None, None, None)

    @property
    def client(self) -> LoopClient:
        """The demonstration's own client of the server."""
        return self._server.client

    def kill(self) -> None:
        """End the server at once (SIGKILL), whatever it is at."""
        self._server.process.kill()
        self._server.process.wait()

    def start_again(self) -> None:
        self._server.__enter__()

    def history(self, case_id: str) -> list[dict[str, Any]]:
        """Every revision of a case's annotations, oldest first."""
        return self.client.http.get(f"/loop/cases/{case_id}/history").raise_for_status().json()

    def delete(self, case_id: str) -> None:
        """Take a case from the server, as its operator does."""
        self.client.http.delete("/datastore/", params={"id": case_id}).raise_for_status()

    def newest_label_map(self, case_id: str) -> sitk.Image:
        """The label map that was written last for a case, from the workspace itself."""
        files = list((self.workspace / "annotations" / case_id).glob("*.nii.gz"))
        return sitk.ReadImage(str(max(files, key=lambda file: file.stat().st_mtime_ns)))


def make_versions(root: Path) -> None:
    """Register two versions with random weights in a new workspace; the second is the one in use."""
    workspace = Workspace(root).create()
    registry = Registry(Database(workspace.index), workspace.versions)
    plan = small_plan(*LABELS).model_copy(update={"spacing": (10.0, 10.0, 10.0)})
    for seed, dice in enumerate(DICE):
        torch.manual_seed(seed)
        record = version_record(dice=dice).model_copy(update={"plan": plan})
        kept = registry.register(record, weights_of(build_network(plan)))
        registry.publish(record.task, kept.number, "operator", "published by hand")


def write_picture(path: Path) -> None:
    """Write a grey picture (PNG) of 40 x 30 pixels."""
    rows, columns = np.mgrid[0:30, 0:40]
    sitk.WriteImage(sitk.GetImageFromArray((3 * rows + 2 * columns).astype(np.uint8)), str(path))


def write_large_volume(path: Path) -> None:
    """Write a volume as a CT scanner makes it: 256 x 256 x 128 voxels of 16 bit, with noise."""
    voxels = np.random.default_rng(0).normal(40, 15, (128, 256, 256)).astype(np.int16)
    voxels[:, :20], voxels[:, -20:] = -1000, -1000
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing([1.4, 1.4, 2.5])
    sitk.WriteImage(image, str(path), useCompression=True, compressionLevel=1)
