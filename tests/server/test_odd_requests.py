"""Requests that make no sense are refused in words, whatever is odd about them: none is the server's own fault."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from monailabel_app.demo.process import ServerProcess
from tests.builders import write_volume

SCHEME = {"attributes": [{"name": "diagnosis", "classes": ["benign", "malignant"]}]}
HALF = "\\ud800"
"""One half of a character beyond the first 65,536, as JSON writes it: no text."""

HUGE = 10**23
"""More than any number in the index can be."""


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a server with a scheme and the volumes ``a`` to ``d``."""
    folder = tmp_path_factory.mktemp("odd")
    for number, name in enumerate("abcd"):
        write_volume(folder / "studies" / f"{name}.nii.gz", fill=number)
    (folder / "classes.yaml").write_text(json.dumps(SCHEME))
    options = ("--classes", str(folder / "classes.yaml"))
    with ServerProcess(folder / "studies", folder / "workspace", folder / "server.log", options) as server:
        yield server.client.http


def assert_refused(answer: httpx.Response) -> str:
    """The reason, in words."""
    assert 400 <= answer.status_code < 500, answer.text
    detail = answer.json()["detail"]
    return detail if isinstance(detail, str) else "; ".join(one["msg"] for one in detail)


def send(http: httpx.Client, method: str, path: str, body: str) -> httpx.Response:
    return http.request(method, path, content=body, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/loop/answers", '[{"case": "%s", "answers": {"diagnosis": "benign"}}]'),
        ("POST", "/loop/next", '{"annotator": "%s"}'),
        ("POST", "/loop/next", '{"annotator": "anna", "strategy": "%s"}'),
        ("POST", "/loop/next", '{"annotator": "anna", "task": "%s"}'),
        ("POST", "/loop/cases/a/lease", '{"annotator": "%s"}'),
        ("POST", "/loop/cases/a/skip", '{"annotator": "anna", "reason": "%s"}'),
        ("POST", "/loop/training", '{"task": "%s"}'),
        ("POST", "/loop/training", '{"task": "segmentation", "%s": 1}'),
        ("POST", "/loop/training", '{"task": "segmentation", "requested_by": "%s"}'),
        ("POST", "/loop/versions/segmentation/1/publish", '{"reason": "%s"}'),
        ("PUT", "/loop/scheme", '{"attributes": [{"name": "%s", "classes": ["a", "b"]}]}'),
        ("POST", "/activelearning/random", '{"task": "%s"}'),
        ("POST", "/activelearning/random", '{"client_id": "%s"}'),
    ],
)
def test_half_a_character_is_no_text(http: httpx.Client, method: str, path: str, body: str) -> None:
    assert_refused(send(http, method, path, body % HALF))
    assert_refused(send(http, method, path, body % (HALF + "\\\\udc00")))


def test_a_whole_character_is_text_however_it_is_written(http: httpx.Client) -> None:
    for name in ("\\ud83d\\ude00", "😀", "\\\\ud800"):
        given = send(http, "POST", "/loop/next", f'{{"annotator": "{name}"}}')
        assert given.status_code == 200, given.text
        annotator = http.get(f"/loop/cases/{given.json()['id']}").json()["lease"]["annotator"]
        assert annotator == json.loads(f'"{name}"')
        http.delete(f"/loop/cases/{given.json()['id']}/lease", params={"annotator": annotator})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/loop/versions/segmentation/{HUGE}"),
        ("GET", f"/loop/versions/segmentation/-{HUGE}"),
        ("POST", f"/loop/versions/segmentation/{HUGE}/publish"),
        ("GET", f"/loop/annotations/{HUGE}/label"),
        ("GET", f"/loop/synthetic?generator={HUGE}"),
        ("GET", f"/loop/synthetic?offset={HUGE}"),
    ],
)
def test_a_number_that_no_index_can_hold_is_refused(http: httpx.Client, method: str, path: str) -> None:
    assert_refused(http.request(method, path, json={} if method == "POST" else None))


def save(http: httpx.Client, **record: Any) -> httpx.Response:
    fields = {"author": "anna", "status": "final", "classification": {"diagnosis": "benign"}, **record}
    return http.put("/loop/cases/a/annotation", data={"record": json.dumps(fields)})


@pytest.mark.parametrize(
    "record",
    [
        {"points": [{"label": "x", "position": [float("nan"), 1, 2]}]},
        {"points": [{"label": "x", "position": [1, float("-inf"), 2]}]},
        {"seconds_spent": float("nan")},
        {"seconds_spent": 1e308},
        {"classification": {"diagnosis": float("nan")}},
    ],
)
def test_what_is_no_finite_number_is_not_saved(http: httpx.Client, record: dict[str, Any]) -> None:
    assert_refused(save(http, **record))
    assert http.get("/loop/cases/a/history").json() == []


@pytest.mark.parametrize(
    "request_",
    [
        '{"minutes": Infinity}',
        '{"minutes": NaN}',
        '{"minutes": 1e999}',
        '{"learning_rate": 1e999}',
        '{"plan": {"batch_size": NaN}}',
        f'{{"start": {HUGE}}}',
        f'{{"seed": {HUGE}}}',
    ],
)
def test_a_training_run_is_told_numbers_that_there_are(http: httpx.Client, request_: str) -> None:
    assert_refused(send(http, "POST", "/loop/training", request_))
    assert http.get("/loop/training").json() == []


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/loop/answers"), ("PUT", "/loop/scheme"), ("POST", "/loop/next")]
)
def test_brackets_without_end_are_no_document(http: httpx.Client, method: str, path: str) -> None:
    assert_refused(send(http, method, path, "[" * 200_000))


def test_somebody_without_a_name_is_given_no_case(http: httpx.Client) -> None:
    for path in ("/loop/next", "/loop/cases/a/lease", "/loop/cases/a/skip"):
        assert_refused(http.post(path, json={"annotator": " \t"}))
    given = http.post("/activelearning/random", json={"client_id": "  "}).json()
    assert http.get(f"/loop/cases/{given['id']}").json()["lease"]["annotator"] == "anonymous"
    review = {"author": "anna", "reviewer": "x" * 121, "status": "approved"}
    assert_refused(http.post("/loop/cases/a/review", json=review))


def test_the_kind_of_a_table_is_told_in_letters_of_any_case(http: httpx.Client) -> None:
    sent = http.post("/loop/answers", content="case,diagnosis\nd,benign\n", headers={"Content-Type": "Text/CSV"})
    assert sent.json() == {"imported": 1}
