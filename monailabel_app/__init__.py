"""LabelLoop: the active-learning loop for clinicians who annotate in 3D Slicer."""

__version__ = "0.1.0"
