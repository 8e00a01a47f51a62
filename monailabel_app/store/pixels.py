"""From what a file holds (colours, a fourth axis, a single slice) to one scalar image."""

from __future__ import annotations

import SimpleITK as sitk

LUMINANCE = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in grey (ITU-R BT.601)."""


def grey(image: sitk.Image) -> sitk.Image:
    """The luminance of a colour image, in its own integer type; a grey image is returned as it is.

    Of four components the fourth (transparency) is ignored; of two the second is.
    """
    components = image.GetNumberOfComponentsPerPixel()
    if components == 1:
        return image
    if components == 2:
        return sitk.VectorIndexSelectionCast(image, 0)
    red, green, blue = (sitk.VectorIndexSelectionCast(image, n, sitk.sitkFloat32) for n in range(3))
    luminance = LUMINANCE[0] * red + LUMINANCE[1] * green + LUMINANCE[2] * blue
    own_type = sitk.VectorIndexSelectionCast(image, 0).GetPixelID()
    return sitk.Cast(sitk.Round(luminance), own_type)


def first_volume(image: sitk.Image) -> sitk.Image:
    """The 3D image in one that has further axes of one element each; others are returned as they are."""
    if image.GetDimension() <= 3:
        return image
    size = [*image.GetSize()[:3], *[0] * (image.GetDimension() - 3)]
    return sitk.Extract(image, size, directionCollapseToStrategy=sitk.ExtractImageFilter.DIRECTIONCOLLAPSETOSUBMATRIX)


def first_slice(image: sitk.Image) -> sitk.Image:
    """The 2D image in a volume of one slice, with the spacing in the slice and no place in the patient."""
    flat = sitk.Extract(
        image,
        [*image.GetSize()[:2], 0],
        directionCollapseToStrategy=sitk.ExtractImageFilter.DIRECTIONCOLLAPSETOIDENTITY,
    )
    flat.SetOrigin((0.0, 0.0))
    return flat
