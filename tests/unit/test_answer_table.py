"""Answers go out of a store and into another one unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from monailabel_app.cli import app
from monailabel_app.errors import BadInput
from monailabel_app.store.annotations import Revision, Status
from monailabel_app.store.answer_table import (
    AnswerRow,
    export_rows,
    from_csv,
    from_json,
    import_rows,
    rows_from_folders,
    to_csv,
    to_json,
)
from monailabel_app.store.scheme import Scheme
from monailabel_app.store.store import Store
from tests.builders import open_store, store_with_volumes, write_picture

SCHEME = Scheme.of(
    {
        "attributes": [
            {"name": "diagnosis", "classes": ["benign", "malignant, or nearly so", "[odd]"]},
            {"name": "findings", "kind": "multi", "classes": ["effusion", "nodule", "a;b"]},
            {"name": "grade", "kind": "ordinal", "classes": ["0", "1", "2"]},
        ]
    }
)
ANSWERS = (
    {"diagnosis": "benign", "findings": ["effusion", "nodule"], "grade": "0"},
    {"diagnosis": "malignant, or nearly so", "findings": [], "grade": None},
    {"diagnosis": "[odd]", "findings": ["a;b"]},
    {"findings": ["nodule", "a;b"], "diagnosis": None},
    {"findings": ["nodule"]},
)


def filled(folder: Path) -> Store:
    store = store_with_volumes(folder, *"abcde")
    store.schemes.set(SCHEME)
    return store


@pytest.mark.parametrize(("write", "read"), [(to_csv, from_csv), (to_json, from_json)])
def test_a_round_trip_changes_nothing(tmp_path: Path, write, read) -> None:
    store = filled(tmp_path / "one")
    for case_id, answers in zip("abcde", ANSWERS, strict=True):
        store.annotations.save(case_id, "Änne, Dr.", Revision(status=Status.FINAL, classification=answers))
    store.annotations.save("a", "berta", Revision(status=Status.DRAFT, classification={"grade": "2"}))
    rows = export_rows(store)
    other = filled(tmp_path / "two")
    assert import_rows(other, read(write(rows)), "nobody") == len(rows) == 6
    assert export_rows(other) == rows
    assert other.annotations.current("a", "berta").status is Status.DRAFT


def test_a_small_table_by_hand_is_enough(tmp_path: Path) -> None:
    store = filled(tmp_path)
    assert import_rows(store, from_csv("\ufeffcase,Diagnosis,grade\na,Benign,?\nb,,2\n"), "carl") == 2
    assert export_rows(store) == [
        AnswerRow("a", {"diagnosis": "benign", "grade": None}, "carl", "final"),
        AnswerRow("b", {"grade": "2"}, "carl", "final"),
    ]


@pytest.mark.parametrize(
    ("table", "what"),
    [
        ("case,diagnosis\na,benign\nb,odd\n", "case 'b'.*classes are"),
        ("case,diagnosis\na,benign\nzz,benign\n", "case 'zz'"),
        ("case,status,diagnosis\na,finished,benign\n", "case 'a'"),
    ],
)
def test_one_wrong_row_and_nothing_is_imported(tmp_path: Path, table: str, what: str) -> None:
    store = filled(tmp_path)
    with pytest.raises(BadInput, match=what):
        import_rows(store, from_csv(table), "carl")
    assert export_rows(store) == []


def test_a_row_without_an_answer_finishes_nothing(tmp_path: Path) -> None:
    store = filled(tmp_path)
    assert import_rows(store, from_csv("case,diagnosis,grade\na,,\nb,benign,\nc,,\n"), "carl") == 1
    assert [row.case_id for row in export_rows(store)] == ["b"]
    assert store.annotations.submitted_case_ids() == {"b"} and len(store.split.roles()) == 1


def test_an_import_that_breaks_off_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(tmp_path)
    save = store.annotations.save

    def save_until_the_disk_is_full(case_id: str, *arguments: object) -> object:
        if case_id == "c":
            raise OSError("No space left on device")
        return save(case_id, *arguments)

    monkeypatch.setattr(store.annotations, "save", save_until_the_disk_is_full)
    with pytest.raises(OSError, match="No space"):
        import_rows(store, from_csv("case,diagnosis\na,benign\nb,benign\nc,benign\n"), "carl")
    assert export_rows(store) == [] and store.split.roles() == {}


@pytest.mark.parametrize("text", ["{", "[1]", '[{"case": "a"}]', '{"case": "a"}'])
def test_json_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="JSON list"):
        from_json(text)


def test_a_table_without_cases_is_refused() -> None:
    with pytest.raises(BadInput, match="no column 'case'"):
        from_csv("image,diagnosis\na,benign\n")


def test_folders_named_after_classes(tmp_path: Path) -> None:
    for place in ("studies/benign/x.png", "studies/late/Benign/y.png", "studies/other/z.png"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        write_picture(tmp_path / place)
    store = open_store(tmp_path)
    store.catalogue.refresh()
    with pytest.raises(BadInput, match="--classes"):
        rows_from_folders(store, "diagnosis")
    store.schemes.set(SCHEME)
    rows = rows_from_folders(store, "diagnosis")
    assert [row.answers for row in rows] == [{"diagnosis": "benign"}] * 2
    with pytest.raises(BadInput, match="no image lies in a folder"):
        rows_from_folders(store, "grade")


def test_the_command_line_does_the_same(tmp_path: Path) -> None:
    store = filled(tmp_path)
    store.annotations.save("a", "anna", Revision(status=Status.FINAL, classification=ANSWERS[0]))
    workspace, out = str(store.workspace.root), tmp_path / "answers.json"
    run = CliRunner().invoke
    assert run(app, ["answers", "export", "--workspace", workspace, "--out", str(out)]).exit_code == 0
    assert from_json(out.read_text()) == export_rows(store)
    shown = run(app, ["answers", "export", "--workspace", workspace])
    assert from_csv(shown.stdout) == export_rows(store)
    (tmp_path / "new.csv").write_text("case,diagnosis\nb,benign\n")
    assert run(app, ["answers", "import", str(tmp_path / "new.csv"), "--workspace", workspace]).exit_code == 0
    assert [row.case_id for row in export_rows(store)] == ["a", "b"]
    (tmp_path / "bad.csv").write_text("case,diagnosis\nb,odd\n")
    refused = run(app, ["answers", "import", str(tmp_path / "bad.csv"), "--workspace", workspace])
    assert refused.exit_code == 1
    assert "classes are" in refused.output
