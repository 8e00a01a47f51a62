"""Training runs and versions as a server would tell them."""

from __future__ import annotations

import json

from LabelLoopLib.client import TrainingJob, VersionList


def version(number: int, dice: float | None, **changes: object) -> dict:
    """The JSON of a version with that mean Dice for its only label, or without figures."""
    label = {"dice": dice, "surface_dice": None, "hausdorff95_mm": None}
    counts = {"present": 1, "missed": 0, "false_positives": 0, "true_negatives": 0}
    evaluation = {
        "kind": "held_out", "labels": {"liver": {**label, **counts}}, "mean_dice": dice,
        "mean_surface_dice": None, "mean_hausdorff95_mm": None,
    }  # fmt: skip
    record = {
        "task": "segmentation", "number": number, "created": 1.7e9, "start": "scratch", "annotations": [], "curve": [],
        "best_epoch": 1, "evaluation": evaluation if dice is not None else None, "note": "a note",
        "decision": {"publish": True, "reason": "a reason", "compared_with": None, "dice": dice, "other_dice": None},
        "seconds": 100.0, "stopped": False,
    }  # fmt: skip
    return {**record, **changes}


def figure(value: float | None, spread: float | None = None) -> dict | None:
    """A figure with an interval of that spread to either side, or without one; None without a value."""
    if value is None:
        return None
    bounds = (None, None) if spread is None else (value - spread, value + spread)
    return {"value": value, "low": bounds[0], "high": bounds[1]}


def attribute(kind: str, score: float | None, spread: float | None = None, **changes: object) -> dict:
    """The JSON of the figures of an attribute with the classes ``benign`` (3 cases) and ``malignant`` (2 cases)."""
    measures = dict.fromkeys(("precision", "recall", "f1", "roc_auc"))
    benign = {"support": 3, "predicted": 4, "hits": 3, **measures, "recall": figure(1.0, 0.0)}
    malignant = {"support": 2, "predicted": 1, "hits": 1, **measures, "recall": figure(0.5)}
    whole = ("accuracy", "balanced_accuracy", "macro_auc", "kappa", "exact_match", "calibration_error")
    isMulti = kind == "multi"
    figures = {
        "kind": kind, "cases": 5, "patients": 4, "order": ["benign", "malignant"],
        "classes": {"benign": benign, "malignant": malignant}, **dict.fromkeys(whole),
        "macro_auc" if isMulti else "balanced_accuracy": figure(score, spread),
        "confusion": None if isMulti else [[3, 0], [1, 1]],
    }  # fmt: skip
    return {**figures, **changes}


def class_version(number: int, score: float | None, spread: float | None = None, **changes: object) -> dict:
    """The JSON of a version of a classification with that score for its only attribute, or without figures."""
    evaluation = {
        "kind": "held_out", "folds": 1, "cases": 5, "patients": 4, "mean_score": figure(score, spread),
        "attributes": {"diagnosis": attribute("single", score, spread)},
    }  # fmt: skip
    decision = {"score": score, "other_score": None, "difference": None, "within_noise": None}
    record = version(number, None, task="classification", segment=None, seen={"diagnosis": {"benign": 3}})
    record["evaluation"] = evaluation if score is not None else None
    record["decision"] = {"publish": True, "reason": "a reason", "compared_with": None, **decision}
    return {**record, **changes}


def run_record(state: str, epoch: int, curve: int, seconds_left: float | None) -> TrainingJob:
    """A run of 10 epochs with a curve of so many, 10 s each."""
    epochs = [
        {"epoch": n, "seconds": 10.0 * n, "train_loss": 0.5, "validation_dice": None, "learning_rate": 0.1}
        for n in range(1, curve + 1)
    ]
    progress = {"epoch": epoch, "epochs": 10, "seconds_left": seconds_left, "message": "", "curve": epochs}
    ended = {"version": None, "stop_requested": False, "created": 1.0, "started": None, "ended": None}
    told = {"id": "a", "task": "segmentation", "request": {}, "state": state, "detail": "it broke"}
    return TrainingJob.fromJson({**told, **ended, "progress": progress})


def version_list(published: int | None, *records: dict, uses: tuple[tuple[int, str], ...] = ()) -> VersionList:
    """A task's versions and, in ``uses``, which came into use and why."""
    publications = [{"number": n, "published_by": "x", "reason": reason, "created": 1.0} for n, reason in uses]
    fields = {"task": "segmentation", "published": published, "versions": records, "publications": publications}
    return VersionList.fromJson(json.loads(json.dumps(fields)))
