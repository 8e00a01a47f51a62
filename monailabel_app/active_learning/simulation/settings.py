"""What is compared, and under which conditions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from monailabel_app.classification.groups import TASK as CLASSIFICATION
from monailabel_app.errors import BadInput
from monailabel_app.store.whole_file import write_whole
from monailabel_app.training.jobs import SEGMENTATION, StartFrom

FULL_DATA = "full-data"
"""The arm that is given all cases of the pool at once: what can be reached."""

SETTINGS_FILE = "simulation.json"


class SimulationSettings(BaseModel):
    """What all arms of a simulation have in common.

    Attributes:
        studies: Folder of images.
        truth: Folder of true label maps; to classify, a table of answers (CSV or JSON).
        label_names: Voxel values of the label maps by name; none where a file beside them says.
        classes: File of the scheme of classes, to classify; none to segment.
        batch: Cases annotated in each round.
        validation: Cases set aside, the same in all arms: they measure every version, and neither train nor choose.
        steps: Training steps of every version. Steps, not minutes: the same seed then gives the same result on any day.
        start: Whether each version starts from fresh weights, or goes on from those of the round before as the loop
            does. From scratch a curve shows what the cases give alone; going on, also what longer training does.
        cold_start: Whether strategies that go by embeddings choose the first batch, too, by those of an autoencoder.
            All others begin with one and the same random batch for each seed. A first batch from which nothing can be
            learned, as all its cases have one class, gets another last case.
        plan: Values that replace those of the training plan.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    studies: Path
    truth: Path
    label_names: dict[str, int] | None = None
    classes: Path | None = None
    rounds: int = Field(6, ge=1)
    batch: int = Field(8, ge=1)
    validation: int = Field(40, ge=2)
    steps: int = Field(300, ge=1)
    start: StartFrom = StartFrom.SCRATCH
    cold_start: bool = True
    plan: dict[str, Any] = {}

    @property
    def task(self) -> str:
        return CLASSIFICATION if self.classifies else SEGMENTATION

    @property
    def classifies(self) -> bool:
        return self.classes is not None

    @property
    def full_steps(self) -> int:
        """Training steps of the full-data version: as many as the last round's has behind it."""
        return self.steps * (self.rounds if self.start is StartFrom.PUBLISHED else 1)

    def keep(self, folder: Path) -> None:
        """Write the settings into the folder of results, or compare them with those that it was begun with.

        Raises:
            BadInput: The folder holds a simulation under other conditions; the message names them.
        """
        file = folder / SETTINGS_FILE
        now = self.model_dump(mode="json")
        if file.exists():
            before = json.loads(file.read_text())
            other = [name for name in now if before.get(name) != now[name]]
            if other:
                told = "; ".join(f"{name} was {before.get(name)} and is now {now[name]}" for name in other)
                raise BadInput(
                    f"{folder} holds a simulation under other conditions ({told}): give another folder with --out, "
                    "or the same conditions to go on"
                )
        write_whole(file, json.dumps(now, indent=2))


@dataclass(frozen=True, order=True)
class ArmKey:
    """One run of the loop: a strategy and a seed, which draws the first batch, the weights and the strategy's luck."""

    seed: int
    strategy: str

    @property
    def name(self) -> str:
        return f"{self.strategy}-{self.seed}"
