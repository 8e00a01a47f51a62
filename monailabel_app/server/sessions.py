"""Sessions: images that a client sends for a while, beside the store."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import time
import uuid
from pathlib import Path

from monailabel.utils.sessions import SessionInfo, Sessions

from monailabel_app.errors import BadInput
from monailabel_app.server.archives import MAX_UNPACKED_BYTES, check_folder, unpack
from monailabel_app.server.confinement import check_session_id
from monailabel_app.server.uploads import ARCHIVE_SUFFIXES, IMAGE_SUFFIXES, is_dicom, stem_of, suffix_of

logger = logging.getLogger(__name__)

_META = "meta.info"


def session_file_name(filename: str | None, file: Path | None = None) -> str:
    """Make the name under which a session keeps a client's file: its own, in plain characters and with a known suffix.

    Args:
        filename: The name that the client gave.
        file: Where the file is already, so that a DICOM file without a suffix is known by its content.

    Raises:
        BadInput: It is no image by its suffix, nor by its content.
    """
    try:
        suffix = suffix_of(filename, IMAGE_SUFFIXES)
    except BadInput:
        if file is None or not is_dicom(file):
            raise
        suffix = ".dcm"
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", stem_of(filename, suffix)).strip("_-")[:100]
    return f"{stem or 'image'}{suffix}"


class ConfinedSessions(Sessions):
    """The platform's sessions, kept in private folders named by UUIDs that the server makes.

    Nothing but a UUID is ever joined to the folder of the sessions, what a session's file says about its image is
    checked against its folder, and archives are unpacked by :func:`~monailabel_app.server.archives.unpack`.

    Args:
        store_path: Folder of the sessions; made when the first one comes.
        expiry: Longest life of a session without use, seconds.
        max_unpacked_bytes: Bound on what one archive unpacks to, bytes.
    """

    def __init__(
        self, store_path: str | Path = "", expiry: int = 3600, max_unpacked_bytes: int = MAX_UNPACKED_BYTES
    ) -> None:
        super().__init__(str(store_path), expiry)
        self.max_unpacked_bytes = max_unpacked_bytes

    def _folder(self, session_id: str) -> Path:
        return Path(self.store_path) / check_session_id(session_id)

    def get_session(self, session_id: str, update_ts: bool = True, fetch_cache: bool = True) -> SessionInfo | None:
        """Return a session, or ``None`` where there is none.

        Raises:
            BadInput: The id is not a UUID.
        """
        folder = self._folder(session_id)
        info = (self.get(session_id) if fetch_cache else None) or self._read(folder)
        if info is None:
            return None
        if not self._is_inside(info, folder):
            logger.warning("session %s has lost its image and is removed", session_id)
            self.remove_session(session_id)
            return None
        self[session_id] = info
        if update_ts:
            info.last_access_ts = int(time.time())
            self._write_meta_info(session_id, info)
        return info

    def _read(self, folder: Path) -> SessionInfo | None:
        if folder.is_symlink():
            return None
        try:
            return SessionInfo(json.loads((folder / _META).read_text(encoding="utf-8")))
        except (OSError, ValueError, AttributeError):
            return None

    def _is_inside(self, info: SessionInfo, folder: Path) -> bool:
        image = Path(info.image or "/")
        return not image.is_symlink() and image.exists() and image.resolve().parent == folder.resolve()

    def remove_session(self, session_id: str) -> None:
        """Delete a session and its image.

        Raises:
            BadInput: The id is not a UUID.
        """
        folder = self._folder(session_id)
        self.pop(session_id, None)
        if not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)

    def remove_expired(self) -> int:
        """Delete the sessions whose time is over; folders that are no sessions are left alone."""
        count, now = 0, int(time.time())
        for name in os.listdir(self.store_path) if os.path.isdir(self.store_path) else ():
            try:
                folder = self._folder(name)
                info = self.get_session(name, update_ts=False, fetch_cache=False)
            except BadInput:
                continue
            if info is not None:
                over = info.last_access_ts + info.expiry < now
            else:  # What a server that was killed while a session came in has left.
                over = folder.is_dir() and folder.stat().st_mtime + self.expiry < now
            if over:
                self.remove_session(name)
                count += 1
        return count

    def add_session(
        self, data_file: str, expiry: int = 0, uncompress: bool = False, session_id: str | None = None
    ) -> tuple[str, SessionInfo]:
        """Move an image file, or a folder of them, into a new session; unpack it first if it is an archive.

        Expired sessions are deleted on the way.

        Args:
            data_file: Image file, folder of image files, or archive (zip, tar) with ``uncompress``.
            expiry: Life of the session without use, seconds; at most that of all sessions.
            session_id: A UUID; one is made if there is none.

        Raises:
            BadInput: The file is of a kind that is not taken, or the archive is unsound.
        """
        self.remove_expired()
        source = Path(data_file)
        name = check_session_id(session_id) if session_id else str(uuid.uuid4())
        folder = self._folder(name)
        Path(self.store_path).mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700)
        try:
            image = self._put(source, folder, uncompress)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        info = SessionInfo()
        info.name, info.path, info.image = name, str(folder), str(image)
        info.create_ts = info.last_access_ts = int(time.time())
        info.expiry = min(expiry if expiry > 0 else self.expiry, self.expiry)
        self._write_meta_info(name, info)
        self[name] = info
        return name, info

    def _put(self, source: Path, folder: Path, uncompress: bool) -> Path:
        if source.is_symlink():
            raise BadInput("the image of a session is a file, not a link")
        if source.is_dir():
            check_folder(source)
            target = folder / "images"
        elif uncompress:
            suffix_of(source.name, ARCHIVE_SUFFIXES)
            target = folder / "images"
            target.mkdir(mode=0o700)
            unpack(source, target, max_bytes=self.max_unpacked_bytes)
            return target
        else:
            target = folder / session_file_name(source.name, source)
        shutil.move(source, target)
        return target

    def _write_meta_info(self, session_id: str, session_info: SessionInfo) -> None:
        folder = self._folder(session_id)
        fresh = folder / f"{_META}.{uuid.uuid4().hex}"
        fresh.write_text(session_info.to_str(), encoding="utf-8")
        os.replace(fresh, folder / _META)
