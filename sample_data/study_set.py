"""A folder of phantoms: NIfTI volumes, DICOM series, label maps, and the truth as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import chain
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from sample_data.dicom import SeriesUids, oblique, write_ct_series
from sample_data.lesions import Lesion
from sample_data.patient import Organ
from sample_data.phantom import DEFAULT_SIZE, DEFAULT_SPACING, LABEL_NAMES, Phantom, make_phantom

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
    """One written case and the truth about it, in the frame in which it is stored.

    Attributes:
        id: the image's file name without suffix, or its SeriesInstanceUID.
        seed: what `make_phantom` takes to generate it again.
        storage: NIfTI file or DICOM folder.
        image, label: paths relative to the set's folder, with forward slashes.
        volumes_ml: of each organ's label, its lesions left out.
        lesions: none to three.
    """

    id: str
    seed: int
    storage: Storage
    image: str
    label: str
    volumes_ml: dict[Organ, float]
    lesions: tuple[Lesion, ...]

    def truth(self) -> dict[str, object]:
        """What ``truth.json`` says about the case."""
        return {
            "id": self.id,
            "seed": self.seed,
            "storage": self.storage.value,
            "image": self.image,
            "label": self.label,
            "organs": {organ.value: {"volume_ml": round(volume, 4)} for organ, volume in self.volumes_ml.items()},
            "lesions": [{**asdict(lesion), "volume_ml": round(lesion.volume_ml, 4)} for lesion in self.lesions],
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
    def truth_file(self) -> Path:
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
    series = [_dicom_case(name, seed, size, spacing) for name in _SERIES] if dicom else []
    names = [f"phantom_{number:03d}" for number in range(1, cases + 1)]
    _refuse_foreign_files(folder, names, [study for study, _ in series])
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    volumes = (_nifti_case(name, number, seed, size, spacing) for number, name in enumerate(names))
    studies: list[Study] = []
    for study, phantom in chain(volumes, series):
        _write(folder, study, phantom)
        studies.append(study)
        if progress is not None:
            progress(len(studies), cases + len(series))
    study_set = StudySet(folder=folder, studies=tuple(studies))
    _write_json(study_set.labels / "label_names.json", LABEL_NAMES)
    arguments = {"seed": seed, "size": list(size), "spacing_mm": [float(s) for s in spacing]}
    truth = {"format": TRUTH_FORMAT, **arguments, "label_names": LABEL_NAMES}
    _write_json(study_set.truth_file, {**truth, "cases": [study.truth() for study in studies]})
    return study_set


def _case_seed(seed: int, stream: int, number: int) -> int:
    """A seed for one case that does not depend on how many there are."""
    return int(np.random.SeedSequence([seed, stream, number]).generate_state(1)[0])


def _nifti_case(
    name: str, number: int, seed: int, size: tuple[int, int, int], spacing: tuple[float, float, float]
) -> tuple[Study, Phantom]:
    phantom = make_phantom(seed=_case_seed(seed, 0, number), size=size, spacing=spacing)
    return _study(name, Storage.NIFTI, f"images/{name}.nii.gz", phantom), phantom


def _dicom_case(
    name: str, seed: int, size: tuple[int, int, int], spacing: tuple[float, float, float]
) -> tuple[Study, Phantom]:
    phantom = make_phantom(seed=_case_seed(seed, 1, list(_SERIES).index(name)), size=size, spacing=spacing)
    phantom = oblique(phantom, _SERIES[name])
    patient_id = _patient_id(f"images/{name}", phantom.seed)
    uid = SeriesUids.derive(phantom.image, patient_id=patient_id, seed=phantom.seed).series
    return _study(uid, Storage.DICOM, f"images/{name}", phantom), phantom


def _study(name: str, storage: Storage, image: str, phantom: Phantom) -> Study:
    volumes = phantom.volumes_ml()
    return Study(
        id=name,
        seed=phantom.seed,
        storage=storage,
        image=image,
        label=f"labels/{name}.nii.gz",
        volumes_ml={organ: volumes[organ] for organ in Organ},
        lesions=tuple(phantom.lesions),
    )


def _patient_id(image: str, case_seed: int) -> str:
    return f"{Path(image).name.upper()}-{case_seed}"


def _refuse_foreign_files(folder: Path, names: list[str], series: list[Study]) -> None:
    expected = {f"{part}/{name}.nii.gz" for part in ("images", "labels") for name in names}
    expected |= {path for study in series for path in (study.image, study.label)} | {"labels/label_names.json"}
    found = {f"{part}/{path.name}" for part in ("images", "labels") for path in folder.glob(f"{part}/*")}
    if found - expected:
        raise FileExistsError(
            f"{folder} holds files that are not of this set ({min(found - expected)}); choose an empty folder"
        )


def _write(folder: Path, study: Study, phantom: Phantom) -> None:
    if study.storage is Storage.DICOM:
        patient_id = _patient_id(study.image, study.seed)
        write_ct_series(phantom.image, folder / study.image, patient_id=patient_id, seed=study.seed)
    else:
        sitk.WriteImage(phantom.image, str(folder / study.image), useCompression=True)
    sitk.WriteImage(phantom.labels, str(folder / study.label), useCompression=True)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
