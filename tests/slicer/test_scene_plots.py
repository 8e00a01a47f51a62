"""The learning curve in Slicer's plot view: real MRML nodes, Slicer's own plots logic, and VTK's chart."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import slicer
import vtk
from LabelLoopLib.scene.errors import SceneError
from LabelLoopLib.scene.plots import LearningCurve

from tests.slicer import bed

CLASSES = ("vtkMRMLTableNode", "vtkMRMLPlotSeriesNode", "vtkMRMLPlotChartNode")


class Epoch(NamedTuple):
    epoch: int
    train_loss: float
    validation: float | None


RUN = [Epoch(1, 1.5, None), Epoch(2, 1.1, 0.4), Epoch(3, 0.8, None), Epoch(4, 0.7, 0.6)]


@pytest.fixture(autouse=True)
def scene():
    return bed.reset()


def counts() -> list[int]:
    return [slicer.mrmlScene.GetNumberOfNodesByClass(name) for name in CLASSES]


def only(class_name: str):
    (node,) = slicer.util.getNodesByClass(class_name)
    return node


def columns() -> dict[str, list[float]]:
    table = only("vtkMRMLTableNode").GetTable()
    found = [table.GetColumn(i) for i in range(table.GetNumberOfColumns())]
    return {c.GetName(): [c.GetValue(row) for row in range(c.GetNumberOfTuples())] for c in found}


def shown_chart():
    """What the plot view of the layout draws."""
    return only("vtkMRMLPlotViewNode").GetPlotChartNode()


def test_nothing_is_made_before_there_is_something_to_draw() -> None:
    LearningCurve()
    assert counts() == [0, 0, 0]


def test_two_series_over_the_epochs() -> None:
    LearningCurve("Run 7").update(RUN)
    assert counts() == [1, 2, 1]
    chart = only("vtkMRMLPlotChartNode")
    assert (chart.GetTitle(), chart.GetXAxisTitle(), chart.GetYAxisTitle()) == ("Run 7", "Epoch", "Loss, Dice")
    series = [chart.GetNthPlotSeriesNode(i) for i in range(chart.GetNumberOfPlotSeriesNodes())]
    assert [s.GetName() for s in series] == ["Training loss", "Validation Dice"]
    values = columns()
    assert {s.GetXColumnName() for s in series} == {"epoch"}
    assert [s.GetYColumnName() for s in series] == ["train_loss", "validation"]
    assert {s.GetTableNode() for s in series} == {only("vtkMRMLTableNode")}
    assert values["epoch"] == [1, 2, 3, 4]
    assert values["train_loss"] == [1.5, 1.1, 0.8, 0.7]


def test_the_validation_figure_is_named_after_what_the_task_measures() -> None:
    curve = LearningCurve()
    names = []
    for measure in ("", "score", ""):
        curve.update(RUN, measure)
        chart = only("vtkMRMLPlotChartNode")
        names.append((chart.GetNthPlotSeriesNode(1).GetName(), chart.GetYAxisTitle()))
    dice = ("Validation Dice", "Loss, Dice")
    assert names == [dice, ("Validation score", "Loss, score"), dice] and counts() == [1, 2, 1]
    slicer.mrmlScene.Clear(0)
    curve.update(RUN, "score")
    assert only("vtkMRMLPlotChartNode").GetYAxisTitle() == "Loss, score"


def test_what_was_not_measured_is_a_gap_and_no_zero() -> None:
    LearningCurve().update(RUN)
    dice = columns()["validation"]
    assert [None if math.isnan(value) else value for value in dice] == [None, 0.4, None, 0.6]


def test_vtks_chart_leaves_the_gaps_out() -> None:
    """What Slicer's plot view draws with: the values' range is that of the measured ones."""
    LearningCurve().update(RUN)
    plot = vtk.vtkChartXY().AddPlot(vtk.vtkChart.LINE)
    plot.SetInputData(only("vtkMRMLTableNode").GetTable(), "epoch", "validation")
    plot.Update()
    bounds = [0.0] * 4
    plot.GetBounds(bounds)
    assert bounds == [2, 4, 0.4, 0.6]


def test_updates_while_a_run_goes_on_add_no_nodes() -> None:
    curve = LearningCurve()
    for length in range(1, len(RUN) + 1):
        curve.update(RUN[:length])
        assert columns()["epoch"] == [e.epoch for e in RUN[:length]]
    assert counts() == [1, 2, 1]


def test_an_update_without_news_touches_nothing() -> None:
    curve = LearningCurve()
    curve.update(RUN)
    before = only("vtkMRMLTableNode").GetMTime(), only("vtkMRMLPlotChartNode").GetMTime()
    curve.update(list(RUN))
    assert (only("vtkMRMLTableNode").GetMTime(), only("vtkMRMLPlotChartNode").GetMTime()) == before
    curve.update([*RUN[:3], Epoch(4, 0.7, 0.61)])
    assert columns()["validation"][3] == 0.61


def test_a_new_run_replaces_the_last_ones_curve() -> None:
    curve = LearningCurve()
    curve.update(RUN)
    curve.update([])
    assert columns() == {"epoch": [], "train_loss": [], "validation": []}
    curve.update(RUN[:1])
    assert columns()["train_loss"] == [1.5]
    assert counts() == [1, 2, 1]


def test_clear_removes_its_nodes_and_no_others() -> None:
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "the clinician's")
    curve = LearningCurve()
    curve.update(RUN)
    curve.clear()
    assert counts() == [1, 0, 0]
    assert only("vtkMRMLTableNode") is other
    curve.clear()
    curve.update(RUN)
    assert counts() == [2, 2, 1]


def test_closing_the_scene_between_updates_makes_the_nodes_anew() -> None:
    curve = LearningCurve()
    curve.update(RUN[:2])
    slicer.mrmlScene.Clear(0)
    assert counts() == [0, 0, 0]
    curve.update(RUN[:2])
    assert counts() == [1, 2, 1]
    assert columns()["epoch"] == [1, 2]


def test_a_stranger_with_the_same_id_is_left_alone() -> None:
    """A loaded scene may bring nodes with the ids of ours."""
    curve = LearningCurve()
    curve.update(RUN)
    slicer.mrmlScene.Clear(0)
    stranger = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "loaded")
    curve.clear()
    assert only("vtkMRMLTableNode") is stranger


@pytest.mark.parametrize("class_name", CLASSES)
def test_a_deleted_part_is_made_anew_without_leaving_rest(class_name: str) -> None:
    curve = LearningCurve()
    curve.update(RUN)
    slicer.mrmlScene.RemoveNode(slicer.util.getNodesByClass(class_name)[0])
    curve.update(RUN)
    assert counts() == [1, 2, 1]
    assert len(columns()["epoch"]) == len(RUN)


def test_the_curve_is_left_out_of_a_saved_scene() -> None:
    LearningCurve().update(RUN)
    nodes = [node for name in CLASSES for node in slicer.util.getNodesByClass(name)]
    assert [node.GetSaveWithScene() for node in nodes] == [0] * 4


def test_show_puts_the_chart_into_a_plot_view_and_hide_goes_back() -> None:
    manager = slicer.app.layoutManager()
    curve = LearningCurve()
    curve.update(RUN)
    before = manager.layout
    assert not curve.shown
    curve.show()
    assert manager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpPlotView and curve.shown
    assert shown_chart() is only("vtkMRMLPlotChartNode")
    curve.show()
    curve.hide()
    assert manager.layout == before and not curve.shown
    curve.hide()
    assert manager.layout == before


def test_show_before_the_first_epoch_shows_an_empty_chart() -> None:
    curve = LearningCurve()
    curve.show()
    assert counts() == [1, 2, 1]
    curve.update(RUN)
    assert counts() == [1, 2, 1]
    assert len(columns()["epoch"]) == len(RUN)


def test_a_layout_that_the_user_chose_meanwhile_stays() -> None:
    manager = slicer.app.layoutManager()
    curve = LearningCurve()
    curve.show()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    assert not curve.shown
    curve.hide()
    assert manager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView


def test_a_plot_layout_that_was_there_before_stays() -> None:
    manager = slicer.app.layoutManager()
    curve = LearningCurve()
    curve.show()
    layout = manager.layout
    second = LearningCurve()
    second.show()
    second.hide()
    assert manager.layout == layout


def test_a_shown_curve_comes_back_after_the_scene_was_closed() -> None:
    manager = slicer.app.layoutManager()
    curve = LearningCurve()
    curve.update(RUN)
    curve.show()
    layout = manager.layout
    slicer.mrmlScene.Clear(0)
    manager.setLayout(layout)  # as it is in the program, where the layout outlives the scene
    curve.update(RUN)
    assert shown_chart() is only("vtkMRMLPlotChartNode")


def test_without_the_plots_module_a_sentence_says_so() -> None:
    plots = slicer.modules.plots
    del slicer.modules.plots
    try:
        with pytest.raises(SceneError, match="without plot views"):
            LearningCurve().show()
    finally:
        slicer.modules.plots = plots
    assert counts() == [0, 0, 0]


def test_without_a_layout_manager_a_sentence_says_so() -> None:
    slicer.mrmlScene.RemoveNode(slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode"))
    with pytest.raises(SceneError, match="main window"):
        LearningCurve().show()
