"""What the installation resolved to works together; a failure names the pin that broke."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest
from packaging.requirements import Requirement

from monailabel_app.doctor import DISTRIBUTION, Verdict, packages

IMPORTS = {
    "pydicom and pydicom-seg": "import pydicom_seg",
    "pydicom and pynetdicom": "import pynetdicom",
    "pydicom and dicomweb-client": "import dicomweb_client.api",
    "numpy and numpymaxflow": "import numpymaxflow",
    "torch and torchvision": "import torch, torchvision.ops as ops; ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)",
    "monai and torch": "import monai.networks.nets, monai.losses, monai.inferers, monai.metrics",
    "monailabel and fastapi": "import monailabel.app",
    "monailabel and mlflow": "import monailabel.tasks.train.basic_train",
}


def test_each_requirement_is_met_by_what_is_installed() -> None:
    broken = [
        f"{finding.subject} {finding.found}: {finding.advice}"
        for finding in packages()
        if finding.verdict is Verdict.BAD
    ]
    assert not broken, "pins of pyproject.toml that this environment does not meet: " + "; ".join(broken)


@pytest.mark.parametrize("pair", IMPORTS)
def test_packages_work_together(pair: str) -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTS[pair]], capture_output=True, text=True, timeout=120)
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in pair.split(" and ") if name != "pynetdicom")
    assert done.returncode == 0, f"{versions} do not work together: change the pin in pyproject.toml\n{done.stderr}"


@pytest.mark.parametrize(
    ("torch", "torchvision"),
    [("2.10.0", "0.25.0"), ("2.12.1", "0.27.1"), ("2.13.0+cpu", "0.28.0+cpu"), ("2.15.0", "0.29.2")],
)
def test_a_matching_pair_that_is_there_already_is_kept(torch: str, torchvision: str) -> None:
    requirements = {one.name: one for one in map(Requirement, metadata.requires(DISTRIBUTION) or []) if not one.marker}
    assert requirements["torch"].specifier.contains(torch), "pip would replace this torch"
    assert requirements["torchvision"].specifier.contains(torchvision), "pip would replace this torchvision"


def test_the_licence_is_that_of_the_platform() -> None:
    assert metadata.metadata(DISTRIBUTION)["License-Expression"] == "Apache-2.0"
