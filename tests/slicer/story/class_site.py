"""A hospital that also asks for classes: a scheme, versions that answer it, and the real server on them."""

from __future__ import annotations

import time
from pathlib import Path

import torch
import yaml

from monailabel_app.classification.calibration import Calibration
from monailabel_app.classification.decision import ClassDecision
from monailabel_app.classification.networks import build_classifier, classifier_state
from monailabel_app.classification.plan import ClassificationPlan
from monailabel_app.classification.version import ClassificationVersion, packed
from monailabel_app.models.registry import Registry
from monailabel_app.store.database import Database
from monailabel_app.store.workspace import Workspace

DIAGNOSIS = {"name": "diagnosis", "kind": "single", "classes": ["benign", "malignant"]}
GRADE = {"name": "grade", "kind": "ordinal", "classes": ["0", "1", "2", "3"]}
FINDINGS = {"name": "findings", "kind": "multi", "classes": ["nodule", "effusion", "Q&A <b>"]}
ATTRIBUTES = (DIAGNOSIS, GRADE, FINDINGS)
"""Keys, as the server gives them out: 1 and 2, then 3 to 6, then 7 to 9."""

TINY_PLAN = {"size": [16, 16, 16], "network": {"width": 8, "strides": [[1, 1, 1], [2, 2, 2]]}, "batch_size": 2}
TINY_TRAINING = {"epochs": 2, "steps_per_epoch": 3, "minutes": 2.0, "plan": TINY_PLAN}
"""A training run of a few seconds."""

BIAS = {"diagnosis": [0.0, 1.9], "grade": [2.0, 2.0, -2.0], "findings": [2.0, -2.0, -3.0]}
"""The probable answers of `make_class_version`: malignant, 2, nodule."""


def write_scheme(path: Path, attributes: tuple[dict, ...] = ATTRIBUTES) -> Path:
    """Write a file for ``--classes``."""
    path.write_text(yaml.safe_dump({"attributes": list(attributes)}), encoding="utf-8")
    return path


def make_class_version(root: Path) -> None:
    """Register a version that answers about the same for every image (see `BIAS`), and put it into use."""
    workspace = Workspace(root).create()
    registry = Registry(Database(workspace.index), workspace.versions)
    plan = ClassificationPlan.model_validate(
        {"attributes": ATTRIBUTES, "dimension": 3, "normalisation": {"kind": "mr"}, **TINY_PLAN}
    )
    torch.manual_seed(0)
    weights = classifier_state(build_classifier(plan))
    for number, attribute in enumerate(plan.attributes):
        weights[f"heads.{number}.weight"] *= 0.02  # not 0: an explanation follows them
        weights[f"heads.{number}.bias"] = torch.tensor(BIAS[attribute.name])
    version = ClassificationVersion(
        task="classification", created=time.time(), plan=plan, segment=None, start="scratch", annotations=[], curve=[],
        best_epoch=1, evaluation=None, calibration=Calibration(), note="", seconds=1.0, stopped=False, seed=0,
        seen={"diagnosis": {"benign": 40, "malignant": 2}}, decision=ClassDecision(publish=True, reason="the first"),
        request={}, hardware={}, software={},
    )  # fmt: skip
    kept = registry.register(version, packed(weights, None))
    registry.publish("classification", kept.number, "operator", "published by hand")
