"""What a user sets is taken as typed, and what does not fit is refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from monailabel_app.errors import BadInput
from monailabel_app.settings import Settings


def test_the_workspace_is_beside_the_studies_by_default(tmp_path: Path) -> None:
    settings = Settings.read(studies=str(tmp_path / "scans"))
    assert settings.workspace == tmp_path / "scans-labelloop"


def test_a_workspace_may_be_named(tmp_path: Path) -> None:
    settings = Settings.read(studies=str(tmp_path / "scans"), workspace=str(tmp_path / "elsewhere"))
    assert settings.workspace == tmp_path / "elsewhere"


def test_studies_behind_an_address_need_a_workspace(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--workspace"):
        Settings.read(studies="https://pacs.example.org/dicom-web")
    settings = Settings.read(studies="https://pacs.example.org/dicom-web", workspace=tmp_path)
    assert settings.is_remote
    assert not Settings.read(studies=str(tmp_path)).is_remote


def test_the_studies_folder_itself_is_no_workspace(tmp_path: Path) -> None:
    """The label maps in it would come back as images."""
    with pytest.raises(BadInput, match="workspace"):
        Settings.read(studies=str(tmp_path), workspace=str(tmp_path / "sub" / ".."))


@pytest.mark.parametrize(
    ("typed", "labels"),
    [("", ()), ("liver", ("liver",)), (" left kidney , liver,,", ("left kidney", "liver")), (["a", "b"], ("a", "b"))],
)
def test_labels_are_separated_by_commas(typed: object, labels: tuple[str, ...]) -> None:
    assert Settings.read(studies="x", labels=typed).labels == labels


def test_a_label_named_twice_is_refused() -> None:
    with pytest.raises(BadInput, match="labels: a label is named twice"):
        Settings.read(studies="x", labels="liver,spleen, liver")


def test_an_unknown_setting_is_refused_with_a_list_of_those_there_are() -> None:
    with pytest.raises(BadInput, match="there is no setting 'epoch'") as caught:
        Settings.read(studies="x", epoch=3)
    assert all(name in str(caught.value) for name in Settings.model_fields)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("validation_share", 0),
        ("validation_share", 1),
        ("validation_share", "a quarter"),
        ("epochs", 0),
        ("epochs", "many"),
        ("steps_per_epoch", -1),
        ("training_minutes", 0),
        ("max_upload_mb", 0),
        ("seed", 1.5),
        ("plan", "{not json"),
        ("plan", "[1]"),
        ("studies", None),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_its_name(name: str, value: object) -> None:
    with pytest.raises(BadInput, match=f"^{name}: "):
        Settings.read(**{"studies": "x", name: value})


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(BadInput, match="seed: .*; epochs: "):
        Settings.read(studies="x", epochs=0, seed="none")


def test_what_the_platform_passes_as_text_is_understood() -> None:
    settings = Settings.read(
        studies="x", follow_links="true", epochs="7", validation_share="0.2", plan='{"batch_size": 1}', seed="3"
    )
    assert settings.follow_links is True
    assert (settings.epochs, settings.validation_share, settings.seed) == (7, 0.2, 3)
    assert settings.plan == {"batch_size": 1}


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Settings.read(studies="x").epochs = 3
