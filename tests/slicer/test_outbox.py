"""The outbox: an annotation is complete on disk or not there, whatever happens to program, disk and records."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from LabelLoopLib.client import AnnotationDraft
from LabelLoopLib.scene.grid import Grid
from LabelLoopLib.scene.image_files import ImageData, readLabelMap
from LabelLoopLib.workflow.origin import Origin
from LabelLoopLib.workflow.outbox import Outbox, Unsent

REPOSITORY = Path(__file__).parents[2]
MODULE = REPOSITORY / "slicer_extension" / "LabelLoop"
HERE, THERE = Origin("http://here:8000"), Origin("http://there:8000")
HOSTILE = [
    *("../../etc/passwd", "/etc/passwd", "C:\\Windows", "..", ".hidden", "a/b", "nul\0", "x" * 5000, "", "\ud800"),
    "👩‍⚕️",
]


def label(size: tuple[int, int, int] = (6, 5, 4), seed: int = 1, values: int = 3, kind: type = np.uint8) -> ImageData:
    grid = Grid(size, (0.7, 0.9, 2.5), (-11.0, 22.0, 33.0), (0, 1, 0, -1, 0, 0, 0, 0, 1))
    voxels = np.random.default_rng(seed).integers(0, values, grid.shape).astype(kind)
    return ImageData(voxels, grid)


def draft(**fields: Any) -> AnnotationDraft:
    made = AnnotationDraft(
        author="Dr. Grey",
        status="final",
        labels={"liver": 1, "spleen": 2},
        comment="margin unclear — ask Zoë",
        seconds_spent=61.5,
        submission=uuid.uuid4().hex,
        based_on=7,
    )
    return replace(made, **fields)


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "user" / "outbox")


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# --- in and out ------------------------------------------------------------------------------------------------------


def test_an_annotation_comes_back_as_it_was_put(outbox: Outbox) -> None:
    put, before, image = draft(), time.time(), label()
    unsent = outbox.put(HERE, "ct-1", put, image)
    assert unsent.id == put.submission and unsent.problem == ""
    (back,) = Outbox(outbox.folder).list()
    assert back == unsent
    assert (back.origin, back.caseId, back.draft) == (HERE, "ct-1", put)
    assert before <= back.created <= time.time()
    read = readLabelMap(back.labelFile)
    np.testing.assert_array_equal(read.voxels, image.voxels)
    assert read.voxels.dtype == np.uint8 and read.grid.difference(image.grid) is None


@pytest.mark.parametrize(
    "image",
    [
        label(values=1),
        label(values=40_000, kind=np.uint16),
        label(values=3, kind=np.int64),
        ImageData(np.ones((1, 5, 6), np.uint8), Grid((6, 5), (1, 1), (0, 0), (1, 0, 0, 1))),
        ImageData(np.ones((1, 1, 1), np.uint8), Grid((1, 1, 1), (1, 1, 1), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))),
    ],
    ids=["empty", "16 bit", "64 bit", "2D", "one voxel"],
)
def test_any_label_map_comes_back_as_it_was_put(outbox: Outbox, image: ImageData) -> None:
    read = readLabelMap(outbox.put(HERE, "ct-1", draft(), image).labelFile)
    np.testing.assert_array_equal(read.voxels, image.voxels)
    assert read.grid.dimension == image.grid.dimension and read.grid.difference(image.grid) is None


def test_what_is_sent_is_the_same_compressed(outbox: Outbox) -> None:
    image = label(values=2)
    unsent = outbox.put(HERE, "ct-1", draft(), image)
    packed = outbox.packed(unsent)
    assert packed.name.endswith(".nii.gz") and packed.stat().st_size < unsent.labelFile.stat().st_size
    np.testing.assert_array_equal(readLabelMap(packed).voxels, image.voxels)
    assert outbox.packed(unsent) == packed and outbox.list() == [unsent]
    outbox.remove(unsent)
    assert files_in(outbox.folder) == set()


def test_classes_alone_have_no_label_map(outbox: Outbox) -> None:
    answers = {"diagnosis": "benign", "grade": None, "findings": ["Q&A <b>", "ö"]}
    unsent = outbox.put(HERE, "ct-1", draft(labels=None, classification=answers), None)
    assert files_in(outbox.folder) == {f"{unsent.id}/record.json"}
    (back,) = Outbox(outbox.folder).list()
    assert back == unsent and back.draft.classification == answers and not back.hasLabelMap
    assert outbox.packed(back) is None
    outbox.remove(back)
    assert files_in(outbox.folder) == set()


def test_that_it_reopens_a_submission_is_kept_and_old_records_say_nothing_of_it(outbox: Outbox) -> None:
    unsent = outbox.put(HERE, "ct-1", draft(), label(), reopens=True)
    assert unsent.reopens and outbox.list() == [unsent]
    record = unsent.folder / "record.json"
    fields = json.loads(record.read_text(encoding="utf-8"))
    del fields["reopens"]
    record.write_text(json.dumps(fields), encoding="utf-8")
    assert [one.reopens for one in outbox.list()] == [False]


def test_a_record_of_before_there_were_classes_is_read(outbox: Outbox) -> None:
    unsent = outbox.put(HERE, "ct-1", draft(), label())
    record = unsent.folder / "record.json"
    fields = json.loads(record.read_text(encoding="utf-8"))
    del fields["draft"]["classification"]
    record.write_text(json.dumps(fields), encoding="utf-8")
    (back,) = outbox.list()
    assert back == unsent and back.draft.classification is None


def test_what_a_killed_slicer_left_goes_after_a_day(outbox: Outbox) -> None:
    kept = outbox.put(HERE, "ct-1", draft(), label())
    for name, hours in ((".old.part", 25), (".older.gone", 300), (".new.part", 1)):
        (outbox.folder / name).mkdir()
        (outbox.folder / name / "label.nii").write_bytes(b"patient data")
        then = time.time() - 3600 * hours
        os.utime(outbox.folder / name, (then, then))
    outbox.sweep()
    assert sorted(one.name for one in outbox.folder.iterdir()) == sorted([".new.part", kept.id])
    Outbox(outbox.folder / "nowhere").sweep()


def test_without_a_submission_it_gets_an_id_of_its_own(outbox: Outbox) -> None:
    ids = {outbox.put(HERE, "ct-1", draft(submission=None), label()).id for _ in range(3)}
    assert len(ids) == 3 and {one.id for one in outbox.list()} == ids


def test_the_oldest_comes_first(outbox: Outbox) -> None:
    put = [outbox.put(HERE, f"ct-{n}", draft(), label()) for n in range(5)]
    moments = [50.0, 10.0, 40.0, 20.0, 30.0]
    for one, created in zip(put, moments, strict=True):
        outbox.note(one, created=created)
    assert [one.caseId for one in outbox.list()] == ["ct-1", "ct-3", "ct-4", "ct-2", "ct-0"]


def test_the_newest_is_the_last_also_where_the_clock_goes_back(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    put = [outbox.put(HERE, "ct-1", draft(), label())]
    for moment in (0.0, 5.0, 5.0):  # set to another day, and then stands still
        monkeypatch.setattr("LabelLoopLib.workflow.outbox.time.time", lambda moment=moment: moment)
        put.append(Outbox(outbox.folder).put(HERE, "ct-1", draft(), label()))
    assert [one.id for one in outbox.find(HERE, "ct-1", "Dr. Grey")] == [one.id for one in put]


def test_an_outbox_that_is_not_there_is_empty(outbox: Outbox) -> None:
    assert outbox.list() == [] and outbox.list(HERE) == [] and outbox.find(HERE, "ct-1", "Dr. Grey") == []
    assert not outbox.folder.exists(), "looking makes nothing"


def test_servers_cases_and_authors_are_kept_apart(outbox: Outbox) -> None:
    own = outbox.put(HERE, "ct-1", draft(), label())
    later = outbox.put(HERE, "ct-1", draft(), label())
    colleague = outbox.put(HERE, "ct-1", draft(author="Dr. Karev"), label())
    other_case = outbox.put(HERE, "ct-10", draft(), label())
    elsewhere = outbox.put(THERE, "ct-1", draft(), label())
    assert [one.id for one in outbox.list(HERE)] == [one.id for one in (own, later, colleague, other_case)]
    assert outbox.list(THERE) == [elsewhere] and outbox.list(Origin("http://here:80")) == []
    assert outbox.find(HERE, "ct-1", "Dr. Grey") == [own, later]
    assert outbox.find(THERE, "ct-1", "Dr. Grey") == [elsewhere]
    assert len(outbox.list()) == 5


def test_a_workspace_is_known_at_any_address_and_kept_apart_from_another_at_its_own(outbox: Outbox) -> None:
    first, second = (Origin(HERE.server, name) for name in ("1", "2"))
    own, other, older = (outbox.put(origin, "ct-1", draft(), label()) for origin in (first, second, HERE))
    assert Outbox(outbox.folder).list(first) == [own, older], "what an earlier version kept goes by the address"
    assert outbox.find(Origin(THERE.server, "2"), "ct-1", "Dr. Grey") == [other]
    assert outbox.list(HERE) == [own, other, older] and outbox.list(Origin(THERE.server, "3")) == []
    record = older.folder / "record.json"
    fields = json.loads(record.read_text(encoding="utf-8"))
    del fields["workspace"]
    record.write_text(json.dumps(fields), encoding="utf-8")
    assert outbox.list(second) == [other, older]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_no_name_of_the_servers_decides_on_a_path(outbox: Outbox, tmp_path: Path, name: str) -> None:
    unsent = outbox.put(Origin(name), name, draft(author=name, comment=name, labels={name: 1}), label())
    assert files_in(tmp_path) == {f"user/outbox/{unsent.id}/{file}" for file in ("record.json", "label.nii")}
    assert outbox.list(Origin(name)) == [unsent] and outbox.find(Origin(name), name, name) == [unsent]
    outbox.note(unsent, problem=name)
    outbox.remove(unsent)
    assert files_in(tmp_path) == set()


# --- changes ---------------------------------------------------------------------------------------------------------


def test_a_note_is_kept(outbox: Outbox) -> None:
    unsent = outbox.put(HERE, "ct-1", draft(), label())
    changed = outbox.note(unsent, problem="The server refused: 'no'.", draft=replace(unsent.draft, based_on=None))
    assert changed.problem == "The server refused: 'no'." and changed.draft.based_on is None
    assert outbox.list() == [changed] and changed.created == unsent.created
    assert files_in(outbox.folder) == {f"{unsent.id}/record.json", f"{unsent.id}/label.nii"}
    assert readLabelMap(changed.labelFile).voxels.any()


def test_what_is_removed_is_gone(outbox: Outbox) -> None:
    first, second = (outbox.put(HERE, "ct-1", draft(), label()) for _ in range(2))
    outbox.remove(first)
    assert outbox.list() == [second]
    assert list(outbox.folder.iterdir()) == [second.folder], "nothing of it is left"


def test_another_process_may_have_removed_it(outbox: Outbox) -> None:
    mine, theirs = outbox, Outbox(outbox.folder)
    unsent = mine.put(HERE, "ct-1", draft(), label())
    theirs.remove(unsent)
    mine.remove(unsent)
    noted = mine.note(unsent, problem="too late")
    assert noted.problem == "too late"
    assert mine.list() == [] and list(outbox.folder.iterdir()) == [], "a note brings nothing back"


def test_what_was_cut_short_is_not_shown_and_in_nobodys_way(outbox: Outbox) -> None:
    unsent = outbox.put(HERE, "ct-1", draft(), label())
    shutil.copytree(unsent.folder, outbox.folder / f".{unsent.id}.gone")
    shutil.copytree(unsent.folder, outbox.folder / f".{uuid.uuid4().hex}.part")
    assert outbox.list() == [unsent]
    outbox.remove(unsent)
    assert outbox.list() == []


def test_many_threads_on_one_outbox(outbox: Outbox) -> None:
    """What two Slicers do at the same time: all that was put is there until it is removed, and nothing raises."""
    problems: list[BaseException] = []
    put: list[Unsent] = []
    stop = threading.Event()

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001
            problems.append(error)

    def write() -> None:
        for n in range(25):
            put.append(outbox.put(HERE, f"ct-{n}", draft(), label()))

    def look() -> None:
        while not stop.is_set():
            for one in outbox.list():
                outbox.note(one, problem="seen")

    def clear() -> None:
        while not stop.is_set() or put:
            if put:
                outbox.remove(put.pop(random.randrange(len(put))))

    writers = [threading.Thread(target=guarded, args=(write,)) for _ in range(2)]
    others = [threading.Thread(target=guarded, args=(work,)) for work in (look, look, clear)]
    for thread in writers + others:
        thread.start()
    for thread in writers:
        thread.join(30)
    stop.set()
    for thread in others:
        thread.join(30)
    assert problems == [] and outbox.list() == []


# --- damage ----------------------------------------------------------------------------------------------------------


def damaged(**fields: Any) -> Callable[[str], str]:
    return lambda text: json.dumps({**json.loads(text), **fields})


DAMAGE: dict[str, Callable[[str], str]] = {
    "empty": lambda text: "",
    "torn": lambda text: text[: len(text) // 2],
    "no JSON": lambda text: "<html>",
    "a list": lambda text: "[]",
    "a number": lambda text: "7",
    "no server": lambda text: text.replace('"server"', '"Server"'),
    "a newer draft": lambda text: text.replace('"author"', '"first_author"'),
    "no draft": damaged(draft=None),
    "moment is a word": damaged(created="yesterday"),
    "moment is nothing": damaged(created=None),
    "too deep": lambda text: "[" * 100_000,
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_record_is_left_and_hides_nothing_else(outbox: Outbox, how: str) -> None:
    bad, good = (outbox.put(HERE, name, draft(), label()) for name in ("bad", "good"))
    record = bad.folder / "record.json"
    text = DAMAGE[how](record.read_text(encoding="utf-8"))
    record.write_text(text, encoding="utf-8")
    assert outbox.list() == outbox.list(HERE) == [good]
    assert record.read_text(encoding="utf-8") == text and bad.labelFile.is_file(), "somebody may still save it"


def test_a_record_in_another_encoding_or_without_its_label_map_is_left(outbox: Outbox) -> None:
    latin, bare, good = (outbox.put(HERE, name, draft(), label()) for name in ("latin", "bare", "good"))
    (latin.folder / "record.json").write_bytes("{'Zoë'}".encode("latin-1"))
    bare.labelFile.unlink()
    assert outbox.list() == [good] and latin.folder.is_dir() and bare.folder.is_dir()


def test_strangers_in_the_folder_are_left_alone(outbox: Outbox) -> None:
    good = outbox.put(HERE, "good", draft(), label())
    (outbox.folder / "notes.txt").write_text("mine", encoding="utf-8")
    (outbox.folder / "empty").mkdir()
    (outbox.folder / ".hidden").mkdir()
    assert outbox.list() == [good]
    assert len(list(outbox.folder.iterdir())) == 4


# --- the disk --------------------------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "user").write_text("a file in the way", encoding="utf-8")
    with pytest.raises(OSError):
        Outbox(tmp_path / "user" / "outbox").put(HERE, "ct-1", draft(), label())
    assert Outbox(tmp_path / "user" / "outbox").list() == []


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to this user")
def test_a_folder_that_may_not_be_written_to_is_told(outbox: Outbox) -> None:
    outbox.folder.mkdir(parents=True)
    outbox.folder.chmod(0o500)
    with pytest.raises(OSError):
        outbox.put(HERE, "ct-1", draft(), label())
    outbox.folder.chmod(0o700)
    assert list(outbox.folder.iterdir()) == []


@pytest.mark.parametrize("room", [0, 200, 3000, 20_000])
def test_a_full_disk_is_told_and_nothing_half_is_left(outbox: Outbox, room: int) -> None:
    kept = outbox.put(HERE, "kept", draft(), label())
    large = label((40, 40, 40), values=200)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))  # no file may grow beyond it
    try:
        with pytest.raises(OSError):
            outbox.put(HERE, "too large", draft(), large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert outbox.list() == [kept] and list(outbox.folder.iterdir()) == [kept.folder]
    assert outbox.put(HERE, "again", draft(), large) in outbox.list()


def test_a_label_map_that_cannot_be_one_leaves_nothing(outbox: Outbox) -> None:
    wrong = ImageData(np.full((2, 2, 2), 0.5), Grid((2, 2, 2), (1, 1, 1), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    with pytest.raises(OSError, match="fractions"):
        outbox.put(HERE, "ct-1", draft(), wrong)
    assert list(outbox.folder.iterdir()) == []


def test_a_note_that_the_disk_does_not_take_is_known_all_the_same(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsent = outbox.put(HERE, "ct-1", draft(), label())
    write = Path.write_text

    def cut_short(path: Path, text: str, **options: Any) -> int:
        write(path, text[:20], **options)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", cut_short)
    assert outbox.note(unsent, problem="The server refused.").problem == "The server refused."
    assert outbox.list() == [unsent] and files_in(unsent.folder) == {"record.json", "label.nii"}


# --- the program is killed -------------------------------------------------------------------------------------------

WRITER = """
import os, sys
from pathlib import Path
from tests.slicer import bed
bed.install()
from tests.slicer.test_outbox import HERE, draft, label
from LabelLoopLib.workflow.outbox import Outbox
image = label((160, 160, 128), seed=5, values=200)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        for n in range(100):
            Outbox(Path(line.strip())).put(HERE, f"ct-{n}", draft(), image)
        os._exit(0)
    print(child, flush=True)
    os.waitpid(child, 0)
    print("gone", flush=True)
"""


@pytest.fixture(scope="module")
def writer() -> Iterator[subprocess.Popen[str]]:
    """A program that starts, for each folder it is told, a process that puts one annotation after the other there."""
    path = os.pathsep.join([str(REPOSITORY), str(MODULE)])
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "QT_QPA_PLATFORM": "offscreen"},
    )
    yield process
    process.stdin.close()
    process.wait(10)
    process.stdout.close()


def test_a_killed_program_leaves_what_is_complete_and_nothing_else(
    writer: subprocess.Popen[str], tmp_path: Path
) -> None:
    expected = label((160, 160, 128), seed=5, values=200)
    dice, complete, torn = random.Random(11), 0, 0
    for n in range(12):
        outbox = Outbox(tmp_path / str(n))
        writer.stdin.write(f"{outbox.folder}\n")
        writer.stdin.flush()
        child = int(writer.stdout.readline())
        end = time.monotonic() + 20
        while not outbox.folder.is_dir() and time.monotonic() < end:
            time.sleep(0.001)
        time.sleep(dice.uniform(0, 0.12))
        os.kill(child, signal.SIGKILL)
        assert writer.stdout.readline() == "gone\n"
        listed = outbox.list()
        for one in listed:
            np.testing.assert_array_equal(readLabelMap(one.labelFile).voxels, expected.voxels)
            assert one.draft.labels == {"liver": 1, "spleen": 2} and one.id == one.draft.submission
        shown = {one.folder.name for one in listed}
        hidden = [path for path in outbox.folder.iterdir() if path.name not in shown]
        assert all(path.name.startswith(".") for path in hidden), "a folder under its final name is complete"
        complete, torn = complete + len(listed), torn + len(hidden)
        after = outbox.put(HERE, "after", draft(), expected)
        assert after in outbox.list(), "the next Slicer goes on"
    assert complete > 0 and torn > 0, "some were killed in the middle of one"
