"""Everything a user can set, in one typed place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from monailabel_app.errors import BadInput


class Settings(BaseModel):
    """How a LabelLoop server is set up.

    The command line (``labelloop serve --help``) and the platform's ``--conf KEY VALUE`` both fill this class; names
    are the same.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    studies: str = Field(description="Folder of studies, or the address of a DICOMweb service (https://...).")
    workspace: Path | None = Field(None, description="Where annotations, versions and the index go.")
    labels: tuple[str, ...] = Field((), description="Names of the structures to segment, separated by commas.")
    classes: Path | None = Field(None, description="File (YAML or JSON) of the classes to tell apart.")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N.")
    follow_links: bool = Field(False, description="Read images through links that lead outside the studies folder.")

    host: str | None = Field(None, description="The address the server binds to, as its command line says.")
    token: str | None = Field(None, description="The token that clients must send.")
    allowed_origins: tuple[str, ...] = Field((), description="Web origins whose pages may use the server.")
    max_upload_mb: int = Field(2048, gt=0, description="Largest upload, MB.")

    validation_share: float = Field(0.25, ge=0.01, le=0.99, description="Share of annotated patients for validation.")
    seed: int = Field(0, description="Seed of the split and of training.")

    epochs: int = Field(100, gt=0, description="Epochs of a training run.")
    steps_per_epoch: int | None = Field(None, gt=0, description="Optimiser steps an epoch; by default from the data.")
    training_minutes: float | None = Field(None, gt=0, description="A training run ends after this many minutes.")
    synthetic_share: float = Field(
        1.0, ge=0, le=4, description="Approved synthetic images are drawn at most so many times as often as real ones."
    )
    plan: dict[str, Any] = Field(
        default_factory=dict,
        description="Values that replace those of the worked-out plan: of the segmentation, or by task.",
    )

    default_strategy: str | None = Field(
        None,
        description="Strategy that picks the next case unless a client names one, for tasks that it can be used for;"
        " for others, and by default, it suits the task.",
    )
    control_share: float = Field(
        0.0, ge=0, le=0.5, description="Share of next cases that are drawn at random, to compare the strategy with."
    )
    lease_minutes: float = Field(
        60.0, gt=0, le=10_080, description="A case that was given to one annotator is kept for them this long, minutes."
    )

    @field_validator("labels", "allowed_origins", mode="before")
    @classmethod
    def _split_at_commas(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(",") if name.strip())
        return value

    @field_validator("labels")
    @classmethod
    def _names_are_unique(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(labels)) != len(labels):
            raise ValueError("a label is named twice")
        return labels

    @field_validator("plan", mode="before")
    @classmethod
    def _plan_from_json(cls, value: Any) -> Any:
        if isinstance(value, str):
            import json

            return json.loads(value)
        return value

    @model_validator(mode="after")
    def _workspace_beside_the_studies(self) -> Settings:
        if self.workspace is None:
            if self.is_remote:
                raise ValueError("studies behind an address need a workspace folder: give --workspace DIR")
            studies = Path(self.studies).expanduser().resolve()
            object.__setattr__(self, "workspace", studies.with_name(f"{studies.name}-labelloop"))
        elif not self.is_remote and self.workspace.expanduser().resolve() == Path(self.studies).expanduser().resolve():
            raise ValueError("the workspace cannot be the studies folder itself: give another with --workspace DIR")
        return self

    @property
    def is_remote(self) -> bool:
        return self.studies.startswith(("http://", "https://"))

    @classmethod
    def read(cls, **values: Any) -> Settings:
        """Make settings from what a user typed.

        Raises:
            BadInput: A name is unknown or a value does not fit; the message names it and lists what there is.
        """
        try:
            return cls(**values)
        except (ValidationError, ValueError) as error:
            raise BadInput(_in_words(error)) from error


def _in_words(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    lines = []
    for problem in error.errors():
        name = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            lines.append(f"there is no setting '{name}'; there are: {', '.join(Settings.model_fields)}")
        else:
            lines.append(f"{name + ': ' if name else ''}{problem['msg'].removeprefix('Value error, ')}")
    return "; ".join(lines)
