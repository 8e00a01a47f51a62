"""How far the version in use agreed with what was submitted: how much was left to learn from an offered case."""

from __future__ import annotations

from statistics import mean

from monailabel_app.active_learning.case_looks import CaseLooks
from monailabel_app.active_learning.evidence import class_name
from monailabel_app.active_learning.strategies.figures import predicted_classes
from monailabel_app.classification.groups import is_classification
from monailabel_app.inference.service import LoadedVersion
from monailabel_app.store.store import Store
from monailabel_app.training.evaluation import evaluate_case
from monailabel_app.training.material import annotated_case


def agreement_with(version: LoadedVersion, case_id: str, store: Store, looks: CaseLooks) -> float | None:
    """What a version says about a case against the annotations that speak for it, 0 to 1.

    Segmentation: the mean Dice of the structures that the annotator was to outline, as far as they are in the image or
    were predicted. Classification: the share of the answers that the version gives, too. None if there is nothing to
    compare.

    Raises:
        LabelLoopError: In plain words why the version can say nothing.
    """
    if is_classification(version.record.task):
        return _of_answers(version, case_id, store, looks)
    annotation = store.annotations.best_of_case(case_id, with_label_map=True)
    if annotation is None:
        return None
    scores = evaluate_case(version.predictor, annotated_case(store, annotation)).labels.values()
    dice = [score.dice for score in scores if score.dice is not None]
    return mean(dice) if dice else None


def _of_answers(version: LoadedVersion, case_id: str, store: Store, looks: CaseLooks) -> float | None:
    # Capitals of the scheme may have changed since the version was trained.
    answers = {name.casefold(): answer for name, answer in store.annotations.answers_of(case_id).answers.items()}
    evidence = looks.look(case_id, version)
    found = predicted_classes(evidence)
    right = []
    for attribute, classes in evidence.probabilities.items():
        answer = answers.get(attribute.casefold())
        if answer is not None:
            said = {str(name).casefold() for name in (answer if isinstance(answer, list) else [answer])}
            right.append(said == {name.casefold() for name in classes if class_name(attribute, name) in found})
    return mean(right) if right else None
