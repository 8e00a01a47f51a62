"""Runs of the task that trains a generator of images of a class."""

from __future__ import annotations

from monailabel_app.augmentation.bench import Bench
from monailabel_app.augmentation.class_bench import ClassBench, ClassMaterial
from monailabel_app.augmentation.class_images import ClassExample
from monailabel_app.augmentation.material import check_training_only
from monailabel_app.augmentation.plan import GeneratorPlan
from monailabel_app.augmentation.planning import check_enough, plan_classes
from monailabel_app.augmentation.run import GeneratorRun
from monailabel_app.classification.dataset import prepare_example
from monailabel_app.classification.groups import TASK as CLASSIFICATION
from monailabel_app.classification.groups import Group, groups_of
from monailabel_app.classification.material import ClassifiedMaterial, gather_classified
from monailabel_app.classification.plan import ClassificationPlan, PlannedAttribute
from monailabel_app.classification.predictor import ClassificationPredictor
from monailabel_app.classification.version import load_classifier
from monailabel_app.errors import BadInput, Conflict
from monailabel_app.store.scheme import Attribute, AttributeKind, Scheme
from monailabel_app.store.split import Role
from monailabel_app.training.jobs import JobState
from monailabel_app.training.material import device_memory_gb


class ClassRun(GeneratorRun):
    """Trains a generator of images of a class, and fills the bank with candidates."""

    def make_bench(self, parent: GeneratorPlan | None) -> Bench:
        scheme = self.store.schemes.scheme
        attribute = generated_attribute(scheme)
        if attribute is None:
            raise Conflict(
                "the scheme asks for no class of a whole case with a single answer: give it such an attribute, then "
                "train a generator of its classes"
            )
        group = groups_of(scheme)[CLASSIFICATION]
        material = gather_classified(self.store, group)
        # Answers of an earlier scheme may name classes that are gone, or be lists.
        answered = [case for case in material.train if case.answers.get(attribute.name) in attribute.names]
        check_training_only(self.store, (case.id for case in answered))
        check_enough(len(answered))
        plan = self._plan(parent, material, group, attribute, len(answered))
        assert plan.classification is not None  # checked by the plan
        examples = []
        for number, case in enumerate(answered, start=1):
            prepared = prepare_example(case, plan.classification)
            answer = str(case.answers[attribute.name])
            examples.append(ClassExample(case.id, prepared.image, plan.classes.index(answer)))
            self.report(JobState.PREPARING, message=f"read {number} of {len(answered)} training cases")
        names = {one.id for one in examples}
        uses = [use for use in material.uses if use.case_id in names and use.role is Role.TRAINING]
        learned = ClassMaterial(plan, examples, uses, self._published_classifier())
        return ClassBench(learned, self.store.bank, self.device)

    def _plan(
        self,
        parent: GeneratorPlan | None,
        material: ClassifiedMaterial,
        group: Group,
        attribute: Attribute,
        cases: int,
    ) -> GeneratorPlan:
        if parent is not None:
            if (parent.attribute, list(parent.classes)) != (attribute.name, attribute.names):
                raise BadInput(f"the classes of '{attribute.name}' have changed since then: start from scratch")
            return parent.with_overrides(self.request.plan)
        return plan_classes(
            self._images_plan(material, group),
            PlannedAttribute.of(attribute),
            cases=cases,
            device_memory_gb=device_memory_gb(self.device),
            overrides=self.request.plan,
        )

    def _published_classifier(self) -> ClassificationPredictor | None:
        number = self.registry.published_number(CLASSIFICATION)
        if number is None:
            return None
        return load_classifier(self.registry, CLASSIFICATION, number, self.device).predictor

    def _images_plan(self, material: ClassifiedMaterial, group: Group) -> ClassificationPlan:
        """The published classification's, else the one that a new classification would have."""
        published = self.registry.published(CLASSIFICATION)
        if published is not None and published.plan.dimension == material.dimension:
            return published.plan
        request = self.request.model_copy(update={"plan": {}})
        return material.plan(group, request, device_memory_gb(self.device))


def generated_attribute(scheme: Scheme | None) -> Attribute | None:
    """The attribute whose classes can be made: the first about the whole case that has a single answer."""
    group = groups_of(scheme).get(CLASSIFICATION)
    attributes = group.attributes if group is not None else ()
    return next((one for one in attributes if one.kind is not AttributeKind.MULTI), None)
