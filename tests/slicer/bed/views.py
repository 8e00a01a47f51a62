"""Slice views, drawn offscreen by Slicer's own slice logic and displayable managers.

The views are those of the layout manager. So a picture shows what the extension has put into them: the background
volume, its window and level, the orientation, and the segmentation's fill and outline.
"""

from __future__ import annotations

from typing import Any

import slicer
import vtk

from . import offscreen, pictures
from .layout import SLICE_VIEWS
from .pictures import Picture

_MANAGERS = ("vtkMRMLSegmentationsDisplayableManager2D", "vtkMRMLMarkupsDisplayableManager")
_LABELS = {"Axial": "A", "Coronal": "C", "Sagittal": "S"}
_EMPTY_3D = ((0.757, 0.765, 0.910), (0.455, 0.471, 0.745))  # an empty 3D view's fade in Slicer, bottom and top


class SliceView:
    """Stands for ``qMRMLSliceView``: draws one of the layout's slice views ("Red", "Yellow", "Green")."""

    def __init__(self, name: str = "Red", width: int = 400, height: int = 400) -> None:
        widget = slicer.app.layoutManager().sliceWidget(name)
        self._logic, self._annotation = widget.sliceLogic(), widget.sliceView().cornerAnnotation()
        self._window = offscreen.window(width, height)
        self._renderer = vtk.vtkRenderer()
        self._renderer.GetActiveCamera().ParallelProjectionOn()
        self._renderer.SetBackground(0, 0, 0)
        self._window.AddRenderer(self._renderer)
        self._interactor = vtk.vtkGenericRenderWindowInteractor()  # some managers need one
        self._interactor.SetRenderWindow(self._window)
        self._mapper, self._actor = vtk.vtkImageMapper(), vtk.vtkActor2D()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._actor.SetMapper(self._mapper)
        self._actor.GetProperty().SetDisplayLocationToBackground()
        self._renderer.AddViewProp(self._actor)  # before the managers' actors, which are drawn on it
        self._renderer.AddViewProp(self._annotation)
        self._group = self._displayable_managers()
        self._logic.ResizeSliceNode(width, height)

    def _displayable_managers(self) -> Any:
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        for name in _MANAGERS:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        group = slicer.vtkMRMLDisplayableManagerGroup()
        group.SetRenderer(self._renderer)
        group.Initialize(factory, self._renderer)
        group.SetMRMLDisplayableNode(self._logic.GetSliceNode())
        return group

    def picture(self) -> Picture:
        """What the view shows now, as RGB: rows x columns x 3."""
        image = self._logic.GetImageDataConnection()  # none without a volume
        self._actor.SetVisibility(image is not None)
        if image is not None:
            self._mapper.SetInputConnection(image)
        return offscreen.picture_of(self._window)

    def close(self) -> None:
        """Let go of the view's node, so that it is not redrawn when the scene changes."""
        self._group.SetMRMLDisplayableNode(None)
        self._renderer.RemoveViewProp(self._annotation)
        self._annotation.ReleaseGraphicsResources(self._window)
        self._window.Finalize()


def slice_picture(name: str = "Red", width: int = 400, height: int = 400, fit: bool = False) -> Picture:
    """A picture of one of the layout's slice views; ``fit`` shows all of its background volume first."""
    view = SliceView(name, width, height)
    try:
        if fit:
            logic = slicer.app.layoutManager().sliceWidget(name).sliceLogic()
            logic.FitSliceToBackground()
            logic.SnapSliceOffsetToIJK()
        return view.picture()
    finally:
        view.close()


def four_views(width: int = 400, height: int = 400, fourth: Picture | None = None, fit: bool = True) -> Picture:
    """Slicer's four-up layout: axial, the fourth picture (else an empty 3D view), coronal, sagittal.

    ``width`` and ``height`` are those of one view, without the bar above it (pixels).
    """
    by_orientation = {orientation: name for name, orientation in SLICE_VIEWS.items()}
    shown = {o: _with_bar(by_orientation[o], o, slice_picture(by_orientation[o], width, height, fit)) for o in _LABELS}
    if fourth is None:
        fourth = pictures.fade(_EMPTY_3D[1], _EMPTY_3D[0], width, height)
        fourth = pictures.with_bar(fourth, "1", (0.55, 0.58, 0.85))
    elif fourth.shape != shown["Axial"].shape:
        raise ValueError(f"the fourth picture is {fourth.shape[:2]}, the others are {shown['Axial'].shape[:2]}")
    return pictures.grid((shown["Axial"], fourth), (shown["Coronal"], shown["Sagittal"]))


def _with_bar(name: str, orientation: str, picture: Picture) -> Picture:
    node = slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode()
    offset = slicer.app.layoutManager().sliceWidget(name).sliceLogic().GetSliceOffset()
    axis = {"Axial": ("S", "I"), "Coronal": ("A", "P"), "Sagittal": ("R", "L")}[orientation]
    text = f"{name[0]}   {orientation}   {axis[0] if offset >= 0 else axis[1]}: {abs(offset):.1f} mm"
    return pictures.with_bar(picture, text, node.GetLayoutColor())
