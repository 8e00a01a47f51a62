"""The choice of the next case over HTTP, with a real server that scores in the background."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import SimpleITK as sitk

from monailabel_app.demo.process import ServerProcess
from monailabel_app.models.networks import build_network, weights_of
from monailabel_app.models.registry import Registry
from tests.builders import open_store, small_plan, version_record, wait_until, write_label_map, write_volume

NAMES = tuple(f"case-{number}" for number in range(8))
GRID = (12, 10, 8)


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a server with eight volumes and one published version, which it begins to score with."""
    folder = tmp_path_factory.mktemp("selection")
    for number, name in enumerate(NAMES):
        write_volume(folder / "studies" / f"{name}.nii.gz", size=GRID, fill=number)
    store = open_store(folder)
    registry = Registry(store.database, store.workspace.versions)
    record = registry.register(version_record(), weights_of(build_network(small_plan("liver"))))
    registry.publish("segmentation", record.number, "test", "for the test")
    with ServerProcess(folder / "studies", folder / "workspace", folder / "server.log") as server:
        yield server.client.http


@pytest.fixture
def scored(http: httpx.Client) -> httpx.Client:
    wait_until(lambda: http.get("/loop/scores").json()["state"] == "ready", 120)
    return http


def ask(http: httpx.Client, strategy: str, annotator: str, *exclude: str) -> dict:
    answer = http.post(f"/activelearning/{strategy}", json={"client_id": annotator, "exclude": list(exclude)})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_clinician_never_waits_for_scores(http: httpx.Client) -> None:
    began = time.monotonic()
    given = ask(http, "clasp-pe", "early bird")
    assert given["id"] in NAMES and time.monotonic() - began < 5
    assert given["why"]
    assert http.delete(f"/loop/cases/{given['id']}/lease", params={"annotator": "early bird"}).status_code == 204


def test_scores_are_made_in_the_background_and_seen_in_the_list(scored: httpx.Client) -> None:
    scores = scored.get("/loop/scores").json()
    assert (scores["task"], scores["version"], scores["done"], scores["of"]) == ("segmentation", 1, 8, 8)
    assert scores["problems"] == {} and set(scores["scores"]) == set(NAMES)
    lines = {line["id"]: line for line in scored.get("/loop/cases").json()["cases"]}
    assert {name: line["score"] for name, line in lines.items()} == pytest.approx(scores["scores"])
    assert sorted(line["rank"] for line in lines.values()) == list(range(1, 9))
    assert scored.get("/loop/training").json() == [], "scoring is no training run"
    assert scored.get("/train/", params={"check_if_running": True}).status_code == 404


def test_the_platforms_route_gives_its_fields_and_ours(scored: httpx.Client) -> None:
    given = ask(scored, "entropy", "anna")
    best = max(scored.get("/loop/scores").json()["scores"].items(), key=lambda one: one[1])
    assert given["id"] == best[0] and given["weight"] == pytest.approx(best[1])
    assert given["path"].endswith(f"{given['id']}.nii.gz") and given["patient"] == given["id"]
    assert given["strategy_used"] == "entropy" and set(given["strategy"]) >= {"entropy"}
    assert (given["rank"], given["of"], given["version"], given["candidates"]) == (1, 8, 1, 8)
    assert given["classes"] == ["liver"] and given["why"] and not given["control"]
    line = scored.get(f"/loop/cases/{given['id']}").json()
    assert line["lease"] == {"annotator": "anna", "until": pytest.approx(given["lease_until"])}
    other = ask(scored, "entropy", "bert")
    assert other["id"] not in (given["id"], None)
    same = scored.post("/loop/next", json={"annotator": "anna", "strategy": "entropy"}).json()
    assert same["id"] == given["id"]
    for name, case_id in (("anna", given["id"]), ("bert", other["id"])):
        scored.delete(f"/loop/cases/{case_id}/lease", params={"annotator": name})


def test_a_case_can_be_held_and_given_back(http: httpx.Client) -> None:
    held = http.post("/loop/cases/case-3/lease", json={"annotator": "anna"})
    assert held.status_code == 200 and held.json()["annotator"] == "anna"
    refused = http.post("/loop/cases/case-3/lease", json={"annotator": "bert"})
    assert refused.status_code == 409 and "anna works on case 'case-3'" in refused.json()["detail"]
    assert http.post("/loop/cases/nobody/lease", json={"annotator": "anna"}).status_code == 404
    http.delete("/loop/cases/case-3/lease", params={"annotator": "bert"})
    assert http.get("/loop/cases/case-3").json()["lease"]["annotator"] == "anna"
    http.delete("/loop/cases/case-3/lease", params={"annotator": "anna"})
    assert http.get("/loop/cases/case-3").json()["lease"] is None


def test_a_skipped_case_comes_last_and_when_all_are_taken_the_answer_says_so(http: httpx.Client) -> None:
    assert http.post("/loop/cases/case-0/skip", json={"annotator": "anna", "reason": "motion"}).status_code == 204
    assert http.post("/loop/cases/nobody/skip", json={"annotator": "anna"}).status_code == 404
    order = [ask(http, "in-order", f"reader {number}")["id"] for number in range(8)]
    assert order == [*NAMES[1:], "case-0"]
    nothing = ask(http, "in-order", "one too many")
    assert "id" not in nothing and "other annotators" in nothing["why"]
    for number, case_id in enumerate(order):
        http.delete(f"/loop/cases/{case_id}/lease", params={"annotator": f"reader {number}"})


def test_saving_renews_a_lease_and_submitting_ends_it(http: httpx.Client, tmp_path: Path) -> None:
    outline = write_label_map(tmp_path / "label.nii.gz", size=GRID)
    until = http.post("/loop/cases/case-5/lease", json={"annotator": "anna"}).json()["until"]
    time.sleep(0.05)

    def save(status: str) -> None:
        record = {"author": "anna", "status": status, "comment": "half done", "labels": {"liver": 1}}
        files = {"label": ("label.nii.gz", outline.read_bytes())}
        saved = http.put("/loop/cases/case-5/annotation", data={"record": json.dumps(record)}, files=files)
        assert saved.status_code == 200, saved.text

    save("draft")
    assert http.get("/loop/cases/case-5").json()["lease"]["until"] > until
    save("final")
    line = http.get("/loop/cases/case-5").json()
    assert line["lease"] is None and line["score"] is None and line["rank"] is None
    assert "case-5" not in http.get("/loop/scores").json()["scores"]


@pytest.mark.parametrize("kind", ["entropy", "bald"])
def test_the_map_of_uncertainty_lies_on_the_image(http: httpx.Client, tmp_path: Path, kind: str) -> None:
    answer = http.get("/loop/uncertainty/case-1", params={"kind": kind})
    assert answer.status_code == 200, answer.text
    file = tmp_path / "map.nii.gz"
    file.write_bytes(answer.content)
    gzip.decompress(answer.content)
    shown = sitk.ReadImage(str(file))
    assert shown.GetSize() == GRID and shown.GetPixelID() == sitk.sitkFloat32
    assert np.isfinite(sitk.GetArrayFromImage(shown)).all() and answer.headers["X-LabelLoop-Version"] == "1"
    assert http.get("/loop/uncertainty/case-1", params={"kind": kind}).content == answer.content


def test_what_cannot_be_shown_is_refused_in_words(http: httpx.Client) -> None:
    assert http.get("/loop/uncertainty/nobody").status_code == 404
    assert http.get("/loop/uncertainty/case-1", params={"kind": "colour"}).status_code == 422
    refused = http.get("/loop/uncertainty/case-1", params={"kind": "class-entropy"})
    assert refused.status_code == 400 and "no map" in refused.json()["detail"]
    assert http.get("/loop/scores", params={"task": "nothing"}).status_code == 400
    unknown = http.post("/activelearning/best", json={})
    assert unknown.status_code == 400 and "clasp-pe" in unknown.json()["detail"]
    assert http.post("/loop/next", json={"annotator": ""}).status_code == 422
    for wrong in ({"exclude": 5}, {"exclude": [["a"]]}, {"exclude": "c00"}, {"task": 5}, {"client_id": "x" * 121}):
        refused = http.post("/activelearning/random", json=wrong)
        assert refused.status_code == 400 and next(iter(wrong)) in refused.json()["detail"], (wrong, refused.text)


def test_the_learning_curve_has_the_projects_own_rounds(http: httpx.Client) -> None:
    curve = http.get("/loop/learning-curve/segmentation").json()
    (point,) = curve["points"]
    assert (point["version"], point["annotated"], point["score"], point["published"]) == (1, 0, 0.8, True)
    assert curve["control_share"] == 0 and curve["control"]["cases"] == 0
    assert http.get("/loop/learning-curve/nothing").status_code == 404


def test_strategies_say_what_they_are_for(http: httpx.Client) -> None:
    strategies = {one["name"]: one for one in http.get("/loop/").json()["strategies"]}
    assert {"random", "in-order", "entropy", "bald", "clasp-pe", "core-set", "typiclust", "hybrid"} <= set(strategies)
    assert "badge" not in strategies, "there are no classes to tell apart here"
    assert all(one["title"] and one["description"].endswith(".") and one["source"] for one in strategies.values())
    assert [name for name, one in strategies.items() if one["default"]] == ["typiclust"]
