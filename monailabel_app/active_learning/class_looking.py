"""One look at an image by a classification network: all that any strategy wants to know."""

from __future__ import annotations

import SimpleITK as sitk
import torch
from torch import Tensor

from monailabel_app.active_learning import acquisition
from monailabel_app.active_learning.evidence import Evidence, Measure, class_name
from monailabel_app.active_learning.looking import LookOptions
from monailabel_app.active_learning.members import VariedImages, dropout_on, has_dropout, seeded
from monailabel_app.classification.plan import PlannedAttribute
from monailabel_app.classification.predictor import ClassificationPredictor
from monailabel_app.classification.targets import probabilities_of
from monailabel_app.inference.predictor import autocast, memory_format
from monailabel_app.inference.service import LoadedVersion
from monailabel_app.store.scheme import AttributeKind

DROPOUT_PASSES = 64
"""Dropout stands before the heads alone, so a pass costs a small product of matrices."""

MOST_GRADIENT_NUMBERS = 512
"""A longer gradient embedding is projected at random; distances stay as they were within some per cent (Johnson and
Lindenstrauss 1984, Dasgupta and Gupta 2003)."""


def look_at_class(
    image: sitk.Image,
    version: LoadedVersion,
    *,
    case_id: str,
    region: sitk.Image | None = None,
    options: LookOptions = LookOptions(),
) -> Evidence:
    """Look at an image with a version of a classification.

    Args:
        region: Mask of the structure that is asked about, for models that look at one.

    Raises:
        BadInput: The image has not the plan's number of dimensions, or the region is missing or empty.
        GeometryMismatch: The region does not lie on the image's voxels.
    """
    tensor = version.predictor.prepare(image, region).tensor
    return look_at_prepared_class(tensor, version, case_id=case_id, options=options)


def look_at_prepared_class(
    tensor: Tensor, version: LoadedVersion, *, case_id: str, options: LookOptions = LookOptions()
) -> Evidence:
    """The same as `look_at_class`, of an image that the version's predictor has prepared, ``C x [D x] H x W``."""
    record, predictor = version.record, version.predictor
    with seeded(predictor.device, options.seed, record.task, record.number, case_id):
        on_varied, dropped, features = _ask_members(tensor, predictor, options)
    probabilities, sums, gradients = {}, _Sums(), []
    for number, one in enumerate(predictor.plan.attributes):
        plain = predictor.calibration.apply(one, on_varied[number][0].numpy())
        probabilities[one.name] = dict(zip(one.classes, map(float, plain), strict=True))
        sums.add(one, dropped[number] if dropped is not None else on_varied[number], on_varied[number])
        gradients.append(_gradient(one, on_varied[number][:1], features))
    return Evidence(
        case_id=case_id,
        task=record.task,
        version=record.number,
        probabilities=probabilities,
        findings=frozenset(one.name for one in predictor.plan.attributes if one.kind is AttributeKind.MULTI),
        scores=sums.means(),
        by_class=sums.by_class,
        embedding=features[0].numpy(),
        gradient=_projected(torch.cat(gradients)).numpy(),
    )


def _ask_members(
    tensor: Tensor, predictor: ClassificationPredictor, options: LookOptions
) -> tuple[list[Tensor], list[Tensor] | None, Tensor]:
    """Probabilities by attribute, ``M x K``: on the plain image and varied ones, and under dropout (None where the
    network has none); and the features of the plain image, ``1 x F``. All float32 on the CPU."""
    plan, network = predictor.plan, predictor.network
    varied = VariedImages(plan.augmentation, options.varied_passes)
    batch = varied.apply(tensor[None].to(predictor.device), plan.channels)
    batch = batch.contiguous(memory_format=memory_format(predictor.device, plan.dimension))
    with torch.inference_mode(), autocast(predictor.device, predictor.precision):
        features = network.features(batch)
        on_varied = _answers(predictor, features)
        dropped = None
        if options.dropout_passes and has_dropout(network.dropout):
            with dropout_on(network.dropout):
                dropped = _answers(predictor, network.dropout(features[:1].expand(DROPOUT_PASSES, -1)))
    return on_varied, dropped, features[:1].float().cpu()


def _answers(predictor: ClassificationPredictor, features: Tensor) -> list[Tensor]:
    heads = zip(predictor.plan.attributes, predictor.network.heads, strict=True)
    return [probabilities_of(one, head(features)).float().cpu() for one, head in heads]


class _Sums:
    """What the members disagree about and what they are all unsure of, over the attributes."""

    def __init__(self) -> None:
        self.by_class: dict[str, dict[str, float]] = {Measure.BALD.value: {}, Measure.ALEATORIC.value: {}}
        self._cases: dict[str, list[float]] = {Measure.BALD.value: [], Measure.ALEATORIC.value: []}

    def add(self, attribute: PlannedAttribute, members: Tensor, varied: Tensor) -> None:
        """Take one attribute's probabilities, ``M x K``, in nats; of findings, the mean over them."""
        names = [class_name(attribute.name, name) for name in attribute.classes]
        apart = (torch.stack([one, 1 - one], 1) for one in (members, varied))  # each class: there or not, M x 2 x K
        disagreement, doubt = (f(one) for f, one in zip(_MEASURES, apart, strict=True))
        for measure, values in zip(self.by_class, (disagreement, doubt), strict=True):
            self.by_class[measure] |= dict(zip(names, values.tolist(), strict=True))
        if attribute.kind is not AttributeKind.MULTI:
            disagreement, doubt = (f(one) for f, one in zip(_MEASURES, (members, varied), strict=True))
        for measure, values in zip(self._cases, (disagreement, doubt), strict=True):
            self._cases[measure].append(float(values.mean()))

    def means(self) -> dict[str, float]:
        return {measure: sum(values) / len(values) for measure, values in self._cases.items()}


_MEASURES = (acquisition.mutual_information, acquisition.expected_entropy)


def _gradient(attribute: PlannedAttribute, plain: Tensor, features: Tensor) -> Tensor:
    """BADGE's embedding of one attribute; of findings, each against its absence."""
    if attribute.kind is not AttributeKind.MULTI:
        return acquisition.gradient_embedding(plain, features)[0]
    apart = torch.stack([1 - plain[0], plain[0]], 1)  # K x 2
    both = acquisition.gradient_embedding(apart, features.expand(len(apart), -1)).unflatten(1, (2, -1))
    return both[:, 1].flatten()  # the gradient of "not there" is its negative


def _projected(gradient: Tensor) -> Tensor:
    """At most `MOST_GRADIENT_NUMBERS` numbers; every case is projected by the same matrix."""
    if len(gradient) <= MOST_GRADIENT_NUMBERS:
        return gradient
    generator = torch.Generator().manual_seed(len(gradient))
    matrix = torch.randn(MOST_GRADIENT_NUMBERS, len(gradient), generator=generator)
    return matrix @ gradient / MOST_GRADIENT_NUMBERS**0.5
