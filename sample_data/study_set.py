"""A folder of phantoms: NIfTI volumes, DICOM series, label maps, and the truth as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from sample_data.dicom import SeriesUids, oblique, write_ct_series
from sample_data.phantom import DEFAULT_SIZE, DEFAULT_SPACING, LABEL_NAMES, Phantom, make_phantom
from sample_data.patient import Organ

TRUTH_FORMAT = 1
# Turned enough that every direction cosine differs from 0 and 1; the slice normal stays nearest to the body's axis.
OBLIQUE_ANGLES_DEG = (14.0, -9.0, 6.0)
# Folder of each DICOM series, and how far it is turned about x, y, z.
_SERIES = {"dicom_axial": (0.0, 0.0, 0.0), "dicom_oblique": OBLIQUE_ANGLES_DEG}


class Storage(StrEnum):
    """How a case's image is stored."""

    NIFTI = "nifti"
    DICOM = "dicom"


@dataclass(frozen=True, kw_only=True)
class Study:
    """One written case.

    Attributes:
        id: the image's file name without suffix, or its SeriesInstanceUID.
        seed: what `make_phantom` takes to generate it again.
        storage: NIfTI file or DICOM folder.
        image, label: paths relative to the set's folder, with forward slashes.
        phantom: the volumes and their truth, in the frame in which they are stored.
    """

    id: str
    seed: int
    storage: Storage
    image: str
    label: str
    phantom: Phantom

    def truth(self) -> dict[str, object]:
        """What ``truth.json`` says about the case."""
        volumes = self.phantom.volumes_ml()
        return {
            "id": self.id,
            "seed": self.seed,
            "storage": self.storage.value,
            "image": self.image,
            "label": self.label,
            "organs": {organ.value: {"volume_ml": round(volumes[organ], 3)} for organ in Organ},
            "lesions": [
                {**asdict(lesion), "volume_ml": round(lesion.volume_ml, 3)} for lesion in self.phantom.lesions
            ],
        }


@dataclass(frozen=True, kw_only=True)
class StudySet:
    """A folder of written cases and where its parts are."""

    folder: Path
    studies: tuple[Study, ...]

    @property
    def images(self) -> Path:
        """The folder of the images alone, as an annotator is given them."""
        return self.folder / "images"

    @property
    def labels(self) -> Path:
        """The folder of the label maps."""
        return self.folder / "labels"

    @property
    def truth(self) -> Path:
        """The file with the truth about every case."""
        return self.folder / "truth.json"


def write_studies(
    folder: Path,
    *,
    cases: int,
    seed: int,
    size: tuple[int, int, int] = DEFAULT_SIZE,
    spacing: tuple[float, float, float] = DEFAULT_SPACING,
    dicom: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> StudySet:
    """Write phantoms into a folder; the same arguments write the same files again.

    Args:
        folder: made where it is missing. It gets ``images/phantom_001.nii.gz`` and on, ``labels/`` with a label map
            named after each case's id and ``label_names.json``, and ``truth.json``.
        cases: number of NIfTI cases. Each is a patient of its own, the same whatever the number.
        seed: of the whole set.
        size: voxels along i, j, k.
        spacing: mm.
        dicom: write two patients more as DICOM series, ``images/dicom_axial`` and ``images/dicom_oblique``.
        progress: called with the number of cases written and their total.

    Raises:
        ValueError: fewer than one case, or a size or spacing that `make_phantom` refuses.
        FileExistsError: the folder holds images or label maps that are not of this set.
    """
    if cases < 1:
        raise ValueError(f"A set needs at least one case, not {cases}")
    # The series come first: their UIDs must be known to tell this set's label maps from others'.
    series = [_dicom_study(name, angles, seed, size, spacing) for name, angles in _SERIES.items()] if dicom else []
    ids = [f"phantom_{number:03d}" for number in range(1, cases + 1)]
    _refuse_foreign_files(folder, ids, series)
    written: list[Study] = []
    for number in range(cases + len(series)):
        study = _nifti_study(ids[number], number, seed, size, spacing) if number < cases else series[number - cases]
        _write(folder, study)
        written.append(study)
        if progress is not None:
            progress(len(written), cases + len(series))
    study_set = StudySet(folder=folder, studies=tuple(written))
    _write_json(study_set.labels / "label_names.json", LABEL_NAMES)
    truth = {"format": TRUTH_FORMAT, "seed": seed, "size": list(size), "spacing_mm": list(spacing)}
    _write_json(study_set.truth, {**truth, "label_names": LABEL_NAMES, "cases": [study.truth() for study in written]})
    return study_set


def _case_seed(seed: int, stream: int, number: int) -> int:
    """A seed for one case that does not depend on how many there are."""
    return int(np.random.SeedSequence([seed, stream, number]).generate_state(1)[0])


def _nifti_study(
    name: str, number: int, seed: int, size: tuple[int, int, int], spacing: tuple[float, float, float]
) -> Study:
    case_seed = _case_seed(seed, 0, number)
    return Study(
        id=name,
        seed=case_seed,
        storage=Storage.NIFTI,
        image=f"images/{name}.nii.gz",
        label=f"labels/{name}.nii.gz",
        phantom=make_phantom(seed=case_seed, size=size, spacing=spacing),
    )


def _dicom_study(
    name: str,
    angles_deg: tuple[float, float, float],
    seed: int,
    size: tuple[int, int, int],
    spacing: tuple[float, float, float],
) -> Study:
    case_seed = _case_seed(seed, 1, list(_SERIES).index(name))
    phantom = make_phantom(seed=case_seed, size=size, spacing=spacing)
    if any(angles_deg):
        phantom = oblique(phantom, angles_deg)
    uid = SeriesUids.derive(phantom.image, patient_id=_patient_id(name, case_seed), seed=case_seed).series
    return Study(
        id=uid,
        seed=case_seed,
        storage=Storage.DICOM,
        image=f"images/{name}",
        label=f"labels/{uid}.nii.gz",
        phantom=phantom,
    )


def _patient_id(name: str, case_seed: int) -> str:
    return f"{name.upper()}-{case_seed}"


def _refuse_foreign_files(folder: Path, ids: list[str], series: list[Study]) -> None:
    expected = {f"{part}/{name}.nii.gz" for part in ("images", "labels") for name in ids}
    expected |= {path for study in series for path in (study.image, study.label)} | {"labels/label_names.json"}
    found = {f"{part}/{path.name}" for part in ("images", "labels") for path in folder.glob(f"{part}/*")}
    if found - expected:
        raise FileExistsError(
            f"{folder} holds files that are not of this set ({min(found - expected)}); choose an empty folder"
        )


def _write(folder: Path, study: Study) -> None:
    image, label = folder / study.image, folder / study.label
    image.parent.mkdir(parents=True, exist_ok=True)
    label.parent.mkdir(parents=True, exist_ok=True)
    if study.storage is Storage.DICOM:
        name = image.name
        write_ct_series(study.phantom.image, image, patient_id=_patient_id(name, study.seed), seed=study.seed)
    else:
        sitk.WriteImage(study.phantom.image, str(image), useCompression=True)
    sitk.WriteImage(study.phantom.labels, str(label), useCompression=True)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
