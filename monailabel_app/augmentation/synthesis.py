"""From a generator to samples in the bank: masks are drawn, images made, checked and entered one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from monailabel_app.augmentation.checks.verdict import Verdict
from monailabel_app.augmentation.mask_ways import MaskSource
from monailabel_app.augmentation.masks import MaskDraw, MaskMaker, Way
from monailabel_app.augmentation.pictures import Shown, pair_picture
from monailabel_app.augmentation.plan import GeneratorPlan
from monailabel_app.augmentation.synthetic import (
    SyntheticClassImage,
    SyntheticPair,
    pair_image,
    to_colour_image,
    to_image,
    to_label_map,
)
from monailabel_app.classification.plan import ClassificationPlan
from monailabel_app.models.plan import IntensityKind, Normalisation, Plan
from monailabel_app.store.bank import Bank, NewSample, Sample, SampleKind
from monailabel_app.store.samples import Source
from monailabel_app.training.dataset import PreparedCase, TrainingCase

Made = TypeVar("Made")

OnProgress = Callable[[int, int], None]
"""Told how many samples there are so far, and how many are wanted."""

ShouldStop = Callable[[], bool]


class PairMaker(Protocol):
    """Makes images for masks, as `monailabel_app.augmentation.pairs.PairGenerator` does."""

    plan: GeneratorPlan

    def make(self, draw: MaskDraw, seed: int, style: Tensor | None = None) -> Tensor: ...


class ClassMaker(Protocol):
    """Makes images of classes, as `monailabel_app.augmentation.class_images.ClassImageGenerator` does."""

    plan: GeneratorPlan

    def make(self, class_name: str, seed: int) -> Tensor: ...


@dataclass(frozen=True)
class Origin:
    """Which generator makes the samples.

    Attributes:
        task, generator: Its task, and the number of its version.
        cases: All that it has learned from.
        modality: DICOM modality of these, if it is known and the same for all.
    """

    task: str
    generator: int
    cases: tuple[str, ...] = ()
    modality: str | None = None


def synthesise(
    generator: PairMaker,
    maker: MaskMaker,
    seeds: Sequence[int],
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
    way: Way | None = None,
) -> Iterator[SyntheticPair]:
    """Pairs one by one, so that only one is in memory; each depends on its own seed alone.

    Args:
        generator: Makes the images.
        maker: Draws the masks, on the plan of the generator's segmentation.
        seeds: Of the pairs.
        on_progress: Called before each and at the end.
        should_stop: Asked before each.
        way: How masks are made; by default in all ways that suit the material.

    Raises:
        BadInput: No mask can be made.
    """

    def make(seed: int) -> SyntheticPair:
        draw = maker.draw(generator.plan.size, np.random.default_rng(seed), way)
        return SyntheticPair(generator.make(draw, seed), draw, seed)

    yield from _one_by_one(seeds, make, on_progress, should_stop)


def synthesise_classes(
    generator: ClassMaker,
    seeds: Sequence[int],
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> Iterator[SyntheticClassImage]:
    """Images of all classes in turn, one by one: as many of a rare class as of the others."""
    classes = generator.plan.classes
    turn = {seed: classes[number % len(classes)] for number, seed in enumerate(seeds)}

    def make(seed: int) -> SyntheticClassImage:
        return SyntheticClassImage(generator.make(turn[seed], seed), turn[seed], seed)

    yield from _one_by_one(seeds, make, on_progress, should_stop)


def _one_by_one(
    seeds: Sequence[int],
    make: Callable[[int], Made],
    on_progress: OnProgress | None,
    should_stop: ShouldStop | None,
) -> Iterator[Made]:
    done = 0
    for seed in seeds:
        if should_stop is not None and should_stop():
            return
        if on_progress is not None:
            on_progress(done, len(seeds))
        yield make(seed)
        done += 1
    if on_progress is not None:
        on_progress(done, len(seeds))


def enter_pair(
    bank: Bank,
    pair: SyntheticPair,
    verdict: Verdict,
    plan: Plan,
    origin: Origin,
    cases: Mapping[str, PreparedCase],
    files: Mapping[str, TrainingCase],
) -> Sample:
    """Put a pair into the bank: a candidate, or failed if a check refused it.

    Args:
        plan: Of the segmentation: labels, grey values, spacing.
        cases: Training cases by id: the picture shows the nearest one beside the sample.
        files: These on disk, by id.

    Raises:
        UnreadableImage: The image that was edited cannot be read any more.
    """
    image = pair_image(pair, plan, files)
    label = to_label_map(pair.whole_target, plan.spacing)
    new = NewSample(
        kind=SampleKind.PAIR,
        task=origin.task,
        generator=origin.generator,
        seed=pair.seed,
        sources=[_source(source, files) for source in pair.draw.sources],
        how=pair.draw.how,
        labels={name: channel for channel, name in enumerate(plan.labels, start=1)},
        modality=_modality(plan.normalisation, origin),
        clip=plan.normalisation.clip,
        checks=verdict.checks,
        nearest=verdict.nearest,
    )
    values, target = torch.from_numpy(pair.values)[None], torch.from_numpy(pair.target)
    shown = Shown.of_prepared(values, target, plan, f"seed {pair.seed}", synthetic=True, focus=pair.changed)
    beside = cases.get(verdict.nearest.case) if verdict.nearest is not None else None
    real = None if beside is None else Shown.of_prepared(beside.image, beside.target, plan, f"nearest: {beside.id}")
    return bank.add(new, image, label, pair_picture(shown, real))


def enter_class_image(
    bank: Bank,
    made: SyntheticClassImage,
    verdict: Verdict,
    plan: ClassificationPlan,
    attribute: str,
    origin: Origin,
    images: Mapping[str, Tensor],
) -> Sample:
    """Put an image of a class into the bank: a candidate, or failed if a check refused it.

    Args:
        plan: Of the classification: grey values, spacing.
        attribute: That the class is one of.
        images: Training images by case, ``C x D x H x W``: the picture shows the nearest one beside the sample.
    """
    new = NewSample(
        kind=SampleKind.CLASS_IMAGE,
        task=origin.task,
        generator=origin.generator,
        seed=made.seed,
        sources=[Source(case=case, role="training") for case in origin.cases],
        how=f"An image of {attribute}: {made.class_name}, made from noise.",
        answer={attribute: made.class_name},
        modality=_modality(plan.normalisation, origin),
        clip=plan.normalisation.clip,
        checks=verdict.checks,
        nearest=verdict.nearest,
    )
    image = _class_image(made.image, plan)
    modality = new.modality
    shown = Shown.of_files(image, None, {}, made.class_name, modality=modality, synthetic=True)
    real = None
    if verdict.nearest is not None and verdict.nearest.case in images:
        title = f"nearest: {verdict.nearest.case}"
        real = Shown.of_files(_class_image(images[verdict.nearest.case], plan), None, {}, title, modality=modality)
    return bank.add(new, image, None, pair_picture(shown, real))


def _source(source: MaskSource, files: Mapping[str, TrainingCase]) -> Source:
    file = files.get(source.case_id)
    return Source(case=source.case_id, role=source.role, annotation=None if file is None else file.annotation)


def _class_image(image: Tensor, plan: ClassificationPlan) -> sitk.Image:
    values = image.float().numpy()
    if plan.channels == 3:
        return to_colour_image(values[:3])
    return to_image(values[0], plan.normalisation, plan.spacing or (1.0,) * plan.dimension)


def _modality(how: Normalisation, origin: Origin) -> str | None:
    """CT only where grey values are Hounsfield units."""
    if how.kind is IntensityKind.CT:
        return "CT"
    return origin.modality if origin.modality != "CT" else None
