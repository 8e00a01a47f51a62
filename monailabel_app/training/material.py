"""What a training run works with: the annotations of the store, by role, as the engine takes them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import psutil
import torch

from monailabel_app.errors import Conflict, UnreadableImage
from monailabel_app.models.plan import Plan
from monailabel_app.models.registry import Registry
from monailabel_app.models.version import AnnotationUse
from monailabel_app.store.annotations import Annotation
from monailabel_app.store.geometry import Geometry
from monailabel_app.store.samples import SampleKind
from monailabel_app.store.split import Role
from monailabel_app.store.store import Store
from monailabel_app.training.dataset import TrainingCase
from monailabel_app.training.jobs import TrainingRequest
from monailabel_app.training.planning import make_plan
from monailabel_app.training.synthetic import UsableSamples, suiting, training_case, usable_samples

ENOUGH_VALIDATION_PATIENTS = 2
"""With fewer validation patients than this, figures come from cross-validation."""


@dataclass(frozen=True)
class Material:
    """Annotated cases for training and for validation, and the record of each annotation.

    Attributes:
        patients: The patient of each training case, in the order of ``train``.
        labels: Names of the structures to learn.
        dimension: 2 or 3: that of most of the annotated images; the others are left out.
        left_out: Ids of annotated cases of the other dimension.
        synthetic: Approved synthetic pairs that train, too. They are in neither list of cases: nothing is measured on
            them, nothing is planned after them, and no generator learns from them.
        samples: What is known of these, in their order, and which ones are not used.
    """

    train: list[TrainingCase]
    validation: list[TrainingCase]
    patients: list[str]
    uses: list[AnnotationUse]
    labels: list[str]
    dimension: int
    left_out: list[str]
    synthetic: list[TrainingCase] = field(default_factory=list)
    samples: UsableSamples | None = None

    def suiting(self, plan: Plan) -> Material:
        """Without the synthetic pairs whose grey values are not those of real images prepared with a plan."""
        if self.samples is None:
            return self
        samples = suiting(self.samples, plan.normalisation)
        kept = {sample.id for sample in samples.samples}
        return replace(self, samples=samples, synthetic=[case for case in self.synthetic if case.id in kept])

    @property
    def has_enough_validation(self) -> bool:
        patients = {use.patient for use in self.uses if use.role == Role.VALIDATION}
        return len(patients) >= ENOUGH_VALIDATION_PATIENTS


def gather(store: Store, request: TrainingRequest, registry: Registry | None = None) -> Material:
    """Collect what is annotated, and the approved synthetic pairs that may train beside it.

    Args:
        registry: Knows what the generators of these pairs have learned from. To be given where they are used.

    Raises:
        Conflict: There is nothing to train on; the message says what is missing.
        UnreadableImage: The image of an annotated case cannot be read any more; the message names it.
    """
    annotations = store.annotations.for_training()
    labels = list(request.labels) or store.annotations.label_names()
    if not annotations or not labels:
        raise Conflict("no annotated case: submit at least one segmentation, then train")
    dimensions = {one.case_id: plane_dimension(store.catalogue.geometry(one.case_id)) for one in annotations}
    counts = list(dimensions.values())
    dimension = max(set(counts), key=counts.count)
    chosen = [one for one in annotations if dimensions[one.case_id] == dimension]
    uses, cases = [], []
    roles = store.split.roles()
    for annotation in chosen:
        case = store.catalogue.get(annotation.case_id)
        uses.append(use_of(annotation, case.patient, roles[case.patient]))
        cases.append(annotated_case(store, annotation, case.modality))
    train = [case for case, use in zip(cases, uses, strict=True) if use.role == Role.TRAINING]
    if not train:
        raise Conflict("no annotated training case: all annotated patients are validation patients; annotate others")
    samples = usable_samples(store, SampleKind.PAIR, dimension, request.synthetic_share, registry)
    return Material(
        train=train,
        validation=[case for case, use in zip(cases, uses, strict=True) if use.role == Role.VALIDATION],
        patients=[use.patient for use in uses if use.role == Role.TRAINING],
        uses=uses,
        labels=labels,
        dimension=dimension,
        left_out=[one.case_id for one in annotations if dimensions[one.case_id] != dimension],
        synthetic=[training_case(sample, samples.share) for sample in samples.samples],
        samples=samples,
    )


def plane_dimension(geometry: Geometry) -> int:
    """2 for a plane image, also one that is stored as a volume of one slice."""
    return geometry.plane_dimension


def use_of(annotation: Annotation, patient: str, role: Role) -> AnnotationUse:
    """What a version's record keeps of an annotation that it learned from or was measured on."""
    return AnnotationUse(
        case_id=annotation.case_id,
        patient=patient,
        annotation=annotation.id,
        author=annotation.author,
        sha256=annotation.sha256 or "",
        role=role,
    )


def annotated_case(store: Store, annotation: Annotation, modality: str | None = None) -> TrainingCase:
    """The case of an annotation with a label map, as a version learns from it or is measured on it.

    Raises:
        UnreadableImage: The label map is not there any more.
    """
    assert annotation.file is not None  # annotations without a label map are not for training
    if not annotation.file.is_file():
        raise UnreadableImage(f"the label map of case '{annotation.case_id}' is missing: {annotation.file}")
    return TrainingCase(
        id=annotation.case_id,
        image=store.catalogue.image_file(annotation.case_id),
        label=annotation.file,
        label_names=annotation.labels,
        modality=modality,
        annotation=annotation.id,
    )


def plan_for(store: Store, request: TrainingRequest, device: torch.device) -> Plan:
    """The plan that a run from scratch begins with.

    Raises:
        Conflict: There is nothing to train on.
    """
    material = gather(store, request)
    return plan_of(material, request, device)


def plan_of(material: Material, request: TrainingRequest, device: torch.device) -> Plan:
    """The plan for some material on a device."""
    memory = device_memory_gb(device)
    return make_plan(material.train, labels=material.labels, device_memory_gb=memory, overrides=request.plan or None)


def device_memory_gb(device: torch.device) -> float | None:
    """Memory of a GPU, GB; none for the CPU."""
    return torch.cuda.get_device_properties(device).total_memory / 2**30 if device.type == "cuda" else None


def hardware_of(device: torch.device) -> dict[str, str]:
    """The machine in a few words, for the record of a version."""
    facts = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "cores": str(psutil.cpu_count()),
        "memory_gb": f"{psutil.virtual_memory().total / 2**30:.0f}",
    }
    if device.type == "cuda":
        facts["gpu_memory_gb"] = f"{torch.cuda.get_device_properties(device).total_memory / 2**30:.0f}"
    return facts
