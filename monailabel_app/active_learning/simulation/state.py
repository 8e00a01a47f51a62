"""What an arm has done, on disk: one JSON a round, each written as a whole, so that it goes on where it was."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from monailabel_app.active_learning.simulation.settings import ArmKey
from monailabel_app.store.whole_file import write_whole


class RoundRecord(BaseModel):
    """One round.

    Attributes:
        number: Counted from 1; it is that of the version in the arm's registry, too.
        chosen: The cases annotated in this round, the most wanted first.
        why: Why the strategy wanted the first of them.
        annotated: Cases annotated for training so far, these included.
        foreground_voxels: Voxels of structures annotated so far; none to classify.
        figures: What it scores on the validation cases. Empty until the round is over.
        seconds: What the steps of the round took.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int
    chosen: list[str]
    why: str = ""
    annotated: int = 0
    foreground_voxels: int | None = None
    figures: dict[str, float | None] = {}
    seconds: dict[str, float] = {}

    @property
    def is_over(self) -> bool:
        return bool(self.figures)


class ArmState:
    """The rounds of one arm, ``<folder>/round-01.json`` and on."""

    def __init__(self, root: Path, key: ArmKey) -> None:
        self.key = key
        self.folder = root / "arms" / key.name

    def save(self, record: RoundRecord) -> None:
        """Keep a round: first with its choice, then again when it is over."""
        write_whole(self._file(record.number), record.model_dump_json(indent=2))

    def rounds(self) -> list[RoundRecord]:
        """The rounds that are over, in order."""
        done: list[RoundRecord] = []
        while (record := self.begun(len(done) + 1)) is not None and record.is_over:
            done.append(record)
        return done

    def begun(self, number: int) -> RoundRecord | None:
        """A round that is at least begun."""
        file = self._file(number)
        return RoundRecord.model_validate_json(file.read_text()) if file.exists() else None

    def _file(self, number: int) -> Path:
        return self.folder / f"round-{number:02d}.json"
