"""What cannot be done with the scene."""

from __future__ import annotations


class SceneError(Exception):
    """A sentence for the user: what is wrong with an image, a segmentation or a file, and what to do about it."""
