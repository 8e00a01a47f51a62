"""``slicer.app.coreIOManager()``: reads and writes nodes with the logics that Slicer's own readers call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
import vtk

_LABEL_MAP, _CENTERED, _SINGLE_FILE, _AUTO_WINDOW = 1, 2, 4, 8  # vtkSlicerVolumesLogic's loading options
_BY_SUFFIX = {
    "SceneFile": (".mrml", ".mrb"),
    "SegmentationFile": (".seg.nrrd", ".seg.nhdr", ".seg.vtm"),
    "TableFile": (".csv", ".tsv"),
    "TextFile": (".txt", ".json"),
    "ModelFile": (".stl", ".vtk", ".vtp", ".ply", ".obj"),
    "MarkupsFile": (".mrk.json", ".fcsv"),
}
_BY_CLASS = {
    "vtkMRMLSegmentationNode": "SegmentationFile",
    "vtkMRMLVolumeNode": "VolumeFile",
    "vtkMRMLTableNode": "TableFile",
    "vtkMRMLTextNode": "TextFile",
    "vtkMRMLModelNode": "ModelFile",
    "vtkMRMLMarkupsNode": "MarkupsFile",
}
_NODE_CLASSES = {"TableFile": "vtkMRMLTableNode", "TextFile": "vtkMRMLTextNode", "ModelFile": "vtkMRMLModelNode"}


class IOManager:
    """Stands for ``qSlicerCoreIOManager``: volumes, segmentations, tables, texts, models and scenes."""

    def fileType(self, path: str | Path) -> str:
        name = Path(path).name.lower()
        # The longest suffix first: .mrk.json is not a text.
        kinds = sorted(((s, kind) for kind, all_ in _BY_SUFFIX.items() for s in all_), key=lambda pair: -len(pair[0]))
        return next((kind for suffix, kind in kinds if name.endswith(suffix)), "VolumeFile")

    def fileWriterFileType(self, node: Any) -> str:
        for class_name, kind in _BY_CLASS.items():
            if node.IsA(class_name):
                return kind
        raise NotImplementedError(f"the test bed writes no files of {node.GetClassName()}")

    def loadNodes(self, kind: str, properties: dict[str, Any], nodes: Any, messages: Any = None) -> bool:
        """Read a file into the scene; what was read is added to the vtkCollection ``nodes``."""
        path = str(properties["fileName"])
        if not Path(path).is_file():
            if messages is not None:
                messages.AddMessage(vtk.vtkCommand.ErrorEvent, f"There is no file {path}")
            return False
        if kind == "SceneFile":
            return self.loadScene(path, not properties.get("clear", False))
        name = properties.get("name") or Path(path).name.split(".")[0]
        if kind == "VolumeFile":
            node = self._load_volume(path, name, properties)
        elif kind == "SegmentationFile":
            logic = slicer.modules.segmentations.logic()
            node = logic.LoadSegmentationFromFile(path, bool(properties.get("autoOpacities", True)), name)
        else:
            node = self._load_by_storage(kind, path, name)
        if node is None:
            return False
        nodes.AddItem(node)
        return True

    @staticmethod
    def _load_volume(path: str, name: str, properties: dict[str, Any]) -> Any:
        options = _AUTO_WINDOW
        for wanted, flag in (("labelmap", _LABEL_MAP), ("center", _CENTERED), ("singleFile", _SINGLE_FILE)):
            options |= flag if properties.get(wanted, False) else 0
        node = slicer.modules.volumes.logic().AddArchetypeVolume(path, name, options)
        if node is not None and properties.get("show", True):
            selection = slicer.app.applicationLogic().GetSelectionNode()
            if node.IsA("vtkMRMLLabelMapVolumeNode"):
                selection.SetReferenceActiveLabelVolumeID(node.GetID())
            else:
                selection.SetReferenceActiveVolumeID(node.GetID())
            slicer.app.applicationLogic().PropagateVolumeSelection(1)
        return node

    @staticmethod
    def _load_by_storage(kind: str, path: str, name: str) -> Any:
        if kind not in _NODE_CLASSES:
            raise NotImplementedError(f"the test bed reads no {kind}")
        node = slicer.mrmlScene.AddNewNodeByClass(_NODE_CLASSES[kind], name)
        node.AddDefaultStorageNode()
        storage = node.GetStorageNode()
        storage.SetFileName(path)
        if not storage.ReadData(node):
            slicer.mrmlScene.RemoveNode(storage)
            slicer.mrmlScene.RemoveNode(node)
            return None
        return node

    def saveNodes(self, kind: str, properties: dict[str, Any], messages: Any = None) -> bool:
        path = str(properties["fileName"])
        if kind == "SceneFile":
            return self._save_scene(path)
        node = slicer.mrmlScene.GetNodeByID(properties["nodeID"])
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode(path)
        storage = node.GetStorageNode()
        storage.SetFileName(path)
        storage.SetUseCompression(int(properties.get("useCompression", True)))
        return bool(storage.WriteData(node))

    def loadScene(self, path: str, import_into: bool = True) -> bool:
        if path.endswith(".mrb"):
            return bool(slicer.mrmlScene.ReadFromMRB(path, not import_into))
        slicer.mrmlScene.SetURL(path)
        return bool(slicer.mrmlScene.Import() if import_into else slicer.mrmlScene.Connect())

    @staticmethod
    def _save_scene(path: str) -> bool:
        if path.endswith(".mrb"):
            return bool(slicer.mrmlScene.WriteToMRB(path))
        slicer.mrmlScene.SetRootDirectory(str(Path(path).parent))
        return bool(slicer.mrmlScene.Commit(path))
