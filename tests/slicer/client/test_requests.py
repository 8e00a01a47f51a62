"""What the client sends, recorded on its way and looked up in the server's own description."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from email.parser import BytesParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from LabelLoopLib.client import AnnotationDraft, ClientError, LoopClient
from LabelLoopLib.client import routes as routes_module

from monailabel_app.tasks.classification import ExplanationRequest

from .schema import Document
from .servers import Answer, Request, WebServer, clientOf
from .test_transfers import INFO, part, prediction

CASE = "1.2.3 ü&?#%41+x"
CLASSES = {
    **{"probabilities": {"diagnosis": {"benign": 0.5}}, "novelty": None, "warnings": [], "version": 1},
    **{"validation_score": None, "seconds": 0.1},
}
DRAFT = AnnotationDraft("Dr. A", "final", {"liver": 1}, "fine", 3.5, "made-up", 4)


def calls(file: Path, folder: Path, defaults: dict) -> dict[str, Callable[[LoopClient], Any]]:
    """One call of each public method."""
    return {
        "capabilities": lambda client: client.capabilities(),
        "cases": lambda client: client.cases(),
        "refreshCases": lambda client: client.refreshCases(),
        "case": lambda client: client.case(CASE),
        "giveNext": lambda client: client.giveNext("random", "Dr. A", ["x"], "segmentation"),
        "hold": lambda client: client.hold(CASE, "Dr. A"),
        "giveBack": lambda client: client.giveBack(CASE, "Dr. A"),
        "skip": lambda client: client.skip(CASE, "Dr. A", "motion"),
        "uncertainty": lambda client: client.uncertainty(CASE, "bald", folder),
        "roundsCurve": lambda client: client.roundsCurve("segmentation"),
        "nextCase": lambda client: client.nextCase("random", "Dr. A", ["x"]),
        "downloadImage": lambda client: client.downloadImage(CASE, folder),
        "predict": lambda client: client.predict("segmentation", CASE, folder),
        "classify": lambda client: client.classify("classification", CASE),
        "explain": lambda client: client.explain("classification", CASE, "diagnosis", "benign", folder, by="occlusion"),
        "downloadLabel": lambda client: client.downloadLabel(5, folder),
        "saveAnnotation": lambda client: (
            client.saveAnnotation(CASE, DRAFT),
            client.saveAnnotation(CASE, DRAFT, file),
        ),
        "reopen": lambda client: client.reopen(CASE, "Dr. A"),
        "uploadImage": lambda client: client.uploadImage("new", file),
        "trainingRequest": lambda client: client.trainingRequest("segmentation"),
        "startTraining": lambda client: client.startTraining(defaults),
        "trainingRuns": lambda client: client.trainingRuns(),
        "training": lambda client: client.training("abc"),
        "stopTraining": lambda client: client.stopTraining("abc"),
        "versions": lambda client: client.versions("segmentation"),
        "publish": lambda client: client.publish("segmentation", 3, "Dr. A"),
        "rollBack": lambda client: client.rollBack("segmentation", "Dr. A"),
        "samples": lambda client: client.samples("failed"),
        "syntheticSummary": lambda client: client.syntheticSummary(),
        "decideSample": lambda client: client.decideSample("s", "approve", "Dr. A", "fine all the same", True),
        "samplePicture": lambda client: client.samplePicture("s", folder),
        "downloadSampleImage": lambda client: client.downloadSampleImage("s", folder),
        "downloadSampleMask": lambda client: client.downloadSampleMask("s", folder),
        "trainingPreview": lambda client: client.trainingPreview("abc", folder),
        "startBlinded": lambda client: client.startBlinded("Dr. A", 4),
        "blindedPicture": lambda client: client.blindedPicture("t", "i", folder),
        "answerBlinded": lambda client: client.answerBlinded("t", "i", True),
    }


def answerer(document: Document) -> Callable[[Request], Answer]:
    """Answers each request with an example of what the document says that its route answers."""

    def answer(request: Request) -> Answer:
        template = document.findPath(request.method, request.path) or ""
        if unquote(request.path) == "/infer/classification":
            if b'"explain"' in request.body:
                return prediction(part("params", json.dumps(CLASSES).encode()), part("image", b"x", "label.nii.gz"))
            return Answer.json(CLASSES)
        if template.startswith("/infer/"):
            return prediction(part("params", INFO), part("image", b"x", "label.nii.gz"))
        if template.endswith(("/picture", "/preview")):
            return Answer.file("", b"x")
        if request.method == "GET" and template.endswith(("/label", "/datastore/image", "/{sample_id}/image", "/mask")):
            return Answer.file("label.nii.gz", b"x")
        if template.startswith("/loop/uncertainty/"):
            return Answer.file("uncertainty.nii.gz", b"x")
        if template.endswith("/skip") or request.method == "DELETE":
            return Answer(204)
        if template == "/datastore/image":
            return Answer.json({"image": "new"})
        if template == "/loop/":
            example = document.example(document.answerOf("GET", template), True)
            return Answer.json({**example, "version": "0.1.0"})
        return Answer.json(document.example(document.answerOf(request.method, template), True))

    return answer


def sentBy(request: Request) -> tuple[str, Any]:
    """The content type of a request, and its JSON or the fields of its form."""
    contentType = request.headers.get("content-type", "")
    if contentType.startswith("multipart/"):
        message = BytesParser().parsebytes(f"Content-Type: {contentType}\r\n\r\n".encode() + request.body)
        fields = {one.get_param("name", header="content-disposition") for one in message.get_payload()}
        return "multipart/form-data", fields
    return contentType, json.loads(request.body) if request.body else None


def problemsOf(request: Request, document: Document) -> list[str]:
    contentType, sent = sentBy(request)
    return list(document.requestProblems(request.method, request.path, set(request.query), contentType, sent))


@pytest.fixture(scope="module")
def recorded(openApi: dict, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Request]]:
    """The requests of each public method."""
    folder = tmp_path_factory.mktemp("requests")
    file = folder / "label.nii.gz"
    file.write_bytes(b"voxels")
    document = Document(openApi)
    defaults = document.example(document.answerOf("GET", "/loop/training/defaults"), True)
    found = {}
    with WebServer(answerer(document)) as server:
        for name, call in calls(file, folder / "downloads", defaults).items():
            call(clientOf(server))
            found[name] = server.requests[:]
            server.requests.clear()
    return found


def test_every_public_method_is_recorded(recorded: dict[str, list[Request]]) -> None:
    public = {name for name, _ in inspect.getmembers(LoopClient, inspect.isfunction) if not name.startswith("_")}
    assert set(recorded) == public
    assert all(recorded.values())


def test_every_route_of_the_table_is_used(recorded: dict[str, list[Request]], openApi: dict) -> None:
    document = Document(openApi)
    used = {(one.method, document.findPath(one.method, one.path)) for each in recorded.values() for one in each}
    for route in vars(routes_module).values():
        if isinstance(route, routes_module.Route) and route is not routes_module.PLATFORM_INFO:
            assert (route.method, document.findPath(route.method, route.template.replace("{}", "x"))) in used


def test_the_server_knows_everything_that_is_sent(recorded: dict[str, list[Request]], openApi: dict) -> None:
    for name, requests in recorded.items():
        for request in requests:
            assert problemsOf(request, Document(openApi)) == [], name


def test_what_the_platform_does_not_describe_is_sent_as_the_app_reads_it(recorded: dict[str, list[Request]]) -> None:
    (request,) = recorded["nextCase"]
    assert json.loads(request.body) == {"client_id": "Dr. A", "exclude": ["x"]}


def test_what_is_to_be_explained_is_sent_as_the_app_reads_it(recorded: dict[str, list[Request]]) -> None:
    bodies = [BytesParser().parsebytes(_withHead(recorded[name][0])) for name in ("classify", "explain")]
    plain, explained = (json.loads(body.get_payload()[0].get_payload()) for body in bodies)
    assert plain == {}
    assert explained == {"explain": {"attribute": "diagnosis", "class": "benign", "by": "occlusion"}}
    read = ExplanationRequest.model_validate(explained["explain"])
    assert (read.attribute, read.class_name, read.by) == ("diagnosis", "benign", "occlusion")


def _withHead(request: Request) -> bytes:
    return f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode() + request.body


def test_ids_arrive_as_they_are(recorded: dict[str, list[Request]]) -> None:
    assert unquote(recorded["case"][0].path) == f"/loop/cases/{CASE}"
    assert unquote(recorded["saveAnnotation"][0].path) == f"/loop/cases/{CASE}/annotation"
    for name in ("downloadImage", "predict", "classify", "explain"):
        assert recorded[name][0].query == {"image": [CASE]}


def test_a_renamed_path_parameter_or_field_on_the_server_is_noticed(
    recorded: dict[str, list[Request]], openApi: dict
) -> None:
    document = Document(openApi)
    for requests in recorded.values():
        for request in requests:
            template = document.findPath(request.method, request.path)
            assert template is not None
            for change in _changes(openApi, template, request):
                changed = json.loads(json.dumps(openApi))
                change(changed)
                assert problemsOf(request, Document(changed)), (request.method, template)


def _changes(openApi: dict, template: str, request: Request) -> list[Callable[[dict], None]]:
    """Every renaming on the server that a request ought to feel."""

    def renamePath(changed: dict) -> None:
        changed["paths"][f"/new{template}"] = changed["paths"].pop(template)

    def otherMethod(changed: dict) -> None:
        operations = changed["paths"][template]
        operations["patch"] = operations.pop(request.method.lower())

    def renameQuery(name: str) -> Callable[[dict], None]:
        def change(changed: dict) -> None:
            for one in changed["paths"][template][request.method.lower()]["parameters"]:
                one["name"] = f"{name}_new" if one["name"] == name else one["name"]

        return change

    def renameField(name: str) -> Callable[[dict], None]:
        def change(changed: dict) -> None:
            document = Document(changed)
            body = changed["paths"][template][request.method.lower()]["requestBody"]["content"][contentType]["schema"]
            properties = document.resolve(body)["properties"]
            properties[f"{name}_new"] = properties.pop(name)

        return change

    others = {**openApi, "paths": {path: one for path, one in openApi["paths"].items() if path != template}}
    # Where another path would take the request, only the shape of the answer tells: see test_shapes.py.
    shadowed = Document(others).findPath(request.method, request.path) is not None
    contentType, sent = sentBy(request)
    fields = [] if template.startswith("/activelearning/") else list(sent or ())
    moves = [] if shadowed else [renamePath, otherMethod]
    return [*moves, *map(renameQuery, request.query), *map(renameField, fields)]


@pytest.mark.parametrize("caseId", ["", ".", "..", "../training", "a/b", "a\\b", "/"])
def test_an_id_that_would_lead_to_another_path_is_not_sent(caseId: str, tmp_path: Path) -> None:
    with WebServer(lambda request: Answer.json({})) as server:
        client = clientOf(server)
        for call in (
            lambda: client.case(caseId),
            lambda: client.saveAnnotation(caseId, DRAFT),
            lambda: client.predict(caseId, "case", tmp_path),
            lambda: client.versions(caseId),
        ):
            with pytest.raises(ClientError, match="not a name that a LabelLoop server gives"):
                call()
        assert server.requests == []
