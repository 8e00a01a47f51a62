"""A study from its beginning, or where it was broken off, to its report; and its verdict into a workspace."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from monailabel_app.augmentation.pictures import Shown, contact_sheet
from monailabel_app.augmentation.study import Study
from monailabel_app.augmentation.study_figures import decides, judge
from monailabel_app.augmentation.study_picture import SAMPLES_FILE
from monailabel_app.augmentation.study_report import write_report
from monailabel_app.models.plan import IntensityKind, Plan
from monailabel_app.store.images import read_image
from monailabel_app.store.store import Store
from monailabel_app.store.synthetic_share import StudyVerdict
from monailabel_app.training.dataset import read_case

SHOWN_PAIRS = 8


def carry_out(study: Study, command: str, store: Store | None = None) -> StudyVerdict | None:
    """Run a study, and write its report whatever becomes of it.

    Args:
        study: New, or broken off.
        command: What the user typed.
        store: Of a workspace whose default share of synthetic pairs the verdict decides about, if the seeds are enough.

    Returns:
        The verdict; none with too few seeds.

    Raises:
        LabelLoopError: A network could not be trained.
    """
    try:
        study.run()
    finally:
        draw_samples(study)
        write_report(study, command)
    verdict = judge(study.trials)
    if verdict is not None and store is not None and decides(study.trials):
        store.synthetic_share.keep_study(verdict)
    return verdict


def draw_samples(study: Study) -> Path | None:
    """A picture of pairs that passed, of all seeds in turn, each beside the real case that it was made from."""
    seeds = [_shown(study, seed) for seed in range(study.settings.seeds)]
    pairs = [pair for turn in zip(*([*one] for one in seeds if one), strict=False) for pair in turn][:SHOWN_PAIRS]
    if not pairs:
        return None
    path = study.folder / SAMPLES_FILE
    path.write_bytes(contact_sheet(pairs))
    return path


def _at_the_change(made: Shown, real: Shown) -> tuple[Shown, Shown]:
    """Both with their planes through where their masks differ, if the made one is an edit of the real one."""
    if made.mask is None or real.mask is None or made.mask.shape != real.mask.shape:
        return made, real
    before = np.zeros(real.mask.shape, np.int64)
    for name, value in real.labels.items():
        before[real.mask == value] = made.labels.get(name, 0)
    changed = made.mask != before
    return made.focused(changed), real.focused(changed)


def _shown(study: Study, seed: int) -> list[tuple[Shown, Shown | None]]:
    pairs = study.pairs(seed)
    record = pairs.record
    if record is None:
        return []
    real = {case.id: case for case in study.material(seed).train}
    plan = study.plan(seed)
    names = {name: channel for channel, name in enumerate(plan.labels, start=1)}
    modality = "CT" if plan.normalisation.kind is IntensityKind.CT else None
    shown = []
    for pair in record.approved[:SHOWN_PAIRS]:
        image, mask = _cut_off(read_image(pairs.image_file(pair.id)), plan), read_image(pairs.label_file(pair.id))
        made = Shown.of_files(image, mask, names, f"{pair.way}, seed {seed}", modality=modality, synthetic=True)
        source = real[pair.sources[0]]
        image, mask = read_case(source)
        real_one = Shown.of_files(_cut_off(image, plan), mask, source.label_names, source.id, modality=modality)
        shown.append(_at_the_change(made, real_one))
    return shown


def _cut_off(image: sitk.Image, plan: Plan) -> sitk.Image:
    """As what was made is, so that real and synthetic images are seen in the same window."""
    clip = plan.normalisation.clip
    return image if clip is None else sitk.Clamp(image, lowerBound=clip[0], upperBound=clip[1])
