"""The store as the platform and its clients see it."""

from __future__ import annotations

import io
import json
import re
import time
import uuid
import zipfile
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore, DefaultLabelTag

from monailabel_app.errors import BadInput, NotFound
from monailabel_app.store.annotations import Annotation, Revision, Status
from monailabel_app.store.images import image_suffix, write_image
from monailabel_app.store.label_maps import names_from_label_info, read_label_map
from monailabel_app.store.store import Store

ANONYMOUS = "anonymous"
"""The author of a label that a client saved without saying who it is for."""


class LabelLoopDatastore(Datastore):
    """The platform's ``Datastore`` on top of a :class:`Store`.

    The tag ``final`` is the annotation that speaks for a case, ``draft`` a saved draft; any other tag (the platform
    saves predictions as ``original``) is a label map beside the annotations, which trains nothing. As in the platform's
    own local store, the id of a label is that of its image.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    # --- about the store ---------------------------------------------------------------------------------------------

    def name(self) -> str:
        return self._property("name") or self.store.catalogue.studies.name

    def set_name(self, name: str) -> None:
        self._set_property("name", name)

    def description(self) -> str:
        return self._property("description")

    def set_description(self, description: str) -> None:
        self._set_property("description", description)

    def _property(self, name: str) -> str:
        return str(self.store.database.value("SELECT value FROM properties WHERE name = ?", name) or "")

    def _set_property(self, name: str, value: str) -> None:
        with self.store.database.write() as connection:
            connection.execute("INSERT OR REPLACE INTO properties VALUES (?, ?)", (name, value))

    def status(self) -> dict[str, Any]:
        """Counts; the time this takes does not grow with what is stored in the cases."""
        query = (
            "SELECT tag, COUNT(*) AS number FROM tagged_labels JOIN cases ON cases.id = case_id"
            " WHERE removed = 0 AND present = 1 AND problem IS NULL GROUP BY tag"
        )
        rows = self.store.database.rows(query)
        tags = {row["tag"]: row["number"] for row in rows}
        completed = len(self.store.annotations.submitted_case_ids())
        if completed:
            tags[DefaultLabelTag.FINAL.value] = completed
        return {"total": self.store.catalogue.count(), "completed": completed, "label_tags": tags}

    def json(self) -> dict[str, Any]:
        return {
            "name": self.name(),
            "description": self.description(),
            "objects": {
                case.id: {"image": {"info": case.info}, "labels": self.get_labels_by_image_id(case.id)}
                for case in self.store.catalogue.cases()
            },
        }

    def refresh(self) -> None:
        self.store.catalogue.refresh()

    # --- images ------------------------------------------------------------------------------------------------------

    def list_images(self) -> list[str]:
        return self.store.catalogue.usable_ids()

    def get_image(self, image_id: str, params: Any = None) -> io.BytesIO:
        return io.BytesIO(Path(self.get_image_uri(image_id)).read_bytes())

    def get_image_uri(self, image_id: str) -> str:
        return str(self.store.catalogue.sendable_file(image_id))

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        case = self.store.catalogue.inspect(image_id)
        geometry = case.geometry.to_dict() if case.geometry else None
        facts = {"patient": case.patient, "modality": case.modality, "geometry": geometry, "problem": case.problem}
        return {**facts, **case.info}

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        self.store.catalogue.update_info(image_id, info)

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        path = Path(image_filename)
        suffix = image_suffix(path) or ""
        return self.store.catalogue.add(path, image_id or path.name.removesuffix(suffix), image_info).id

    def remove_image(self, image_id: str) -> None:
        self.store.catalogue.remove(image_id)

    # --- labels ------------------------------------------------------------------------------------------------------

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        names = names_from_label_info(label_info["label_info"]) if label_info.get("label_info") is not None else None
        path = Path(label_filename)
        if label_tag in (DefaultLabelTag.FINAL.value, Status.DRAFT.value):
            self.store.annotations.save(
                image_id,
                str(label_info.get("author") or label_info.get("client_id") or ANONYMOUS),
                Revision(
                    status=Status.DRAFT if label_tag == Status.DRAFT.value else Status.FINAL,
                    label_map=path,
                    label_names=names,
                    comment=label_info.get("comment"),
                    seconds_spent=_seconds(label_info.get("seconds_spent") or 0.0),
                ),
            )
        else:
            self._save_tagged(image_id, path, label_tag, names, label_info)
        return image_id

    def _save_tagged(
        self, image_id: str, path: Path, tag: str, names: dict[str, int] | None, info: dict[str, Any]
    ) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", tag):
            raise BadInput("a tag is made of letters, digits, '.', '_' and '-' (at most 64)")
        label_map = read_label_map(path, self.store.catalogue.geometry(image_id), names)
        folder = self.store.workspace.annotations / image_id
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"tag-{tag}-{uuid.uuid4().hex[:8]}.nii.gz"
        write_image(label_map.image, target)
        kept = {**info, "label_info": [{"name": name, "idx": value} for name, value in label_map.names.items()]}
        with self.store.database.write() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO tagged_labels VALUES (?, ?, ?, ?, ?)",
                (image_id, tag, self.store.workspace.relative(target), json.dumps(kept, default=str), time.time()),
            )

    def _annotation(self, image_id: str, tag: str) -> Annotation | None:
        """The annotation with a label map that a tag stands for."""
        if tag == DefaultLabelTag.FINAL.value:
            return self.store.annotations.best_of_case(image_id, with_label_map=True)
        if tag == Status.DRAFT.value:
            newest_first = self.store.annotations.of_case(image_id)
            drafts = [one for one in newest_first if one.status == Status.DRAFT and one.file is not None]
            return drafts[0] if drafts else None
        return None

    def _tagged(self, image_id: str, tag: str) -> Any:
        return self.store.database.row("SELECT * FROM tagged_labels WHERE case_id = ? AND tag = ?", image_id, tag)

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        rows = self.store.database.rows("SELECT tag FROM tagged_labels WHERE case_id = ?", image_id)
        tags = [row["tag"] for row in rows]
        tags += [tag for tag in (DefaultLabelTag.FINAL.value, Status.DRAFT.value) if self._annotation(image_id, tag)]
        return {tag: image_id for tag in tags}

    def get_label_by_image_id(self, image_id: str, tag: str) -> str:
        return self.get_labels_by_image_id(image_id).get(tag, "")

    def get_label(self, label_id: str, label_tag: str, params: Any = None) -> io.BytesIO:
        return io.BytesIO(Path(self.get_label_uri(label_id, label_tag)).read_bytes())

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        annotation = self._annotation(label_id, label_tag)
        if annotation is not None and annotation.file is not None:
            return str(annotation.file)
        row = self._tagged(label_id, label_tag)
        if row is None:
            raise NotFound(f"case '{label_id[:80]}' has no label with the tag '{label_tag[:64]}'")
        return str(self.store.workspace.root / row["file"])

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        annotation = self._annotation(label_id, label_tag)
        if annotation is not None:
            return {
                "author": annotation.author,
                "status": str(annotation.status),
                "comment": annotation.comment,
                "label_info": [{"name": name, "idx": value} for name, value in annotation.labels.items()],
            }
        row = self._tagged(label_id, label_tag)
        return json.loads(row["info"]) if row is not None else {}

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        annotation = self._annotation(label_id, label_tag)
        if annotation is not None:
            if "comment" in info:
                revision = Revision(status=annotation.status, comment=str(info["comment"]))
                self.store.annotations.save(label_id, annotation.author, revision)
            return
        merged = {**self.get_label_info(label_id, label_tag), **info}
        with self.store.database.write() as connection:
            connection.execute(
                "UPDATE tagged_labels SET info = ? WHERE case_id = ? AND tag = ?",
                (json.dumps(merged), label_id, label_tag),
            )

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Withdraw a label. An annotation becomes a rejected one and keeps its history."""
        annotation = self._annotation(label_id, label_tag)
        if annotation is not None:
            revision = Revision(status=Status.REJECTED)
            self.store.annotations.save(label_id, annotation.author, revision, saved_by="platform client")
            return
        with self.store.database.write() as connection:
            connection.execute("DELETE FROM tagged_labels WHERE case_id = ? AND tag = ?", (label_id, label_tag))

    # --- lists of cases ----------------------------------------------------------------------------------------------

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        done = self._with_tag(label_tag)
        if labels:
            done = {image for image in done if set(labels) & set(self._names(image, label_tag))}
        return [image for image in self.list_images() if image in done]

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        done = set(self.get_labeled_images(label_tag, labels))
        return [image for image in self.list_images() if image not in done]

    def _with_tag(self, tag: str | None) -> set[str]:
        if tag in (None, "", DefaultLabelTag.FINAL.value):
            return {annotation.case_id for annotation in self.store.annotations.for_training()}
        query = "SELECT case_id FROM tagged_labels WHERE tag = ?"
        if tag == Status.DRAFT.value:
            query = (
                "SELECT c.case_id FROM current_annotations c JOIN annotations a ON a.id = c.annotation"
                " WHERE c.status = ? AND a.file IS NOT NULL"
            )
        rows = self.store.database.rows(query, tag)
        return {row["case_id"] for row in rows}

    def _names(self, image_id: str, tag: str | None) -> list[str]:
        info = self.get_label_info(image_id, tag or DefaultLabelTag.FINAL.value)
        return [entry["name"] for entry in info.get("label_info", [])]

    def datalist(self) -> list[dict[str, Any]]:
        return [
            {"image": self.get_image_uri(annotation.case_id), "label": str(annotation.file)}
            for annotation in self.store.annotations.for_training()
        ]

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        """Write a ZIP file with the images and label maps of the finished cases, and a ``dataset.json``.

        Raises:
            NotFound: No case is finished.
        """
        annotations = self.store.annotations.for_training()[: limit_cases or None]
        if not annotations:
            raise NotFound("no case has been annotated yet: there is nothing to put into an archive")
        target = self.store.workspace.root / "dataset.zip"
        partial = target.with_name(f".{uuid.uuid4().hex}.zip")
        try:
            self._write_archive(partial, annotations)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return str(target)

    def _write_archive(self, path: Path, annotations: list[Annotation]) -> None:
        contents = []
        with zipfile.ZipFile(path, "w", compression=zipfile.ZIP_STORED) as archive:
            for annotation in annotations:
                image = Path(self.get_image_uri(annotation.case_id))
                names = {"image": f"images/{annotation.case_id}{image_suffix(image)}"}
                archive.write(image, names["image"])
                names["label"] = f"labels/{annotation.case_id}.nii.gz"
                archive.write(str(annotation.file), names["label"])
                contents.append({**names, "label_names": annotation.labels, "author": annotation.author})
            archive.writestr("dataset.json", json.dumps({"training": contents}, indent=2))


def _seconds(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise BadInput("seconds_spent is a number of seconds") from error
