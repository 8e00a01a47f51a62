"""What the played clinician does with a case: outline it or say its class, as the truth has it."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monailabel_app.classification.groups import TASK as CLASSIFICATION
from monailabel_app.demo.client import LoopClient
from monailabel_app.store.scheme import Answers, Scheme
from monailabel_app.store.truth import Truth, is_answered, read_answers

ANNOTATOR = "demo clinician"


class Clinician(ABC):
    """Knows the truth of the cases.

    Attributes:
        task: What is trained.
        figure: Name of the figure that versions are compared by.
        key: Its name in ``figures.json``.
        agreement: Name of the figure that a single prediction is measured by.
    """

    task: str
    figure: str
    key: str
    agreement: str

    @abstractmethod
    def knows(self, case_id: str) -> bool:
        """Whether the truth of a case is known."""

    @abstractmethod
    def submit(self, client: LoopClient, case_id: str) -> None:
        """Submit the truth as a final annotation."""

    @abstractmethod
    def agreement_with(self, client: LoopClient, case_id: str) -> float | None:
        """How well the published version predicts a case, 0 to 1; None if nothing can be compared.

        Raises:
            ServerAnswer: Status 409 when no version is published yet.
        """

    @abstractmethod
    def score(self, version: Mapping[str, Any]) -> float | None:
        """The figure of a version; None if it was not measured."""

    @abstractmethod
    def parts(self, version: Mapping[str, Any]) -> dict[str, float | None]:
        """The same figure for each label or attribute."""


class OutliningClinician(Clinician):
    """Draws label maps."""

    task, figure, key, agreement = "segmentation", "Dice", "dice", "a Dice"

    def __init__(self, truth: Truth) -> None:
        self.truth = truth

    def knows(self, case_id: str) -> bool:
        return self.truth.file(case_id) is not None

    def submit(self, client: LoopClient, case_id: str) -> None:
        file = self.truth.file(case_id)
        assert file is not None  # cases without truth are never asked for
        client.submit(case_id, ANNOTATOR, file, self.truth.names)

    def agreement_with(self, client: LoopClient, case_id: str) -> float | None:
        with tempfile.TemporaryDirectory() as folder:
            file, facts = client.predict(case_id, Path(folder))
            scores = self.truth.dice(case_id, file, facts["label_names"])
        return sum(scores.values()) / len(scores) if scores else None

    def score(self, version: Mapping[str, Any]) -> float | None:
        return (version["evaluation"] or {}).get("mean_dice")

    def parts(self, version: Mapping[str, Any]) -> dict[str, float | None]:
        labels = (version["evaluation"] or {"labels": {}})["labels"]
        return {name: one["dice"] for name, one in labels.items()}


class ClassifyingClinician(Clinician):
    """Says which classes a case has."""

    task, figure, key, agreement = CLASSIFICATION, "balanced accuracy", "balanced_accuracy", "an accuracy"

    def __init__(self, truth: Mapping[str, Answers]) -> None:
        self.truth = truth

    @classmethod
    def read(cls, table: Path, classes: Path) -> ClassifyingClinician:
        """Read the truth, a table as `labelloop answers` writes it, and check it against the scheme of classes.

        Raises:
            BadInput: A file cannot be read, or an answer does not fit the scheme; the message names the case.
        """
        return cls(read_answers(table, Scheme.read(classes)))

    def knows(self, case_id: str) -> bool:
        return is_answered(self.truth.get(case_id))

    def submit(self, client: LoopClient, case_id: str) -> None:
        client.answer(case_id, ANNOTATOR, self.truth[case_id])

    def agreement_with(self, client: LoopClient, case_id: str) -> float | None:
        said = client.classify(case_id, self.task)["probabilities"]
        true = {name: answer for name, answer in self.truth[case_id].items() if answer is not None and name in said}
        right = [_chosen(said[name], answer) == answer for name, answer in true.items()]
        return sum(right) / len(right) if right else None

    def score(self, version: Mapping[str, Any]) -> float | None:
        return _value((version["evaluation"] or {}).get("mean_score"))

    def parts(self, version: Mapping[str, Any]) -> dict[str, float | None]:
        attributes = (version["evaluation"] or {"attributes": {}})["attributes"]
        return {name: _value(one["balanced_accuracy"] or one["macro_auc"]) for name, one in attributes.items()}


def _chosen(probabilities: Mapping[str, float], answer: str | list[str]) -> str | list[str]:
    """What is predicted, in the form of the answer."""
    if isinstance(answer, list):
        return [name for name, value in probabilities.items() if value >= 0.5]
    return max(probabilities, key=lambda name: probabilities[name])


def _value(figure: Mapping[str, Any] | None) -> float | None:
    return None if figure is None else figure["value"]
