"""The platform's API on a real app of the platform, over its own local datastore: confined, and off the event loop."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import logging
import os
import shutil
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from email import message_from_bytes
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import httpx
import numpy as np
import pytest
import SimpleITK as sitk
import uvicorn
from fastapi import FastAPI
from fastapi.routing import APIRoute

from monailabel_app import errors
from monailabel_app.server.access import AccessMiddleware, policy_for

MODEL = "square"
SECRET = b"what no client may read or change"
UNKNOWN = "0b0f6c0e-6f0a-4c8e-9d53-a1d1d8a0f1b2"


@pytest.fixture(scope="session")
def stand_in_app():
    """A class of apps on the platform's own parts, whose one model answers with the image itself, after a while."""
    from monailabel.interfaces.app import MONAILabelApp
    from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

    class Square(InferTask):
        def __init__(self) -> None:
            super().__init__(InferType.SEGMENTATION, ["square"], 3, "a tiny task")

        def is_valid(self) -> bool:
            return True

        def get_path(self, validate: bool = True) -> str:
            return ""

        def __call__(self, request):
            time.sleep(float(request.get("seconds", 0)))
            if request.get("fail"):
                raise (
                    getattr(errors, request["fail"])("said in words") if request["fail"] != "?" else KeyError("hidden")
                )
            seen = {key: str(value) for key, value in request.items()}
            if request.get("no_file"):
                return None, {"seen": seen}
            handle, name = tempfile.mkstemp(suffix=request.get("result_extension", ".nii.gz"))
            os.close(handle)
            label = request.get("label_file") or request["image"]
            sitk.WriteImage(sitk.ReadImage(str(label)), name)
            return name, {"seen": seen}

    class StandIn(MONAILabelApp):
        def init_infers(self):
            return {MODEL: Square()}

        def on_init_complete(self) -> None:
            import monailabel.app

            monailabel.app.app.middleware_stack = self.front

        def infer(self, request, datastore=None):
            assert ("image" in request) != ("image_file" in request)
            if "image_file" in request:
                assert isinstance(request["image_file"], Path)
                assert isinstance(request.get("label_file", Path()), Path)
                request = {**request, "image": str(request["image_file"])}
            return super().infer(request, datastore)

    return StandIn


def write_image(path: Path, value: int = 7) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(np.full((3, 4, 5), value, np.uint8))
    image.SetSpacing((0.5, 0.75, 2.0))
    sitk.WriteImage(image, str(path))
    return path.read_bytes()


@pytest.fixture
def site(tmp_path, monkeypatch, stand_in_app) -> SimpleNamespace:
    """An app with two cases, a link that leads out of the studies, a secret beside them, and an HTTP client."""
    return build_site(tmp_path, monkeypatch, stand_in_app)


@pytest.fixture(scope="module")
def target(tmp_path_factory, stand_in_app) -> Iterator[SimpleNamespace]:
    """A site for attacks: one for all, as each of them has to leave the disk as it was."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield build_site(tmp_path_factory.mktemp("target"), monkeypatch, stand_in_app)


def build_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stand_in_app) -> SimpleNamespace:
    from monailabel.config import settings
    from monailabel.interfaces.utils.app import apps

    from monailabel_app.server.platform_api import add_error_handlers, add_platform_api
    from monailabel_app.server.sessions import ConfinedSessions

    studies, outside, app_dir = tmp_path / "studies", tmp_path / "outside", tmp_path / "app"
    image = write_image(studies / "case1.nii.gz")
    write_image(studies / "case2.nii.gz", 9)
    secret = write_image(outside / "secret.nii.gz", 42)
    (outside / "secret.txt").write_bytes(SECRET)
    (studies / "link.nii.gz").symlink_to(outside / "secret.nii.gz")
    write_image(studies / "labels" / "final" / "case2.nii.gz", 1)
    (app_dir / "logs").mkdir(parents=True)
    (app_dir / "logs" / "app.log").write_text("".join(f"line {n} <b>\n" for n in range(20_000)))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    for name, value in {"APP_DIR": str(app_dir), "STUDIES": str(studies), "DATASTORE_AUTO_RELOAD": False}.items():
        monkeypatch.setattr(settings, f"MONAI_LABEL_{name}", value)
    instance = stand_in_app(str(app_dir), str(studies), {})
    instance._sessions = ConfinedSessions(tmp_path / "sessions")
    monkeypatch.setitem(apps, f"{app_dir}{studies}", instance)
    app = FastAPI()
    add_error_handlers(app)
    add_platform_api(app, folders=[studies])

    def ask(method: str, url: str, **more) -> httpx.Response:
        async def run() -> httpx.Response:
            async with client_of(app) as client:
                return await client.request(method, url, **more)

        return asyncio.run(run())

    return SimpleNamespace(
        app=app, ask=ask, root=tmp_path, studies=studies, outside=outside, image=image, secret=secret, instance=instance
    )


def client_of(app) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=30)


def disk(root: Path) -> dict[str, str]:
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        found[name] = "folder" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def upload(field: str = "file", name: str = "new.nii.gz", content: bytes = b"") -> dict:
    return {"files": {field: (name, content)}}


# --- what clients know -----------------------------------------------------------------------------------------------


def test_the_paths_and_parameters_are_those_of_the_platform(site) -> None:
    from monailabel.app import app as stock

    left_out = {"/infer/wsi_v2/{model}", "/train/", "/train/{model}"}
    ours, theirs = site.app.openapi()["paths"], stock.openapi()["paths"]
    assert set(theirs) - set(ours) == left_out
    for path in set(theirs) - left_out:
        for method, operation in theirs[path].items():
            known = {one["name"] for one in operation.get("parameters", [])} - {"token"}
            assert {one["name"] for one in ours[path][method].get("parameters", [])} == known, (method, path)
            assert ours[path][method]["tags"] == operation["tags"]


@pytest.fixture
def address(site) -> Iterator[str]:
    """The site as it is really served: uvicorn runs the platform's app, whose inside our app replaces at the start."""
    import monailabel.app

    site.instance.front = AccessMiddleware(site.app, policy_for(host="127.0.0.1"))
    server = uvicorn.Server(uvicorn.Config("monailabel.app:app", host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 20
    while not server.started and time.monotonic() < end:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    monailabel.app.app.middleware_stack = None


def test_the_platforms_own_client_works_against_the_served_app(site, address) -> None:
    from monailabel.client import MONAILabelClient

    assert httpx.get(f"{address}/info/", headers={"Origin": "https://evil.example"}).status_code == 403
    client = MONAILabelClient(address, str(site.root / "tmp"), "me")
    scan = site.root / "scan.nii.gz"
    scan.write_bytes(site.image)
    assert not client.auth_enabled() and client.auth_valid_token()
    assert MODEL in client.info()["models"]
    assert client.upload_image(str(scan), "scan", {}) == {"image": "scan"}
    assert client.next_sample("random", {})["id"] in ("case1", "scan", "link")
    file, params = client.infer(MODEL, "scan", {"label": "left kidney", "result_extension": ".nrrd"}, str(scan))
    assert Path(file).read_bytes().startswith(b"NRRD") and params["seen"]["label_name"] == "left kidney"
    session = client.create_session(str(scan))["session_id"]
    assert client.get_session(session)["name"] == session
    file, _ = client.infer(MODEL, "", {}, session_id=session)
    assert Path(file).read_bytes() == site.image
    client.remove_session(session)
    assert client.save_label("scan", str(scan), "final", {"label_info": []})["label"] == "scan"
    assert Path(client.download_label("scan", "final")).read_bytes() == site.image
    assert client.datastore()["objects"]["scan"]["labels"].keys() == {"final"}


def test_the_routes_answer_what_clients_know(site) -> None:
    assert site.ask("GET", "/info/").json()["models"].keys() == {MODEL}
    assert site.ask("GET", "/auth/").json()["enabled"] is False
    assert site.ask("GET", "/auth/token/valid").status_code == 200
    listing = site.ask("GET", "/datastore/?output=all").json()["objects"]
    assert {"case1", "case2"} <= listing.keys()
    assert site.ask("GET", "/datastore/image?image=case1").content == site.image
    assert site.ask("HEAD", "/datastore/image?image=case1").status_code == 200
    assert site.ask("GET", "/datastore/image/info?image=case1").json()["name"] == "case1.nii.gz"
    assert site.ask("HEAD", "/datastore/label?image=case2&tag=final").status_code == 200
    assert site.ask("POST", "/activelearning/random", json={"client_id": "me"}).json()["id"] in ("case1", "link")
    assert site.ask("GET", "/batch/infer").status_code == 404
    assert site.ask("GET", "/scoring/").status_code == 404
    assert site.ask("GET", "/datastore/dataset").content.startswith(b"PK")


def test_an_image_and_a_label_come_in_and_go_out(site) -> None:
    # The platform's client sends the whole path of its file as the file's name.
    sent = upload("file", "C:\\scans\\..\\new.v2.nii.gz", site.image)
    assert site.ask("PUT", "/datastore/image", data={"params": "{}"}, **sent).json() == {"image": "new.v2"}
    assert (site.studies / "new.v2.nii.gz").read_bytes() == site.image
    sent = upload("label", "/tmp/x/label.nii.gz", site.image)
    answer = site.ask("PUT", "/datastore/label?image=new.v2", data={"params": '{"client_id": "me"}'}, **sent)
    assert answer.json() == {"image": "new.v2", "label": "new.v2"}
    assert site.ask("GET", "/datastore/label?label=new.v2&tag=final").content == site.image
    assert site.ask("PUT", "/datastore/label/info?label=new.v2&tag=final", data={"info": '{"a": 1}'}).status_code == 200
    assert site.ask("GET", "/datastore/label/info?label=new.v2&tag=final").json()["a"] == 1
    assert site.ask("DELETE", "/datastore/label?id=new.v2&tag=final").status_code == 200
    assert site.ask("DELETE", "/datastore/image?id=new.v2").status_code == 200
    assert not (site.studies / "new.v2.nii.gz").exists()
    assert not list((site.root / "tmp").iterdir())


# --- infer -----------------------------------------------------------------------------------------------------------


def parts_of(answer: httpx.Response) -> dict[str, tuple[str | None, bytes]]:
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    parts = message_from_bytes(head + answer.content).get_payload()
    named = {part.get_param("name", header="content-disposition"): part for part in parts}
    return {name: (part.get_filename(), part.get_payload(decode=True)) for name, part in named.items()}


@pytest.mark.parametrize("output", [None, "all"])
def test_infer_answers_with_the_label_and_the_parameters(site, output) -> None:
    query = f"&output={output}" if output else ""
    answer = site.ask("POST", f"/infer/{MODEL}?image=case1{query}", data={"params": '{"spleen": [[1, 2, 3]]}'})
    parts = parts_of(answer)
    assert json.loads(parts["params"][1])["seen"]["spleen"] == "[[1, 2, 3]]"
    assert parts["image"] == ("label.nii.gz", site.image)
    assert not list((site.root / "tmp").iterdir())


def test_infer_answers_with_the_label_alone_or_the_parameters_alone(site) -> None:
    answer = site.ask(
        "POST", f"/infer/{MODEL}?image=case1&output=image", data={"params": '{"result_extension": ".nrrd"}'}
    )
    assert answer.content.startswith(b"NRRD") and 'filename="label.nrrd"' in answer.headers["content-disposition"]
    assert site.ask("POST", f"/infer/{MODEL}?image=case1&output=json").json()["seen"]["model"] == MODEL
    assert "seen" in site.ask("POST", f"/infer/{MODEL}?image=case1", data={"params": '{"no_file": 1}'}).json()
    assert (
        site.ask("POST", f"/infer/{MODEL}?image=case1&output=image", data={"params": '{"no_file": 1}'}).status_code
        == 404
    )
    assert site.ask("POST", f"/infer/{MODEL}?image=case1&output=dicom_seg").status_code == 501
    assert site.ask("POST", f"/infer/{MODEL}").status_code == 400
    assert not list((site.root / "tmp").iterdir())


def test_infer_reads_an_upload_a_session_and_a_label(site) -> None:
    answer = site.ask("POST", f"/infer/{MODEL}?output=image", **upload("file", "x/scan.nii.gz", site.image))
    assert answer.content == site.image
    made = site.ask("PUT", "/session/", files={"files": ("scan.nii.gz", site.image)}).json()
    assert site.ask("POST", f"/infer/{MODEL}?image=&session_id={made['session_id']}&output=image").content == site.image
    label = (site.studies / "labels" / "final" / "case2.nii.gz").read_bytes()
    answer = site.ask("POST", f"/infer/{MODEL}?image=case1&output=image", **upload("label", "s.nii.gz", label))
    assert sitk.GetArrayFromImage(read(answer.content, site.root)).max() == 1
    assert not list((site.root / "tmp").iterdir())


def test_a_session_takes_several_files_and_archives(site) -> None:
    dicom = bytes(128) + b"DICM" + bytes(8)
    files = [("files", (name, dicom)) for name in ("IM1", "sub\\IM1", "1.2.3.dcm")]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("p/IM1", dicom)
    made = [
        site.ask("PUT", "/session/?expiry=60", files=files).json(),
        site.ask("PUT", "/session/?uncompress=true", files={"files": ("a.zip", packed.getvalue())}).json(),
    ]
    kept = [{path.name for path in Path(one["session_info"]["image"]).rglob("*") if path.is_file()} for one in made]
    assert kept == [{"00000_IM1.dcm", "00001_IM1.dcm", "00002_1_2_3.dcm"}, {"IM1"}]
    for one in made:
        url = f"/session/{one['session_id']}"
        assert site.ask("GET", url).json()["image"] == one["session_info"]["image"]
        assert site.ask("GET", f"{url}?image=true").status_code == 400
        assert site.ask("DELETE", url).status_code == 200
        assert site.ask("GET", url).status_code == 404
    assert not list((site.root / "sessions").iterdir()) and not list((site.root / "tmp").iterdir())


def test_an_app_without_sessions_says_so(site) -> None:
    site.instance._sessions = None
    assert site.ask("GET", f"/session/{UNKNOWN}").status_code == 406
    assert site.ask("POST", f"/infer/{MODEL}?session_id={UNKNOWN}").status_code == 406


def read(content: bytes, folder: Path) -> sitk.Image:
    path = folder / "answer.nii.gz"
    path.write_bytes(content)
    return sitk.ReadImage(str(path))


def test_scribbles_of_a_web_viewer_lie_on_the_grid_of_their_image(site) -> None:
    scribbles = np.arange(60, dtype=np.uint8)
    answer = site.ask(
        "POST", f"/infer/{MODEL}?image=case1&output=image", **upload("label", "s.bin", scribbles.tobytes())
    )
    label = read(answer.content, site.root)
    assert label.GetSpacing() == pytest.approx((0.5, 0.75, 2.0))
    assert label[1, 2, 1] == 1 + 5 * 2 + 20
    answer = site.ask("POST", f"/infer/{MODEL}?image=case1", **upload("label", "s.bin", b"short"))
    assert answer.status_code == 400 and "5 x 4 x 3" in answer.json()["detail"]


def test_slow_inferences_do_not_hold_up_the_other_routes(site) -> None:
    async def run() -> tuple[list[float], list[int], float]:
        async with client_of(site.app) as client:
            await client.get("/info/")
            begin = time.perf_counter()
            slow = [
                asyncio.create_task(client.post(f"/infer/{MODEL}?image=case1", data={"params": '{"seconds": 1.5}'}))
                for _ in range(2)
            ]
            await asyncio.sleep(0.05)
            times = []
            while not any(task.done() for task in slow):
                start = time.perf_counter()
                assert (await client.get("/info/")).status_code == 200
                times.append(time.perf_counter() - start)
                await asyncio.sleep(0.05)
            answers = await asyncio.gather(*slow)
            return times, [answer.status_code for answer in answers], time.perf_counter() - begin

    times, statuses, whole = asyncio.run(run())
    assert statuses == [200, 200]
    assert len(times) >= 5 and max(times) < 1.0
    assert whole < 2.7


def test_many_slow_inferences_leave_the_thread_pool_to_the_other_routes(site) -> None:
    async def run() -> float:
        async with client_of(site.app) as client:
            body = {"params": '{"seconds": 1.5, "no_file": 1}'}
            slow = [asyncio.create_task(client.post(f"/infer/{MODEL}?image=case1", data=body)) for _ in range(60)]
            await asyncio.sleep(0.4)
            start = time.perf_counter()
            await client.get("/info/")
            taken = time.perf_counter() - start
            for task in slow[8:]:
                task.cancel()
            await asyncio.gather(*slow, return_exceptions=True)
            return taken

    assert asyncio.run(run()) < 0.7


# --- attacks ---------------------------------------------------------------------------------------------------------

EVIL_NAMES = [
    "/etc/passwd",
    "{outside}/secret",
    "{outside}/secret.txt",
    "../outside/secret",
    "..",
    "case1/../../outside/secret",
    "%2e%2e%2foutside%2fsecret",
    "..%2Foutside",
    "..\\outside\\secret",
    "C:\\Windows\\win.ini",
    "case1\0",
    "case1\n",
    "\u202egpj",
    ".hidden",
    "x" * 600,
]
EVIL_IDS = [*EVIL_NAMES, "a//b", "case1/", "c:x", "x/" + "y" * 250, "link"]
EVIL_TAGS = [*EVIL_NAMES, "a/b", "a b", "x" * 65, "-x", "é"]
EVIL_SESSIONS = [*EVIL_NAMES, "sessions", "outside", UNKNOWN.upper(), UNKNOWN, UNKNOWN.replace("-", "")]

IMAGE = lambda: upload("file", "x.nii.gz", b"evil")  # noqa: E731
LABEL = lambda: upload("label", "x.nii.gz", b"evil")  # noqa: E731
INFO = lambda: {"data": {"info": "{}"}}  # noqa: E731
NONE = dict

ID_ROUTES: list[tuple[str, str, Callable[[], dict]]] = [
    ("GET", "/datastore/image?image={}", NONE),
    ("HEAD", "/datastore/image?image={}", NONE),
    ("GET", "/datastore/image/info?image={}", NONE),
    ("PUT", "/datastore/image/info?image={}", INFO),
    ("PUT", "/datastore/image?image={}", IMAGE),
    ("PUT", "/datastore/?image={}", IMAGE),
    ("DELETE", "/datastore/image?id={}", NONE),
    ("DELETE", "/datastore/?id={}", NONE),
    ("PUT", "/datastore/label?image={}", LABEL),
    ("POST", f"/infer/{MODEL}?image={{}}", NONE),
    ("POST", f"/infer/{MODEL}?image={{}}&output=json", NONE),
]
LABEL_ID_ROUTES = [
    ("GET", "/datastore/label?label={}&tag=final", NONE),
    ("HEAD", "/datastore/label?image={}&tag=final", NONE),
    ("GET", "/datastore/label/info?label={}&tag=final", NONE),
    ("PUT", "/datastore/label/info?label={}&tag=final", INFO),
    ("PUT", "/datastore/updatelabelinfo?label={}&tag=final", NONE),
    ("DELETE", "/datastore/label?id={}&tag=final", NONE),
]
TAG_ROUTES = [
    ("PUT", "/datastore/label?image=case1&tag={}", LABEL),
    ("GET", "/datastore/label?label=case2&tag={}", NONE),
    ("HEAD", "/datastore/label?image=case2&tag={}", NONE),
    ("GET", "/datastore/label/info?label=case2&tag={}", NONE),
    ("PUT", "/datastore/label/info?label=case2&tag={}", INFO),
    ("PUT", "/datastore/updatelabelinfo?label=case2&tag={}", NONE),
    ("DELETE", "/datastore/label?id=case2&tag={}", NONE),
]
SESSION_ROUTES = [
    ("GET", "/session/{}", NONE),
    ("GET", "/session/{}?image=true", NONE),
    ("DELETE", "/session/{}", NONE),
    ("POST", f"/infer/{MODEL}?session_id={{}}", NONE),
]
NAME_ROUTES = [
    ("POST", "/infer/{}?image=case1", NONE),
    ("POST", "/batch/infer/{}", NONE),
    ("POST", "/activelearning/{}", NONE),
    ("POST", "/scoring/{}?run_sync=true", NONE),
    ("GET", "/model/{}", NONE),
    ("GET", "/model/info/{}", NONE),
    ("PUT", "/model/{}", IMAGE),
    ("DELETE", "/model/{}", NONE),
]
ATTACKS = [
    pytest.param(method, url, more, evil, id=f"{method} {url} {evil[:30]!a}")
    for routes, values in (
        (ID_ROUTES, EVIL_IDS),
        (LABEL_ID_ROUTES, [value for value in EVIL_IDS if value != "link"]),
        (TAG_ROUTES, EVIL_TAGS),
        (SESSION_ROUTES, EVIL_SESSIONS),
        (NAME_ROUTES, EVIL_NAMES),
    )
    for method, url, more in routes
    for evil in values
]


@pytest.mark.parametrize(("method", "url", "more", "evil"), ATTACKS)
def test_an_evil_value_is_refused_and_changes_nothing(target, method, url, more, evil) -> None:
    before = disk(target.root)
    answer = target.ask(method, url.format(quote(evil.format(outside=target.outside), safe="")), **more())
    assert 400 <= answer.status_code < 500, answer.text
    assert disk(target.root) == before
    assert SECRET not in answer.content and target.secret not in answer.content
    if method != "HEAD":
        assert answer.json()["detail"]


def test_every_route_with_a_name_or_id_is_under_attack_above(site) -> None:
    attacked = {
        (method, url.split("?")[0].replace("{}", "*").replace(MODEL, "*"))
        for method, url, _ in [*ID_ROUTES, *LABEL_ID_ROUTES, *TAG_ROUTES, *SESSION_ROUTES, *NAME_ROUTES]
    }
    named = {"image", "label", "id", "tag", "session_id", "model", "strategy", "method"}
    for route in (route for route in site.app.routes if isinstance(route, APIRoute)):
        takes = {field.name for field in [*route.dependant.path_params, *route.dependant.query_params]}
        path = route.path
        for name in named:
            path = path.replace(f"{{{name}}}", "*")
        for method in route.methods if takes & named else ():
            assert (method, path) in attacked


@pytest.mark.parametrize("path", ["/session/..%2f..%2foutside", "/model/%2e%2e/%2e%2e/outside", "/session/../outside"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_path_with_encoded_steps_up_is_no_route(target, method, path) -> None:
    before = disk(target.root)
    assert 400 <= target.ask(method, path).status_code < 500
    assert disk(target.root) == before


def test_labels_behind_a_link_are_not_served_nor_overwritten(site) -> None:
    target = site.studies / "labels" / "final" / "case2.nii.gz"
    target.unlink()
    target.symlink_to(site.outside / "secret.nii.gz")
    before = disk(site.root)
    for method, url, more in [
        ("GET", "/datastore/label?label=case2&tag=final", {}),
        ("DELETE", "/datastore/label?id=case2&tag=final", {}),
        ("PUT", "/datastore/label?image=case2&tag=final", LABEL()),
    ]:
        assert site.ask(method, url, **more).status_code == 404
    assert disk(site.root) == before


EVIL_PARAMS = [
    {"image": "{outside}/secret.nii.gz"},
    {"image_path": "{outside}/secret.nii.gz"},
    {"image_file": "{outside}/secret.nii.gz"},
    {"label_file": "{outside}/secret.nii.gz"},
    {"label": "{outside}/secret.nii.gz"},
    {"label": "../secret"},
    {"session": {"image": "/etc/passwd"}},
    {"session_id": "../outside"},
    {"file": "/etc/passwd"},
    {"path": "/etc/passwd"},
    {"output": "/tmp/x"},
    {"model": "other"},
    {"model_filename": "/tmp/evil.pt"},
    {"bundle_path": "{outside}"},
    {"result_extension": "/../../outside/secret.nii.gz"},
    {"result_extension": ".py"},
    {"result_write_to_file": False},
    {"save_label": True, "label_tag": "../../outside"},
    {"save_label": True, "label_tag": "final"},
    {"square": {"bundle_path": "{outside}"}},
    {"gpus": ["LD_PRELOAD"]},
    {"gpus": "0;x"},
    {"client_id": "x\ny"},
]


@pytest.mark.parametrize("params", EVIL_PARAMS, ids=lambda params: str(params)[:60])
@pytest.mark.parametrize(
    "url", [f"/infer/{MODEL}?image=case1", f"/batch/infer/{MODEL}?run_sync=true", "/activelearning/random", "/scoring/"]
)
def test_params_cannot_say_which_file_is_read_or_written(target, url, params) -> None:
    before = disk(target.root)
    sent = json.loads(json.dumps(params).replace("{outside}", str(target.outside)))
    body = {"data": {"params": json.dumps(sent)}} if url.startswith("/infer/") else {"json": sent}
    answer = target.ask("POST", url, **body)
    assert answer.status_code == 400, answer.text
    assert target.secret not in answer.content
    assert disk(target.root) == before


def test_the_name_of_a_structure_passes_as_a_name(site) -> None:
    data = {"params": json.dumps({"label": "left kidney", "client_id": "me", "result_dtype": "uint8"})}
    seen = site.ask("POST", f"/infer/{MODEL}?image=case1&output=json", data=data).json()["seen"]
    assert seen["label_name"] == "left kidney" and "label" not in seen


@pytest.mark.parametrize(
    "images", [["../outside/secret"], ["case1", "/etc/passwd"], "everything", [3], {"a": "b"}, ["link"]]
)
def test_a_batch_takes_ids_alone(target, images) -> None:
    before = disk(target.root)
    answer = target.ask("POST", f"/batch/infer/{MODEL}?run_sync=true", json={"images": images})
    assert answer.status_code == (404 if images == ["link"] else 400)
    assert disk(target.root) == before


def test_a_batch_of_named_images_runs(site) -> None:
    answer = site.ask("POST", f"/batch/infer/{MODEL}?run_sync=true", json={"images": ["case1"], "multi_gpu": False})
    assert answer.json()["case1"]["label"] == "case1"
    assert (site.studies / "labels" / "original" / "case1.nii.gz").read_bytes() == site.image


@pytest.mark.parametrize("text", ["[]", "1", "{", '{"a": NaN}', "[" * 100_000, "\0"])
@pytest.mark.parametrize(
    ("method", "url", "field", "more"),
    [
        ("POST", f"/infer/{MODEL}?image=case1", "params", NONE),
        ("PUT", "/datastore/label?image=case1", "params", LABEL),
        ("PUT", "/datastore/image?image=new", "params", IMAGE),
        ("PUT", "/datastore/image/info?image=case1", "info", NONE),
        ("PUT", "/datastore/label/info?label=case2&tag=final", "info", NONE),
    ],
)
def test_a_form_field_that_is_no_json_object_is_refused(target, method, url, field, more, text) -> None:
    before = disk(target.root)
    assert target.ask(method, url, data={field: text}, **more()).status_code == 400
    assert disk(target.root) == before


def test_what_the_store_says_cannot_be_said_by_a_client(site) -> None:
    info = {"path": "/etc/passwd", "id": "other", "name": "../x", "note": "kept"}
    assert site.ask("PUT", "/datastore/image/info?image=case1", data={"info": json.dumps(info)}).status_code == 200
    told = site.ask("GET", "/datastore/image/info?image=case1").json()
    assert told["note"] == "kept" and told["name"] == "case1.nii.gz" and "id" not in told
    assert told["path"] == str(site.studies / "case1.nii.gz")


EVIL_FILES = [
    "x.py",
    "x",
    ".nii.gz.exe",
    "x.nii.gz/../../e.sh",
    "x.json",
    "x.nii.gz\0.sh",
    "x.so",
    "..",
    "x." + "n" * 300,
]


@pytest.mark.parametrize("name", EVIL_FILES)
@pytest.mark.parametrize(
    ("method", "url", "field"),
    [
        ("PUT", "/datastore/image?image=new", "file"),
        ("PUT", "/datastore/", "file"),
        ("PUT", "/datastore/label?image=case1", "label"),
        ("POST", f"/infer/{MODEL}?image=", "file"),
        ("POST", f"/infer/{MODEL}?image=case1", "label"),
        ("PUT", "/session/", "files"),
    ],
)
def test_a_file_of_another_kind_is_refused(target, method, url, field, name) -> None:
    before = disk(target.root)
    answer = target.ask(method, url, **upload(field, name, b"#!/bin/sh"))
    assert answer.status_code == 400, answer.text
    assert disk(target.root) == before


@pytest.mark.parametrize("name", ["../../evil.nii.gz", "/etc/evil.nii.gz", "..\\evil.nii.gz"])
def test_of_a_file_name_only_its_last_part_counts(site, name) -> None:
    assert site.ask("PUT", "/datastore/image", **upload("file", name, site.image)).json() == {"image": "evil"}
    assert (site.studies / "evil.nii.gz").read_bytes() == site.image
    assert not (site.root / "evil.nii.gz").exists()


def test_an_upload_with_a_folder_in_its_id_cannot_replace_an_annotation(site) -> None:
    before = disk(site.root)
    answer = site.ask("PUT", "/datastore/image?image=labels/final/case2", **upload("file", "x.nii.gz", site.image))
    assert answer.status_code == 400
    assert disk(site.root) == before


HEADERS_THAT_NAME_FILES = {
    "x.mhd": "NDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\nElementDataFile = {secret}\n",
    "x.mha": "Comment = ElementDataFile = LOCAL\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\n"
    "ElementDataFile = {secret}\n",
    "x.nrrd": "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 2 2\nencoding: raw\ndata file: {secret}\n",
    "y.nrrd": "NRRD0004\r\ntype: uchar\r\ndimension: 3\r\nsizes: 2 2 2\r\nencoding: raw\r\nDataFile: {secret}\r\n\r\n",
}


@pytest.mark.parametrize("name", HEADERS_THAT_NAME_FILES)
def test_an_image_whose_header_names_another_file_is_refused(site, name) -> None:
    content = HEADERS_THAT_NAME_FILES[name].format(secret=site.outside / "secret.txt").encode()
    evil = site.root / "tmp" / name
    evil.write_bytes(content)
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(evil))).tobytes() == SECRET[:8], "SimpleITK would read the secret"
    evil.unlink()
    before = disk(site.root)
    for method, url, field in [
        ("POST", f"/infer/{MODEL}", "file"),
        ("PUT", "/datastore/image?image=new", "file"),
        ("PUT", "/datastore/label?image=case1", "label"),
        ("PUT", "/session/", "files"),
    ]:
        answer = site.ask(method, url, **upload(field, name, content))
        assert answer.status_code == 400 and "another file" in answer.json()["detail"]
    assert disk(site.root) == before


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii", ".nii.gz"])
def test_an_image_with_its_own_voxels_passes(site, suffix) -> None:
    path = site.root / f"own{suffix}"
    write_image(path)
    assert site.ask("POST", f"/infer/{MODEL}", **upload("file", path.name, path.read_bytes())).status_code == 200


def test_a_failing_upload_leaves_no_temporary_file(site) -> None:
    answer = site.ask("PUT", "/datastore/label?image=nowhere", **upload("label", "x.nii.gz", site.image))
    assert answer.status_code == 404
    answer = site.ask(
        "POST", f"/infer/{MODEL}", data={"params": '{"fail": "?"}'}, **upload("file", "x.nii.gz", site.image)
    )
    assert answer.status_code == 500
    assert not list((site.root / "tmp").iterdir())


# --- models, logs, errors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_model_files_are_not_changed_by_clients(site, method) -> None:
    answer = site.ask(method, f"/model/{MODEL}")
    assert answer.status_code == 403 and "/loop/versions" in answer.json()["detail"]


def test_logs_are_the_end_of_the_log_file(site) -> None:
    answer = site.ask("GET", "/logs/?lines=3&text=true")
    assert answer.text.splitlines() == ["line 19997 <b>", "line 19998 <b>", "line 19999 <b>"]
    assert "&lt;b&gt;" in site.ask("GET", "/logs/?lines=1").text
    for lines in (0, -5, 10**9):
        assert len(site.ask("GET", f"/logs/?lines={lines}&text=true").text.splitlines()) <= 10_000


def test_a_log_that_is_a_link_is_not_followed(site) -> None:
    log = site.root / "app" / "logs" / "app.log"
    log.unlink()
    assert site.ask("GET", "/logs/").status_code == 404
    log.symlink_to(site.outside / "secret.txt")
    answer = site.ask("GET", "/logs/?text=true")
    assert answer.status_code == 404 and SECRET not in answer.content


def test_gpu_answers_without_nvidia_smi(site, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(site.root))
    assert shutil.which("nvidia-smi") is None
    answer = site.ask("GET", "/logs/gpu")
    assert answer.status_code == 200 and "not installed" in answer.text


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("BadInput", 400),
        ("GeometryMismatch", 400),
        ("UnreadableImage", 400),
        ("NotFound", 404),
        ("Conflict", 409),
        ("NoPublishedVersion", 409),
        ("LabelLoopError", 500),
    ],
)
def test_an_error_has_one_status_and_says_its_words(site, name, status) -> None:
    answer = site.ask("POST", f"/infer/{MODEL}?image=case1", data={"params": json.dumps({"fail": name})})
    assert (answer.status_code, answer.json()) == (status, {"detail": "said in words"})


def test_an_unforeseen_error_is_logged_under_an_id_and_not_sent(site, caplog) -> None:
    with caplog.at_level(logging.ERROR, "monailabel_app"):
        answer = site.ask("POST", f"/infer/{MODEL}?image=case1", data={"params": '{"fail": "?"}'})
    detail = answer.json()["detail"]
    assert answer.status_code == 500 and "hidden" not in answer.text and "Traceback" not in answer.text
    record = next(one for one in caplog.records if detail.split()[-1] in one.getMessage())
    assert "hidden" in str(record.exc_info[1])


def test_errors_of_the_platform_are_told(site) -> None:
    answer = site.ask("POST", "/infer/unknown?image=case1")
    assert answer.status_code == 400 and "unknown" in answer.json()["detail"]
    assert site.ask("PUT", "/datastore/image/info?image=nowhere", data={"info": "{}"}).status_code == 404
    assert site.ask("GET", "/datastore/?output=wrong").status_code == 422


# --- the whole server ------------------------------------------------------------------------------------------------


def test_no_route_answers_without_the_token(site) -> None:
    token = "a-token-that-is-long-enough"
    before = disk(site.root)
    guarded = AccessMiddleware(site.app, policy_for(host="0.0.0.0", token=token))

    async def run() -> None:
        async with client_of(guarded) as client:
            for route in site.app.routes:
                path = route.path.replace("{", "").replace("}", "")
                for method in route.methods:
                    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {token}"}):
                        answer = await client.request(method, path, headers=headers)
                        assert answer.status_code == 401, (method, path, headers)
            assert (await client.get("/info/", headers={"Authorization": f"Bearer {token}"})).status_code == 200

    assert len(site.app.routes) > 40
    asyncio.run(run())
    assert disk(site.root) == before


def test_a_login_with_keycloak_is_not_silently_dropped(site, monkeypatch) -> None:
    from monailabel.config import settings

    from monailabel_app.server.platform_api import add_platform_api

    monkeypatch.setattr(settings, "MONAI_LABEL_AUTH_ENABLE", True)
    with pytest.raises(errors.BadInput, match="Keycloak"):
        add_platform_api(FastAPI())


def test_an_endpoint_that_waits_is_refused_at_the_start(site) -> None:
    from monailabel_app.server.platform_api import off_the_loop

    async def waits() -> None:
        await asyncio.sleep(0)

    async def waits_inside() -> None:
        async with asyncio.Lock():
            return

    def plain() -> io.BytesIO:
        return io.BytesIO()

    for endpoint in (waits, waits_inside, plain):
        with pytest.raises(AssertionError, match="never waits"):
            off_the_loop(endpoint)
