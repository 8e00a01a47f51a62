"""Real images as a generator's own look: on the same grid, with grey values prepared in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import SimpleITK as sitk
import torch

from monailabel_app.augmentation.shown import Shown
from monailabel_app.errors import NotFound
from monailabel_app.inference.preparation import Layout, resample
from monailabel_app.models.plan import Plan
from monailabel_app.models.registry import Registry
from monailabel_app.store.images import read_image
from monailabel_app.store.pixels import grey
from monailabel_app.store.samples import Sample
from monailabel_app.store.store import Store
from monailabel_app.training.dataset import TrainingCase, prepare_case


def shown_sample(sample: Sample, *, title: str = "") -> Shown:
    """A sample of the bank."""
    label = read_image(sample.label) if sample.label is not None else None
    image = read_image(sample.image)
    if sample.clip is not None:  # seen as what was made is, so that the real part of an edit does not give it away
        image = sitk.Clamp(image, lowerBound=sample.clip[0], upperBound=sample.clip[1])
    return Shown.of_files(image, label, sample.labels, title, modality=sample.modality, synthetic=True)


def shown_case(store: Store, case_id: str, *, title: str = "") -> Shown:
    """A real image with the annotation that speaks for it.

    Raises:
        NotFound: There is no such case.
        UnreadableImage: A file cannot be read.
    """
    annotation = store.annotations.best_of_case(case_id, with_label_map=True)
    image = grey(read_image(store.catalogue.image_file(case_id)))
    modality = store.catalogue.get(case_id).modality
    if annotation is None or annotation.file is None:
        return Shown.of_files(image, None, {}, title, modality=modality)
    return Shown.of_files(image, read_image(annotation.file), annotation.labels, title, modality=modality)


def shown_blinded(store: Store, registry: Registry, trial: str, item: str) -> Shown:
    """An image of a blinded trial: only its content can tell whether it is real.

    All images of a trial have one size, that of the smallest along each axis; larger ones are cut around what is
    outlined. The real ones are prepared as for the generator that made the synthetic ones.

    Raises:
        NotFound: The trial has no such item.
        UnreadableImage: A file cannot be read.
    """
    shown, items = store.blinded.item(trial, item), store.blinded.items(trial)
    samples = [store.bank.get(one.sample) for one in items if one.sample is not None]  # each trial has at least one
    plan = plan_of_sample(registry, samples[0])
    shapes = [_shape_of(sample) for sample in samples]
    if plan is not None:
        grids = (store.catalogue.geometry(one.case) for one in items if one.case is not None)
        shapes += [tuple(reversed(Layout.of(grid, plan).work_shape)) for grid in grids]
    shape = tuple(int(length) for length in np.min(shapes, axis=0))
    if shown.sample is not None:
        return _at_the_middle(shown_sample(store.bank.get(shown.sample)), shape)
    assert shown.case is not None  # an item is the one or the other
    return shown_like(store, shown.case, plan, samples[0], shape)


def shown_like(store: Store, case_id: str, plan: Plan | None, sample: Sample, shape: Sequence[int]) -> Shown:
    """A real image so that only its content can tell it from a sample: prepared as those are, and of a size.

    Args:
        plan: The space that the generator works in; none for one that takes whole images at a fixed size.
        sample: One that the image is shown among.
        shape: Axes as in `Shown`.
    """
    annotation = store.annotations.best_of_case(case_id, with_label_map=True)
    file = store.catalogue.image_file(case_id)
    if plan is None or annotation is None or annotation.file is None:
        return _squeezed(grey(read_image(file)), tuple(shape), tuple(reversed(sample.spacing))[-len(shape) :])
    case = TrainingCase(case_id, file, annotation.file, annotation.labels)
    prepared = prepare_case(case, plan)
    whole = Shown.of_prepared(prepared.image, prepared.target, plan)
    return replace(_at_the_middle(whole, shape), modality=sample.modality)


def _shape_of(sample: Sample) -> tuple[int, ...]:
    """Axes as in `Shown`."""
    return tuple(reversed(sample.size[: sample.dimension]))


def _at_the_middle(whole: Shown, shape: Sequence[int]) -> Shown:
    """Cut or padded to a shape around all that is outlined."""
    centre = _middle_of(np.zeros(whole.image.shape, bool) if whole.mask is None else whole.mask)
    mask = None if whole.mask is None else cut(whole.mask, shape, centre, 0)
    return replace(whole, image=cut(whole.image, shape, centre, float(whole.image.min())), mask=mask)


def plan_of_sample(registry: Registry, sample: Sample) -> Plan | None:
    """The space of the generator that made a sample; none if it works on whole images, or is not there any more."""
    try:
        return getattr(registry.get(sample.task, sample.generator).plan, "segmentation", None)
    except NotFound:
        return None


def cut(voxels: np.ndarray, shape: Sequence[int], centre: Sequence[int], fill: float) -> np.ndarray:
    """Cut to a shape around a centre, without leaving the image; where the image is smaller, pad on both sides."""
    for axis, (size, middle) in enumerate(zip(shape, centre, strict=True)):
        have = voxels.shape[axis]
        if have > size:
            first = int(np.clip(middle - size // 2, 0, have - size))
            voxels = np.take(voxels, range(first, first + size), axis)
        elif have < size:
            before = (size - have) // 2
            widths = [(0, 0)] * voxels.ndim
            widths[axis] = (before, size - have - before)
            voxels = np.pad(voxels, widths, constant_values=fill)
    return voxels


def _middle_of(mask: np.ndarray) -> list[int]:
    """The middle of the box around all labels; without one, of the image."""
    found = np.argwhere(mask)
    if not len(found):
        return [size // 2 for size in mask.shape]
    return ((found.min(0) + found.max(0) + 1) // 2).tolist()


def _squeezed(image: sitk.Image, shape: tuple[int, ...], spacing: tuple[float, ...]) -> Shown:
    """A whole image brought to a size, whatever its own."""
    whole = Shown.of_files(image, None, {})
    values = torch.from_numpy(whole.image.astype(np.float32))[None]
    return Shown(resample(values, shape)[0].numpy(), None, spacing)
