"""The test bed itself: what it imitates behaves as Slicer's, and what it measures and draws is right."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import qt
import slicer
import vtk
from PySide6 import QtCore

from tests.slicer import bed
from tests.slicer.bed import base_classes, charts, pictures, views
from tests.slicer.bed.waiting import PauseMeter, run_events, wait_for

MODULE = Path(__file__).parent / "bed_module" / "BedModule.py"
LIVER = (0.87, 0.51, 0.4)


@pytest.fixture
def module(slicer_scene: Any) -> ModuleType:
    return bed.load_module(MODULE)


def matrix_of(volume: Any) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def add_volume(name: str = "CT") -> Any:
    """A rotated volume of 80 x 60 x 20 voxels of 0.7 x 0.9 x 2.5 mm."""
    turn = np.array([[-0.8, 0.6, 0], [-0.6, -0.8, 0], [0, 0, 1]])
    ijk_to_ras = np.eye(4)
    ijk_to_ras[:3, :3] = turn @ np.diag([0.7, 0.9, 2.5])
    ijk_to_ras[:3, 3] = 11, -22, 33
    values = np.random.default_rng(0).integers(-1000, 1000, (20, 60, 80)).astype(np.int16)
    volume = slicer.util.addVolumeFromArray(values, ijkToRAS=ijk_to_ras, name=name)
    volume.CreateDefaultDisplayNodes()
    return volume


def add_segmentation(volume: Any, mask: np.ndarray, colour: tuple[float, float, float] = LIVER) -> Any:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "segmentation")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    node.GetSegmentation().AddEmptySegment("liver", "liver", colour)
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), node, "liver", volume)
    return node


class TestPythonQt:
    def test_properties_are_attributes_and_accessors_of_another_name_stay(self) -> None:
        box = qt.QCheckBox("Show")
        box.checked = True
        assert (box.text, box.checked, box.isChecked()) == ("Show", True, True)
        box.setText("Hide")
        assert box.text == "Hide"
        with pytest.raises(TypeError):
            box.text()

    def test_an_attribute_that_the_class_has_not_cannot_be_set(self) -> None:
        for widget, name in ((qt.QLabel(), "txt"), (qt.QLabel(), "setText"), (slicer.qMRMLNodeComboBox(), "nodeType")):
            with pytest.raises(AttributeError, match=name):
                setattr(widget, name, "x")

    def test_a_read_only_property_cannot_be_set(self) -> None:
        with pytest.raises(AttributeError, match="read-only"):
            qt.QLabel().width = 3

    def test_a_python_subclass_has_attributes_of_its_own(self) -> None:
        class Dialog(qt.QDialog):
            pass

        dialog = Dialog()
        dialog.answer = 42
        dialog.windowTitle = "Question"
        assert (dialog.answer, dialog.windowTitle) == (42, "Question")
        del dialog.answer
        assert not hasattr(dialog, "answer")

    def test_signals_connect_by_signature_and_disconnect(self) -> None:
        button, heard = qt.QPushButton(), []
        button.checkable = True
        button.connect("clicked(bool)", heard.append)
        button.click()
        button.disconnect("clicked(bool)", heard.append)
        button.click()
        assert heard == [True]

    def test_a_mistyped_signal_fails(self) -> None:
        with pytest.raises(ValueError, match="no signal 'clickd"):
            qt.QPushButton().connect("clickd(bool)", print)

    def test_what_pythonqt_does_not_offer_is_not_there(self) -> None:
        assert not any(hasattr(qt, name) for name in ("Signal", "Slot", "Property"))

    def test_only_the_ui_thread_uses_qt(self) -> None:
        label, errors = qt.QLabel(), []

        def work() -> None:
            try:
                label.text = "from a worker"
            except RuntimeError as error:
                errors.append(str(error))

        worker = threading.Thread(target=work)
        worker.start()
        worker.join()
        assert "outside the UI thread" in errors[0] and label.text == ""

    def test_what_pyside_loses_of_none_and_false_is_made_up_for(self) -> None:
        label = qt.QLabel()
        for _ in range(1000):
            label.text = "x"
            isinstance(label, QtCore.Signal)
        for single in (None, True, False):
            assert sys.version_info >= (3, 12) or sys.getrefcount(single) > 1 << 39


class TestForms:
    def load(self, tmp_path: Path, text: str) -> Any:
        form = tmp_path / "form.ui"
        form.write_text(f'<ui version="4.0"><widget class="QWidget" name="root">{text}</widget></ui>')
        return slicer.util.loadUI(str(form))

    def test_a_widget_without_a_stand_in_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(RuntimeError, match="ctkRangeWidget"):
            self.load(tmp_path, '<widget class="ctkRangeWidget" name="range"/>')

    def test_an_enum_that_qt5_does_not_understand_is_refused(self, tmp_path: Path) -> None:
        enum = "<enum>Qt::Orientation::Horizontal</enum>"
        with pytest.raises(RuntimeError, match="Qt 5"):
            self.load(
                tmp_path, f'<widget class="QSlider" name="s"><property name="orientation">{enum}</property></widget>'
            )

    def test_children_do_not_become_attributes_of_the_form(self, tmp_path: Path) -> None:
        widget = self.load(tmp_path, '<widget class="QLabel" name="status"/>')
        assert not hasattr(widget, "status")
        assert slicer.util.childWidgetVariables(widget).status.className() == "QLabel"

    def test_a_combo_box_gets_no_scene_that_the_form_does_not_connect(self, slicer_scene: Any, tmp_path: Path) -> None:
        volume = add_volume()
        combo = '<widget class="qMRMLNodeComboBox" name="combo"/>'
        form = tmp_path / "form.ui"
        form.write_text(f'<ui version="4.0"><widget class="qMRMLWidget" name="root">{combo}</widget></ui>')
        widget = slicer.util.loadUI(str(form))
        widget.setMRMLScene(slicer.mrmlScene)
        found = slicer.util.findChild(widget, "combo")
        found.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        assert found.currentNode() is None
        found.setMRMLScene(slicer.mrmlScene)
        assert found.currentNode() is volume


class TestWidgets:
    def test_a_section_hides_its_contents_when_it_is_closed(self) -> None:
        import ctk

        section = ctk.ctkCollapsibleButton("Training")
        layout = qt.QVBoxLayout(section)
        always_hidden, label = qt.QLabel("hidden"), qt.QLabel("shown")
        always_hidden.setVisible(False)
        for widget in (always_hidden, label):
            layout.addWidget(widget)
        section.show()
        open_height = section.sizeHint().height()
        heard: list[bool] = []
        section.connect("contentsCollapsed(bool)", heard.append)
        section.collapsed = True
        assert not label.visible and section.sizeHint().height() < open_height
        section.collapsed = False
        assert label.visible and not always_hidden.visible
        assert heard == [True, False]

    def test_a_path_is_told_when_it_changes(self) -> None:
        import ctk

        edit, heard = ctk.ctkPathLineEdit(), []
        edit.connect("currentPathChanged(QString)", heard.append)
        edit.currentPath = "/etc/ca.pem"
        edit.currentPath = ""
        assert heard == ["/etc/ca.pem", ""]

    def test_a_class_without_a_stand_in_can_be_named_but_not_made(self) -> None:
        import ctk

        assert not isinstance(qt.QWidget(), ctk.ctkRangeWidget)
        with pytest.raises(NotImplementedError, match="ctkRangeWidget"):
            ctk.ctkRangeWidget()

    def test_the_node_combo_box_follows_the_scene(self, slicer_scene: Any) -> None:
        combo, heard = slicer.qMRMLNodeComboBox(), []
        combo.nodeTypes, combo.showChildNodeTypes = ["vtkMRMLScalarVolumeNode"], False
        combo.connect("currentNodeChanged(vtkMRMLNode*)", heard.append)
        combo.setMRMLScene(slicer_scene)
        first = add_volume("first")
        slicer_scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "a child class")
        add_volume("second")
        first.SetName("renamed")
        assert [combo.itemText(i) for i in range(combo.count)] == ["renamed", "second"]
        assert heard == [first] and combo.currentNodeID == first.GetID()
        slicer_scene.RemoveNode(first)
        assert combo.currentNode().GetName() == "second"
        combo.noneEnabled = True
        combo.setCurrentNode(None)
        slicer_scene.Clear(0)
        assert combo.currentNode() is None and combo.count == 1

    def test_the_segment_editor_needs_its_node_and_shows_the_segments(self, slicer_scene: Any) -> None:
        volume = add_volume()
        node = add_segmentation(volume, slicer.util.arrayFromVolume(volume) > 900)
        editor, heard = slicer.qMRMLSegmentEditorWidget(), []
        editor.setMRMLScene(slicer_scene)
        with pytest.raises(RuntimeError, match="editor node"):
            editor.setSegmentationNode(node)
        editor.setMRMLSegmentEditorNode(slicer_scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode"))
        editor.connect("segmentationNodeChanged(vtkMRMLSegmentationNode*)", heard.append)
        editor.setSegmentationNode(node)
        editor.setSourceVolumeNode(volume)
        node.GetSegmentation().AddEmptySegment("spleen", "spleen")
        table = editor.findChild(qt.QTableWidget)
        assert [table.item(row, 2).text() for row in range(table.rowCount)] == ["liver", "spleen"]
        table.selectRow(1)
        editor.setActiveEffectByName("Paint")
        assert (heard, editor.currentSegmentID(), editor.activeEffect().name) == ([node], "spleen", "Paint")
        assert not hasattr(editor, "setMasterVolumeNode")
        slicer_scene.RemoveNode(node)
        assert editor.segmentationNode() is None
        run_events(0.01)


class TestApplication:
    def test_versions_and_paths(self, slicer_scene: Any) -> None:
        app = slicer.app
        assert (app.applicationVersion, app.majorVersion, app.minorVersion) == ("5.10.0", 5, 10)
        assert Path(app.temporaryPath).is_dir()
        assert Path(app.slicerUserSettingsFilePath).suffix == ".ini"

    def test_settings_last_for_one_test(self, slicer_scene: Any) -> None:
        qt.QSettings().setValue("Module/key", "value")
        assert slicer.app.settings().value("Module/key") == "value"
        assert slicer.util.settingsValue("Module/key", "") == "value"
        slicer.app.settings().sync()
        assert "key=value" in Path(slicer.app.slicerUserSettingsFilePath).read_text()
        bed.reset()
        assert not qt.QSettings().contains("Module/key")

    def test_a_chart_is_shown_in_a_plot_view(self, slicer_scene: Any) -> None:
        manager = slicer.app.layoutManager()
        assert (manager.layout, manager.plotViewCount) == (slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView, 0)
        chart = slicer_scene.AddNewNodeByClass("vtkMRMLPlotChartNode")
        slicer.modules.plots.logic().ShowChartInLayout(chart)
        assert manager.plotWidget(0).mrmlPlotViewNode().GetPlotChartNode() is chart

    def test_volumes_are_shown_in_all_slice_views(self, slicer_scene: Any) -> None:
        volume = add_volume()
        slicer.util.setSliceViewerLayers(background=volume, fit=True, rotateToVolumePlane=True)
        manager = slicer.app.layoutManager()
        for name in manager.sliceViewNames():
            composite = manager.sliceWidget(name).sliceLogic().GetSliceCompositeNode()
            assert composite.GetBackgroundVolumeID() == volume.GetID()
        assert sorted(manager.sliceViewNames()) == ["Green", "Red", "Yellow"]

    def test_a_layout_node_that_is_removed_lives_as_long_as_something_points_at_it(self, slicer_scene: Any) -> None:
        gone: list[bool] = []
        node = slicer_scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
        node.AddObserver("DeleteEvent", lambda *_: gone.append(True))
        slicer_scene.RemoveNode(node)
        del node
        assert not gone
        bed.reset()
        assert gone


class TestFiles:
    @pytest.mark.parametrize("suffix", ["nrrd", "nii.gz", "mha"])
    def test_a_rotated_volume_comes_back_the_same(self, slicer_scene: Any, tmp_path: Path, suffix: str) -> None:
        volume = add_volume()
        file = str(tmp_path / f"v.{suffix}")
        assert slicer.util.saveNode(volume, file)
        again = slicer.util.loadVolume(file)
        np.testing.assert_allclose(matrix_of(again), matrix_of(volume), atol=1e-5)
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(again), slicer.util.arrayFromVolume(volume))

    def test_a_segmentation_comes_back_the_same(self, slicer_scene: Any, tmp_path: Path) -> None:
        volume = add_volume()
        mask = slicer.util.arrayFromVolume(volume) > 500
        file = str(tmp_path / "s.seg.nrrd")
        assert slicer.util.saveNode(add_segmentation(volume, mask), file)
        again = slicer.util.loadSegmentation(file)
        np.testing.assert_array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(again, "liver", volume), mask)

    def test_a_scene_is_written_and_read(self, slicer_scene: Any, tmp_path: Path) -> None:
        add_volume("in the scene")
        for name in ("scene.mrml", "scene.mrb"):
            assert slicer.util.saveScene(str(tmp_path / name))
        bed.reset()
        slicer.util.loadScene(str(tmp_path / "scene.mrb"))
        assert slicer.util.getNode("in the scene").GetImageData().GetDimensions() == (80, 60, 20)

    def test_a_missing_file_is_an_error(self, slicer_scene: Any, tmp_path: Path) -> None:
        with pytest.raises(RuntimeError, match="nothing.nrrd"):
            slicer.util.loadVolume(str(tmp_path / "nothing.nrrd"))


class TestModules:
    def test_a_module_is_loaded_shown_and_unloaded(self, module: ModuleType) -> None:
        assert slicer.modules.bedmodule.title == "Bed module"
        assert "BedModule" in slicer.util.moduleNames()
        slicer.util.selectModule("BedModule")
        assert slicer.util.selectedModule() == "BedModule"
        widget = slicer.util.getModuleWidget("BedModule")
        assert widget is slicer.modules.BedModuleWidget
        slicer.util.selectModule("Volumes")
        slicer.util.selectModule("BedModule")
        history = widget.history
        bed.reset()
        assert history == ["enter", "exit", "enter", "exit", "cleanup"]
        assert not hasattr(slicer.modules, "bedmodule") and not hasattr(slicer.modules, "BedModuleWidget")
        assert not [name for name in sys.modules if name.startswith("BedModule")]

    def test_its_panel_works(self, module: ModuleType) -> None:
        ui = slicer.util.getModuleWidget("BedModule").ui
        ui.segmentEditor.setMRMLSegmentEditorNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode"))
        assert (ui.statusLabel.text, ui.runButton.enabled) == ("No volume", False)
        volume = add_volume()
        assert (ui.statusLabel.text, ui.runButton.enabled) == ("Ready", True)
        ui.thresholdSpinBox.value = 600
        ui.runButton.click()
        wanted = int((slicer.util.arrayFromVolume(volume) > 600).sum())
        assert ui.statusLabel.text == f"{wanted} voxels"
        slicer.mrmlScene.Clear(0)
        assert ui.statusLabel.text == "No volume"

    def test_its_shortcut_belongs_to_the_main_window(self, module: ModuleType) -> None:
        widget = slicer.util.getModuleWidget("BedModule")
        assert widget.shortcut.parent() is slicer.util.mainWindow()

    def test_its_own_test_runs(self, module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[str] = []
        monkeypatch.setattr(module.BedModuleTest, "delayDisplay", lambda test, text, *_: seen.append(text))
        slicer.selfTests["BedModule"](msec=1)
        assert seen == ["tested"]

    def test_the_base_classes_are_those_that_were_asked_for(self, module: ModuleType) -> None:
        source = sys.modules["slicer.ScriptedLoadableModule"].ScriptedLoadableModule.__module__
        assert (source == base_classes.__name__) != base_classes.real_ones_used()
        assert module.BedModuleLogic().getParameterNode().GetAttribute("ModuleName") == "BedModule"

    def test_a_folder_without_slicers_files_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SLICER_PYTHON_DIR", str(tmp_path))
        with pytest.raises(RuntimeError, match="no i18n and no ScriptedLoadableModule.py"):
            base_classes.install()

    def test_slicers_own_files_are_used_where_they_are_named(self, tmp_path: Path) -> None:
        (tmp_path / "i18n.py").write_text("def tr(text): return text.upper()\n")
        (tmp_path / "ScriptedLoadableModule.py").write_text("")
        (tmp_path / "parameterNodeWrapper").mkdir()
        (tmp_path / "parameterNodeWrapper" / "__init__.py").write_text("import slicer; from .own import RANGE\n")
        (tmp_path / "parameterNodeWrapper" / "own.py").write_text("import slicer; RANGE = slicer.qMRMLRangeWidget\n")
        code = "from tests.slicer import bed; bed.install(); from slicer.i18n import tr; print(tr('real'))"
        code += "; from slicer.parameterNodeWrapper import RANGE; print(RANGE.__name__)"
        environment = {**os.environ, "SLICER_PYTHON_DIR": str(tmp_path)}
        command, root = [sys.executable, "-c", code], Path(__file__).parents[2]
        used = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=120)
        assert used.stdout.split() == ["REAL", "qMRMLRangeWidget"], used.stderr

    def test_a_module_that_cannot_be_imported_leaves_nothing(self, slicer_scene: Any, tmp_path: Path) -> None:
        broken = tmp_path / "Broken.py"
        broken.write_text("import a_module_that_is_not_there\n")
        with pytest.raises(ModuleNotFoundError):
            bed.load_module(broken)
        assert not hasattr(slicer.modules, "broken") and str(tmp_path) not in sys.path

    def test_errors_in_slots_do_not_go_unseen(self, slicer_scene: Any, no_silent_errors: list[str]) -> None:
        button = qt.QPushButton()
        button.connect("clicked()", lambda: 1 / 0)
        button.click()
        slicer_scene.AddObserver(slicer_scene.NodeAddedEvent, lambda *_: [][0])
        slicer_scene.AddNewNodeByClass("vtkMRMLTextNode")
        assert ["ZeroDivisionError" in no_silent_errors[0], "IndexError" in no_silent_errors[1]] == [True, True]
        no_silent_errors.clear()


class TestPictures:
    def test_a_slice_is_tinted_where_the_segment_is_and_nowhere_else(self, slicer_scene: Any, tmp_path: Path) -> None:
        volume = slicer.util.addVolumeFromArray(np.full((20, 60, 80), 100, np.int16), name="grey")
        volume.CreateDefaultDisplayNodes()
        volume.GetDisplayNode().SetAutoWindowLevel(False)
        volume.GetDisplayNode().SetWindowLevel(200, 100)
        mask = np.zeros((20, 60, 80), bool)
        mask[:, 10:30, 20:40] = True  # the RAS box x 20..40, y 10..30 mm: the view's left is R+, its top A+
        node = add_segmentation(volume, mask, (1.0, 0.0, 0.0))
        slicer.util.setSliceViewerLayers(background=volume, fit=True)
        picture = views.slice_picture("Red", 400, 300, fit=True).astype(int)
        pictures.save(picture, tmp_path / "slice.png")
        tinted = picture[..., 0] - picture[..., 2] > 40
        scale = 300 / 60  # pixels in a mm: the height decides
        rows, columns = np.mgrid[:300, :400]
        x = 39.5 - (columns - 199.5) / scale
        y = 29.5 - (rows - 149.5) / scale
        wanted = (np.abs(x - 29.5) < 10) & (np.abs(y - 19.5) < 10)
        assert tinted[wanted].mean() > 0.95
        assert tinted[~wanted].mean() < 0.01
        node.GetDisplayNode().SetVisibility(False)
        hidden = views.slice_picture("Red", 400, 300).astype(int)
        assert not (hidden[..., 0] - hidden[..., 2] > 40).any()

    def test_an_empty_view_is_black(self, slicer_scene: Any) -> None:
        assert views.slice_picture("Red", 120, 80).shape == (80, 120, 3)
        assert not views.slice_picture("Red", 120, 80).any()

    def test_four_views(self, slicer_scene: Any, tmp_path: Path) -> None:
        volume = add_volume()
        slicer.util.setSliceViewerLayers(background=volume, fit=True)
        picture = views.four_views(200, 160)
        assert picture.shape == (2 * (160 + 18) + 3, 2 * 200 + 3, 3)
        assert pictures.save(picture, tmp_path / "made" / "four.png").stat().st_size > 10_000

    def test_a_chart_shows_its_series(self, slicer_scene: Any) -> None:
        epochs = np.arange(1.0, 11)
        table = slicer_scene.AddNewNodeByClass("vtkMRMLTableNode")
        slicer.util.updateTableFromArray(table, (epochs, 1 / epochs), ["epoch", "loss"])
        chart = slicer_scene.AddNewNodeByClass("vtkMRMLPlotChartNode")
        empty = charts.chart_picture(chart, 320, 240)
        series = slicer_scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", "training loss")
        series.SetAndObserveTableNodeID(table.GetID())
        series.SetXColumnName("epoch")
        series.SetYColumnName("loss")
        series.SetPlotType(series.PlotTypeScatter)
        series.SetColor(0.1, 0.2, 0.9)
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
        drawn = charts.chart_picture(chart, 320, 240).astype(int)
        blue = (drawn[..., 2] - drawn[..., 0] > 100).sum()
        assert blue > 100 and not (empty.astype(int)[..., 2] - empty[..., 0] > 100).any()
        series.SetYColumnName("dice")
        with pytest.raises(ValueError, match="dice"):
            charts.chart_picture(chart)

    def test_a_panel_is_drawn_in_both_themes(self, module: ModuleType) -> None:
        panel = slicer.util.getModuleWidget("BedModule").parent
        light = pictures.of_widget(panel, 420, 600)
        slicer.app.set_theme("dark")
        dark = pictures.of_widget(panel, 420, 600)
        assert light.shape == dark.shape == (600, 420, 3)
        assert light.mean() > 200 and dark.mean() < 100


class TestWaiting:
    def test_it_waits_for_a_condition(self) -> None:
        heard: list[int] = []
        qt.QTimer.singleShot(30, lambda: heard.append(1))
        assert wait_for(lambda: heard, 5) == [1]

    def test_it_gives_up(self) -> None:
        with pytest.raises(TimeoutError, match="the moon"):
            wait_for(lambda: False, 0.05, "the moon")

    def test_an_error_in_the_condition_is_raised(self) -> None:
        with pytest.raises(ZeroDivisionError):
            wait_for(lambda: 1 / 0, 1)

    @pytest.mark.alone
    def test_a_blocked_ui_thread_is_seen(self) -> None:
        qt.QTimer.singleShot(20, lambda: time.sleep(0.1))
        with PauseMeter() as meter:
            run_events(0.2)
        assert 0.1 <= meter.longest < 0.2

    @pytest.mark.alone
    def test_a_running_loop_pauses_little(self) -> None:
        with PauseMeter() as meter:
            run_events(0.3)
        logging.info("longest pause %.1f ms in %d beats", 1000 * meter.longest, meter.beats)
        assert meter.longest < 0.04 and meter.beats > 50

    def test_a_block_without_a_loop_measures_nothing(self) -> None:
        with pytest.raises(RuntimeError, match="event loop"), PauseMeter():
            time.sleep(0.001)
