"""What each task is made of: how it trains, the class of its versions' records, and how a version is loaded."""

from __future__ import annotations

from monailabel_app.active_learning.scoring import ScoringRun
from monailabel_app.augmentation.class_run import ClassRun
from monailabel_app.augmentation.names import CLASSES, ENHANCEMENT, GENERATORS, PAIRS, SYNTHESIS
from monailabel_app.augmentation.pair_run import EnhancementRun, PairRun
from monailabel_app.augmentation.synthesis_run import SynthesisRun
from monailabel_app.augmentation.version import GeneratorVersion, load_generator
from monailabel_app.classification.groups import is_classification
from monailabel_app.classification.run import ClassificationRun
from monailabel_app.classification.version import ClassificationVersion, load_classifier
from monailabel_app.inference.service import Loader, load_version
from monailabel_app.models.version import Version, VersionRecord
from monailabel_app.training.jobs import SCORING
from monailabel_app.training.run import JobRun
from monailabel_app.training.segmentation_run import SegmentationRun

_GENERATOR_RUNS: dict[str, type[JobRun]] = {
    PAIRS: PairRun,
    CLASSES: ClassRun,
    ENHANCEMENT: EnhancementRun,
    SYNTHESIS: SynthesisRun,
}


def run_of(task: str) -> type[JobRun]:
    if task == SCORING:
        return ScoringRun
    if task in _GENERATOR_RUNS:
        return _GENERATOR_RUNS[task]
    return ClassificationRun if is_classification(task) else SegmentationRun


def record_of(task: str) -> type[Version]:
    if task in GENERATORS:
        return GeneratorVersion
    return ClassificationVersion if is_classification(task) else VersionRecord


def loader_of(task: str) -> Loader:
    if task in GENERATORS:
        return load_generator
    return load_classifier if is_classification(task) else load_version
