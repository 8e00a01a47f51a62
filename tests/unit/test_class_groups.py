"""Each structure has a task of its own, whatever else the scheme asks, and no version answers for another one."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from monailabel_app.classification.groups import groups_of
from monailabel_app.classification.version import check_looks_at
from monailabel_app.errors import Conflict
from monailabel_app.store.scheme import Scheme
from monailabel_app.tasks.classification import ClassPredictor


def about(*segments: str | None) -> Scheme:
    attributes: list[dict[str, Any]] = [
        {"name": f"type {number}", "scope": "segment", "segment": segment, "classes": ["a", "b"]}
        for number, segment in enumerate(segments)
    ]
    return Scheme.of({"attributes": attributes})


def tasks(*segments: str | None) -> dict[str | None, str]:
    return {group.segment: name for name, group in groups_of(about(*segments)).items()}


def test_a_structure_with_a_plain_name_gives_it_to_its_task() -> None:
    assert tasks("lesion", "left-lung", None) == {
        "lesion": "classification-lesion",
        "left-lung": "classification-left-lung",
        "any": "classification-any",
    }


@pytest.mark.parametrize(
    "segments", [("病变", "肝臓", "опухоль"), ("liver tumour", "liver-tumour", "liver_tumour"), ("lesion", "Lesion")]
)
def test_the_task_of_a_structure_does_not_depend_on_the_others(segments: tuple[str, ...]) -> None:
    together = tasks(*segments)
    assert len(set(together.values())) == len(segments)
    assert tasks(*reversed(segments)) == together
    for segment in segments:
        assert tasks(segment) == {segment: together[segment]}
        assert re.fullmatch(r"classification-[a-z0-9-]+", together[segment])


def test_a_version_made_for_another_structure_is_refused() -> None:
    group = groups_of(about("lesion"))["classification-lesion"]
    record = SimpleNamespace(number=3, segment="Lesion")
    with pytest.raises(Conflict, match="v3 was made for 'Lesion', and 'lesion' is asked about"):
        check_looks_at(record, group)
    check_looks_at(SimpleNamespace(number=3, segment="lesion"), group)


def test_a_version_made_for_another_structure_predicts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    group = groups_of(about("lesion"))["classification-lesion"]
    service = SimpleNamespace(
        run=lambda task, work: work(SimpleNamespace(record=SimpleNamespace(number=1, segment="x")))
    )
    monkeypatch.setattr("monailabel_app.tasks.classification.read_case_image", lambda path, channels: None)
    with pytest.raises(Conflict, match="'x'"):
        ClassPredictor(service, group, lambda *_: None)({"image_file": "a.png"})
