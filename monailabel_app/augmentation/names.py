"""The names of the tasks that make images."""

from __future__ import annotations

PAIRS = "augmentation"
"""Trains a generator of image and mask pairs, and fills the bank with candidates."""

CLASSES = "augmentation-classes"
"""Trains a generator of images of a class, likewise."""

ENHANCEMENT = "enhancement"
"""Trains a network that takes noise away; its published version predicts."""

SYNTHESIS = "synthesis"
"""Trains nothing: adds candidates of the generator in use to the bank."""

GENERATORS = (PAIRS, CLASSES, ENHANCEMENT)
"""The tasks that have versions."""
