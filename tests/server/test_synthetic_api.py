"""Synthetic images over HTTP with a real server: lists, decisions, pictures, blinded trials; nothing is trained."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import nibabel
import pytest
from matplotlib.image import imread

from monailabel_app.demo.process import ServerProcess
from monailabel_app.models.registry import Registry
from monailabel_app.models.version import SyntheticUse
from monailabel_app.store.samples import Nearest, Sample
from monailabel_app.store.store import Store
from monailabel_app.store.synthetic_share import StudyVerdict
from monailabel_app.store.workspace import Workspace
from monailabel_app.training.jobs import JobTable, TrainingRequest, preview_file
from tests.builders import annotate, store_with_volumes, version_record
from tests.synthetic_samples import COPY, add_class_image, add_pair

UNKNOWN = "synthetic-000000000000"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Annotated training cases; the server and the tests work on the same workspace, as a generator does."""
    store = store_with_volumes(tmp_path_factory.mktemp("synthetic"), *"abcd", "v")
    store.split.name_validation_patients([store.catalogue.get("v").patient])
    for name in "abcdv":
        annotate(store, name)
    return store


@pytest.fixture(scope="module")
def http(store: Store) -> Iterator[httpx.Client]:
    folder = store.workspace.root.parent
    with ServerProcess(folder / "studies", folder / "workspace", folder / "server.log") as server:
        yield server.client.http


def decide(http: httpx.Client, sample: Sample | str, decision: str, **more) -> httpx.Response:
    sample_id = sample if isinstance(sample, str) else sample.id
    return http.post(f"/loop/synthetic/{sample_id}/decision", json={"decision": decision, "reviewer": "rita", **more})


def listed(http: httpx.Client, **params) -> list[str]:
    return [one["id"] for one in http.get("/loop/synthetic", params=params).json()["samples"]]


# --- looking ---------------------------------------------------------------------------------------------------------


def test_a_list_has_what_passed_the_checks_and_the_rest_on_request(http: httpx.Client, store: Store) -> None:
    good = add_pair(store, "a", generator=101, nearest=Nearest(case="b", distance=0.4))
    failed = add_pair(store, "a", generator=101, checks=[COPY])
    image = add_class_image(store, "a", grade="1")
    assert listed(http, generator=101) == [good.id]
    assert listed(http, generator=101, state="failed") == [failed.id]
    assert listed(http, generator=101, state=["failed", "candidate"]) == [good.id, failed.id]
    assert image.id in listed(http, kind="class-image") and good.id not in listed(http, kind="class-image")
    page = http.get("/loop/synthetic", params={"limit": 1, "offset": 1}).json()
    assert page["total"] >= 2 and len(page["samples"]) == 1
    view = http.get("/loop/synthetic", params={"generator": 101, "state": "failed"}).json()["samples"][0]
    assert view["checks"][0]["reason"].startswith("a copy of") and view["checks"][0]["passed"] is False
    view = http.get(f"/loop/synthetic/{good.id}").json()
    assert view["name"].startswith("SYNTHETIC") and view["synthetic"] is True and view["state"] == "candidate"
    assert view["sources"] == [{"case": "a", "role": "mask", "annotation": None}] and view["nearest"] == {
        "case": "b",
        "distance": 0.4,
    }
    assert view["history"] == [] and view["used_by"] == [] and view["labels"] == {"liver": 1}
    assert "path" not in str(view) and str(store.workspace.root) not in str(view)


def test_image_mask_and_picture_come_as_files(http: httpx.Client, store: Store, tmp_path: Path) -> None:
    sample = add_pair(store, "a", nearest=Nearest(case="b", distance=0.4))
    for part, file in (("image", sample.image), ("mask", sample.label)):
        answer = http.get(f"/loop/synthetic/{sample.id}/{part}")
        assert answer.status_code == 200 and answer.content == file.read_bytes()
        assert "synthetic-" in answer.headers["content-disposition"]
        (tmp_path / "received.nii.gz").write_bytes(answer.content)
        assert b"SYNTHETIC" in bytes(nibabel.load(tmp_path / "received.nii.gz").header["descrip"])
    picture = http.get(f"/loop/synthetic/{sample.id}/picture")
    assert picture.headers["content-type"] == "image/png"
    assert imread(io.BytesIO(picture.content)).shape[1] == 900  # plain, outlined, and the nearest real one
    gone = add_pair(store, "a", nearest=Nearest(case="not there any more", distance=0.4))
    assert imread(io.BytesIO(http.get(f"/loop/synthetic/{gone.id}/picture").content)).shape[1] == 600
    image = add_class_image(store, "a", grade="1")
    assert http.get(f"/loop/synthetic/{image.id}/mask").status_code == 404


def test_synthetic_images_are_no_cases(http: httpx.Client, store: Store) -> None:
    sample = add_pair(store, "a")
    assert decide(http, sample, "approve").status_code == 200
    assert {case["id"] for case in http.get("/loop/cases").json()["cases"]} == {*"abcd", "v"}
    assert http.get("/loop/").json()["cases"] == 5
    assert http.get(f"/loop/cases/{sample.id}").status_code == 404
    assert http.get("/datastore/image", params={"image": sample.id}).status_code in (400, 404)
    assert sample.id not in http.get("/loop/split").text + http.get("/datastore/", params={"output": "all"}).text


# --- deciding --------------------------------------------------------------------------------------------------------


def test_a_reviewer_decides_and_all_of_it_is_kept(http: httpx.Client, store: Store) -> None:
    sample = add_pair(store, "a")
    assert decide(http, sample, "approve").json()["state"] == "approved"
    assert decide(http, sample, "revoke", reason="too bright").json()["state"] == "revoked"
    assert sample.id not in listed(http) and sample.id in listed(http, state="revoked")
    assert decide(http, sample, "reopen").json()["state"] == "candidate"
    rejected = decide(http, sample, "reject", reason="blurred").json()
    assert (rejected["state"], rejected["reviewer"], rejected["reason"]) == ("rejected", "rita", "blurred")
    history = http.get(f"/loop/synthetic/{sample.id}").json()["history"]
    assert [one["decision"] for one in history] == ["approve", "revoke", "reopen", "reject"]


def test_a_failed_one_is_approved_only_by_overruling_with_a_reason(http: httpx.Client, store: Store) -> None:
    failed = add_pair(store, "a", checks=[COPY])
    for more in ({}, {"overrule": True}, {"reason": "it is fine"}):
        refused = decide(http, failed, "approve", **more)
        assert refused.status_code == 409 and "overrule" in refused.json()["detail"]
    assert decide(http, failed, "approve", overrule=True, reason="it is fine").json()["state"] == "approved"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"decision": "delete", "reviewer": "rita"}, 422),
        ({"decision": "approve"}, 422),
        ({"decision": "approve", "reviewer": "  "}, 400),
        ({"decision": "approve", "reviewer": "r" * 500}, 400),
        ({"decision": "reject", "reviewer": "rita"}, 400),
        ({"decision": "reject", "reviewer": "rita", "reason": "x" * 5000}, 400),
        ({"decision": "revoke", "reviewer": "rita", "reason": "never approved"}, 409),
        ([], 422),
    ],
)
def test_a_wrong_decision_is_refused_and_changes_nothing(
    http: httpx.Client, store: Store, body: object, status: int
) -> None:
    sample = add_pair(store, "a")
    refused = http.post(f"/loop/synthetic/{sample.id}/decision", json=body)
    assert refused.status_code == status and refused.json()["detail"]
    assert store.bank.get(sample.id) == sample and store.bank.history(sample.id) == []


@pytest.mark.parametrize("sample_id", [UNKNOWN, "..%2F..%2Findex.sqlite", "a", "' OR 1=1 --", "x" * 3000])
def test_an_unknown_id_is_a_404_everywhere(http: httpx.Client, sample_id: str) -> None:
    for part in ("", "/image", "/mask", "/picture"):
        assert http.get(f"/loop/synthetic/{sample_id}{part}").status_code == 404
    assert decide(http, sample_id, "approve").status_code == 404


@pytest.mark.parametrize(
    "params", [{"state": "odd"}, {"kind": "odd"}, {"limit": 0}, {"limit": 10**6}, {"offset": -1}, {"generator": "x"}]
)
def test_odd_parameters_of_a_list_are_refused(http: httpx.Client, params: dict) -> None:
    assert http.get("/loop/synthetic", params=params).status_code == 422


# --- blinded trials --------------------------------------------------------------------------------------------------


def test_a_blinded_trial_shows_pictures_of_one_size_and_tells_afterwards(http: httpx.Client, store: Store) -> None:
    for seed in range(4):
        add_pair(store, "a", seed=seed, generator=102)
    before = http.get("/loop/synthetic/summary").json()["blinded"]
    trial = http.post("/loop/synthetic/blinded", json={"reviewer": "rita", "count": 6}).json()
    assert len(trial["items"]) == 6 and all(set(item) == {"item"} for item in trial["items"])
    shapes, truths = set(), []
    for number, item in enumerate(trial["items"]):
        address = f"/loop/synthetic/blinded/{trial['trial']}/{item['item']}"
        picture = http.get(f"{address}/picture")
        assert picture.status_code == 200 and b"SYNTHETIC" not in picture.content
        pixels = imread(io.BytesIO(picture.content))
        shapes.add(pixels.shape)
        assert (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all()
        answer = http.post(address, json={"synthetic": True}).json()
        assert answer["left"] == 5 - number and answer["right"] == answer["was_synthetic"]
        truths.append(answer["was_synthetic"])
        assert http.post(address, json={"synthetic": True}).json() == answer
        assert http.post(address, json={"synthetic": False}).status_code == 409
    assert len(shapes) == 1 and set(truths) == {True, False}
    after = http.get("/loop/synthetic/summary").json()["blinded"]
    assert after["shown"] == before["shown"] + 6
    assert after["real_taken_for_synthetic"] == before["real_taken_for_synthetic"] + truths.count(False)


def test_an_item_of_another_trial_and_odd_requests_are_refused(http: httpx.Client, store: Store) -> None:
    add_pair(store, "a")
    first, second = (
        http.post("/loop/synthetic/blinded", json={"reviewer": "rita", "count": 2}).json() for _ in range(2)
    )
    wrong = f"/loop/synthetic/blinded/{first['trial']}/{second['items'][0]['item']}"
    assert http.post(wrong, json={"synthetic": True}).status_code == 404
    assert http.get(f"{wrong}/picture").status_code == 404
    right = f"/loop/synthetic/blinded/{first['trial']}/{first['items'][0]['item']}"
    assert http.post(right, json={"synthetic": "perhaps"}).status_code == 422
    for body in ({"reviewer": "rita", "count": 1}, {"reviewer": "rita", "count": 10**9}, {"count": 4}):
        assert http.post("/loop/synthetic/blinded", json=body).status_code == 422
    assert http.post("/loop/synthetic/blinded", json={"reviewer": " "}).status_code == 400


# --- the summary, and previews ---------------------------------------------------------------------------------------


def test_the_summary_tells_what_is_used_and_what_the_study_said(http: httpx.Client, store: Store) -> None:
    sample = add_pair(store, "a")
    before = http.get("/loop/synthetic/summary").json()
    assert before["share"] == 1.0 and before["study"] is None and before["generator"] is None
    assert set(before["counts"]) == {"candidate", "failed", "approved", "rejected", "revoked"}
    assert decide(http, sample, "approve").status_code == 200
    use = SyntheticUse(sample=sample.id, generator=sample.generator, sha256=sample.sha256)
    registry = Registry(store.database, store.workspace.versions)
    record = registry.register(version_record().model_copy(update={"synthetic": [use]}), {})
    registry.publish("segmentation", record.number, "test", "test")
    verdict = StudyVerdict(sentence="-0.4 points", helped=False, gain=-0.004, low=-0.01, high=0.01, created=5.0)
    store.synthetic_share.keep_study(verdict)
    after = http.get("/loop/synthetic/summary").json()
    assert after["counts"]["approved"] == before["counts"]["approved"] + 1 and after["in_use"] == 1
    assert after["share"] == 0.0 and "-0.4 points" in after["share_reason"]
    assert after["study"] == verdict.model_dump()
    used_by = http.get(f"/loop/synthetic/{sample.id}").json()["used_by"]
    assert used_by == [{"task": "segmentation", "number": record.number}]
    later = registry.register(version_record().model_copy(update={"start": f"v{record.number}"}), {})
    registry.publish("segmentation", later.number, "test", "test")
    used_by = http.get(f"/loop/synthetic/{sample.id}").json()["used_by"]
    assert [use["number"] for use in used_by] == [record.number, later.number]  # its weights have learned from it, too
    assert http.get("/loop/synthetic/summary").json()["in_use"] == 1
    assert http.get(f"/loop/versions/segmentation/{record.number}").json()["synthetic"] == [use.model_dump()]


def test_a_preview_is_there_once_the_generator_has_drawn_one(http: httpx.Client, store: Store) -> None:
    jobs = JobTable(Store.existing(Workspace(store.workspace.root)).database)
    job = jobs.add(TrainingRequest(task="segmentation"))
    jobs.request_stop(job.id)
    missing = http.get(f"/loop/training/{job.id}/preview")
    assert missing.status_code == 404 and "no preview" in missing.json()["detail"]
    file = preview_file(store.workspace.jobs, job.id)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"\x89PNG a picture")
    shown = http.get(f"/loop/training/{job.id}/preview")
    assert shown.content == b"\x89PNG a picture" and shown.headers["content-type"] == "image/png"
    assert shown.headers["cache-control"] == "no-store"
    assert http.get("/loop/training/nothing/preview").status_code == 404


@pytest.mark.parametrize("share", [-0.1, 4.1, "much"])
def test_a_share_out_of_range_is_refused(http: httpx.Client, share: object) -> None:
    assert http.post("/loop/training", json={"task": "segmentation", "synthetic_share": share}).status_code == 422
