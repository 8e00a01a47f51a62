"""What is remembered between two starts of Slicer, and that the token never gets into a scene."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qt
import slicer
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from LabelLoopLib.client import ServerAddress
from LabelLoopLib.scene.grid import Grid
from LabelLoopLib.scene.image_files import ImageData, writeImage
from LabelLoopLib.workflow import Workplace
from LabelLoopLib.workflow.settings import RECENT_SERVERS, Settings

from tests.slicer.bed.waiting import wait_for

from .little_server import LittleServer, case

TOKEN = "correct-horse-battery-staple"
TRICKY = ["plain", "a, b; c", '"quoted"', "100% \\n", "@Invalid()", "@ByteArray(x)", "Zoë 张伟", " true ", "null", "[]"]


def store(file: Path) -> Any:
    return qt.QSettings(str(file), qt.QSettings.IniFormat)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "Slicer.ini"


@pytest.fixture
def restart(file: Path, tmp_path: Path) -> Callable[[], Settings]:
    """Settings on what is in the file, as after a restart; Qt shares what it has read of a file, so on a copy."""
    starts = []

    def again() -> Settings:
        starts.append(tmp_path / f"start-{len(starts)}.ini")
        shutil.copy(file, starts[-1])
        return Settings(store(starts[-1]))

    return again


def test_what_is_there_at_the_first_start(file: Path) -> None:
    fresh = Settings(store(file))
    assert fresh.serverUrl == "http://127.0.0.1:8000" and fresh.recentServers == []
    assert fresh.token == "" and fresh.certificate is None and fresh.strategy == ""
    assert fresh.annotator, "the login name, or a word"
    assert fresh.prefetch is True and fresh.nextAfterSubmission is False


@pytest.mark.parametrize("on", [True, False])
def test_switches_are_switches_after_a_restart(file: Path, restart: Callable[[], Settings], on: bool) -> None:
    kept = store(file)
    settings = Settings(kept)
    settings.prefetch = settings.nextAfterSubmission = on
    assert settings.prefetch is on and settings.nextAfterSubmission is on
    kept.sync()
    again = restart()
    assert again.prefetch is on and again.nextAfterSubmission is on


@pytest.mark.parametrize("text", TRICKY)
def test_texts_are_the_same_after_a_restart(file: Path, restart: Callable[[], Settings], text: str) -> None:
    kept = store(file)
    settings = Settings(kept)
    settings.annotator, settings.strategy = text, text
    kept.sync()
    again = restart()
    assert (again.annotator, again.strategy) == (text.strip(), text)
    assert isinstance(again.annotator, str)


@hypothesis_settings(max_examples=40, deadline=None)
@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=30))
def test_any_text_is_the_same_after_a_restart(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("settings")
    kept = store(folder / "Slicer.ini")
    Settings(kept).strategy = text
    kept.sync()
    shutil.copy(folder / "Slicer.ini", folder / "again.ini")
    assert Settings(store(folder / "again.ini")).strategy == text


def test_a_server_is_remembered_with_its_token_and_certificate(
    file: Path, restart: Callable[[], Settings], tmp_path: Path
) -> None:
    certificate = tmp_path / "our own, private.pem"
    kept = store(file)
    Settings(kept).rememberServer(ServerAddress("https://gpu:8443", TOKEN, certificate))
    kept.sync()
    again = restart()
    assert (again.serverUrl, again.token, again.certificate) == ("https://gpu:8443", TOKEN, certificate)
    assert again.recentServers == ["https://gpu:8443"]


def test_no_token_and_no_certificate_are_remembered_too(file: Path, restart: Callable[[], Settings]) -> None:
    kept = store(file)
    settings = Settings(kept)
    settings.rememberServer(ServerAddress("https://gpu:8443", TOKEN, Path("private.pem")))
    settings.rememberServer(ServerAddress("http://other:8000"))
    kept.sync()
    again = restart()
    assert again.token == "" and again.certificate is None and again.serverUrl == "http://other:8000"
    assert TOKEN not in file.read_text(encoding="utf-8"), "the token of the other server is not kept"


def test_recent_servers_come_newest_first_each_once_and_not_without_end(
    file: Path, restart: Callable[[], Settings]
) -> None:
    kept = store(file)
    settings = Settings(kept)
    for n in [*range(12), 7]:
        settings.rememberServer(ServerAddress(f"http://gpu{n}:8000"))
    kept.sync()
    expected = [f"http://gpu{n}:8000" for n in (7, 11, 10, 9, 8, 6, 5, 4)]
    assert settings.recentServers == restart().recentServers == expected and len(expected) == RECENT_SERVERS


def test_an_empty_annotator_is_the_login_name(file: Path) -> None:
    settings = Settings(store(file))
    login = settings.annotator
    settings.annotator = "  Dr. Grey "
    assert settings.annotator == "Dr. Grey"
    settings.annotator = "   "
    assert settings.annotator == login


def test_a_value_that_qt_has_nothing_for_is_as_if_it_were_not_there(file: Path) -> None:
    kept = store(file)
    for name in ("server", "recentServers", "token", "certificate", "strategy", "prefetch", "nextAfterSubmission"):
        kept.setValue(f"LabelLoop/{name}", None)
    settings = Settings(kept)
    assert settings.recentServers == [] and settings.token == "" and settings.certificate is None
    assert settings.serverUrl == "http://127.0.0.1:8000" and settings.strategy == ""
    assert settings.prefetch is True and settings.nextAfterSubmission is False


def test_only_the_extensions_own_keys_are_touched(file: Path) -> None:
    kept = store(file)
    kept.setValue("Modules/HomeModule", "Welcome")
    settings = Settings(kept)
    settings.annotator, settings.strategy, settings.prefetch, settings.nextAfterSubmission = "a", "b", False, True
    settings.rememberServer(ServerAddress("http://gpu:8000", TOKEN))
    assert kept.value("Modules/HomeModule") == "Welcome"
    assert {key.partition("/")[0] for key in kept.allKeys()} == {"Modules", "LabelLoop"}


# --- the token and the scene -----------------------------------------------------------------------------------------


class NoQuestions:
    """Nothing needs to be asked here."""

    def ask(self, question: Any) -> str:
        raise AssertionError(question)


def contents_of(folder: Path) -> dict[str, bytes]:
    """All files of a saved scene, those inside archives as well."""
    found = {}
    for path in folder.rglob("*"):
        if path.suffix == ".mrb":
            with zipfile.ZipFile(path) as archive:
                found.update({f"{path.name}/{name}": archive.read(name) for name in archive.namelist()})
        elif path.is_file():
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


@pytest.mark.parametrize("kind", ["scene.mrml", "scene.mrb"])
def test_the_token_is_in_no_scene_that_is_saved(tmp_path: Path, slicer_scene: Any, kind: str) -> None:
    grid = Grid((6, 5, 4), (1, 1, 2), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    writeImage(ImageData(np.arange(120, dtype=np.int16).reshape(4, 5, 6), grid), tmp_path / "image.nii.gz")
    kept = store(tmp_path / "Slicer.ini")
    with LittleServer(TOKEN) as server:
        server.cases, server.images = [case("ct-1")], {"ct-1": (tmp_path / "image.nii.gz").read_bytes()}
        place = Workplace(kept, tmp_path / "user", tmp_path / "temporary", NoQuestions())
        try:
            place.settings.prefetch = False
            place.connection.connect(ServerAddress(server.url, TOKEN))
            wait_for(lambda: place.connection.online)
            place.casework.openCase("ct-1")
            wait_for(lambda: place.casework.current is not None)
            saved = tmp_path / "saved"
            saved.mkdir()
            opened = place.casework.current
            for node, suffix in ((opened.volume, "nrrd"), (opened.segmentation, "seg.nrrd")):
                assert slicer.util.saveNode(node, str(saved / f"{node.GetID()}.{suffix}"))
            assert slicer.util.saveScene(str(saved / kind))
        finally:
            place.close()
    kept.sync()
    files = contents_of(saved)
    scene = b"".join(content for name, content in files.items() if name.endswith(".mrml"))
    assert server.url.encode() in scene and b"ct-1" in scene, "it is the scene of that case"
    assert not [name for name, content in files.items() if TOKEN.encode() in content]
    assert TOKEN in (tmp_path / "Slicer.ini").read_text(encoding="utf-8"), "it is kept, in the settings"
