"""The scheme of classes, answers and their table, over HTTP with a real server; nothing is trained here."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from monailabel_app.cli import app as command_line
from monailabel_app.demo.process import ServerProcess
from monailabel_app.store.workspace import Workspace
from tests.builders import SIZE, as_format, open_store, write_label_map, write_picture, write_volume

DIAGNOSIS = {"name": "diagnosis", "classes": ["benign", "malignant"]}
FINDINGS = {"name": "findings", "kind": "multi", "classes": ["cyst", "nodule"]}
GRADE = {"name": "grade", "kind": "ordinal", "classes": ["0", "1", "2"], "scope": "segment", "segment": "lesion"}
SCHEME = {"attributes": [DIAGNOSIS, FINDINGS, GRADE]}
PLAN = {"network": {"kind": "resnet18"}, "optimizer": "sgd"}
CSV = {"Content-Type": "text/csv"}


def serving(folder: Path, *options: str) -> ServerProcess:
    return ServerProcess(folder / "studies", folder / "workspace", folder / "server.log", options)


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a server with the scheme, volumes ``a`` to ``h`` and pictures ``p0`` to ``p39``."""
    folder = tmp_path_factory.mktemp("classes")
    for number, name in enumerate("abcdefgh"):
        write_volume(folder / "studies" / f"{name}.nii.gz", fill=number)
    for number in range(40):
        write_picture(folder / "studies" / f"p{number}.png")
    (folder / "classes.yaml").write_text(json.dumps(SCHEME))  # JSON is YAML, too
    (folder / "plan.json").write_text(json.dumps({"classification": PLAN}))
    files = ("--classes", str(folder / "classes.yaml"), "--plan", str(folder / "plan.json"))
    with serving(folder, *files) as server:
        server.client.http.headers["X-Workspace"] = str(server.workspace)
        yield server.client.http


@pytest.fixture(autouse=True)
def _the_scheme_again(http: httpx.Client) -> Iterator[None]:
    yield
    assert http.put("/loop/scheme", json=SCHEME).status_code == 200


def save(http: httpx.Client, case_id: str, answers: Any, label: Path | None = None, **record: Any) -> httpx.Response:
    fields = {"author": "anna", "status": "final", "classification": answers, **record}
    files = {"label": (label.name, label.read_bytes())} if label is not None else None
    return http.put(f"/loop/cases/{case_id}/annotation", data={"record": json.dumps(fields)}, files=files)


def tasks(http: httpx.Client) -> dict[str, dict]:
    """The tasks that segment or classify, by name."""
    found = http.get("/loop/").json()["tasks"]
    return {task["name"]: task for task in found if task["kind"] in ("segmentation", "classification")}


def strategies(http: httpx.Client) -> set[str]:
    return {one["name"] for one in http.get("/loop/").json()["strategies"]}


# --- the scheme ------------------------------------------------------------------------------------------------------


def test_the_scheme_of_the_file_makes_tasks_beside_the_segmentation(http: httpx.Client) -> None:
    scheme = http.get("/loop/scheme").json()
    assert [one["name"] for one in scheme["attributes"]] == ["diagnosis", "findings", "grade"]
    first = scheme["attributes"][0]["classes"][0]
    assert first["color"].startswith("#") and first["hotkey"] == "1"
    found = tasks(http)
    assert list(found) == ["segmentation", "classification", "classification-lesion"]
    assert [one["name"] for one in found["classification"]["attributes"]] == ["diagnosis", "findings"]
    assert found["classification-lesion"]["segment"] == "lesion"
    assert found["segmentation"]["attributes"] == [] and found["classification"]["published"] is None
    assert http.get("/info/").json()["models"]["classification"]["type"] == "classification"


@pytest.mark.parametrize(
    ("scheme", "words"),
    [
        ({"attributes": []}, "at least 1"),
        ({}, "attributes"),
        ([1], "scheme"),
        ({"attributes": [{"name": "x", "classes": ["one"]}]}, "at least 2 classes"),
        ({"attributes": [{"name": "x", "classes": ["a", "A"]}]}, "two classes"),
        ({"attributes": [DIAGNOSIS, {**GRADE, "name": "Diagnosis"}]}, "two attributes"),
        ({"attributes": [{**DIAGNOSIS, "kind": "often"}]}, "'single', 'multi' or 'ordinal'"),
        ({"attributes": [{**DIAGNOSIS, "segment": "lesion"}]}, "scope is 'segment'"),
        ({"attributes": [{"name": "x", "classes": [{"name": "a", "color": "red"}, "b"]}]}, "#rrggbb"),
    ],
)
def test_a_bad_scheme_is_refused_in_words_and_changes_nothing(http: httpx.Client, scheme: Any, words: str) -> None:
    before = http.get("/loop/scheme").json()
    refused = http.put("/loop/scheme", json=scheme)
    assert refused.status_code == 400 and words in refused.json()["detail"], refused.text
    assert http.get("/loop/scheme").json() == before


def test_another_scheme_changes_the_tasks_and_loses_no_answer(http: httpx.Client) -> None:
    assert save(http, "a", {"diagnosis": "benign", "grade": "2"}).status_code == 200
    other = {"attributes": [{"name": "quality", "classes": ["good", "poor"]}]}
    assert http.put("/loop/scheme", json=other).status_code == 200
    assert list(tasks(http)) == ["segmentation", "classification"]
    assert http.get("/loop/versions/classification-lesion").status_code == 404
    assert save(http, "a", {"quality": "good"}).json()["classification"] == {
        **{"diagnosis": "benign", "grade": "2", "quality": "good"}
    }
    assert http.put("/loop/scheme", json=SCHEME).status_code == 200
    assert http.get("/loop/cases/a/annotation").json()["classification"]["grade"] == "2"
    assert "classification-lesion" in tasks(http)


def test_two_segments_never_share_a_task(http: httpx.Client) -> None:
    names = ("Lesion 1", "lesion-1", "病変", "肝臓")
    asked = [{**GRADE, "name": f"grade {name}", "segment": name} for name in names]
    assert http.put("/loop/scheme", json={"attributes": [*asked, {**GRADE, "name": "again"}]}).status_code == 200
    segments = [task["segment"] for task in tasks(http).values() if task["segment"]]
    assert sorted(segments) == sorted([*names, "lesion"])


def test_without_a_scheme_there_is_none_until_one_is_put(tmp_path: Path) -> None:
    write_volume(tmp_path / "studies" / "a.nii.gz")
    with serving(tmp_path) as server:
        http = server.client.http
        missing = http.get("/loop/scheme")
        assert missing.status_code == 404 and "--classes" in missing.json()["detail"]
        assert list(tasks(http)) == ["segmentation"]
        assert {"random", "in-order", "clasp-pe"} <= strategies(http) and "badge" not in strategies(http)
        assert http.put("/loop/scheme", json=SCHEME).status_code == 200
        assert list(tasks(http))[1:] == ["classification", "classification-lesion"]
        assert {"random", "in-order", "entropy", "margin", "badge"} <= strategies(http)
        assert http.post("/activelearning/entropy", json={}).json()["id"] == "a"


def test_a_scheme_that_a_client_put_outlives_a_restart_with_the_same_file(tmp_path: Path) -> None:
    write_volume(tmp_path / "studies" / "a.nii.gz")
    (tmp_path / "classes.json").write_text(json.dumps(SCHEME))
    started = ("--classes", str(tmp_path / "classes.json"))
    with serving(tmp_path, *started) as server:
        put = server.client.http.put("/loop/scheme", json={"attributes": [GRADE]}).json()
    assert "newer scheme" not in (tmp_path / "server.log").read_text()
    with serving(tmp_path, *started) as server:
        assert server.client.http.get("/loop/scheme").json() == put
    assert (tmp_path / "server.log").read_text().count("classes.json has not changed since it was read") == 1


# --- answers ---------------------------------------------------------------------------------------------------------


def test_draft_then_submit_with_and_without_a_label_map(http: httpx.Client, tmp_path: Path) -> None:
    draft = save(http, "b", {"Diagnosis": "BENIGN"}, status="draft").json()
    assert draft["classification"] == {"diagnosis": "benign"} and not draft["has_label_map"]
    label = write_label_map(tmp_path / "label.nii.gz", [2])
    both = save(http, "b", {"diagnosis": "malignant", "grade": 2}, label, labels={"lesion": 2}, status="draft").json()
    assert both["has_label_map"] and both["labels"] == {"lesion": 2}
    assert both["classification"] == {"diagnosis": "malignant", "grade": "2"}
    # A part that is not sent stays: the label map with new answers, the answers with a new label map.
    assert save(http, "b", {"diagnosis": None, "findings": []}, status="draft").json()["has_label_map"]
    final = save(http, "b", None, write_label_map(tmp_path / "l.nii.gz", [3]), labels={"lesion": 3}).json()
    assert final["classification"] == {"diagnosis": None, "findings": []}
    history = http.get("/loop/cases/b/history").json()
    assert [one["status"] for one in history] == ["draft", "draft", "draft", "final"]
    assert history[1]["classification"] == {"diagnosis": "malignant", "grade": "2"}
    assert {one["author"] for one in history} == {"anna"}
    assert http.get("/loop/cases", params={"search": "b"}).json()["cases"][0]["status"] == "submitted"


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"diagnosis": "odd"}, "benign, malignant"),
        ({"colour": "red"}, "diagnosis, findings, grade"),
        ({"findings": ["cyst", "odd"]}, "cyst, nodule"),
        ({"findings": 3}, "list of classes"),
        ({"diagnosis": ["benign"]}, "one class"),
        ({"grade": True}, "one class"),
        ({"grade": "2", "Grade": "1"}, "twice"),
        (["benign"], "record"),
    ],
)
def test_a_wrong_answer_is_a_400_that_lists_the_right_ones(http: httpx.Client, answers: Any, words: str) -> None:
    refused = save(http, "c", answers)
    assert refused.status_code == 400 and words in refused.json()["detail"], refused.text
    assert http.get("/loop/cases/c/history").json() == []


def test_validation_has_its_share_of_each_class(http: httpx.Client) -> None:
    rare = {f"p{number}" for number in range(40) if number % 5 == 0}
    for number in range(40):
        name = f"p{number}"
        assert save(http, name, {"diagnosis": "malignant" if name in rare else "benign"}).status_code == 200
    drawn = set(http.get("/loop/split").json()["validation"]) & {f"p{number}" for number in range(40)}
    assert len(drawn & rare) == 2 and len(drawn - rare) in (7, 8)  # earlier tests have begun a block of 'benign'


# --- the table -------------------------------------------------------------------------------------------------------


def test_the_table_goes_out_and_comes_back_over_http_and_on_the_command_line(
    http: httpx.Client, tmp_path: Path
) -> None:
    save(http, "d", {"diagnosis": "malignant", "findings": ["nodule", "cyst"], "grade": None}, author="Änne")
    table = http.get("/loop/answers", headers={"Accept": "text/csv"})
    assert table.headers["content-type"].startswith("text/csv")
    line = next(one for one in table.text.splitlines() if one.startswith("d,"))
    assert line.startswith("d,Änne,final,") and "cyst; nodule" in line and line.count("?") == 1
    as_json = {one["case"]: one["answers"] for one in http.get("/loop/answers").json()}
    assert as_json["d"] == {"diagnosis": "malignant", "findings": ["cyst", "nodule"], "grade": None}

    before = http.get("/loop/answers").json()
    sent = http.post("/loop/answers", content=table.content, headers=CSV)  # also what the scheme asks for no longer
    assert sent.status_code == 200 and sent.json()["imported"] == len(before)
    assert http.get("/loop/answers").json() == before
    by_json = http.post("/loop/answers?author=carl", json=[{"case": "e", "answers": {"grade": 1}}])
    assert by_json.json() == {"imported": 1}
    assert http.get("/loop/cases/e/annotation", params={"author": "carl"}).json()["classification"] == {"grade": "1"}

    run, workspace = CliRunner().invoke, http.headers["X-Workspace"]  # while the server runs
    shown = run(command_line, ["answers", "export", "--workspace", workspace])
    assert shown.exit_code == 0 and "e,carl,final" in shown.stdout
    (tmp_path / "new.csv").write_text("case,diagnosis\nf,benign\n")
    arguments = ["answers", "import", str(tmp_path / "new.csv"), "--workspace", workspace, "--author", "dora"]
    assert run(command_line, arguments).exit_code == 0
    assert http.get("/loop/cases/f/annotation").json()["author"] == "dora"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (b"case,diagnosis\ng,benign\nh,odd\n", "case 'h'"),
        (b"case,diagnosis\ng,benign\nnobody,benign\n", "case 'nobody'"),
        (b"case,author,diagnosis\ng,anna,benign\nh," + b"x" * 200 + b",benign\n", "case 'h'"),
        (b"case,author,diagnosis\ng,,benign\nh,anna,[2]\n", "case 'h'"),
        (b"image,diagnosis\ng,benign\n", "no column 'case'"),
        (b"case,diagnosis\ng,\xff\n", "UTF-8"),
        (b'case,diagnosis\ng,"[1\n', "JSON"),
        (b"case,diagnosis\ng," + b"y" * 200_000 + b"\n", "table"),
    ],
)
def test_one_wrong_row_and_nothing_is_imported(http: httpx.Client, table: bytes, words: str) -> None:
    refused = http.post("/loop/answers", content=table, headers=CSV)
    assert refused.status_code == 400 and words in refused.json()["detail"], refused.text
    assert http.get("/loop/cases/g/history").json() == http.get("/loop/cases/h/history").json() == []


# --- what is set of the plan ------------------------------------------------------------------------------------------


def test_each_task_is_trained_with_what_is_set_of_its_plan(http: httpx.Client) -> None:
    plans = {task: http.get("/loop/training/defaults", params={"task": task}).json()["plan"] for task in tasks(http)}
    assert plans.pop("segmentation") == {}
    assert len(plans) == 2 and all(plan == PLAN for plan in plans.values())


# --- what was there before -------------------------------------------------------------------------------------------


def test_an_index_of_the_format_before_is_brought_up_to_date(tmp_path: Path) -> None:
    write_volume(tmp_path / "studies" / "a.nii.gz")
    write_volume(tmp_path / "studies" / "b.nii.gz", fill=1)
    store = open_store(tmp_path)
    with store.database.write() as connection:
        store.split.decide(connection, "a")
    before = store.split.roles()
    with sqlite3.connect(Workspace(tmp_path / "workspace").index) as old:
        as_format(old, 2)
    (tmp_path / "classes.json").write_text(json.dumps(SCHEME))
    with serving(tmp_path, "--classes", str(tmp_path / "classes.json")) as server:
        label = write_label_map(tmp_path / "label.nii.gz", [1], SIZE)
        for name in "ab":
            saved = save(server.client.http, name, {"diagnosis": "benign"}, label, labels={"lesion": 1})
            assert saved.status_code == 200, saved.text
        split = server.client.split()
        assert before["a"] in split and "a" in split[before["a"]] and "b" in split["training"] + split["validation"]
