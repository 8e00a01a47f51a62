"""Answers go out of a store and into another one unchanged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from monailabel_app.cli import app
from monailabel_app.errors import BadInput
from monailabel_app.store.annotations import TRAINS, Revision, Status
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
from tests.builders import annotate, open_store, store_with_volumes, write_picture
from tests.dicom_files import along_z, write_series

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
Write = Callable[[list[AnswerRow]], str]
Read = Callable[[str], list[AnswerRow]]
WRITTEN = pytest.mark.parametrize(("write", "read"), [(to_csv, from_csv), (to_json, from_json)])


def filled(folder: Path) -> Store:
    store = store_with_volumes(folder, *"abcde")
    store.schemes.set(SCHEME)
    return store


@WRITTEN
def test_a_round_trip_changes_nothing(tmp_path: Path, write: Write, read: Read) -> None:
    store = filled(tmp_path / "one")
    for case_id, answers in zip("abcde", ANSWERS, strict=True):
        store.annotations.save(case_id, "Änne, Dr.", Revision(status=Status.FINAL, classification=answers))
    store.annotations.save("a", "berta", Revision(status=Status.DRAFT, classification={"grade": "2"}))
    rows = export_rows(store)
    other = filled(tmp_path / "two")
    assert import_rows(other, read(write(rows)), "nobody") == len(rows) == 6
    assert export_rows(other) == rows
    assert other.annotations.current("a", "berta").status is Status.DRAFT


# Names that a table has a use of its own for, and any others.
nasty = st.sampled_from(
    ["case", "Author", "status", "answers.status", "?", "[T1] bright", '"', "a;b", "a; b", "1", "=x"]
)
texts = nasty | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)  # lone surrogates are in no file
names = nasty | st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8)


@WRITTEN
@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(
        st.builds(
            AnswerRow,
            texts,
            st.dictionaries(texts, st.none() | texts | st.lists(texts, max_size=4), max_size=4),
            texts,
            texts,
        ),
        max_size=4,
    )
)
def test_any_text_comes_back_from_a_table(write: Write, read: Read, rows: list[AnswerRow]) -> None:
    assert read(write(rows)) == rows


def attributes_of(kind: str) -> st.SearchStrategy[dict]:
    classes = st.lists(names, min_size=2, max_size=4, unique_by=str.casefold)
    return st.builds(lambda name, classes: {"name": name, "kind": kind, "classes": classes}, names, classes)


@st.composite
def answered_schemes(draw: st.DrawFn) -> tuple[Scheme, list[tuple[str, str, Status, dict]]]:
    """A scheme, and what authors answered about the cases ``a`` and ``b``."""
    asked = draw(
        st.lists(
            st.one_of(*(attributes_of(kind) for kind in ("single", "multi", "ordinal"))),
            min_size=1,
            max_size=3,
            unique_by=lambda one: one["name"].casefold(),
        )
    )
    scheme = Scheme.of({"attributes": asked})
    answers = st.fixed_dictionaries(
        {},
        optional={
            one.name: st.none()
            | (st.lists(st.sampled_from(one.names)) if one.kind == "multi" else st.sampled_from(one.names))
            for one in scheme.attributes
        },
    )
    given_by = st.tuples(st.sampled_from("ab"), names, st.sampled_from([Status.DRAFT, Status.FINAL]), answers)
    said = draw(st.lists(given_by, max_size=4, unique_by=lambda one: one[:2]))
    return scheme, [one for one in said if one[3] or one[2] is Status.DRAFT]


@WRITTEN
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=answered_schemes())
def test_all_answers_of_a_store_come_back_in_another_one_and_change_nothing_in_their_own(
    tmp_path_factory: pytest.TempPathFactory,
    write: Write,
    read: Read,
    drawn: tuple[Scheme, list[tuple[str, str, Status, dict]]],
) -> None:
    scheme, said = drawn
    one, other = (store_with_volumes(tmp_path_factory.mktemp("store"), "a", "b") for _ in range(2))
    for store in (one, other):
        store.schemes.set(scheme)
    for case_id, author, status, answers in said:
        one.annotations.save(case_id, author, Revision(status=status, classification=answers))
    rows = export_rows(one)
    assert len(rows) == sum(bool(answers) for *_, answers in said)
    assert import_rows(other, read(write(rows)), "nobody") == len(rows)
    assert export_rows(other) == rows
    before = [one.annotations.history(case_id) for case_id in "ab"]
    assert import_rows(one, read(write(rows)), "nobody") == len(rows)
    assert [one.annotations.history(case_id) for case_id in "ab"] == before


def test_the_answers_of_a_case_taken_out_are_not_exported(tmp_path: Path) -> None:
    store = filled(tmp_path)
    import_rows(store, from_csv("case,diagnosis\na,benign\nb,benign\n"), "carl")
    store.catalogue.remove("a")
    assert [row.case_id for row in export_rows(store)] == ["b"]
    assert import_rows(store, from_csv(to_csv(export_rows(store))), "carl") == 1


def test_the_table_of_a_store_fits_it_after_its_classes_were_renamed(tmp_path: Path) -> None:
    store = filled(tmp_path)
    import_rows(store, from_csv("case,diagnosis,grade\na,benign,1\nb,[odd],\n".replace("[odd]", '"""[odd]"""')), "carl")
    renamed = {"name": "diagnosis", "classes": ["harmless", "malignant"]}
    store.schemes.set(Scheme.of({"attributes": [renamed]}))
    rows = export_rows(store)
    assert import_rows(store, from_csv(to_csv(rows)), "carl") == 2 and export_rows(store) == rows
    import_rows(store, from_csv("case,diagnosis\na,harmless\n"), "carl")
    assert export_rows(store)[0].answers == {"diagnosis": "harmless", "grade": "1"}


def test_answers_are_exported_in_the_spelling_of_today(tmp_path: Path) -> None:
    store = filled(tmp_path)
    import_rows(store, from_csv("case,findings\na,nodule\n"), "carl")
    store.schemes.set(Scheme.of({"attributes": [{"name": "Findings", "kind": "multi", "classes": ["Nodule", "cyst"]}]}))
    import_rows(store, from_csv("case,findings\nb,cyst\n"), "carl")
    assert [row.answers for row in export_rows(store)] == [{"Findings": ["Nodule"]}, {"Findings": ["cyst"]}]


def test_a_column_named_as_a_fixed_one_is_told_apart(tmp_path: Path) -> None:
    rows = [AnswerRow("a", {"status": "healed", "diagnosis": "benign"}, "anna", "final")]
    assert to_csv(rows).splitlines()[0] == "case,author,status,answers.status,diagnosis"


def test_blank_cells_and_nulls_say_nothing() -> None:
    assert from_csv("case,diagnosis,grade\na, ,2\n") == [AnswerRow("a", {"grade": "2"})]
    assert from_json('[{"case": "a", "author": null, "status": null, "answers": {}}]') == [AnswerRow("a", {})]


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


def test_an_import_adds_to_what_its_author_answered_before(tmp_path: Path) -> None:
    store = filled(tmp_path)
    import_rows(store, from_csv("case,diagnosis,findings\na,benign,nodule\n"), "carl")
    assert import_rows(store, from_csv("case,Diagnosis,grade\na,,2\na,?,\n"), "carl") == 2
    assert export_rows(store) == [
        AnswerRow("a", {"diagnosis": None, "findings": ["nodule"], "grade": "2"}, "carl", "final")
    ]


def test_an_import_answers_only_what_it_names(tmp_path: Path) -> None:
    store = filled(tmp_path)
    import_rows(store, from_csv("case,findings\na,nodule\n"), "carl")
    more = {"name": "findings", "kind": "multi", "classes": ["nodule", "fracture"]}
    store.schemes.set(Scheme.of({"attributes": [more, {"name": "view", "classes": ["frontal", "lateral"]}]}))
    import_rows(store, from_csv("case,View\na,lateral\n"), "carl")
    now = store.annotations.current("a", "carl")
    assert now.classification == {"findings": ["nodule"], "view": "lateral"}
    assert now.asked == {"findings": ["effusion", "nodule", "a;b"], "view": ["frontal", "lateral"]}


def test_an_import_of_what_is_there_already_saves_no_revision(tmp_path: Path) -> None:
    store = filled(tmp_path)
    for case_id, answers in zip("abcde", ANSWERS, strict=True):
        store.annotations.save(case_id, "anna", Revision(status=Status.FINAL, classification=answers))
    store.annotations.review("a", "anna", "chief", Status.APPROVED, None)
    before = [store.annotations.history(case_id) for case_id in "abcde"]
    assert import_rows(store, export_rows(store), "carl") == 5
    assert [store.annotations.history(case_id) for case_id in "abcde"] == before


@pytest.mark.parametrize("status", list(Status))
def test_answers_without_a_status_leave_that_of_the_authors_annotation(
    tmp_path: Path, status: Status, caplog: pytest.LogCaptureFixture
) -> None:
    store = filled(tmp_path)
    outlined = annotate(store, "a", "anna", Status.DRAFT if status is Status.DRAFT else Status.FINAL)
    if status in (Status.APPROVED, Status.REJECTED):
        store.annotations.review("a", "anna", "chief", status, None)
    roles = store.split.roles()
    assert import_rows(store, from_csv("case,diagnosis\na,benign\n"), "anna") == 1
    now = store.annotations.current("a", "anna")
    assert (now.status, now.file, now.classification) == (status, outlined.file, {"diagnosis": "benign"})
    assert bool(store.annotations.for_training()) is (status in TRAINS) and store.split.roles() == roles
    assert ("trains nothing" in caplog.text) is (status not in TRAINS)


@pytest.mark.parametrize("status", ["final", "approved"])
def test_an_import_submits_nothing_that_its_author_did_not(tmp_path: Path, status: str) -> None:
    store = filled(tmp_path)
    annotate(store, "a", "anna", Status.DRAFT)
    annotate(store, "b", "anna")
    store.annotations.review("b", "anna", "chief", Status.REJECTED, "again")
    store.annotations.save("c", "anna", Revision(status=Status.DRAFT, classification={"grade": "1"}))
    roles = store.split.roles()
    for case_id, before in zip("abc", ("draft", "rejected", "draft"), strict=True):
        with pytest.raises(BadInput, match=f"case '{case_id}'.*{before}.*nothing was imported"):
            import_rows(store, [AnswerRow(case_id, {"diagnosis": "benign"}, "anna", status)], "carl")
    assert store.annotations.for_training() == [] and store.split.roles() == roles
    # What was in the draft is in the row too: nothing else goes along.
    assert import_rows(store, [AnswerRow("c", {"diagnosis": "benign", "grade": 2}, "anna", status)], "carl") == 1
    assert store.annotations.current("c", "anna").status == status


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


@pytest.mark.parametrize("text", ["{", "[1]", '[{"case": "a"}]', '{"case": "a"}', "[" * 100_000])
def test_json_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="JSON list"):
        from_json(text)


def test_a_table_without_cases_is_refused() -> None:
    with pytest.raises(BadInput, match="no column 'case'"):
        from_csv("image,diagnosis\na,benign\n")


def write_pictures(folder: Path, *places: str) -> None:
    for place in places:
        (folder / "studies" / place).parent.mkdir(parents=True, exist_ok=True)
        write_picture(folder / "studies" / place)


def test_folders_named_after_classes(tmp_path: Path) -> None:
    write_pictures(tmp_path, "benign/x.png", "late/Benign/y.png", "other/z.png")
    store = open_store(tmp_path)
    with pytest.raises(BadInput, match="--classes"):
        rows_from_folders(store, "diagnosis")
    store.schemes.set(SCHEME)
    rows = rows_from_folders(store, "diagnosis")
    assert [row.answers for row in rows] == [{"diagnosis": "benign"}] * 2
    with pytest.raises(BadInput, match="no image lies in a folder"):
        rows_from_folders(store, "grade")


def test_a_dicom_series_lies_in_the_folder_of_its_files(tmp_path: Path) -> None:
    write_pictures(tmp_path, "benign/x.png")
    for number, folder in enumerate(("benign/p1", "p2/[odd]", "other")):
        write_series(tmp_path / "studies" / folder, positions=along_z(0, 1), SeriesInstanceUID=f"1.2.3.{number}")
    store = filled(tmp_path)
    rows = {row.case_id: row.answers["diagnosis"] for row in rows_from_folders(store, "diagnosis")}
    assert sorted(rows.values()) == ["[odd]", "benign", "benign"] and len(store.catalogue.cases()) == 9
    assert import_rows(store, rows_from_folders(store, "diagnosis"), "folders") == 3


def test_a_series_in_folders_of_two_classes_is_refused_by_name(tmp_path: Path) -> None:
    for folder, prefix, place in (("benign", "a", 0.0), ("[odd]", "b", 1.0)):
        write_series(tmp_path / "studies" / folder, positions=along_z(place), prefix=prefix)
    store = filled(tmp_path)
    with pytest.raises(BadInput, match=r"case '.+' lie in folders of several classes: \[odd\], benign"):
        rows_from_folders(store, "diagnosis")


def test_folders_of_two_attributes_answer_both(tmp_path: Path) -> None:
    write_pictures(tmp_path, "benign/2/x.png", "[odd]/nodule/y.png")
    store = open_store(tmp_path)
    store.schemes.set(SCHEME)
    for attribute in ("diagnosis", "grade", "findings"):
        import_rows(store, rows_from_folders(store, attribute), "folders")
    assert [row.answers for row in export_rows(store)] == [
        {"diagnosis": "benign", "grade": "2"},
        {"diagnosis": "[odd]", "findings": ["nodule"]},
    ]


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
    store.annotations.save("c", "two\rlines", Revision(status=Status.FINAL, classification=ANSWERS[1]))
    rows = export_rows(store)
    for file in (str(tmp_path / "again.csv"), str(tmp_path / "again.json")):
        assert run(app, ["answers", "export", "--workspace", workspace, "--out", file]).exit_code == 0
        assert run(app, ["answers", "import", file, "--workspace", workspace]).exit_code == 0
    assert export_rows(store) == rows
    (tmp_path / "bad.csv").write_text("case,diagnosis\nb,odd\n")
    refused = run(app, ["answers", "import", str(tmp_path / "bad.csv"), "--workspace", workspace])
    assert refused.exit_code == 1
    assert "classes are" in refused.output
