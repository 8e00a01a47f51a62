"""A chart's picture, drawn by VTK's charts from a chart node and its series, as Slicer's plot view does."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk

from . import offscreen
from .pictures import Picture

_SERIES = slicer.vtkMRMLPlotSeriesNode
_KINDS = {
    _SERIES.PlotTypeLine: vtk.vtkChart.LINE,
    _SERIES.PlotTypeScatter: vtk.vtkChart.LINE,
    _SERIES.PlotTypeBar: vtk.vtkChart.BAR,
    _SERIES.PlotTypeScatterBar: vtk.vtkChart.BAR,
}
_PENS = {
    _SERIES.LineStyleNone: vtk.vtkPen.NO_PEN,
    _SERIES.LineStyleSolid: vtk.vtkPen.SOLID_LINE,
    _SERIES.LineStyleDash: vtk.vtkPen.DASH_LINE,
    _SERIES.LineStyleDot: vtk.vtkPen.DOT_LINE,
    _SERIES.LineStyleDashDot: vtk.vtkPen.DASH_DOT_LINE,
    _SERIES.LineStyleDashDotDot: vtk.vtkPen.DASH_DOT_DOT_LINE,
}
_MARKERS = {
    _SERIES.MarkerStyleNone: vtk.vtkPlotPoints.NONE,
    _SERIES.MarkerStyleCross: vtk.vtkPlotPoints.CROSS,
    _SERIES.MarkerStylePlus: vtk.vtkPlotPoints.PLUS,
    _SERIES.MarkerStyleSquare: vtk.vtkPlotPoints.SQUARE,
    _SERIES.MarkerStyleCircle: vtk.vtkPlotPoints.CIRCLE,
    _SERIES.MarkerStyleDiamond: vtk.vtkPlotPoints.DIAMOND,
}


def chart_picture(chart: Any, width: int = 640, height: int = 420) -> Picture:
    """Stands for ``qMRMLPlotView``: draw a vtkMRMLPlotChartNode with its series.

    Raises:
        ValueError: a series names a table column that is not there.
    """
    view = vtk.vtkContextView()
    view.SetRenderWindow(offscreen.window(width, height, samples=8))
    view.GetRenderer().SetBackground(1, 1, 1)
    drawn = vtk.vtkChartXY()
    view.GetScene().AddItem(drawn)
    for index in range(chart.GetNumberOfPlotSeriesNodes()):
        _add(drawn, chart.GetNthPlotSeriesNode(index))
    _titles(drawn, chart)
    _axes(drawn, chart)
    picture = offscreen.picture_of(view.GetRenderWindow())
    view.GetRenderWindow().Finalize()
    return picture


def _add(drawn: vtk.vtkChartXY, series: Any) -> None:
    table = series.GetTableNode().GetTable() if series is not None and series.GetTableNode() is not None else None
    if table is None or table.GetNumberOfRows() == 0:
        return
    columns = [series.GetYColumnName()]
    if series.IsXColumnRequired():
        columns.insert(0, series.GetXColumnName())
    for name in columns:
        if table.GetColumnByName(name) is None:
            raise ValueError(f"the series {series.GetName()} wants the column {name!r}, which its table has not")
    plot = drawn.AddPlot(_KINDS[series.GetPlotType()])
    if len(columns) == 2:
        plot.SetInputData(table, *columns)
    else:
        plot.SetInputData(table)
        plot.SetInputArray(1, columns[0])
        plot.SetUseIndexForXSeries(True)
    plot.SetLabel(series.GetName())
    plot.SetColorF(*series.GetColor())
    plot.GetPen().SetOpacityF(series.GetOpacity())
    plot.SetWidth(series.GetLineWidth())
    if isinstance(plot, vtk.vtkPlotPoints):
        plot.GetPen().SetLineType(_PENS[series.GetLineStyle()])
        plot.SetMarkerStyle(_MARKERS[series.GetMarkerStyle()])
        plot.SetMarkerSize(series.GetMarkerSize())


def _titles(drawn: vtk.vtkChartXY, chart: Any) -> None:
    drawn.SetTitle(chart.GetTitle() if chart.GetTitleVisibility() and chart.GetTitle() else "")
    drawn.GetTitleProperties().SetFontSize(chart.GetTitleFontSize())
    drawn.SetShowLegend(bool(chart.GetLegendVisibility()))
    legend = drawn.GetLegend()
    legend.SetLabelSize(chart.GetLegendFontSize())
    legend.SetVerticalAlignment(_emptiest_height(chart))
    legend.SetHorizontalAlignment(vtk.vtkChartLegend.RIGHT)


def _emptiest_height(chart: Any) -> int:
    """The third of the chart's right side with the fewest points: a user would drag the legend there."""
    places = (vtk.vtkChartLegend.BOTTOM, vtk.vtkChartLegend.CENTER, vtk.vtkChartLegend.TOP)
    curves = []
    for index in range(chart.GetNumberOfPlotSeriesNodes()):
        series = chart.GetNthPlotSeriesNode(index)
        table = series.GetTableNode()
        if table is not None and table.GetNumberOfRows():
            values = np.asarray(slicer.util.arrayFromTableColumn(table, series.GetYColumnName()), float)
            curves.append(values[len(values) // 2 :])
    values = np.concatenate([c[np.isfinite(c)] for c in curves]) if curves else np.zeros(0)
    if not len(values):
        return places[2]
    low, high = (values.min(), values.max()) if chart.GetYAxisRangeAuto() else chart.GetYAxisRange()
    counts, _ = np.histogram(values, bins=3, range=(low, max(high, low + 1e-9)))
    return places[2 - int(np.argmin(counts[::-1]))]


def _axes(drawn: vtk.vtkChartXY, chart: Any) -> None:
    sides = (
        (vtk.vtkAxis.BOTTOM, chart.GetXAxisTitle(), chart.GetXAxisTitleVisibility(), chart.GetXAxisRangeAuto(),
         chart.GetXAxisRange(), chart.GetXAxisLogScale()),
        (vtk.vtkAxis.LEFT, chart.GetYAxisTitle(), chart.GetYAxisTitleVisibility(), chart.GetYAxisRangeAuto(),
         chart.GetYAxisRange(), chart.GetYAxisLogScale()),
    )  # fmt: skip
    for side, title, title_visible, automatic, limits, logarithmic in sides:
        axis = drawn.GetAxis(side)
        axis.SetTitle(title if title_visible and title else "")
        axis.GetTitleProperties().SetFontSize(chart.GetAxisTitleFontSize())
        axis.GetTitleProperties().SetBold(False)
        axis.GetLabelProperties().SetFontSize(chart.GetAxisLabelFontSize())
        axis.SetGridVisible(bool(chart.GetGridVisibility()))
        axis.GetGridPen().SetColor(225, 225, 225)
        axis.SetLogScale(bool(logarithmic))
        if not automatic:
            axis.SetBehavior(vtk.vtkAxis.FIXED)
            axis.SetRange(*limits)
