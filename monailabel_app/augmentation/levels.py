"""How bright each structure is: what a mask alone does not tell of an image.

Told the mask alone, a generator gives all lesions of a label the usual brightness, so that those it makes are more
alike than real ones are. Told the level of each, it makes them as different as they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from monailabel_app.augmentation.mask_regions import parts_of


def levels_of(image: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The mean grey value of the structure that each voxel lies in.

    Args:
        image: ``D x H x W``, normalised.
        target: ``D x H x W``, channels; each connected part of a label is a structure of its own.

    Returns:
        ``D x H x W`` float32; 0 in the background.
    """
    return levels_after(target, image, target, {})


def patch_levels(image: Tensor, target: Tensor) -> Tensor:
    """As `levels_of`, of a patch ``1 x D x H x W`` and its target ``D x H x W``, on the device of the image."""
    levels = levels_of(image[0].cpu().numpy(), target.cpu().numpy())
    return torch.from_numpy(levels).to(image.device)


def levels_after(new: np.ndarray, image: np.ndarray, old: np.ndarray, usual: Mapping[int, float]) -> np.ndarray:
    """The level of each structure of a changed label map, as it is in the image that is changed.

    A structure that lies where one of its label was has that one's level; one that lies elsewhere, that of its label.

    Args:
        new: ``D x H x W``, channels after the change.
        image: ``D x H x W``, normalised, before it.
        old: ``D x H x W``, channels before it.
        usual: Level of each label that the image does not have.

    Returns:
        ``D x H x W`` float32; 0 in the background, and for labels that nothing is known of.
    """
    levels = np.zeros(new.shape, np.float32)
    for channel in (int(value) for value in np.unique(new) if value):
        was = old == channel
        otherwise = float(image[was].mean(dtype=np.float64)) if was.any() else usual.get(channel, 0.0)
        for part, box in parts_of(new == channel):
            stayed = part & was[box]
            level = float(image[box][stayed].mean(dtype=np.float64)) if stayed.any() else otherwise
            levels[box][part] = level
    return levels
