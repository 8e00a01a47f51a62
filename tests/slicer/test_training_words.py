"""What the training panel says about runs and versions."""

from __future__ import annotations

import pytest
from LabelLoopLib.client import TaskInfo, TrainingJob
from LabelLoopLib.panels.training_words import figuresText, roughTime, shareDone, stateText, taskText
from LabelLoopLib.panels.version_words import about, doubt, headlineText, inUseBefore, labelsText, toolTip

from tests.slicer.training_records import attribute, class_version, figure, run_record, version, version_list


@pytest.mark.parametrize(
    ("uses", "before"),
    [
        ([], None),
        ([(1, "")], None),
        ([(1, ""), (2, "")], 1),
        ([(1, ""), (2, ""), (1, "rolled back from v2")], None),
        ([(1, ""), (2, ""), (1, "published by hand")], 2),
        ([(1, ""), (2, ""), (3, ""), (2, "rolled back from v3")], 1),
    ],
)
def test_the_version_to_go_back_to(uses: list[tuple[int, str]], before: int | None) -> None:
    assert inUseBefore(version_list(None, uses=tuple(uses))) == before


@pytest.mark.parametrize(
    ("state", "epoch", "curve", "seconds_left", "line", "share"),
    [
        ("queued", 0, 0, None, "Waiting in the queue", 0.0),
        ("preparing", 0, 0, None, "Preparing", None),
        ("training", 0, 0, 600.0, "Preparing", None),
        ("training", 1, 0, 600.0, "Training, epoch 1 of 10", 0.0),
        ("training", 6, 5, None, "Training, epoch 6 of 10", 0.5),
        ("training", 6, 5, 5.0, "Training, epoch 6 of 10", 50 / 55),
        ("training", 10, 10, 0.0, "Training, epoch 10 of 10", 0.99),
        ("evaluating", 10, 10, 0.0, "Measuring on the validation cases", None),
        ("failed", 10, 10, 0.0, "Failed: it broke", 0.0),
        ("stopped", 5, 5, 5.0, "Stopped", 0.0),
        ("of another time", 5, 5, 5.0, "of another time", None),
    ],
)
def test_states_in_words_and_as_a_share(
    state: str, epoch: int, curve: int, seconds_left: float | None, line: str, share: float | None
) -> None:
    """A run that ends by time is further than its epochs say; no share is full."""
    job = run_record(state, epoch, curve, seconds_left)
    assert stateText(job, None) == line
    assert shareDone(job) == (share if share is None else pytest.approx(share))


def test_a_version_without_a_figure_is_asked_about_too() -> None:
    versions = version_list(1, version(1, 0.8), version(2, None), version(3, 0.9), version(4, 0.8)).versions
    assert "never measured" in doubt(versions[1], versions[0]).text
    assert doubt(versions[2], versions[0]) is None and doubt(versions[3], versions[0]) is None
    assert doubt(versions[1], None) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(10, "less than a minute"), (118, "about 2 min"), (3599, "about 1 h 0 min"), (5400, "about 1 h 30 min")],
)
def test_time_left_is_rough(seconds: float, words: str) -> None:
    assert roughTime(seconds) == words


# --- classification ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spread", "words"),
    [(0.055, "balanced accuracy 0.91 (0.85 to 0.96)"), (None, "balanced accuracy 0.91")],
)
def test_the_headline_of_a_classification_has_its_name_and_interval(spread: float | None, words: str) -> None:
    (one,) = version_list(1, class_version(1, 0.905, spread)).versions
    assert headlineText(one) == words.replace("0.91", f"{0.905:.2f}")
    assert about(one).splitlines() == ["Version 1: a reason", headlineText(one)[:1].upper() + headlineText(one)[1:],
                                       "A note"]  # fmt: skip
    assert labelsText(one, 3) == "diagnosis 0.905" and headlineText(one, 3)[1:] in toolTip(one, True)


@pytest.mark.parametrize(
    ("kinds", "name"),
    [
        (("single", "ordinal"), "balanced accuracy"),
        (("multi",), "ROC AUC"),
        (("multi", "single"), "mean of balanced accuracy and ROC AUC"),
    ],
)
def test_the_figure_that_decides_is_named_as_the_server_names_it(kinds: tuple[str, ...], name: str) -> None:
    record = class_version(1, 0.75)
    record["evaluation"]["attributes"] = {kind: attribute(kind, 0.75) for kind in kinds}
    (one,) = version_list(1, record).versions
    assert headlineText(one) == f"{name} 0.75"
    assert labelsText(one) == " · ".join(f"{kind} 0.75" for kind in kinds)


def test_a_classification_that_was_not_measured_has_no_figures() -> None:
    unmeasured, without_score = version_list(None, class_version(1, None), class_version(2, 0.5)).versions
    assert headlineText(unmeasured) == labelsText(unmeasured) == ""
    record = class_version(3, 0.5)
    record["evaluation"]["mean_score"] = record["evaluation"]["attributes"]["diagnosis"]["balanced_accuracy"] = None
    (half,) = version_list(None, record).versions
    assert headlineText(half) == "" and labelsText(half) == "diagnosis –" and half.headline is None
    assert figure(None) is None and without_score.headline == 0.5


def test_a_lower_score_is_asked_about_in_its_own_words() -> None:
    versions = version_list(1, class_version(1, 0.8), class_version(2, 0.7), class_version(3, None)).versions
    assert "balanced accuracy 0.7000" in doubt(versions[1], versions[0]).text
    assert "never measured" in doubt(versions[2], versions[0]).text
    assert doubt(versions[0], versions[1]) is None


def test_a_run_tells_the_figure_that_its_task_measures() -> None:
    told = run_record("training", 2, 2, None)
    point = {"epoch": 1, "seconds": 1.0, "train_loss": 0.5, "learning_rate": 0.1}
    for name, words in (("validation_dice", "Dice while training 0.625"), ("validation_score", "score while training")):
        progress = {"epoch": 2, "epochs": 10, "seconds_left": None, "message": "", "curve": [{**point, name: 0.625}]}
        fields = {name: getattr(told, name) for name in ("id", "task", "request", "state", "detail", "version")}
        times = {"stop_requested": False, "created": 1.0, "started": None, "ended": None}
        assert words in figuresText(TrainingJob.fromJson({**fields, **times, "progress": progress}), True)


@pytest.mark.parametrize(
    ("name", "kind", "segment", "words"),
    [
        ("segmentation", "segmentation", None, "Segmentation"),
        ("classification", "classification", None, "Classification"),
        ("classification-lesion", "classification", "lesion", "Classification of lesion"),
        ("of a\nlater time", "telepathy", None, "of a later time"),
    ],
)
def test_names_of_tasks(name: str, kind: str, segment: str | None, words: str) -> None:
    assert taskText(TaskInfo(name, kind, (), None, (), segment)) == words
