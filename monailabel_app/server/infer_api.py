"""The platform's ``/infer/{model}`` route, where an id of a client and a file of the server cannot be mixed up."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from enum import StrEnum
from pathlib import Path
from typing import Any

import anyio.to_thread
from fastapi import File, Form, HTTPException, UploadFile
from fastapi.responses import FileResponse, JSONResponse, Response
from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.others.generic import get_mime_type
from requests_toolbelt import MultipartEncoder
from starlette.background import BackgroundTask

from monailabel_app.errors import BadInput, LabelLoopError, NotFound
from monailabel_app.server.confinement import (
    RESULT_SUFFIXES,
    check_id,
    check_name,
    check_params,
    read_object,
)
from monailabel_app.server.served_folders import ServedFolders
from monailabel_app.server.session_api import find_session
from monailabel_app.server.uploads import IMAGE_SUFFIXES, LABEL_SUFFIXES, SCRIBBLE_SUFFIX, received, suffix_of

logger = logging.getLogger(__name__)

INFERENCES_AT_ONCE = 8
"""Predictions that occupy a thread; more of them wait without one, so that the other routes keep theirs."""


class Output(StrEnum):
    """What an answer holds: the label map, the parameters, or both; a DICOM SEG is not offered."""

    IMAGE = "image"
    JSON = "json"
    ALL = "all"
    DICOM_SEG = "dicom_seg"


class InferApi:
    """Runs one prediction.

    The app's ``infer`` is called with ``model``, exactly one of ``image`` (an id, as the client gave it) and
    ``image_file`` (a :class:`~pathlib.Path` that the server made: an upload or a session), ``label_file`` (a path)
    where a label map came with the request, and the parameters that :func:`check_params` lets through.

    Args:
        folders: Where images may lie.
    """

    def __init__(self, folders: ServedFolders) -> None:
        self.folders = folders
        self._limit: anyio.CapacityLimiter | None = None

    async def infer(
        self,
        model: str,
        image: str = "",
        session_id: str = "",
        params: str = Form("{}"),
        file: UploadFile | None = File(None),
        label: UploadFile | None = File(None),
        output: Output | None = None,
    ) -> Any:
        self._limit = self._limit or anyio.CapacityLimiter(INFERENCES_AT_ONCE)
        work = functools.partial(self._infer, model, image, session_id, params, file, label, output)
        return await anyio.to_thread.run_sync(work, limiter=self._limit)

    def _infer(
        self,
        model: str,
        image: str,
        session_id: str,
        params: str,
        file: UploadFile | None,
        label: UploadFile | None,
        output: Output | None,
    ) -> Response:
        if output is Output.DICOM_SEG:
            raise HTTPException(501, "this server does not answer with DICOM SEG: use output=image, json or all")
        request = {**check_params(read_object(params)), "model": check_name(model)}
        with contextlib.ExitStack() as uploads:
            request |= self._image(image, session_id, file, uploads)
            if label is not None:
                request["label_file"] = self._label(label, request, uploads)
            result = app_instance().infer(request)
        if not isinstance(result, dict):
            raise LabelLoopError(f"the model '{model}' gave no result")
        return _answer(result, output)

    def _image(
        self, image: str, session_id: str, file: UploadFile | None, uploads: contextlib.ExitStack
    ) -> dict[str, str | Path]:
        if session_id:
            return {"image_file": Path(find_session(session_id).image)}
        if file is not None:
            return {"image_file": uploads.enter_context(received(file, IMAGE_SUFFIXES))}
        if not image:
            raise BadInput("there is no image: give its id (image=), a session (session_id=) or a file")
        self.folders.check_image(app_instance().datastore(), check_id(image))
        return {"image": image}

    def _label(self, label: UploadFile, request: dict[str, Any], uploads: contextlib.ExitStack) -> Path:
        file = uploads.enter_context(received(label, (*LABEL_SUFFIXES, SCRIBBLE_SUFFIX)))
        if suffix_of(file.name, (*LABEL_SUFFIXES, SCRIBBLE_SUFFIX)) != SCRIBBLE_SUFFIX:
            return file
        image = request.get("image_file") or app_instance().datastore().get_image_uri(request["image"])
        return _scribbles_on_image(Path(image), file)


def _scribbles_on_image(image: Path, scribbles: Path) -> Path:
    """Write bare voxels (uint8, first axis fastest) as a label map on the grid of their image, beside them."""
    import numpy as np
    import SimpleITK as sitk

    if image.is_dir():
        raise BadInput("scribbles without a header need an image of one file: send the label map as .nii.gz")
    grid = sitk.ImageFileReader()
    grid.SetFileName(str(image))
    try:
        grid.ReadImageInformation()
    except RuntimeError as error:
        raise NotFound("the image that the scribbles belong to cannot be read") from error
    voxels = np.fromfile(scribbles, dtype=np.uint8)
    size = grid.GetSize()[:3]
    if voxels.size != int(np.prod(size)):
        shown = " x ".join(map(str, size))
        raise BadInput(f"{voxels.size:,} bytes of scribbles do not fit {shown} voxels: send one byte a voxel")
    label = sitk.GetImageFromArray(voxels.reshape(size[::-1]))
    label.SetSpacing(grid.GetSpacing()[:3])
    label.SetOrigin(grid.GetOrigin()[:3])
    if grid.GetDimension() == 3:
        label.SetDirection(grid.GetDirection())
    path = scribbles.with_name("scribbles.nii.gz")
    sitk.WriteImage(label, str(path), useCompression=True)
    return path


def _answer(result: dict[str, Any], output: Output | None) -> Response:
    """Answer as the platform does; the result's temporary file is gone afterwards.

    Only the file's suffix is told to the client: its name is ``label.nii.gz``.
    """
    temporary = Path(result["file"]) if result.get("file") else None
    try:
        params = JSONResponse(result.get("params") or {})
        file = temporary if temporary is not None else _saved_label(result)
        if output is Output.JSON or (file is None and output is not Output.IMAGE):
            return params
        if file is None or not file.is_file():
            raise NotFound("this model answers without a label map: ask with output=json")
        name, kind = f"label{suffix_of(file.name, RESULT_SUFFIXES)}", get_mime_type(str(file))
        if output is Output.IMAGE:
            response = FileResponse(file, media_type=kind, filename=name)
            if temporary is not None:
                response.background, temporary = BackgroundTask(_remove, temporary), None
            return response
        body = MultipartEncoder(
            {"params": (None, params.body, "application/json"), "image": (name, file.read_bytes(), kind)}
        )
        return Response(body.to_string(), media_type=body.content_type)
    finally:
        if temporary is not None:
            _remove(temporary)


def _saved_label(result: dict[str, Any]) -> Path | None:
    label, tag = result.get("label"), result.get("tag")
    return Path(app_instance().datastore().get_label_uri(label, tag)) if label and tag else None


def _remove(file: Path) -> None:
    try:
        os.unlink(file)
    except OSError as error:
        logger.warning("a temporary result could not be deleted: %s", error)
