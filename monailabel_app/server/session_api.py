"""The platform's ``/session`` routes, on :class:`ConfinedSessions`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from fastapi import File, HTTPException, UploadFile
from fastapi.responses import FileResponse
from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.others.generic import get_mime_type
from monailabel.utils.sessions import Sessions

from monailabel_app.errors import BadInput, NotFound
from monailabel_app.server.confinement import check_session_id
from monailabel_app.server.sessions import session_file_name
from monailabel_app.server.uploads import ARCHIVE_SUFFIXES, base_name, check_self_contained, suffix_of, write_upload


def sessions_of_app() -> Sessions:
    """Return the app's sessions.

    Raises:
        HTTPException: 406, the app is set up without sessions.
    """
    sessions = app_instance().sessions()
    if sessions is None:
        raise HTTPException(406, "sessions are switched off on this server")
    return sessions


def find_session(session_id: str, *, update_ts: bool = True) -> Any:
    """Return one session.

    Raises:
        BadInput: The id is not a UUID.
        NotFound: There is no such session (any more).
    """
    info = sessions_of_app().get_session(check_session_id(session_id), update_ts=update_ts)
    if info is None:
        raise NotFound(f"there is no session {session_id} (any more): PUT /session/ makes one")
    return info


def get_session(session_id: str, update_ts: bool = False, image: bool = False) -> Any:
    info = find_session(session_id, update_ts=update_ts)
    if not image:
        return info.to_json()
    if Path(info.image).is_dir():
        raise BadInput("this session has a folder of files, not one image: send it to /infer by its session id")
    return FileResponse(info.image, media_type=get_mime_type(info.image), filename=Path(info.image).name)


def create_session(uncompress: bool = False, expiry: int = 0, files: list[UploadFile] = File(...)) -> dict[str, Any]:
    sessions = sessions_of_app()
    with tempfile.TemporaryDirectory(prefix="labelloop-") as temporary:
        folder = Path(temporary) / "files"
        folder.mkdir()
        for number, upload in enumerate(files):
            _store(upload, folder, number if len(files) > 1 else None, archive=uncompress and len(files) == 1)
        source = folder if len(files) > 1 else next(folder.iterdir())
        session_id, info = sessions.add_session(str(source), expiry, uncompress)
    return {"session_id": session_id, "session_info": info.to_json()}


def _store(upload: UploadFile, folder: Path, number: int | None, *, archive: bool) -> None:
    if archive:
        write_upload(upload, folder / f"archive{suffix_of(upload.filename, ARCHIVE_SUFFIXES)}")
        return
    part = folder / "part"
    write_upload(upload, part)
    name = session_file_name(base_name(upload.filename), part)
    named = part.rename(folder / (name if number is None else f"{number:05d}_{name}"))
    check_self_contained(named)


def remove_session(session_id: str) -> Any:
    info = find_session(session_id, update_ts=False)
    sessions_of_app().remove_session(session_id)
    return info.to_json()
