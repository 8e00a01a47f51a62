"""The learning curve of a training run, as a chart in Slicer's plot view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import slicer
import vtk
from slicer.i18n import tr as _

from .errors import SceneError

EPOCH, LOSS, VALIDATION = "epoch", "train_loss", "validation"
LOSS_COLOR = (0.90, 0.45, 0.13)
VALIDATION_COLOR = (0.12, 0.55, 0.80)
LINE_WIDTH = 2.0
MARKER_SIZE = 7.0

GENERATOR_COLOR = (0.12, 0.55, 0.80)
DISCRIMINATOR_COLOR = (0.90, 0.45, 0.13)
RECONSTRUCTION_COLOR = (0.25, 0.62, 0.32)

VERSION_COLOR = (0.55, 0.55, 0.55)
IN_USE_COLOR = (0.12, 0.55, 0.80)

Row = tuple[float, ...]


class Line(NamedTuple):
    """A line of the chart: the field of a record that it shows, its name, and its colour (RGB, 0..1)."""

    field: str
    name: str
    color: tuple[float, float, float]


class _Nodes(NamedTuple):
    table: Any
    series: tuple[Any, ...]
    chart: Any

    @property
    def all(self) -> tuple[Any, ...]:
        return (self.table, *self.series, self.chart)


def adversarialLines() -> tuple[Line, ...]:
    """The losses of a generator and of its discriminator, for a `LearningCurve`."""
    return (
        Line("generator_loss", _("Generator loss"), GENERATOR_COLOR),
        Line("discriminator_loss", _("Discriminator loss"), DISCRIMINATOR_COLOR),
        Line("reconstruction_loss", _("Reconstruction loss"), RECONSTRUCTION_COLOR),
    )


def roundLines() -> tuple[Line, ...]:
    """The validation figure of each version, and of those that came into use, for a `LearningCurve`."""
    return (
        Line("score", _("Every version"), VERSION_COLOR),
        Line("scoreInUse", _("Put into use"), IN_USE_COLOR),
    )


class LearningCurve:
    """Figures over the epochs, by default training loss and a validation figure: one table, a series each, one chart.

    The nodes are made when there is something to show, and made anew if the user has closed the scene or deleted one
    of them. They are left out of a saved scene: the figures belong to the server.

    Args:
        lines: What is drawn; training loss and validation figure if None.
        across: The field of a record that the figures are drawn over, and its name; the epoch by default.
        figures: What lines of one's own show, in a word; losses by default.
    """

    def __init__(
        self,
        title: str = "",
        lines: Sequence[Line] | None = None,
        across: tuple[str, str] | None = None,
        figures: str = "",
    ) -> None:
        self._title = title
        self._lines = tuple(lines) if lines is not None else _trainingLines()
        self._across, self._acrossName = across or (EPOCH, _("Epoch"))
        self._figures = figures or _("Loss")
        self._hasMeasure = lines is None
        self._measure = _("Dice")
        self._rows: list[Row] | None = None
        self._nodes: _Nodes | None = None
        self._layoutBefore: int | None = None
        self._layoutShown: int | None = None

    @property
    def shown(self) -> bool:
        """True from `show` until `hide`, unless the user has chosen another layout meanwhile."""
        layoutNode = _layoutNode()
        return (
            self._layoutShown is not None
            and layoutNode is not None
            and layoutNode.GetViewArrangement() == self._layoutShown
        )

    def update(self, epochs: Sequence[Any], measure: str = "") -> None:
        """Draw these epochs; called again and again while a run goes on.

        Args:
            epochs: Records with `epoch` (or what is across) and the fields of the lines, such as `train_loss` and
                `validation`; None where a figure was not measured, which leaves a gap.
            measure: What the validation figure is, in a word; the Dice by default.
        """
        fields = (self._across, *(line.field for line in self._lines))
        rows = [tuple(_number(getattr(epoch, field)) for field in fields) for epoch in epochs]
        kept = self._nodesInScene()
        self._measure = measure or _("Dice")
        if kept is not None:
            self._nameMeasure(kept)
        if kept is not None and repr(rows) == repr(self._rows):  # by text: NaN is not equal to itself
            return
        nodes = kept if kept is not None else self._make()
        self._rows = rows
        self._fill(nodes.table, rows)
        nodes.chart.Modified()  # else a chart that is shown while its table was empty stays empty
        if kept is None and self.shown:
            self._putIntoView(nodes)

    def show(self) -> None:
        """Put the chart into a plot view, and remember the layout for `hide`.

        Raises:
            SceneError: Slicer runs without its Plots module or without views.
        """
        layoutNode = _layoutNode()
        if layoutNode is None or getattr(slicer.modules, "plots", None) is None:
            raise SceneError(
                _("The learning curve cannot be drawn: Slicer runs without plot views. Start it with its main window.")
            )
        nodes = self._nodesInScene()
        if nodes is None:
            nodes = self._make()
            self._fill(nodes.table, self._rows or [])
        if not self.shown:
            self._layoutBefore = layoutNode.GetViewArrangement()
        self._putIntoView(nodes)
        self._layoutShown = layoutNode.GetViewArrangement()

    def hide(self) -> None:
        """Go back to the layout from before `show`; one that the user has chosen since then stays."""
        if self.shown and self._layoutBefore is not None:
            _layoutNode().SetViewArrangement(self._layoutBefore)
        self._layoutBefore = self._layoutShown = None

    def clear(self) -> None:
        """Remove the curve and all its nodes."""
        nodes, self._nodes, self._rows = self._nodes, None, None
        for node in reversed(nodes.all if nodes is not None else ()):
            if slicer.mrmlScene.IsNodePresent(node):
                slicer.mrmlScene.RemoveNode(node)

    def _nodesInScene(self) -> _Nodes | None:
        """The nodes, if all are still in the scene; what is left of them is removed otherwise."""
        if self._nodes is None:
            return None
        if all(slicer.mrmlScene.IsNodePresent(node) for node in self._nodes.all):
            return self._nodes
        rows = self._rows
        self.clear()
        self._rows = rows
        return None

    def _make(self) -> _Nodes:
        title = self._title or _("LabelLoop training")
        table = _addNode("vtkMRMLTableNode", title)
        series = tuple(_addSeries(table, self._across, line) for line in self._lines)
        chart = _addNode("vtkMRMLPlotChartNode", title)
        chart.SetTitle(title)
        chart.SetXAxisTitle(self._acrossName)
        chart.SetLegendVisibility(True)
        for one in series:
            chart.AddAndObservePlotSeriesNodeID(one.GetID())
        self._nodes = _Nodes(table, series, chart)
        self._nameMeasure(self._nodes)
        return self._nodes

    def _nameMeasure(self, nodes: _Nodes) -> None:
        if not self._hasMeasure:
            nodes.chart.SetYAxisTitle(self._figures)
            return
        nodes.series[-1].SetName(_("Validation {measure}").format(measure=self._measure))
        nodes.chart.SetYAxisTitle(_("Loss, {measure}").format(measure=self._measure))

    def _fill(self, tableNode: Any, rows: Sequence[Row]) -> None:
        modified = tableNode.StartModify()
        try:
            table = vtk.vtkTable()
            for place, name in enumerate((self._across, *(line.field for line in self._lines))):
                column = vtk.vtkDoubleArray()
                column.SetName(name)
                for row in rows:
                    column.InsertNextValue(row[place])
                table.AddColumn(column)
            tableNode.SetAndObserveTable(table)
        finally:
            tableNode.EndModify(modified)

    @staticmethod
    def _putIntoView(nodes: _Nodes) -> None:
        slicer.modules.plots.logic().ShowChartInLayout(nodes.chart)


def _trainingLines() -> tuple[Line, ...]:
    return (
        Line(LOSS, _("Training loss"), LOSS_COLOR),
        Line(VALIDATION, "", VALIDATION_COLOR),  # named after what is measured
    )


def _addNode(className: str, name: str) -> Any:
    node = slicer.mrmlScene.AddNewNodeByClass(className, name)
    node.SetSaveWithScene(False)
    return node


def _addSeries(table: Any, across: str, line: Line) -> Any:
    series = _addNode("vtkMRMLPlotSeriesNode", line.name)
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetXColumnName(across)
    series.SetYColumnName(line.field)
    series.SetPlotType(series.PlotTypeScatter)  # a "line" in Slicer has no x values
    series.SetLineStyle(series.LineStyleSolid)
    series.SetLineWidth(LINE_WIDTH)
    series.SetMarkerStyle(series.MarkerStyleCircle)  # a value between two gaps is a point without a line
    series.SetMarkerSize(MARKER_SIZE)
    series.SetColor(*line.color)
    return series


def _layoutNode() -> Any:
    """The node that the program's layout manager follows; None where there is no layout manager."""
    return slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
