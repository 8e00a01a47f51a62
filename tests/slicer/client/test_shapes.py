"""The shapes of the client are those of the server, and nobody renames a field on one side alone."""

from __future__ import annotations

import copy
import json
import sys
from dataclasses import fields, make_dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, Optional, get_args

import pytest
from LabelLoopLib import client as package
from LabelLoopLib.client import (
    ANNOTATION_STATUSES,
    ATTRIBUTE_KINDS,
    CASE_STATUSES,
    DECISIONS,
    ENDED_STATES,
    MEASURES,
    ROLES,
    RUNNING_STATES,
    SAMPLE_STATES,
    SCOPES,
    AdversarialEpoch,
    AnnotationDraft,
    AnnotationView,
    BlindedAnswer,
    BlindedTrial,
    Capabilities,
    CaseDetail,
    CasePage,
    ClassificationVersion,
    ClassPrediction,
    EpochRecord,
    GeneratorVersion,
    Given,
    JobProgress,
    LeaseView,
    NotLabelLoop,
    PredictionInfo,
    RoundsCurve,
    SamplePage,
    SampleView,
    ScoreEpoch,
    SyntheticSummary,
    TaskInfo,
    TrainingJob,
    TrainingStatus,
    VersionList,
    VersionRecord,
)
from LabelLoopLib.client import class_shapes as class_shapes_module
from LabelLoopLib.client import routes as routes_module
from LabelLoopLib.client import score_shapes as score_shapes_module
from LabelLoopLib.client import selection_shapes as selection_shapes_module
from LabelLoopLib.client import shapes as shapes_module
from LabelLoopLib.client import synthetic_shapes as synthetic_shapes_module
from LabelLoopLib.client import training_shapes as training_shapes_module
from LabelLoopLib.client.routes import Route
from LabelLoopLib.client.shape import Shape, hintsOf

from monailabel_app.server.schemas import AnnotationDraft as ServerDraft
from monailabel_app.training.jobs import ENDED

from .schema import Document

ON_THE_SERVER = {
    "TrainingJob": "Job",
    "RoundsCurve": "LearningCurve",
    "SampleSource": "Source",
    "NearestReal": "Nearest",
    "BlindedFigures": "BlindedSummary",
    "BlindedItem": "BlindedItemView",
    "BlindedTrial": "BlindedTrialView",
    "BlindedAnswer": "BlindedAnswerView",
}
"""Shapes that have another name on the server."""

NOT_IN_THE_DOCUMENT = {"PredictionInfo", "ClassPrediction"}
"""Answers of the platform's routes, which describe none; a test with a real prediction reads them."""

ANSWERS = {
    "CAPABILITIES": Capabilities,
    "CASES": CasePage,
    "REFRESH_CASES": CasePage,
    "CASE": CaseDetail,
    "SAVE_ANNOTATION": AnnotationView,
    "REOPEN": AnnotationView,
    "START_TRAINING": TrainingJob,
    "TRAINING": TrainingStatus,
    "STOP_TRAINING": TrainingJob,
    "VERSIONS": VersionList,
    "PUBLISH": VersionList,
    "ROLL_BACK": VersionList,
    "SAMPLES": SamplePage,
    "SYNTHETIC_SUMMARY": SyntheticSummary,
    "DECIDE_SAMPLE": SampleView,
    "START_BLINDED": BlindedTrial,
    "ANSWER_BLINDED": BlindedAnswer,
    "GIVE_NEXT": Given,
    "HOLD": LeaseView,
    "ROUNDS_CURVE": RoundsCurve,
}


def allShapes() -> dict[str, type[Shape]]:
    modules = (
        *(shapes_module, class_shapes_module, score_shapes_module, selection_shapes_module),
        *(synthetic_shapes_module, training_shapes_module),
    )
    found = {name: value for module in modules for name, value in vars(module).items()}
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, type) and issubclass(value, Shape) and value is not Shape
    }


def allRoutes() -> dict[str, Route]:
    return {name: value for name, value in vars(routes_module).items() if isinstance(value, Route)}


@pytest.fixture(scope="module")
def document(openApi: dict) -> Document:
    return Document(openApi)


def test_a_shape_reads_also_after_its_module_was_unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slicer's "Reload" unloads a module while objects of its classes are still in use."""
    module = ModuleType("unloaded_shapes")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from typing import Optional\n"
        "from LabelLoopLib.client.shape import Shape\n"
        "@dataclass(frozen=True)\n"
        "class Short(Shape):\n"
        "    name: Optional[str]\n",
        vars(module),
    )
    monkeypatch.delitem(sys.modules, module.__name__)
    assert module.Short.fromJson({"name": "a"}).name == "a"
    loaded = import_module("LabelLoopLib.client.errors")  # perhaps anew since this file was read
    with pytest.raises(loaded.NotLabelLoop, match=r"Short\.name"):
        module.Short.fromJson({"name": 1})


def test_the_list_of_shapes_is_complete() -> None:
    names = set(allShapes())
    assert len(names) > 15
    assert names | {"AnnotationDraft"} <= set(package.__all__)


@pytest.mark.parametrize("name", sorted(set(allShapes()) - NOT_IN_THE_DOCUMENT))
def test_every_field_is_on_the_server_with_its_type(document: Document, name: str) -> None:
    schema = document.shapes[ON_THE_SERVER.get(name, name)]
    assert list(document.shapeProblems(allShapes()[name], schema)) == []


@pytest.mark.parametrize("name", sorted(ANSWERS))
@pytest.mark.parametrize("filled", [True, False])
def test_whatever_a_route_may_answer_is_read(document: Document, name: str, filled: bool) -> None:
    route = allRoutes()[name]
    path = document.findPath(route.method, route.template.replace("{}", "x"))
    assert path is not None
    schema = document.answerOf(route.method, path)
    assert list(document.shapeProblems(ANSWERS[name], schema)) == []
    example = document.example(schema, filled)
    read = ANSWERS[name].fromJson(json.loads(json.dumps({**example, "a field of a later version": 1})))
    for field in fields(read):
        value = getattr(read, field.name)
        if isinstance(value, (str, int, float, bool)):
            assert value == example[field.name]


def test_lists_of_training_runs_and_the_request_for_one(document: Document) -> None:
    items = document.resolve(document.answerOf("GET", "/loop/training"))["items"]
    assert list(document.shapeProblems(TrainingJob, items)) == []
    defaults = document.resolve(document.answerOf("GET", "/loop/training/defaults"))
    body = document.document["paths"]["/loop/training"]["post"]["requestBody"]["content"]["application/json"]
    assert defaults == document.resolve(body["schema"]), "what the server gives as defaults is not what it takes"
    assert {"task", "start", "epochs", "minutes", "requested_by"} <= set(defaults["properties"])


def test_every_route_of_the_table_is_on_the_server(document: Document) -> None:
    routes = allRoutes()
    assert len(routes) > 15
    for route in routes.values():
        assert document.findPath(route.method, route.template.replace("{}", "x")), route


def test_words_for_states_are_those_of_the_server(document: Document) -> None:
    enums = {name: set(schema["enum"]) for name, schema in document.shapes.items() if "enum" in schema}
    assert set(CASE_STATUSES) == enums["CaseStatus"]
    assert set(ANNOTATION_STATUSES) == enums["Status"]
    assert set(ROLES) == enums["Role"]
    assert set(ATTRIBUTE_KINDS) == enums["AttributeKind"] and set(SCOPES) == enums["Scope"]
    assert set(SAMPLE_STATES) == enums["SampleState"] and set(DECISIONS) == enums["SampleDecision"]
    assert {*MEASURES, "class-entropy"} == enums["Measure"], "the last has no map"
    assert {*RUNNING_STATES, *ENDED_STATES} == enums["JobState"] and set(ENDED_STATES) == set(ENDED)


# --- what is sent ----------------------------------------------------------------------------------------------------

DRAFTS = [
    AnnotationDraft("Dr. A", "draft"),
    AnnotationDraft("Dr. A", "final", {"liver": 1}, "a comment", 12.5, "made-up-id", 0),
    AnnotationDraft("Dr. A", "final", classification={"diagnosis": "benign", "findings": [], "grade": None}),
]


@pytest.mark.parametrize("draft", DRAFTS)
def test_the_draft_is_what_the_server_reads(draft: AnnotationDraft) -> None:
    sent = json.loads(json.dumps(draft.toJson()))
    schema = ServerDraft.model_json_schema()
    assert list(Document(schema).bodyProblems(sent, schema, "AnnotationDraft")) == []
    read = ServerDraft.model_validate(sent)
    assert {name: getattr(read, name) for name in sent} == sent


def test_the_limits_of_the_draft_are_those_that_its_text_tells() -> None:
    properties = ServerDraft.model_json_schema()["properties"]
    assert next(one for one in properties["submission"]["anyOf"] if one["type"] == "string")["maxLength"] == 64


# --- the comparison itself -------------------------------------------------------------------------------------------


def everyField() -> list[tuple[str, str]]:
    compared = set(allShapes()) - NOT_IN_THE_DOCUMENT
    return [(name, field) for name in sorted(compared) for field in hintsOf(allShapes()[name])]


@pytest.mark.parametrize(("name", "field"), everyField())
def test_a_change_of_any_field_on_the_server_is_noticed(openApi: dict, name: str, field: str) -> None:
    schemas, shape = openApi["components"]["schemas"], ON_THE_SERVER.get(name, name)

    def problems(change: Any) -> list[str]:
        properties = dict(schemas[shape]["properties"])
        change(properties)
        changed = {**schemas[shape], "properties": properties}
        document = Document({"components": {"schemas": {**schemas, shape: changed}}})
        return list(document.shapeProblems(allShapes()[name], changed))

    def rename(properties: dict) -> None:
        properties[f"{field}_new"] = properties.pop(field)

    def turnNull(properties: dict) -> None:
        choices = properties[field].get("anyOf", [properties[field]])
        nullable = any(one.get("type") == "null" for one in choices)
        left = [one for one in choices if one.get("type") != "null"]
        properties[field] = {"anyOf": left if nullable else [*left, {"type": "null"}]}

    def retype(properties: dict) -> None:
        properties[field] = {"type": "unheard of"}

    for change in (rename, turnNull, retype):
        assert problems(change), f"nobody notices if the server does this: {change.__name__}"


@pytest.mark.parametrize("name", sorted(set(allShapes()) - NOT_IN_THE_DOCUMENT))
def test_a_new_field_of_the_client_alone_is_noticed(document: Document, name: str) -> None:
    changed = make_dataclass(name, [("made_up", int)], bases=(Shape,), frozen=True)
    schema = document.shapes[ON_THE_SERVER.get(name, name)]
    assert list(document.shapeProblems(changed, schema)) == [f"{name}.made_up is not on the server"]


def test_a_renamed_field_of_the_draft_is_noticed() -> None:
    schema = ServerDraft.model_json_schema()
    for field in DRAFTS[1].toJson():
        changed = copy.deepcopy(schema)
        changed["properties"][f"{field}_new"] = changed["properties"].pop(field)
        assert list(Document(changed).bodyProblems(DRAFTS[1].toJson(), changed, "AnnotationDraft")), field


# --- reading ---------------------------------------------------------------------------------------------------------

EPOCH = {"epoch": 1, "seconds": 2, "train_loss": 0.5, "validation_dice": None, "learning_rate": 1e-3}


def test_numbers_become_what_they_are_said_to_be() -> None:
    read = EpochRecord.fromJson(EPOCH)
    assert isinstance(read.seconds, float) and read.validation_dice is None and read.epoch == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"epoch": 1.5},
        {"epoch": True},
        {"epoch": "1"},
        {"epoch": None},
        {"seconds": "2"},
        {"seconds": True},
        {"seconds": float("nan")},
        {"seconds": float("inf")},
        {"seconds": 10**400},
        {"validation_dice": []},
    ],
)
def test_values_of_another_type_are_not_taken(wrong: dict) -> None:
    with pytest.raises(NotLabelLoop, match=f"EpochRecord.{next(iter(wrong))}"):
        EpochRecord.fromJson({**EPOCH, **wrong})


@pytest.mark.parametrize("missing", EPOCH)
def test_a_missing_field_is_named(missing: str) -> None:
    with pytest.raises(NotLabelLoop, match=f"no 'EpochRecord.{missing}'.*Update the older one"):
        EpochRecord.fromJson({name: value for name, value in EPOCH.items() if name != missing})


@pytest.mark.parametrize("data", [None, [], "text", 3])
def test_something_else_than_an_object_is_not_taken(data: object) -> None:
    with pytest.raises(NotLabelLoop):
        EpochRecord.fromJson(data)


def test_what_is_wrong_deep_inside_is_found_and_named() -> None:
    info = {"label_names": {"a\nb": "1"}, "volumes_ml": {}, "version": 1, "validation_dice": None, "latencies": {}}
    with pytest.raises(NotLabelLoop, match=r"PredictionInfo.label_names\[a b\]"):
        PredictionInfo.fromJson(info)
    page = {"total": 1, "cases": [{"id": 3}]}
    with pytest.raises(NotLabelLoop, match=r"CasePage.cases\[0\].id"):
        CasePage.fromJson(page)


def test_figures_of_a_version_without_an_evaluation(document: Document) -> None:
    example = document.example(document.answerOf("GET", "/loop/versions/{task}"), filled=False)
    listed = VersionList.fromJson(example)
    version = listed.versions[0]
    assert version.meanDice is None and version.labelDice == {} and listed.current is None
    assert version.annotationCounts == {"training": 1, "validation": 0}


def test_figures_of_a_version(document: Document) -> None:
    example = document.example(document.answerOf("GET", "/loop/versions/{task}"), filled=True)
    listed = VersionList.fromJson({**example, "published": 3})
    version = listed.versions[0]
    assert version.meanDice == 2.5 and version.labelDice == {"liver": 2.5} and listed.current is version


@pytest.mark.parametrize("filled", [True, False])
def test_versions_of_both_kinds_in_one_list(document: Document, filled: bool) -> None:
    names = ("VersionRecord", "ClassificationVersion")
    records = [document.example(document.shapes[name], filled) for name in names]
    fields = {"task": "classification", "published": 3, "versions": records, "publications": []}
    segmentation, classification = VersionList.fromJson(json.loads(json.dumps(fields))).versions
    assert isinstance(segmentation, VersionRecord) and isinstance(classification, ClassificationVersion)
    assert classification.headline == segmentation.headline == (2.5 if filled else None)
    assert classification.annotationCounts == segmentation.annotationCounts
    assert [type(one.curve[0]) for one in (segmentation, classification)] == [EpochRecord, ScoreEpoch]
    if filled:
        measured = classification.evaluation.attributes["liver"]
        assert measured.confusion == ((3,),) and measured.classes["liver"].f1.low == 2.5
        assert classification.seen == {"liver": {"liver": 3}}


@pytest.mark.parametrize("name", ["VersionRecord", "ClassificationVersion", "GeneratorVersion"])
def test_a_choice_that_the_server_loses_or_gains_is_noticed(openApi: dict, name: str) -> None:
    schemas = openApi["components"]["schemas"]

    def problems(names: list[str]) -> list[str]:
        changed = copy.deepcopy(schemas)
        items = [{"$ref": f"#/components/schemas/{one}"} for one in names]
        changed["VersionList"]["properties"]["versions"]["items"] = {"anyOf": items}
        document = Document({"components": {"schemas": changed}})
        return list(document.shapeProblems(VersionList, changed["VersionList"]))

    every = ["VersionRecord", "ClassificationVersion", "GeneratorVersion"]
    assert problems(every) == problems(every[::-1]) == []
    assert f"never a {name}" in problems([one for one in every if one != name])[0]
    assert "may be a Publication" in problems([*every, "Publication"])[0]


def test_the_losses_of_a_generator_are_a_curve(document: Document) -> None:
    epoch = {"epoch": 1, "seconds": 2.0, "generator_loss": 0.5, "discriminator_loss": 0.75, "learning_rate": 0.001}
    curve = [{**epoch, "reconstruction_loss": None}, {**epoch, "reconstruction_loss": 0.25}]
    fields = {"epoch": 2, "epochs": 3, "seconds_left": None, "message": "", "curve": curve}
    first, second = JobProgress.fromJson(fields).curve
    assert isinstance(first, AdversarialEpoch) and first.reconstruction_loss is None
    assert (second.generator_loss, second.discriminator_loss, second.reconstruction_loss) == (0.5, 0.75, 0.25)
    record = document.example(document.shapes["GeneratorVersion"], True)
    listed = {"task": "augmentation", "published": None, "publications": []}
    (version,) = VersionList.fromJson({**listed, "versions": [{**record, "candidates": 12, "passed": 9}]}).versions
    assert isinstance(version, GeneratorVersion) and version.headline == 0.75


def test_points_of_the_curve_have_one_name_for_their_figure() -> None:
    score = {name: value for name, value in EPOCH.items() if name != "validation_dice"}
    curve = [{**EPOCH, "validation_dice": 0.25}, {**score, "validation_score": 0.5}, EPOCH]
    fields = {"epoch": 1, "epochs": 3, "seconds_left": None, "message": "", "curve": curve}
    progress = JobProgress.fromJson(fields)
    assert [type(one) for one in progress.curve] == [EpochRecord, ScoreEpoch, EpochRecord]
    assert [one.validation for one in progress.curve] == [0.25, 0.5, None]
    with pytest.raises(NotLabelLoop, match=r"curve\[0\]"):
        JobProgress.fromJson({**fields, "curve": [score]})
    with pytest.raises(NotLabelLoop, match=r"curve\[0\]"):
        JobProgress.fromJson({**fields, "curve": ["text"]})


def test_a_server_from_before_classification_is_read() -> None:
    old = {"name": "segmentation", "kind": "segmentation", "labels": ["liver"], "published": None}
    assert TaskInfo.fromJson(old) == TaskInfo("segmentation", "segmentation", ("liver",), None, (), None)
    with pytest.raises(NotLabelLoop, match="TaskInfo.attributes"):
        TaskInfo.fromJson({**old, "attributes": None})


@pytest.mark.parametrize(
    "wrong",
    [
        {"probabilities": {"diagnosis": {"benign": "often"}}},
        {"probabilities": {"diagnosis": 0.5}},
        {"warnings": [1]},
        {"novelty": "high"},
        {"explained": {"attribute": 1}},
    ],
)
def test_a_prediction_of_classes_is_read_whole_or_not_at_all(wrong: dict) -> None:
    said = {"diagnosis": {"benign": 0.75, "malignant": 0.25}}
    info = {"probabilities": said, "novelty": None, "warnings": ["Unlike all."], "version": 2}
    info |= {"validation_score": None, "seconds": 1, "model": "classification"}
    read = ClassPrediction.fromJson(info)
    assert (read.probabilities, read.warnings, read.novelty, read.explained) == (said, ("Unlike all.",), None, None)
    with pytest.raises(NotLabelLoop, match=f"ClassPrediction.{next(iter(wrong))}"):
        ClassPrediction.fromJson({**info, **wrong})


def test_types_of_the_shapes_are_those_that_can_be_read() -> None:
    def leaves(hint: Any) -> set[Any]:
        inner = [one for one in get_args(hint) if one is not Ellipsis]
        return set().union(*(leaves(one) for one in inner)) if inner else {hint}

    allowed = {str, int, float, bool, Any, type(None), *allShapes().values()}
    for shape in allShapes().values():
        for hint in hintsOf(shape).values():
            assert leaves(hint) <= allowed, (shape, hint)
    assert Optional[int] in hintsOf(allShapes()["TaskInfo"]).values()  # noqa: UP007, UP045
