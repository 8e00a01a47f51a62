"""One round's version: trained by the run of the real loop, and what it scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from monailabel_app.active_learning.evidence import class_name
from monailabel_app.active_learning.simulation.settings import SimulationSettings
from monailabel_app.classification.figures import ClassificationEvaluation
from monailabel_app.classification.groups import groups_of
from monailabel_app.classification.run import ClassificationRun
from monailabel_app.classification.version import ClassificationVersion, load_classifier
from monailabel_app.errors import LabelLoopError
from monailabel_app.inference.service import LoadedVersion, load_version, resolve_device
from monailabel_app.models.registry import Registry
from monailabel_app.models.scores import Evaluation
from monailabel_app.models.version import Version, VersionRecord
from monailabel_app.store.scheme import Attribute, AttributeKind
from monailabel_app.store.store import Store
from monailabel_app.training.jobs import JobTable, StartFrom, TrainingRequest
from monailabel_app.training.run import TrainingRun
from monailabel_app.training.segmentation_run import SegmentationRun

DICE, ACCURACY, AUC, BALANCED = "Dice", "accuracy", "AUC", "balanced accuracy"

SEED_STEP = 1000
"""Between the training seeds of one simulation seed and the next; a round adds one."""


class Learner:
    """Trains and measures the versions of one arm.

    Each version is one epoch of the settings' number of steps, measured at its end: so nothing depends on how fast the
    machine is, and the validation cases choose nothing.
    """

    def __init__(self, settings: SimulationSettings, store: Store, labels: tuple[str, ...], device: str) -> None:
        self.settings = settings
        self.store = store
        self.labels = labels
        self.device = device
        kind: type[Version] = ClassificationVersion if settings.classifies else VersionRecord
        self.registry = Registry(store.database, store.workspace.versions, lambda task: kind)

    def train(self, seed: int, number: int, steps: int) -> dict[str, float | None]:
        """Train the version of a round on all that is annotated; return its figures on the validation cases.

        Args:
            seed: Of the arm; versions of the same seed and round have the same chance in all arms.
            number: The round. One whose version is there already is not trained again.
            steps: How long.

        Raises:
            LabelLoopError: In plain words why it cannot be done.
        """
        settings = self.settings
        there = self.registry.list(settings.task)
        if len(there) >= number:  # the arm was broken off before it could write this down
            return figures_of(there[number - 1], self.asked)
        goes_on = settings.start is StartFrom.PUBLISHED and number > 1
        request = TrainingRequest(
            task=settings.task,
            start=number - 1 if goes_on else StartFrom.SCRATCH,
            epochs=1,
            steps_per_epoch=steps,
            labels=self.labels,
            plan=settings.plan,
            seed=SEED_STEP * seed + number,
            device=self.device,
            requested_by="simulation",
        )
        jobs = JobTable(self.store.database)
        run: Callable[..., TrainingRun] = ClassificationRun if settings.classifies else SegmentationRun
        candidate = run(jobs.add(request), jobs, self.store, self.registry).make_candidate()
        if candidate is None or candidate.record.stopped:
            raise LabelLoopError("the training was stopped from outside: run the simulation again to go on")
        return figures_of(self.registry.register(candidate.record, candidate.weights), self.asked)

    def load(self, number: int) -> LoadedVersion:
        """The version of a round, ready to look at cases."""
        read = load_classifier if self.settings.classifies else load_version
        return read(self.registry, self.settings.task, number, resolve_device(self.device))

    @property
    def classes(self) -> tuple[str, ...]:
        """As a pool names them."""
        if not self.settings.classifies:
            return self.labels
        return tuple(class_name(one.name, name) for one in self.asked for name in one.names)

    @property
    def asked(self) -> tuple[Attribute, ...]:
        """The attributes of a classification."""
        if not self.settings.classifies:
            return ()
        return groups_of(self.store.schemes.scheme)[self.settings.task].attributes


def metrics_of(settings: SimulationSettings) -> tuple[str, ...]:
    """The figures that are compared, the first one decides."""
    return (ACCURACY, AUC) if settings.classifies else (DICE,)


def figures_of(record: Any, asked: Sequence[Attribute]) -> dict[str, float | None]:
    """The figures of a version on the validation cases: means, and those of each label or attribute.

    An attribute that is asked and that the version has not learned counts 0, as when versions are compared: else an arm
    that never learns what is hard would look the better for it.
    """
    evaluation: Evaluation | ClassificationEvaluation | None = record.evaluation
    if evaluation is None:
        raise LabelLoopError(f"v{record.number} was not measured: {record.note}")
    if isinstance(evaluation, Evaluation):
        parts = {f"{DICE} {name}": label.dice for name, label in evaluation.labels.items()}
        return {DICE: evaluation.mean_dice, "surface Dice": evaluation.mean_surface_dice, **parts}
    parts, means = {}, {}
    for metric, field in ((ACCURACY, "accuracy"), (AUC, "macro_auc"), (BALANCED, "balanced_accuracy")):
        by_name = {name: getattr(one, field) for name, one in evaluation.attributes.items()}
        values = {name: figure.value for name, figure in by_name.items() if figure is not None}
        unlearned = [one for one in asked if one.name not in by_name]
        values |= {one.name: 0.0 for one in unlearned if metric != BALANCED or one.kind is not AttributeKind.MULTI}
        means[metric] = sum(values.values()) / len(values) if values else None
        if len(asked) > 1:
            parts |= {f"{metric} {name}": value for name, value in values.items()}
    return {**means, **parts}
