"""A hospital with synthetic images in its bank: pairs made from the phantoms, as a generator would enter them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from monailabel_app.augmentation.pictures import Shown, pair_picture
from monailabel_app.demo.client import LoopClient
from monailabel_app.store.bank import Bank, NewSample, SampleKind
from monailabel_app.store.checks import Check
from monailabel_app.store.database import Database
from monailabel_app.store.samples import Nearest, Source
from monailabel_app.store.synthetic_share import StudyVerdict, SyntheticShare
from monailabel_app.store.workspace import Workspace
from sample_data import StudySet, write_studies
from sample_data.phantom import LABEL_NAMES

LABELS = ("liver", "spleen", "lesion")
TEACHER = "Teacher"
VERDICT = StudyVerdict(  # that of tests/benchmarks/results/augmentation/phantoms
    sentence="Synthetic pairs changed the mean Dice by +0.3 points (95 % interval -0.4 to +0.9) against classic "
    "augmentation alone, over 4 seeds on 30 held-out cases: that they help is not proven, since the interval holds 0; "
    "they stay on.",
    helped=False, gain=0.0026, low=-0.0039, high=0.009, created=1.795e9,
)  # fmt: skip


def write_phantoms(folder: Path, cases: int = 6, **options: object) -> StudySet:
    """Coarse NIfTI phantoms with their truth."""
    made = {"seed": 3, "size": (32, 32, 24), "spacing": (10.0, 10.0, 8.0), "dicom": False, **options}
    return write_studies(folder, cases=cases, **made)


def fill_bank(root: Path, studies: StudySet, candidates: int = 4, failed: int = 1) -> list[str]:
    """Enter a pair made from each phantom by adding noise, with made-up checks; returns the ids of the candidates.

    The failed ones come last; they did not pass the check of memorisation.
    """
    workspace = Workspace(root).create()
    bank = Bank(Database(workspace.index), workspace)
    names = [path.name.removesuffix(".nii.gz") for path in sorted(studies.images.glob("*.nii.gz"))]
    ids = []
    for number in range(candidates + failed):
        source, nearest = names[number % len(names)], names[(number + 1) % len(names)]
        image, label = _made(studies, source, number)
        is_copy = number >= candidates
        new = NewSample(
            kind=SampleKind.PAIR, task="augmentation", generator=1, seed=number,
            sources=[Source(case=source, role="mask")],
            how="The mask of a training case, mirrored and warped; all of the image is made.",
            labels={name: LABEL_NAMES[name] for name in LABELS}, modality="CT", checks=_checks(number, is_copy),
            nearest=Nearest(case=nearest, distance=0.02 if is_copy else 0.21),
        )  # fmt: skip
        shown = Shown.of_files(image, label, new.labels, "synthetic", synthetic=True)
        real = Shown.of_files(*_read(studies, nearest), new.labels, f"nearest real: {nearest}")
        sample = bank.add(new, image, label, pair_picture(shown, real))
        if not is_copy:
            ids.append(sample.id)
    return ids


def keep_verdict(root: Path, verdict: StudyVerdict = VERDICT) -> None:
    """What a study would have left in the workspace."""
    SyntheticShare(Database(Workspace(root).create().index), 1.0).keep_study(verdict)


def annotate(client: LoopClient, studies: StudySet, cases: int = 4) -> None:
    """Submit the truth of the first phantoms: they train, and blinded rounds have real images."""
    labels = {name: LABEL_NAMES[name] for name in LABELS}
    for case_id in sorted(path.name.removesuffix(".nii.gz") for path in studies.images.glob("*.nii.gz"))[:cases]:
        file = studies.images.parent / f"{case_id}-truth.nii.gz"
        sitk.WriteImage(_read(studies, case_id)[1], str(file))
        client.submit(case_id, TEACHER, file, labels)


def _read(studies: StudySet, name: str) -> tuple[sitk.Image, sitk.Image]:
    """An image, and the label map of the structures that the server asks for."""
    image = sitk.ReadImage(str(studies.images / f"{name}.nii.gz"))
    truth = sitk.ReadImage(str(studies.labels / f"{name}.nii.gz"))
    voxels = sitk.GetArrayFromImage(truth)
    kept = np.where(np.isin(voxels, [LABEL_NAMES[one] for one in LABELS]), voxels, 0).astype(np.uint8)
    label = sitk.GetImageFromArray(kept)
    label.CopyInformation(truth)
    return image, label


def _made(studies: StudySet, name: str, seed: int) -> tuple[sitk.Image, sitk.Image]:
    """An image and a label map as a generator saves them: at the origin, in the standard direction."""
    image, label = _read(studies, name)
    voxels, mask = sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(label)
    noise = np.random.default_rng(seed).normal(0, 12, voxels.shape)
    made = (sitk.GetImageFromArray((voxels + noise).astype(np.int16)), sitk.GetImageFromArray(mask))
    for one in made:
        one.SetSpacing(image.GetSpacing())
    return made


def _checks(number: int, is_copy: bool) -> list[Check]:
    dice = 0.81 - 0.02 * number
    distance = 0.02 if is_copy else 0.21
    return [
        Check(
            name="resegmentation", value=dice, limit=0.62, passed=True,
            reason=f"the segmenter finds the mask again with a Dice of {dice:.2f}; at least 0.62 is needed",
            details={"liver": 0.9, "spleen": dice - 0.09},
        ),
        Check(
            name="memorisation", value=distance, limit=0.05, passed=not is_copy,
            reason=f"its distance to the nearest training image is {distance:.2f}; real images are 0.05 apart or more",
        ),
        Check(name="intensities", value=None, limit=None, passed=True, reason="not measured: too few voxels"),
    ]  # fmt: skip
