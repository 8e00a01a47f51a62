"""The platform's upload routes of ``/datastore``: images and label maps that clients send."""

from __future__ import annotations

import json
from typing import Any

from fastapi import File, Form, UploadFile
from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.interfaces.utils.app import app_instance

from monailabel_app.server.confinement import check_id, check_info, check_new_id, check_tag
from monailabel_app.server.served_folders import ServedFolders
from monailabel_app.server.uploads import IMAGE_SUFFIXES, LABEL_SUFFIXES, received, stem_of, suffix_of


class DatastoreApi:
    """Takes images and label maps into the app's datastore.

    Args:
        folders: Where images and labels may lie, so that nothing is written through a link that leads out of them.
    """

    def __init__(self, folders: ServedFolders) -> None:
        self.folders = folders

    def add_image(
        self, image: str | None = None, params: str = Form("{}"), file: UploadFile = File(...)
    ) -> dict[str, Any]:
        suffix = suffix_of(file.filename, IMAGE_SUFFIXES)
        image_id = check_new_id(image or stem_of(file.filename, suffix))
        info = json.loads(check_info(params))
        datastore = app_instance().datastore()
        self.folders.check_image(datastore, image_id)
        with received(file, IMAGE_SUFFIXES) as path:
            return {"image": datastore.add_image(image_id, str(path), info)}

    def save_label(
        self,
        image: str,
        params: str = Form("{}"),
        tag: str = DefaultLabelTag.FINAL.value,
        label: UploadFile = File(...),
    ) -> dict[str, Any]:
        tag = check_tag(tag or DefaultLabelTag.FINAL.value)
        info = json.loads(check_info(params))
        app = app_instance()
        self.folders.check_image(app.datastore(), check_id(image))
        self.folders.check_label(app.datastore(), image, tag)
        with received(label, LABEL_SUFFIXES) as path:
            label_id = app.datastore().save_label(image, str(path), tag, info)
        return {**(app.on_save_label(image, label_id) or {}), "image": image, "label": label_id}
