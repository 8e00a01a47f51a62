"""What a training run of a classification works with: the answers of the store, by role, as the engine takes them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import SimpleITK as sitk

from monailabel_app.classification.dataset import ClassifiedCase
from monailabel_app.classification.groups import ANY_SEGMENT, Group
from monailabel_app.classification.plan import ClassificationPlan
from monailabel_app.classification.planning import make_classification_plan
from monailabel_app.classification.preparation import segment_mask
from monailabel_app.errors import Conflict
from monailabel_app.models.version import AnnotationUse
from monailabel_app.store.annotations import Annotation
from monailabel_app.store.images import read_image
from monailabel_app.store.samples import Sample, SampleKind
from monailabel_app.store.split import Role
from monailabel_app.store.store import Store
from monailabel_app.training.jobs import TrainingRequest
from monailabel_app.training.material import ENOUGH_VALIDATION_PATIENTS, plane_dimension, use_of
from monailabel_app.training.synthetic import UsableSamples, usable_samples


@dataclass(frozen=True)
class ClassifiedMaterial:
    """Classified cases for training and for validation, and the record of each annotation.

    Attributes:
        dimension: 2 or 3: that of most of the images; the others are left out.
        left_out: Ids of answered cases that are of the other dimension, or lack the structure that is asked about.
        synthetic: Approved synthetic images that train, too; they are in neither list of cases.
        samples: What is known of these, in their order, and which ones are not used.
    """

    train: list[ClassifiedCase]
    validation: list[ClassifiedCase]
    uses: list[AnnotationUse]
    dimension: int
    left_out: list[str]
    synthetic: list[ClassifiedCase] = field(default_factory=list)
    samples: UsableSamples | None = None

    @property
    def has_enough_validation(self) -> bool:
        return len({case.patient for case in self.validation}) >= ENOUGH_VALIDATION_PATIENTS

    def plan(self, group: Group, request: TrainingRequest, device_memory_gb: float | None) -> ClassificationPlan:
        """The plan that a run from scratch begins with."""
        return make_classification_plan(
            self.train, group.attributes, overrides=request.plan or None, device_memory_gb=device_memory_gb
        )


def gather_classified(store: Store, group: Group, synthetic_share: float | None = None) -> ClassifiedMaterial:
    """Collect what is answered, and the approved synthetic images that may train beside it.

    Args:
        synthetic_share: At most so many synthetic images for each real one of a class; none for the store's default.

    Raises:
        Conflict: There is nothing to train on; the message says what is missing.
    """
    names = [attribute.name for attribute in group.attributes]
    answered = [
        one
        for one in store.annotations.for_classification()
        if any((one.classification or {}).get(name) is not None for name in names)
    ]
    usable = [one for one in answered if group.segment is None or _outlines(one, group.segment)]
    if not usable:
        what = f" with '{group.segment}' outlined" if group.segment else ""
        raise Conflict(f"no answered case{what}: submit answers to {', '.join(names)}, then train")
    dimensions = {one.case_id: plane_dimension(store.catalogue.geometry(one.case_id)) for one in usable}
    counts = list(dimensions.values())
    dimension = max(set(counts), key=counts.count)
    chosen = [one for one in usable if dimensions[one.case_id] == dimension]
    uses, cases, roles = [], [], store.split.roles()
    for annotation in chosen:
        case = store.catalogue.get(annotation.case_id)
        uses.append(use_of(annotation, case.patient, roles[case.patient]))
        cases.append(_case(store, annotation, group, case.modality, case.patient))
    train = [case for case, use in zip(cases, uses, strict=True) if use.role == Role.TRAINING]
    if not train:
        raise Conflict("no answered training case: all answered patients are validation patients; answer others")
    kept = {one.case_id for one in chosen}
    samples = _synthetic(store, group, train, dimension, synthetic_share)
    return ClassifiedMaterial(
        train=train,
        validation=[case for case, use in zip(cases, uses, strict=True) if use.role == Role.VALIDATION],
        uses=uses,
        dimension=dimension,
        left_out=[one.case_id for one in answered if one.case_id not in kept],
        synthetic=[_synthetic_case(sample, names) for sample in samples.samples],
        samples=samples,
    )


def region_value(labels: dict[str, int], segment: str) -> int | None:
    """Voxel value of a structure in a label map; none for all of it."""
    return None if segment == ANY_SEGMENT else labels.get(segment)


def _outlines(annotation: Annotation, segment: str) -> bool:
    """Whether a structure is drawn, and not only looked for."""
    if annotation.file is None or not annotation.file.is_file():
        return False
    if segment != ANY_SEGMENT and segment not in annotation.labels:
        return False
    mask = segment_mask(read_image(annotation.file), region_value(annotation.labels, segment))
    return bool(sitk.GetArrayViewFromImage(mask).any())


def _case(store: Store, annotation: Annotation, group: Group, modality: str | None, patient: str) -> ClassifiedCase:
    names = {attribute.name for attribute in group.attributes}
    answers = {name: answer for name, answer in (annotation.classification or {}).items() if name in names}
    return ClassifiedCase(
        id=annotation.case_id,
        image=store.catalogue.image_file(annotation.case_id),
        answers=answers,
        modality=modality,
        region=annotation.file if group.segment is not None else None,
        region_value=region_value(annotation.labels, group.segment) if group.segment is not None else None,
        patient=patient,
    )


def _synthetic(
    store: Store, group: Group, train: list[ClassifiedCase], dimension: int, share: float | None
) -> UsableSamples:
    """Class images for the group: the newest of each class, at most the share of the real ones that have it.

    A group that looks at a structure has none: class images are whole images without outlines.
    """
    usable = usable_samples(store, SampleKind.CLASS_IMAGE, dimension, share)
    names = [attribute.name for attribute in group.attributes]
    unused = [one for one in usable.unused if group.segment is None and any(name in one.answer for name in names)]
    real = Counter((name, str(answer)) for case in train for name, answer in case.answers.items())
    taken: Counter[tuple[str, str]] = Counter()
    chosen = []
    for sample, patients in reversed(list(zip(usable.samples, usable.patients, strict=True))):
        classes = [(name, str(sample.answer[name])) for name in names if sample.answer.get(name) is not None]
        fits = classes and all(taken[one] + 1 <= usable.share * real[one] for one in classes)
        if group.segment is None and fits:
            taken.update(classes)
            chosen.append((sample, patients))
    chosen.reverse()
    samples, patients = [one for one, _ in chosen], [patients for _, patients in chosen]
    return replace(usable, samples=samples, patients=patients, unused=unused)


def _synthetic_case(sample: Sample, names: list[str]) -> ClassifiedCase:
    answers = {name: answer for name, answer in sample.answer.items() if name in names}
    return ClassifiedCase(id=sample.id, image=sample.image, answers=answers, modality=sample.modality)
