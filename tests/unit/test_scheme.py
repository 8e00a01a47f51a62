"""Schemes of classes: what they accept, how they are read, and what they make of answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monailabel_app.errors import BadInput
from monailabel_app.store.scheme import HOTKEYS, PALETTE, AttributeKind, Scheme, Scope

DIAGNOSIS = {"name": "diagnosis", "classes": ["benign", "malignant"]}
FINDINGS = {"name": "findings", "kind": "multi", "classes": ["effusion", "oedema", "nodule"]}
GRADE = {"name": "grade", "kind": "ordinal", "classes": [0, 1, 2, 3, 4]}


def scheme(*attributes: dict[str, Any]) -> Scheme:
    return Scheme.of({"attributes": list(attributes)})


def test_names_alone_make_a_scheme_with_colours_and_keys() -> None:
    made = scheme(DIAGNOSIS, FINDINGS, GRADE)
    assert [one.kind for one in made.attributes] == list(AttributeKind)
    assert made.attributes[0].scope is Scope.CASE
    assert made.attributes[2].names == ["0", "1", "2", "3", "4"]
    keys = [one.hotkey for attribute in made.attributes for one in attribute.classes]
    assert keys == list(HOTKEYS[:10])
    for attribute in made.attributes:
        assert [one.color for one in attribute.classes] == list(PALETTE[: len(attribute.classes)])


def test_given_colours_and_keys_are_kept_and_not_given_out_again() -> None:
    classes = [{"name": "a"}, {"name": "b", "hotkey": 1, "color": PALETTE[0].upper()}, {"name": "c", "hotkey": "N"}]
    made = scheme({"name": "x", "classes": classes})
    assert [one.hotkey for one in made.attributes[0].classes] == ["2", "1", "n"]
    assert [one.color for one in made.attributes[0].classes] == [PALETTE[1], PALETTE[0], PALETTE[2]]


def test_more_classes_than_keys_and_colours_are_possible() -> None:
    made = scheme({"name": "x", "kind": "multi", "classes": [f"finding {n}" for n in range(50)]})
    keys = [one.hotkey for one in made.attributes[0].classes]
    assert keys[:35] == list(HOTKEYS)
    assert set(keys[35:]) == {None}
    assert all(one.color in PALETTE for one in made.attributes[0].classes)


def test_a_scheme_survives_json() -> None:
    made = scheme(DIAGNOSIS, {**GRADE, "scope": "segment", "segment": "lesion"})
    assert Scheme.model_validate_json(made.model_dump_json()) == made


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ([], "attributes"),
        ([DIAGNOSIS, {**FINDINGS, "name": "Diagnosis"}], "two attributes have the name"),
        ([{"name": "x", "classes": ["a"]}], "at least 2 classes"),
        ([{"name": "x", "kind": "ordinal", "classes": ["a"]}], "at least 2 classes"),
        ([{"name": "x", "kind": "multi", "classes": []}], "at least 1 class"),
        ([{"name": "x", "classes": ["a", "A"]}], "two classes of 'x'"),
        ([{"name": " ", "classes": ["a", "b"]}], "name"),
        ([{"name": "x", "classes": ["a", "b\n"]}, {"name": "y", "classes": ["a", "b\x07c"]}], "printable"),
        ([{"name": "x", "classes": ["a", {"name": "b", "color": "red"}]}], "#rrggbb"),
        ([{"name": "x", "classes": ["a", {"name": "b", "hotkey": "F1"}]}], "one character"),
        ([{"name": "x", "classes": ["a", {"name": "b", "hotkey": " "}]}], "one character"),
        ([{"name": "x", "classes": [{"name": "a", "hotkey": "n"}, {"name": "b", "hotkey": "N"}]}], "hotkey 'n'"),
        (
            [{"name": n, "classes": [{"name": "a", "hotkey": "n"}, "b"]} for n in ("x", "y")],
            "two classes have the hotkey",
        ),
        ([{"name": "x", "kind": "several", "classes": ["a", "b"]}], "kind"),
        ([{"name": "x", "classes": ["a", "b"], "colour": 1}], "colour"),
        ([{"name": "x", "classes": [True, False]}], "name"),
        ([{"name": "x", "classes": ["a", "b"], "segment": "lesion"}], "scope"),
        ([{"name": "x", "classes": "ab"}], "classes"),
    ],
)
def test_schemes_that_make_no_sense_are_refused_in_words(attributes: list[Any], words: str) -> None:
    with pytest.raises(BadInput, match="cannot be used") as refusal:
        scheme(*attributes)
    assert words in str(refusal.value)


def test_two_findings_need_but_one_class_and_one_choice_needs_two() -> None:
    assert scheme({"name": "x", "kind": "multi", "classes": ["fracture"]}).check({"x": []}) == {"x": []}


def test_answers_come_back_as_the_scheme_writes_them() -> None:
    given = {"GRADE": 3, "findings": ["Nodule", " effusion", "nodule"], "diagnosis": None}
    checked = scheme(DIAGNOSIS, FINDINGS, GRADE).check(given)
    assert checked == {"diagnosis": None, "findings": ["effusion", "nodule"], "grade": "3"}
    assert list(checked) == ["diagnosis", "findings", "grade"]
    assert scheme(DIAGNOSIS, FINDINGS).check({}) == {}, "what was not asked stays out"
    assert scheme(FINDINGS).check({"findings": "oedema"}) == {"findings": ["oedema"]}


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"diagnosis": "harmless"}, "benign, malignant"),
        ({"diagnosis": ""}, "benign, malignant"),
        ({"diagnosis": ["benign"]}, "benign, malignant"),
        ({"diagnosis": True}, "benign, malignant"),
        ({"findings": ["nodule", "fracture"]}, "effusion, oedema, nodule"),
        ({"findings": ["nodule", None]}, "effusion, oedema, nodule"),
        ({"findings": 3}, "a list of classes"),
        ({"grade": 5}, "0, 1, 2, 3, 4"),
        ({"side": "left"}, "diagnosis, findings, grade"),
        ({"grade": 1, "Grade": 2}, "answered twice"),
        (["benign"], "by attribute"),
    ],
)
def test_wrong_answers_are_refused_with_the_right_ones(answers: Any, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        scheme(DIAGNOSIS, FINDINGS, GRADE).check(answers)


def test_yaml_takes_plain_values_as_text(tmp_path: Path) -> None:
    file = tmp_path / "classes.yaml"
    file.write_text(
        "attributes:\n"
        "  - {name: fracture, classes: [yes, no]}\n"
        "  - name: grade\n    kind: ordinal\n    classes: [0, 1.5, 02]\n"
        "  - name: lesion\n    scope: segment\n    segment: lesion\n    classes:\n"
        "      - {name: benign, color: '#00AA00', hotkey: 7}\n      - malignant\n"
    )
    made = Scheme.read(file)
    assert made.attributes[0].names == ["yes", "no"]
    assert made.attributes[1].names == ["0", "1.5", "02"]
    assert made.attributes[2].classes[0].color == "#00aa00"
    assert made.attributes[2].classes[0].hotkey == "7"
    assert made.attributes[2].scope is Scope.SEGMENT


def test_json_and_yaml_say_the_same(tmp_path: Path) -> None:
    fields = {"attributes": [DIAGNOSIS, FINDINGS, GRADE]}
    (tmp_path / "classes.json").write_text(json.dumps(fields))
    (tmp_path / "classes.yml").write_text(json.dumps(fields))  # JSON is YAML too
    assert Scheme.read(tmp_path / "classes.json") == Scheme.read(tmp_path / "classes.yml") == Scheme.of(fields)


names = st.sampled_from(["null", "~", "no", "1e3", "#a", "'", "- x", "a: b", "<<", "null, or so"]) | st.text(
    st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=names, segment=st.none() | names, classes=st.lists(names, min_size=2, max_size=40, unique_by=str.casefold))
@pytest.mark.parametrize(("suffix", "dump"), [("yaml", yaml.safe_dump), ("json", json.dumps)])
def test_the_scheme_of_a_server_can_be_written_into_a_file(
    tmp_path: Path, suffix: str, dump: Callable[[Any], str], name: str, segment: str | None, classes: list[str]
) -> None:
    scope = "case" if segment is None else "segment"
    made = scheme({"name": name, "scope": scope, "segment": segment, "classes": classes})
    file = tmp_path / f"classes.{suffix}"
    file.write_text(dump(made.model_dump(mode="json")), encoding="utf-8")
    assert Scheme.read(file) == made


@pytest.mark.parametrize("nothing", ["", "~", "null", "Null", "NULL"])
def test_in_yaml_nothing_is_nothing_where_a_value_may_be_missing(tmp_path: Path, nothing: str) -> None:
    file = tmp_path / "classes.yaml"
    text = "attributes:\n  - name: x\n    segment: {}\n    classes: [{{name: null, color: {}, hotkey: {}}}, b]\n"
    file.write_text(text.format(nothing, nothing, nothing))
    assert Scheme.read(file) == scheme({"name": "x", "classes": ["null", "b"]})
    file.write_text("attributes:\n  - {name: x, scope: segment, segment: 'null', classes: [a, b]}\n")
    assert Scheme.read(file).attributes[0].segment == "null"


def test_nothing_in_a_file_can_run(tmp_path: Path) -> None:
    trap, file = tmp_path / "trap", tmp_path / "classes.yaml"
    file.write_text(
        f"attributes: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{trap}]]\n"
    )
    with pytest.raises(BadInput):
        Scheme.read(file)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.yaml", "attributes: [\n"),
        ("classes.yaml", ""),
        ("classes.yaml", "just words"),
        ("classes.json", "{'attributes': []}"),
        ("classes.json", "[" * 100_000),
        ("classes.yaml", "attributes:\n  - name: x\n    classes: [{name: a, color: #ff0000}\n]"),
        ("classes.yaml", "attributes: []  # " + "x" * 1_000_000),
    ],
)
def test_broken_files_are_named(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match=name):
        Scheme.read(tmp_path / name)


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="missing.yaml"):
        Scheme.read(tmp_path / "missing.yaml")
    (tmp_path / "picture.yaml").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(BadInput, match="picture.yaml"):
        Scheme.read(tmp_path / "picture.yaml")
