"""Decisions that wait: in the order in which they were made, and for the workspace that they are about."""

from __future__ import annotations

import json
from pathlib import Path

from LabelLoopLib.workflow.decision_box import DecisionBox
from LabelLoopLib.workflow.origin import Origin

ADDRESS = "http://here:8000"
FIRST, SECOND = Origin(ADDRESS, "1"), Origin(ADDRESS, "2")


def test_decisions_go_to_their_own_workspace_at_any_address(tmp_path: Path) -> None:
    box = DecisionBox(tmp_path)
    own = box.put(FIRST, "sample", "approve", "Dr. Grey")
    other = box.put(SECOND, "sample", "reject", "Dr. Grey", "blurred")
    assert DecisionBox(tmp_path).list(FIRST) == [own] and box.list(Origin("http://there:8000", "2")) == [other]
    assert box.list(Origin(ADDRESS)) == [own, other], "an earlier server is known by its address alone"
    box.remove(own)
    assert box.list(FIRST) == []


def test_a_decision_of_before_workspaces_had_names_goes_by_the_address(tmp_path: Path) -> None:
    box = DecisionBox(tmp_path)
    box.put(FIRST, "sample", "approve", "Dr. Grey")
    (file,) = tmp_path.glob("*.json")
    fields = json.loads(file.read_text(encoding="utf-8"))
    del fields["workspace"]
    file.write_text(json.dumps(fields), encoding="utf-8")
    assert [one.sample for one in box.list(SECOND)] == ["sample"]
    assert box.list(Origin("http://there:8000", "1")) == []
