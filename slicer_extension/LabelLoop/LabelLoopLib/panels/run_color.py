"""The dot beside the state of a run."""

from __future__ import annotations

from typing import Optional

from ..client import TrainingJob
from ..workflow.connection import Connection, ConnectionState

GREY, BLUE, GREEN, RED, YELLOW = "#8c8c8c", "#4a90d9", "#3a9d5d", "#d0454c", "#e0a100"


def runColor(run: Optional[TrainingJob], connection: Connection) -> str:
    """How a run stands, as a color; yellow means that nobody knows at present."""
    if connection.state == ConnectionState.LOST:
        return YELLOW
    if run is None or not connection.online:
        return GREY
    return {"done": GREEN, "failed": RED, "stopped": GREY}.get(run.state, BLUE)
