"""Sessions and the archives they are made from: nothing is written, read or deleted outside their folder."""

from __future__ import annotations

import bz2
import io
import json
import os
import stat
import tarfile
import time
import uuid
import zipfile
from pathlib import Path

import pytest

from monailabel_app.errors import BadInput
from monailabel_app.server.archives import unpack
from monailabel_app.server.sessions import ConfinedSessions, session_file_name

DICOM = bytes(128) + b"DICM" + bytes(100)
EVIL_MEMBERS = [
    "../evil.nii",
    "/tmp/evil.nii",
    "a/../../evil.nii",
    "..\\evil.nii",
    "C:\\evil.nii",
    "a//evil.nii",
    "x\n.nii",
]


@pytest.fixture
def sessions(tmp_path) -> ConfinedSessions:
    return ConfinedSessions(tmp_path / "sessions", max_unpacked_bytes=1_000_000)


def files_under(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, members: dict[str, bytes | tarfile.TarInfo]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name) if isinstance(content, bytes) else content
            info.size = len(content) if isinstance(content, bytes) else 0
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return path


PACKERS = [
    pytest.param(zipped, "a.zip", id="zip"),
    pytest.param(tarred, "a.tar", id="tar"),
    pytest.param(tarred, "a.tar.gz", id="tgz"),
]


def add(sessions: ConfinedSessions, file: Path) -> Path:
    _, info = sessions.add_session(str(file), 0, True)
    return Path(info.image)


# --- archives --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pack", "name"), PACKERS)
def test_the_images_of_an_archive_come_in(sessions, tmp_path, pack, name) -> None:
    members = {
        "p/a.nii.gz": b"1",
        "p/IM0001": DICOM,
        "readme.txt": b"no",
        "Thumbs.db": b"no",
        "p/.DS_Store": b"no",
        "__MACOSX/p/._a.nii.gz": b"no",
    }
    image = add(sessions, pack(tmp_path / name, members))
    assert {path.name for path in image.rglob("*") if path.is_file()} == {"a.nii.gz", "IM0001"}
    assert stat.S_IMODE(image.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("evil", EVIL_MEMBERS)
@pytest.mark.parametrize(("pack", "name"), PACKERS)
def test_a_member_that_leads_out_is_refused(sessions, tmp_path, pack, name, evil) -> None:
    archive = pack(tmp_path / name, {"good.nii": b"1", evil: b"evil"})
    before = files_under(tmp_path)
    with pytest.raises(BadInput, match="no id|cannot be unpacked"):
        add(sessions, archive)
    assert files_under(tmp_path) - before == {"sessions"}
    assert not Path("/tmp/evil.nii").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_link_or_device_in_a_tar_is_refused(sessions, tmp_path, kind) -> None:
    info = tarfile.TarInfo("link.nii")
    info.type, info.linkname = kind, "/etc/passwd"
    archive = tarred(tmp_path / "a.tar", {"good.nii": b"1", "link.nii": info})
    with pytest.raises(BadInput, match="link or a device"):
        add(sessions, archive)
    assert not list((tmp_path / "sessions").iterdir())


def test_a_file_written_through_a_link_in_a_tar_is_refused(sessions, tmp_path) -> None:
    info = tarfile.TarInfo("out")
    info.type, info.linkname = tarfile.SYMTYPE, str(tmp_path)
    with pytest.raises(BadInput):
        add(sessions, tarred(tmp_path / "a.tar", {"out": info, "out/evil.nii": b"1"}))
    assert not (tmp_path / "evil.nii").exists()


def test_a_link_in_a_zip_is_refused(sessions, tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("link.nii")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(BadInput, match="link"):
        add(sessions, tmp_path / "a.zip")


@pytest.mark.parametrize(("pack", "name"), PACKERS)
def test_what_unpacks_to_too_much_is_cut(sessions, tmp_path, pack, name) -> None:
    archive = pack(tmp_path / name, {f"{n}.nii": bytes(300_000) for n in range(4)})
    with pytest.raises(BadInput, match="unpacks to more"):
        add(sessions, archive)
    assert not list((tmp_path / "sessions").iterdir())


def test_the_bound_does_not_believe_what_the_archive_says(sessions, tmp_path) -> None:
    archive = zipped(tmp_path / "a.zip", {"a.nii": bytes(3_000_000)})
    content = archive.read_bytes()
    size = (3_000_000).to_bytes(4, "little")
    assert content.count(size) == 2
    archive.write_bytes(content.replace(size, (10).to_bytes(4, "little")))
    with pytest.raises(BadInput):
        add(sessions, archive)
    assert not list((tmp_path / "sessions").iterdir())


def test_too_many_members_and_no_images_are_refused(tmp_path) -> None:
    archive = zipped(tmp_path / "a.zip", {f"{n}.nii": b"" for n in range(11)})
    (tmp_path / "out").mkdir()
    with pytest.raises(BadInput, match="more than 10"):
        unpack(archive, tmp_path / "out", max_files=10)
    (tmp_path / "none").mkdir()
    with pytest.raises(BadInput, match="no image"):
        unpack(zipped(tmp_path / "b.zip", {"a.txt": b"x"}), tmp_path / "none")


def test_damaged_encrypted_and_doubled_archives_are_refused(sessions, tmp_path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\3\4 not really")
    whole = tarred(tmp_path / "b.tar.gz", {"a.nii": os.urandom(200_000)}).read_bytes()
    (tmp_path / "c.tar.gz").write_bytes(whole[: len(whole) // 2])
    encrypted = bytearray(zipped(tmp_path / "d.zip", {"a.nii": b"1"}).read_bytes())
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        encrypted[encrypted.index(mark) + offset] |= 1
    (tmp_path / "d.zip").write_bytes(encrypted)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(tmp_path / "e.zip", "w") as archive:
        archive.writestr("a.nii", b"1")
        archive.writestr("a.nii", b"2")
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    (tmp_path / "f.tar.gz").write_bytes(flipped)
    packed = bytearray(bz2.compress(tarred(tmp_path / "g.tar", {"a.nii": os.urandom(200_000)}).read_bytes()))
    packed[len(packed) // 2] ^= 255
    (tmp_path / "g.tar").write_bytes(packed)
    for name in ("a.zip", "c.tar.gz", "d.zip", "e.zip", "f.tar.gz", "g.tar"):
        with pytest.raises(BadInput):
            add(sessions, tmp_path / name)
    assert not list((tmp_path / "sessions").iterdir())


def test_a_header_in_an_archive_that_names_another_file_is_refused(sessions, tmp_path) -> None:
    header = b"NDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\nElementDataFile = /etc/passwd\n"
    with pytest.raises(BadInput, match="another file"):
        add(sessions, zipped(tmp_path / "a.zip", {"a.mhd": header}))


# --- sessions --------------------------------------------------------------------------------------------------------


def image_file(folder: Path, name: str = "scan.nii.gz", content: bytes = b"image") -> str:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    return str(folder / name)


def test_a_session_lives_until_it_is_removed(sessions, tmp_path) -> None:
    name, info = sessions.add_session(image_file(tmp_path / "in"), expiry=10_000_000)
    assert uuid.UUID(name).version == 4 and info.expiry == sessions.expiry
    assert Path(info.image).read_bytes() == b"image"
    fresh = ConfinedSessions(tmp_path / "sessions")
    assert fresh.get_session(name).image == info.image
    fresh.remove_session(name)
    assert fresh.get_session(name) is None and not Path(info.path).exists()


@pytest.mark.parametrize(
    "forged", ["..", "../outside", "/etc", "", ".", "outside", "x" * 36, "{0b0f6c0e-6f0a-4c8e-9d53-a1d1d8a0f1b2}"]
)
def test_a_forged_id_is_refused_and_deletes_nothing(sessions, tmp_path, forged) -> None:
    image_file(tmp_path / "outside")
    image_file(tmp_path / "sessions", "keep.txt")
    before = files_under(tmp_path)
    for act in (sessions.get_session, sessions.remove_session):
        with pytest.raises(BadInput, match="session id"):
            act(forged)
    if forged:
        with pytest.raises(BadInput, match="session id"):
            sessions.add_session(image_file(tmp_path / "outside"), session_id=forged)
    assert files_under(tmp_path) == before


@pytest.mark.parametrize(
    "image", ["/etc/passwd", "{root}/outside/scan.nii.gz", "{root}/sessions", "", "{own}/../x/scan.nii.gz"]
)
def test_a_forged_record_does_not_lead_out_of_its_session(sessions, tmp_path, image) -> None:
    outside = Path(image_file(tmp_path / "outside"))
    name = str(uuid.uuid4())
    own = tmp_path / "sessions" / name
    own.mkdir(parents=True)
    record = {
        "name": name,
        "path": "/",
        "image": image.format(root=tmp_path, own=own),
        "expiry": 9,
        "last_access_ts": 9,
    }
    (own / "meta.info").write_text(json.dumps(record))
    assert sessions.get_session(name) is None
    assert outside.exists()


def test_a_session_that_is_a_link_is_none(sessions, tmp_path) -> None:
    name, info = sessions.add_session(image_file(tmp_path / "in"))
    other = str(uuid.uuid4())
    (tmp_path / "sessions" / other).symlink_to(info.path)
    assert sessions.get_session(other) is None
    sessions.remove_session(other)
    assert Path(info.image).exists()


def test_expired_sessions_go_and_everything_else_stays(sessions, tmp_path) -> None:
    old, _ = sessions.add_session(image_file(tmp_path / "in"))
    kept, _ = sessions.add_session(image_file(tmp_path / "in"))
    dead = tmp_path / "sessions" / str(uuid.uuid4())
    young = tmp_path / "sessions" / str(uuid.uuid4())
    for folder in (dead, young, tmp_path / "sessions" / "not-a-session"):
        folder.mkdir()
    os.utime(dead, (1, 1))
    meta = tmp_path / "sessions" / old / "meta.info"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "last_access_ts": int(time.time()) - 4000}))
    assert sessions.remove_expired() == 2
    assert {path.name for path in (tmp_path / "sessions").iterdir()} == {kept, young.name, "not-a-session"}


def test_a_new_session_takes_the_expired_ones_away(sessions, tmp_path) -> None:
    """Images of patients do not stay on the server because nobody looks."""
    old, info = sessions.add_session(image_file(tmp_path / "in"))
    meta = tmp_path / "sessions" / old / "meta.info"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "last_access_ts": int(time.time()) - 4000}))
    kept, _ = sessions.add_session(image_file(tmp_path / "in"))
    assert not Path(info.image).exists()
    assert [path.name for path in (tmp_path / "sessions").iterdir()] == [kept]


@pytest.mark.parametrize("name", ["evil.sh", "meta.info", "archive.zip", "noname"])
def test_a_file_that_is_no_image_is_refused(sessions, tmp_path, name) -> None:
    with pytest.raises(BadInput):
        sessions.add_session(image_file(tmp_path / "in", name))
    assert not list((tmp_path / "sessions").iterdir())


def test_a_folder_with_a_link_or_another_file_is_refused(sessions, tmp_path) -> None:
    image_file(tmp_path / "in")
    (tmp_path / "in" / "b.nii").symlink_to("/etc/passwd")
    with pytest.raises(BadInput, match="link"):
        sessions.add_session(str(tmp_path / "in"))
    (tmp_path / "in" / "b.nii").unlink()
    image_file(tmp_path / "in", "run.sh")
    with pytest.raises(BadInput, match="no image"):
        sessions.add_session(str(tmp_path / "in"))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("scan.nii.gz", "scan.nii.gz"),
        ("../../x/Scan 1.NII.GZ", "Scan_1.nii.gz"),
        ("C:\\a\\b.dcm", "b.dcm"),
        (".nii", "image.nii"),
        ("a.b.c.nrrd", "a_b_c.nrrd"),
        ("\u00fc\0.png", "image.png"),
    ],
)
def test_the_name_kept_is_plain(given, kept) -> None:
    assert session_file_name(given) == kept


def test_a_dicom_file_is_known_by_its_content(sessions, tmp_path) -> None:
    _, info = sessions.add_session(image_file(tmp_path / "in", "1.2.840.1", DICOM))
    assert Path(info.image).name == "1_2_840_1.dcm"
