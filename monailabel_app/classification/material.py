"""What a training run of a classification works with: the answers of the store, by role, as the engine takes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import SimpleITK as sitk

from monailabel_app.classification.answers import Given, GivenAnswers, chosen_in, findings
from monailabel_app.classification.dataset import ClassifiedCase
from monailabel_app.classification.groups import ANY_SEGMENT, Group
from monailabel_app.classification.plan import ClassificationPlan
from monailabel_app.classification.planning import make_classification_plan
from monailabel_app.classification.preparation import segment_mask
from monailabel_app.errors import Conflict
from monailabel_app.models.version import AnnotationUse
from monailabel_app.store.annotations import Annotation, CaseAnswers
from monailabel_app.store.images import read_image
from monailabel_app.store.samples import Sample, SampleKind
from monailabel_app.store.scheme import Attribute, AttributeKind
from monailabel_app.store.split import Role
from monailabel_app.store.store import Store
from monailabel_app.training.jobs import TrainingRequest
from monailabel_app.training.material import ENOUGH_VALIDATION_PATIENTS, plane_dimension, use_of
from monailabel_app.training.synthetic import UsableSamples, suiting, usable_samples


@dataclass(frozen=True)
class ClassifiedMaterial:
    """Classified cases for training and for validation, and the record of each annotation that they are from.

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

    def suiting(self, plan: ClassificationPlan) -> ClassifiedMaterial:
        """Without the synthetic images whose grey values are not those of real ones prepared with a plan."""
        if self.samples is None:
            return self
        samples = suiting(self.samples, plan.normalisation)
        kept = {sample.id for sample in samples.samples}
        return replace(self, samples=samples, synthetic=[case for case in self.synthetic if case.id in kept])

    def plan(self, group: Group, request: TrainingRequest, device_memory_gb: float | None) -> ClassificationPlan:
        """The plan that a run from scratch begins with."""
        return make_classification_plan(
            self.train, group.attributes, overrides=request.plan or None, device_memory_gb=device_memory_gb
        )


@dataclass(frozen=True)
class _Answered:
    """A case with answers.

    Attributes:
        annotations: Whose answers and whose outline they are.
        outline: Where the structure is drawn that the group is about; none for the whole image.
    """

    id: str
    answers: GivenAnswers
    annotations: list[Annotation]
    outline: Annotation | None


def gather_classified(store: Store, group: Group, synthetic_share: float | None = None) -> ClassifiedMaterial:
    """Collect what is answered, and the approved synthetic images that may train beside it.

    Args:
        synthetic_share: At most so many synthetic images for each real one of a class; none for the store's default.

    Raises:
        Conflict: There is nothing to train on; the message says what is missing.
    """
    names = [attribute.name for attribute in group.attributes]
    answered = [one for case in store.annotations.for_classification() if (one := _answered(store, case, group))]
    usable = [one for one in answered if group.segment is None or one.outline is not None]
    if not usable:
        what = f" with '{group.segment}' outlined" if group.segment else ""
        raise Conflict(f"no answered case{what}: submit answers to {', '.join(names)}, then train")
    dimensions = {one.id: plane_dimension(store.catalogue.geometry(one.id)) for one in usable}
    counts = list(dimensions.values())
    dimension = max(set(counts), key=counts.count)
    uses, cases, roles = [], {Role.TRAINING: [], Role.VALIDATION: []}, store.split.roles()
    for one in usable:
        if dimensions[one.id] == dimension:
            case = _case(store, one, group)
            uses += [use_of(annotation, case.patient, roles[case.patient]) for annotation in one.annotations]
            cases[roles[case.patient]].append(case)
    train, validation = cases[Role.TRAINING], cases[Role.VALIDATION]
    if not train:
        raise Conflict("no answered training case: all answered patients are validation patients; answer others")
    kept = {case.id for case in (*train, *validation)}
    samples = _synthetic(store, group, train, dimension, synthetic_share)
    return ClassifiedMaterial(
        train=train,
        validation=validation,
        uses=uses,
        dimension=dimension,
        left_out=[one.id for one in answered if one.id not in kept],
        synthetic=[_synthetic_case(store, sample, group) for sample in samples.samples],
        samples=samples,
    )


def region_value(labels: dict[str, int], segment: str) -> int | None:
    """Voxel value of a structure in a label map; none for all of it."""
    return None if segment == ANY_SEGMENT else labels.get(segment)


def outline_of(store: Store, case_id: str, segment: str) -> Annotation | None:
    """The annotation that says where a structure is in a case, whoever drew it."""
    label = None if segment == ANY_SEGMENT else segment
    return store.annotations.best_of_case(case_id, with_label_map=True, label=label)


def _answered(store: Store, case: CaseAnswers, group: Group) -> _Answered | None:
    """What is answered of a group's attributes; None if nothing is."""
    answers = _given(group, case.answers, case.asked)
    if all(answer is None for answer in answers.values()):
        return None
    outline = outline_of(store, case.case_id, group.segment) if group.segment is not None else None
    if outline is not None and not _is_drawn(outline, group.segment or ANY_SEGMENT):
        outline = None
    sources = [case.sources[name] for name in answers]
    annotations = {one.id: one for one in (*sources, outline) if one is not None}
    return _Answered(case.case_id, answers, list(annotations.values()), outline)


def _given(group: Group, answers: Mapping[str, Any], asked: Mapping[str, Sequence[str]]) -> dict[str, Given]:
    """The answers to a group's attributes, of findings whether each that was asked is there."""
    return {
        one.name: _given_to(one, answers[one.name], asked.get(one.name, ()))
        for one in group.attributes
        if one.name in answers
    }


def _given_to(attribute: Attribute, answer: Any, asked: Sequence[str]) -> Given:
    names = [answer] if isinstance(answer, str) else answer
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None  # not sure, or anything, given while there was no scheme
    return findings(names, asked) if attribute.kind is AttributeKind.MULTI else answer


def _is_drawn(annotation: Annotation, segment: str) -> bool:
    """Whether a structure is drawn, and not only looked for."""
    if annotation.file is None or not annotation.file.is_file():
        return False
    mask = segment_mask(read_image(annotation.file), region_value(annotation.labels, segment))
    return bool(sitk.GetArrayViewFromImage(mask).any())


def _case(store: Store, answered: _Answered, group: Group) -> ClassifiedCase:
    case = store.catalogue.get(answered.id)
    outline = answered.outline
    return ClassifiedCase(
        id=case.id,
        image=store.catalogue.image_file(case.id),
        answers=answered.answers,
        modality=case.modality,
        region=outline.file if outline is not None else None,
        region_value=region_value(outline.labels, group.segment or ANY_SEGMENT) if outline is not None else None,
        patient=case.patient,
    )


def _synthetic(
    store: Store, group: Group, train: list[ClassifiedCase], dimension: int, share: float | None
) -> UsableSamples:
    """Class images for the group: the newest of each class, at most the share of the real ones that have it.

    A group that looks at a structure has none: class images are whole images without outlines.
    """
    usable = usable_samples(store, SampleKind.CLASS_IMAGE, dimension, share)
    names = [attribute.name for attribute in group.attributes]
    answers = {one.id: store.schemes.spelled(one.answer) for one in (*usable.samples, *usable.unused)}
    unused = [one for one in usable.unused if group.segment is None and not answers[one.id].keys().isdisjoint(names)]
    real = Counter(
        (name, chosen) for case in train for name, given in case.answers.items() for chosen in chosen_in(given)
    )
    taken: Counter[tuple[str, str]] = Counter()
    chosen = []
    for sample, patients in reversed(list(zip(usable.samples, usable.patients, strict=True))):
        answer = answers[sample.id]
        classes = [(name, str(answer[name])) for name in names if answer.get(name) is not None]
        fits = classes and all(taken[one] + 1 <= usable.share * real[one] for one in classes)
        if group.segment is None and fits:
            taken.update(classes)
            chosen.append((sample, patients))
    chosen.reverse()
    samples, patients = [one for one, _ in chosen], [patients for _, patients in chosen]
    return replace(usable, samples=samples, patients=patients, unused=unused)


def _synthetic_case(store: Store, sample: Sample, group: Group) -> ClassifiedCase:
    answers = _given(group, store.schemes.spelled(sample.answer), {})
    return ClassifiedCase(id=sample.id, image=sample.image, answers=answers, modality=sample.modality, synthetic=True)
