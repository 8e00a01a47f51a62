"""Which kinds of files are sent and taken; nothing else of a file's name ever crosses the wire."""

from __future__ import annotations

from .errors import ClientError
from .plain import plain

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".png", ".jpg", ".jpeg")
"""Formats of images and label maps that are one file each."""

_TWO_FILES = (".mhd", ".nhdr")


def suffixOf(name: str) -> str:
    """The suffix of a file's name, as it is in :data:`SUFFIXES`; nothing else of the name is looked at.

    Raises:
        ClientError: It has none of them.
    """
    lower = name.lower()
    for suffix in SUFFIXES:
        if lower.endswith(suffix):
            return suffix
    if lower.endswith(_TWO_FILES):
        raise ClientError(
            f"An image of the kind {lower[lower.rindex('.') :]} is kept in two files, of which only one can be sent: "
            "convert it to .nii.gz, .nrrd or .mha."
        )
    raise ClientError(
        f"A file of this kind ('{plain(name[-20:], 20)}') is neither sent nor taken: convert it to one of "
        f"{', '.join(SUFFIXES)}."
    )
