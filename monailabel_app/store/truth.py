"""Known truth of studies: label maps in a folder, or a table of answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

from monailabel_app.errors import BadInput
from monailabel_app.store.answer_table import from_csv, from_json
from monailabel_app.store.geometry import Geometry
from monailabel_app.store.images import image_suffix, onto_grid, read_image
from monailabel_app.store.scheme import Answers, Scheme

NO_VALUE = 65_535
"""A voxel value that no prediction has."""


@dataclass(frozen=True)
class Truth:
    """Label maps by case id, and what their voxel values mean.

    Names are read from ``label_names.json`` (``{"liver": 1}``) or from the ``dataset.json`` of the Medical Segmentation
    Decathlon, in the folder or beside it.
    """

    files: dict[str, Path]
    names: dict[str, int]

    @classmethod
    def read(cls, folder: Path, names: dict[str, int] | None = None) -> Truth:
        """Look at a folder of label maps.

        Raises:
            BadInput: There is no label map, or nothing tells what the values mean.
        """
        files = {
            file.name[: -len(image_suffix(file) or "")]: file
            for file in sorted(folder.iterdir() if folder.is_dir() else ())
            if image_suffix(file) and not file.name.startswith(".")
        }
        if not files:
            raise BadInput(f"there is no label map in {folder}: give the folder of true label maps with --truth")
        names = names or _names_beside(folder)
        if not names:
            raise BadInput(
                f"nothing says what the voxel values in {folder} mean: give --label NAME=VALUE for each, "
                'or put a label_names.json there, such as {"liver": 1}'
            )
        return cls(files, names)

    def file(self, case_id: str) -> Path | None:
        """The label map of a case: by its id, or by the last part of it for a case in a folder (``images--case_1``)."""
        return self.files.get(case_id) or self.files.get(case_id.rsplit("--", 1)[-1])

    def dice(self, case_id: str, prediction: Path, predicted_names: dict[str, int]) -> dict[str, float]:
        """Dice of a prediction for each label that the case has."""
        file = self.file(case_id)
        if file is None:
            raise BadInput(f"there is no truth for case '{case_id}'")
        predicted = read_image(prediction)
        true = onto_grid(read_image(file), Geometry.of(predicted))
        true.CopyInformation(predicted)
        overlap = sitk.LabelOverlapMeasuresImageFilter()
        scores: dict[str, float] = {}
        for name, value in self.names.items():
            mask = true == value
            if sitk.GetArrayViewFromImage(mask).any():
                overlap.Execute(mask, predicted == predicted_names.get(name, NO_VALUE))
                scores[name] = overlap.GetDiceCoefficient()
        return scores


def read_answers(table: Path, scheme: Scheme) -> dict[str, Answers]:
    """The true answers by case id: a table as `labelloop answers` writes it, checked against a scheme of classes.

    Raises:
        BadInput: The file cannot be read, or an answer does not fit the scheme; the message names the case.
    """
    try:
        text = table.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{table} cannot be read: {error}; give a CSV or JSON of answers with --truth") from error
    truth: dict[str, Answers] = {}
    for row in from_json(text) if table.suffix.lower() == ".json" else from_csv(text):
        try:
            truth[row.case_id] = scheme.check(row.answers)
        except BadInput as error:
            raise BadInput(f"{table.name}, case '{row.case_id}': {error}") from error
    return truth


def is_answered(answers: Mapping[str, object] | None) -> bool:
    """Whether anything but "not sure" is said."""
    return any(answer is not None for answer in (answers or {}).values())


def _names_beside(folder: Path) -> dict[str, int]:
    own = folder / "label_names.json"
    if own.is_file():
        return {str(name): int(value) for name, value in json.loads(own.read_text()).items()}
    for decathlon in (folder / "dataset.json", folder.parent / "dataset.json"):
        if decathlon.is_file():
            labels = json.loads(decathlon.read_text()).get("labels", {})  # {"1": "liver"}
            return {str(name): int(value) for value, name in labels.items() if int(value) != 0}
    return {}
