"""A real server in a process of its own, on small phantoms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from monailabel_app.demo.process import ServerProcess
from monailabel_app.store.truth import Truth
from sample_data import write_studies

# Read-only: the platform's client writes into the parameters that it is given.
TINY_TRAINING: Mapping[str, Any] = MappingProxyType(
    {
        "epochs": 2,
        "steps_per_epoch": 3,
        "minutes": 5.0,
        "plan": {
            "spacing": [10.0, 10.0, 10.0],
            "patch_size": [16, 16, 16],
            "batch_size": 1,
            "network": {
                "filters": [4, 8, 8],
                "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
                "kernels": [[3, 3, 3], [3, 3, 3], [3, 3, 3]],
                "deep_supervision": True,
            },
        },
    }
)
"""A training run of a few seconds: the whole way, on a network that is too small to be any good."""


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight NIfTI phantoms and two DICOM series with truth; never written to."""
    folder = tmp_path_factory.mktemp("phantoms")
    write_studies(folder, cases=8, seed=3, size=(32, 32, 24), spacing=(10.0, 10.0, 8.0))
    return folder


@pytest.fixture(scope="session")
def truth(phantoms: Path) -> Truth:
    return Truth.read(phantoms / "labels")


@pytest.fixture(scope="module")
def server(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with an empty workspace for the tests of one module."""
    folder = tmp_path_factory.mktemp("server")
    calm = ("--default-strategy", "random")  # without looks at the pool after each version
    with ServerProcess(phantoms / "images", folder / "workspace", folder / "server.log", calm) as running:
        yield running
