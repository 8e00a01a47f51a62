"""How many synthetic images training draws for each real one, where nobody says so for a run."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from monailabel_app.store.database import Database
from monailabel_app.store.samples import SampleKind

STUDY = "study"
"""The property that holds what the newest study said."""


class StudyVerdict(BaseModel):
    """What a study said synthetic images bring.

    Attributes:
        sentence: The finding, for people.
        helped: Whether the lower bound is above zero.
        gain: Mean difference of the Dice to training with classic augmentation alone.
        low, high: Its 95 % interval.
        created: Seconds since 1970.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    sentence: str
    helped: bool
    gain: float
    low: float
    high: float
    created: float


@dataclass(frozen=True)
class Share:
    """Synthetic images are drawn at most `value` times as often as real ones, and why so."""

    value: float
    reason: str


class SyntheticShare:
    """The default of the share: what the server was set to, or none of pairs where a study found that they do not help.

    Args:
        setting: The server's setting.
    """

    def __init__(self, database: Database, setting: float) -> None:
        self.database = database
        self.setting = setting

    def study(self) -> StudyVerdict | None:
        """What the newest study said; none before the first."""
        text = self.database.value("SELECT value FROM properties WHERE name = ?", STUDY)
        return None if text is None else StudyVerdict.model_validate_json(str(text))

    def keep_study(self, verdict: StudyVerdict) -> None:
        """Let a study decide about the default from now on."""
        with self.database.write() as connection:
            connection.execute("INSERT OR REPLACE INTO properties VALUES (?, ?)", (STUDY, verdict.model_dump_json()))

    def default(self, kind: SampleKind = SampleKind.PAIR) -> Share:
        """The share of a run that is not told one. Studies are of pairs, and say nothing of images of a class."""
        study = self.study() if kind is SampleKind.PAIR else None
        if study is not None and study.gain <= 0 and study.low < 0:
            return Share(0.0, f"off by default, as the newest study found no gain: {study.sentence}")
        return Share(self.setting, "the server's setting")
