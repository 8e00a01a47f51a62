"""The 3D view's picture, drawn by Slicer's displayable managers."""

from __future__ import annotations

from typing import Any

import slicer
import vtk

from tests.slicer.bed import offscreen
from tests.slicer.bed.pictures import Picture

_MANAGER = "vtkMRMLSegmentationsDisplayableManager3D"
_BACKGROUND = (0.66, 0.67, 0.85)  # between the two colours that Slicer's view fades through


def surfaces_picture(width: int, height: int) -> Picture:
    """What the 3D view shows of the scene's segmentations, seen from the front."""
    window = offscreen.window(width, height, samples=4)
    renderer = vtk.vtkRenderer()
    renderer.SetBackground(*_BACKGROUND)
    window.AddRenderer(renderer)
    interactor = vtk.vtkGenericRenderWindowInteractor()  # the managers need one
    interactor.SetRenderWindow(window)
    group = _displayable_managers(renderer)
    camera = renderer.GetActiveCamera()
    camera.SetPosition(120, 500, 90)
    camera.SetFocalPoint(0, 0, 0)
    camera.SetViewUp(0, 0, 1)
    renderer.ResetCamera()
    camera.Zoom(1.3)
    try:
        return offscreen.picture_of(window)
    finally:
        group.SetMRMLDisplayableNode(None)
        window.Finalize()


def _displayable_managers(renderer: vtk.vtkRenderer) -> Any:
    factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
    factory.SetMRMLApplicationLogic(slicer.app.applicationLogic())
    if not factory.IsDisplayableManagerRegistered(_MANAGER):
        factory.RegisterDisplayableManager(_MANAGER)
    group = slicer.vtkMRMLDisplayableManagerGroup()
    group.SetRenderer(renderer)
    group.Initialize(factory, renderer)
    group.SetMRMLDisplayableNode(slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLViewNode"))
    return group
