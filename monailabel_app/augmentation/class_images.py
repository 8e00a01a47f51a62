"""Images of a class: the recipe of their generator, and the generator at work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from monailabel_app.augmentation.networks import fresh_networks, loaded_generator, part_of
from monailabel_app.augmentation.plan import GeneratorPlan
from monailabel_app.augmentation.recipe import Example, Made
from monailabel_app.errors import BadInput


@dataclass(frozen=True)
class ClassExample:
    """A real image ``C x D x H x W`` (2D: ``C x H x W``), normalised, of the plan's size, and its class by number."""

    id: str
    image: Tensor
    class_number: int


class ClassRecipe:
    """Trains a generator to make images of a class from noise, as in DCGAN (Radford et al., arXiv:1511.06434).

    The class is given to both networks (Mirza and Osindero, arXiv:1411.1784). All classes are drawn as often as each
    other, however rare.

    Args:
        plan: Of kind classes.
        examples: Training cases with an answer.
        random: The source of chance of batches.
        device: Where batches are made.
        seed: Of the fresh weights.

    Raises:
        BadInput: Fewer than two classes have an example.
    """

    is_paired = False

    def __init__(
        self,
        plan: GeneratorPlan,
        examples: Sequence[ClassExample],
        random: np.random.Generator,
        device: torch.device,
        seed: int = 0,
    ) -> None:
        self.plan = plan
        self.device = device
        self._random = random
        found = sorted({one.class_number for one in examples})
        if len(found) < 2:
            seen = ", ".join(plan.classes[number] for number in found) or "none"
            raise BadInput(f"A generator of classes needs training cases of at least two of them; there are: {seen}.")
        self._by_class = {number: [one for one in examples if one.class_number == number] for number in found}
        self.generator, self.discriminator = fresh_networks(plan, seed, device)

    def draw(self) -> Example:
        numbers = self._random.choice(list(self._by_class), self.plan.batch_size)
        images = []
        for number in numbers.tolist():
            of_class = self._by_class[number]
            images.append(of_class[int(self._random.integers(len(of_class)))].image)
        real = torch.stack(images).float().to(self.device)
        one_hot = _one_hot(torch.from_numpy(numbers), self.plan).to(self.device)
        shape = (*one_hot.shape, *[1] * len(self.plan.size))
        return Example(real, one_hot.reshape(shape).expand(*one_hot.shape, *self.plan.size))

    def make(self, example: Example) -> Made:
        one_hot = example.judged.flatten(2)[:, :, 0]
        noise = torch.randn(len(one_hot), self.plan.z_dim).to(self.device)
        image = self.generator(torch.cat([noise, one_hot], 1)).float()
        return Made(image, torch.zeros((), device=self.device), None)


class ClassImageGenerator:
    """A trained generator at work.

    Args:
        plan: Its plan.
        weights: Of a version: the entries ``average.`` are used.
        device: Where to run.

    Raises:
        BadInput: The weights do not belong to the plan.
    """

    def __init__(self, plan: GeneratorPlan, weights: Mapping[str, Tensor], device: torch.device | str) -> None:
        self.plan = plan
        self.device = torch.device(device)
        self._network = loaded_generator(plan, part_of(weights, "average"), self.device)

    @torch.inference_mode()
    def make(self, class_name: str, seed: int) -> Tensor:
        """An image of a class: ``C x D x H x W`` float32, normalised; the same seed gives the same image.

        Raises:
            BadInput: There is no such class.
        """
        if class_name not in self.plan.classes:
            names = ", ".join(self.plan.classes)
            raise BadInput(f"This generator makes no '{class_name[:60]}'; it makes: {names}.")
        number = torch.tensor([self.plan.classes.index(class_name)])
        noise = torch.randn(1, self.plan.z_dim, generator=torch.Generator().manual_seed(seed))
        told = torch.cat([noise, _one_hot(number, self.plan)], 1).to(self.device)
        return self._network(told)[0].float().cpu()


def _one_hot(numbers: Tensor, plan: GeneratorPlan) -> Tensor:
    """``B`` to ``B x classes``, float."""
    return functional.one_hot(numbers.long(), len(plan.classes)).float()
