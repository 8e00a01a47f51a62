"""A VTK window without a screen, whose picture is an array."""

from __future__ import annotations

import numpy as np
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from .pictures import Picture


def window(width: int, height: int, samples: int = 0) -> vtk.vtkRenderWindow:
    """An offscreen render window of that many pixels."""
    made = vtk.vtkRenderWindow()
    made.SetOffScreenRendering(1)
    made.SetMultiSamples(samples)
    made.SetSize(width, height)
    return made


def picture_of(shown: vtk.vtkRenderWindow) -> Picture:
    """Draw the window and return its picture.

    Raises:
        RuntimeError: this machine cannot draw offscreen.
    """
    shown.Render()
    reader = vtk.vtkWindowToImageFilter()
    reader.SetInput(shown)
    reader.ReadFrontBufferOff()
    reader.Update()
    image = reader.GetOutput()
    columns, rows, _ = image.GetDimensions()
    scalars = image.GetPointData().GetScalars()
    if scalars is None:
        raise RuntimeError("nothing was drawn: VTK found no way to draw offscreen (install libegl1 and libgl1)")
    return np.ascontiguousarray(vtk_to_numpy(scalars).reshape(rows, columns, -1)[::-1, :, :3])
