"""The comparison of training with and without synthetic pairs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from monailabel_app.augmentation.study import CASES_FILE, Study, StudySettings
from monailabel_app.augmentation.study_arms import Arm, in_epochs
from monailabel_app.augmentation.study_data import StudyCases, prepare_cases
from monailabel_app.augmentation.study_figures import Trial, differences, interval, judge
from monailabel_app.augmentation.study_files import write_record
from monailabel_app.augmentation.study_options import StudyOptions, open_study
from monailabel_app.augmentation.study_pairs import RECORD_FILE, PairRecord, PairsRecord
from monailabel_app.augmentation.study_report import write_report
from monailabel_app.augmentation.study_run import carry_out
from monailabel_app.cli import app
from monailabel_app.errors import BadInput, LabelLoopError
from monailabel_app.store.checks import Check
from monailabel_app.store.split import Role
from monailabel_app.store.store import Store
from monailabel_app.store.synthetic_share import SyntheticShare
from monailabel_app.store.truth import Truth
from monailabel_app.store.workspace import Workspace
from monailabel_app.training.schedule import Schedule
from sample_data import write_studies

TINY_PLAN = {
    "patch_size": (16, 16, 8),
    "batch_size": 1,
    "network": {
        "filters": [4, 8, 8],
        "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
        "kernels": [[3, 3, 3]] * 3,
        "deep_supervision": False,
    },
}


def trial(arm: Arm, seed: int, mean: float, **labels: float) -> Trial:
    return Trial(
        arm=arm,
        seed=seed,
        real=["a"],
        synthetic=[],
        steps=20,
        cases={"held-out": labels or {"liver": mean}},
        labels=labels or {"liver": mean},
        mean_dice=mean,
        loss=1.0,
        seconds=1.0,
        generator_seconds=0.0,
    )


def pairs_of(gains: list[float]) -> list[Trial]:
    """A network with synthetic pairs and one without for each seed, so far apart in Dice points."""
    classic = [trial(Arm.CLASSIC, seed, 0.7 + 0.01 * seed) for seed in range(len(gains))]
    other = [trial(Arm.SYNTHETIC, one.seed, one.mean_dice + gains[one.seed] / 100) for one in classic]
    return [*classic, *other]


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms")
    write_studies(folder, cases=7, seed=3, size=(32, 24, 16), spacing=(10, 10, 12), dicom=False)
    return folder


@pytest.fixture
def cases(phantoms: Path, tmp_path: Path) -> StudyCases:
    return opened(phantoms, tmp_path / "workspace")


def opened(phantoms: Path, workspace: Path) -> StudyCases:
    truth = Truth.read(phantoms / "labels")
    return prepare_cases(workspace, phantoms / "images", truth, annotated=4, held_out=2, seed=0)


def settings(**changes: object) -> StudySettings:
    given = {"data": "phantoms", "annotated": 2, "held_out": 2, "seeds": 2, "steps": 20, "plan": TINY_PLAN}
    return StudySettings(**{**given, "arms": (Arm.REAL, Arm.CLASSIC), **changes})


def study(folder: Path, cases: StudyCases, tell: Callable[[str], None] = lambda _: None, **changes: object) -> Study:
    return Study(folder, settings(**changes), cases, torch.device("cpu"), tell)


# --- figures ----------------------------------------------------------------------------------------------------------


def test_an_interval_over_three_seeds_is_that_of_students_t() -> None:
    found = interval([1.0, 2.0, 3.0])
    half = 4.302653 / math.sqrt(3)  # the 97.5 % quantile with two degrees of freedom; the standard deviation is 1
    assert found.mean == 2.0
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half), abs=1e-6)


def test_a_single_seed_has_no_interval() -> None:
    assert interval([0.5]).model_dump() == {"mean": 0.5, "low": None, "high": None}


def test_differences_are_taken_seed_by_seed_and_leave_out_a_seed_that_has_only_one_of_both() -> None:
    trials = [
        trial(Arm.CLASSIC, 0, 0.70),
        trial(Arm.CLASSIC, 1, 0.60),
        trial(Arm.CLASSIC, 2, 0.90),
        trial(Arm.SYNTHETIC, 1, 0.65),
        trial(Arm.SYNTHETIC, 0, 0.72),
    ]
    assert differences(trials, Arm.SYNTHETIC, Arm.CLASSIC) == pytest.approx([2.0, 5.0])


def test_differences_of_one_label_are_of_that_label() -> None:
    trials = [trial(Arm.CLASSIC, 0, 0.5, liver=0.9, lesion=0.1), trial(Arm.SYNTHETIC, 0, 0.6, liver=0.9, lesion=0.3)]
    assert differences(trials, Arm.SYNTHETIC, Arm.CLASSIC, "lesion") == pytest.approx([20.0])


def test_pairs_that_help_stay_on_and_the_verdict_says_so(tmp_path: Path) -> None:
    verdict = judge(pairs_of([2.0, 3.0, 4.0]))
    assert verdict is not None and verdict.helped
    assert verdict.gain == pytest.approx(0.03) and verdict.low == pytest.approx(0.03 - 0.04302653 / math.sqrt(3) / 1)
    assert "+3.0 points" in verdict.sentence and "they help, and stay on" in verdict.sentence
    assert default_share_after(verdict, tmp_path).value == 1.0


def test_pairs_that_bring_nothing_are_turned_off_and_the_verdict_says_so(tmp_path: Path) -> None:
    verdict = judge(pairs_of([-1.0, 0.5, -0.7]))
    assert verdict is not None and not verdict.helped
    assert "they do not help here, and are off unless asked for" in verdict.sentence
    share = default_share_after(verdict, tmp_path)
    assert share.value == 0.0 and verdict.sentence in share.reason


def test_a_gain_that_is_not_proven_leaves_them_on_and_is_called_so(tmp_path: Path) -> None:
    verdict = judge(pairs_of([-1.0, 3.0, 1.0]))
    assert verdict is not None and not verdict.helped
    assert "not proven" in verdict.sentence
    assert default_share_after(verdict, tmp_path).value == 1.0


def test_networks_of_a_seed_that_were_trained_on_different_cases_are_not_compared() -> None:
    other = [one.model_copy(update={"real": ["a", "b"]} if one.seed == 1 else {}) for one in pairs_of([1.0, 2.0, 3.0])]
    trials = [one if one.arm is Arm.CLASSIC else two for one, two in zip(pairs_of([1.0, 2.0, 3.0]), other, strict=True)]
    assert differences(trials, Arm.SYNTHETIC, Arm.CLASSIC) == pytest.approx([1.0, 3.0])
    more = trial(Arm.MORE_REAL, 0, 0.75).model_copy(update={"real": ["a", "b"]})
    assert differences([*trials, more], Arm.MORE_REAL, Arm.CLASSIC) == pytest.approx([5.0])


@pytest.mark.parametrize("seeds", [2, 3])
def test_a_study_of_fewer_than_three_seeds_is_reported_and_decides_nothing(
    cases: StudyCases, tmp_path: Path, seeds: int
) -> None:
    arms = (Arm.CLASSIC, Arm.SYNTHETIC)
    done = study(tmp_path / "study", cases, arms=arms, seeds=seeds)
    for one in pairs_of([-1.0, -1.1, -1.2][:seeds]):
        write_record(done.folder / f"seed-{one.seed}" / f"{one.arm}.json", one)
    store = Store.existing(Workspace(tmp_path / "workspace"))
    verdict = carry_out(done, "labelloop augment study", store)
    assert verdict is not None and verdict.sentence in (done.folder / "study.md").read_text()
    assert ("fewer than 3 seeds decide nothing" in verdict.sentence) == (seeds < 3)
    assert store.synthetic_share.study() == (verdict if seeds == 3 else None)


def test_one_seed_gives_no_verdict() -> None:
    assert judge(pairs_of([5.0])) is None


def default_share_after(verdict, folder: Path):
    (folder / "images").mkdir()
    store = Store(workspace=Workspace(folder / "workspace"), studies=folder / "images")
    share = SyntheticShare(store.database, 1.0)
    share.keep_study(verdict)
    return share.default()


# --- cases ------------------------------------------------------------------------------------------------------------


def test_held_out_patients_are_frozen_for_validation_and_never_drawn(cases: StudyCases, tmp_path: Path) -> None:
    held_out = {case.id for case in cases.held_out}
    assert len(held_out) == 2 and len(cases.pool.train) == 4
    roles = Store.existing(Workspace(tmp_path / "workspace")).split.roles()
    assert {patient for patient, role in roles.items() if role is Role.VALIDATION} == held_out
    for seed in range(2):
        drawn = cases.draw(2, seed, of_seeds=2)
        assert not {case.id for case in drawn.train} & held_out
        assert drawn.validation == [] and {use.case_id for use in drawn.uses} == {case.id for case in drawn.train}


def test_seeds_have_no_case_in_common_as_long_as_there_are_enough(cases: StudyCases) -> None:
    one, other = ({case.id for case in cases.draw(2, seed, of_seeds=2).train} for seed in range(2))
    assert len(one) == len(other) == 2 and not one & other
    assert len(cases.draw(3, 1, of_seeds=2).train) == 3
    with pytest.raises(BadInput, match="asks for 5 annotated cases, and there are 4"):
        cases.draw(5, 0, of_seeds=2)


def test_opening_a_study_again_annotates_nothing_anew(phantoms: Path, tmp_path: Path) -> None:
    counts = []
    for _ in range(2):
        opened(phantoms, tmp_path / "workspace")
        store = Store.existing(Workspace(tmp_path / "workspace"))
        counts.append(store.database.value("SELECT COUNT(*) FROM annotations"))
    assert counts == [6, 6]


def test_too_few_studies_are_refused_in_words(phantoms: Path, tmp_path: Path) -> None:
    truth = Truth.read(phantoms / "labels")
    with pytest.raises(BadInput, match="more than 7 patients .* has 7"):
        prepare_cases(tmp_path / "w", phantoms / "images", truth, annotated=2, held_out=7, seed=0)


# --- the study --------------------------------------------------------------------------------------------------------


class BrokenOff(Exception):
    """The user pressed Ctrl+C."""


def test_a_study_goes_on_where_it_was_broken_off(cases: StudyCases, tmp_path: Path) -> None:
    def break_off(sentence: str) -> None:
        if sentence.startswith("network 3"):
            raise BrokenOff

    with pytest.raises(BrokenOff):
        study(tmp_path / "study", cases, break_off).run()
    kept = {file: file.stat().st_mtime_ns for file in (tmp_path / "study").glob("seed-*/*.json")}
    assert len([file for file in kept if file.stem in {"real", "classic"}]) == 2
    again = study(tmp_path / "study", cases)
    assert not again.is_finished
    again.run()
    assert again.is_finished and len(again.trials) == 4
    assert all(file.stat().st_mtime_ns == time for file, time in kept.items())


def test_the_same_seed_gives_the_same_table(cases: StudyCases, tmp_path: Path) -> None:
    tables = []
    for name in ("one", "other"):
        done = study(tmp_path / name, cases, seeds=1)
        done.run()
        tables.append([(trial.arm, trial.seed, trial.cases) for trial in done.trials])
    assert tables[0] == tables[1]


def test_a_folder_of_a_study_with_other_settings_is_refused(cases: StudyCases, tmp_path: Path) -> None:
    study(tmp_path / "study", cases)
    with pytest.raises(BadInput, match=r"other settings \(steps\)"):
        study(tmp_path / "study", cases, steps=40)


def more_annotated(cases: StudyCases) -> StudyCases:
    pool = cases.pool
    more = replace(pool.train[0], id="another")
    return replace(cases, pool=replace(pool, train=[*pool.train, more], patients=[*pool.patients, "another"]))


def corrected(cases: StudyCases) -> StudyCases:
    uses = [use.model_copy(update={"sha256": "of another label map"}) for use in cases.pool.uses]
    return replace(cases, pool=replace(cases.pool, uses=uses))


def measured_on_fewer(cases: StudyCases) -> StudyCases:
    return replace(cases, held_out=cases.held_out[:1])


@pytest.mark.parametrize("change", [more_annotated, corrected, measured_on_fewer])
def test_a_study_does_not_go_on_with_other_cases_than_it_began_with(
    cases: StudyCases, tmp_path: Path, change: Callable[[StudyCases], StudyCases]
) -> None:
    study(tmp_path / "study", cases)
    study(tmp_path / "study", cases)
    with pytest.raises(BadInput, match="a study of other cases or annotations"):
        study(tmp_path / "study", change(cases))


def test_a_study_of_before_its_cases_were_kept_goes_on_with_those_its_networks_know(
    cases: StudyCases, tmp_path: Path
) -> None:
    begun = study(tmp_path / "study", cases)
    real = [case.id for case in begun.material(1).train]
    first = trial(Arm.CLASSIC, 1, 0.5).model_copy(update={"real": real})
    write_record(begun.folder / "seed-1" / "classic.json", first)
    (begun.folder / CASES_FILE).unlink()
    assert study(tmp_path / "study", cases).trials == [first]
    (begun.folder / CASES_FILE).unlink()
    write_record(begun.folder / "seed-1" / "classic.json", first.model_copy(update={"real": real[:1]}))
    with pytest.raises(BadInput, match="a study of other cases"):
        study(tmp_path / "study", cases)


def test_a_damaged_result_is_named(cases: StudyCases, tmp_path: Path) -> None:
    done = study(tmp_path / "study", cases)
    (tmp_path / "study" / "seed-0").mkdir()
    (tmp_path / "study" / "seed-0" / "real.json").write_text("{")
    with pytest.raises(BadInput, match="real.json is damaged"):
        done.trials  # noqa: B018


def test_synthetic_pairs_are_made_from_the_annotated_cases_of_their_seed_alone(
    cases: StudyCases, tmp_path: Path
) -> None:
    ways = {"recombine": 0, "reshape organs": 0, "insert lesion": 0, "move lesion": 0}
    pairs = {"steps": 1, "made": 3, "plan": {"channels": [4, 4], "size": [16, 16, 16], "ways": ways}}
    arms = (Arm.CLASSIC, Arm.SYNTHETIC, Arm.ADVERSARIAL, Arm.MORE_REAL)
    done = study(tmp_path / "study", cases, arms=arms, pairs=pairs, share=0.5)
    store = Store.existing(Workspace(tmp_path / "workspace"))
    verdict = carry_out(done, "labelloop augment study", store)
    for seed in range(2):
        own = {case.id for case in done.material(seed).train}
        record = done.pairs(seed).record
        assert record is not None and len(record.pairs) == 3
        assert {source for pair in record.pairs for source in pair.sources} <= own
        assert {pair.way for pair in record.pairs} == {"warp"}, "the only way that weighs anything"
        by_arm = {trial.arm: trial for trial in done.trials if trial.seed == seed}
        assert set(by_arm[Arm.SYNTHETIC].real) == own
        assert set(by_arm[Arm.SYNTHETIC].synthetic) == {pair.id for pair in record.approved}
        assert set(by_arm[Arm.MORE_REAL].real) > own and len(by_arm[Arm.MORE_REAL].real) == 4
        assert all(set(trial.cases) == {case.id for case in cases.held_out} for trial in by_arm.values())
    assert verdict is not None and store.synthetic_share.study() is None, "two seeds decide nothing"
    report = (tmp_path / "study" / "study.md").read_text()
    assert verdict.sentence in report and "the checks stand in for the clinician" in report
    assert "Set by hand in the plan of all networks: patch_size [" in report, "what differs from a usual run is told"
    by_hand = "; ".join(f"{name} {json.dumps(value)}" for name, value in pairs["plan"].items())
    assert f"Set by hand in the generator's plan: {by_hand}." in report
    assert (tmp_path / "study" / "study.png").stat().st_size > 1000


def test_a_segmenter_that_is_not_asked_refuses_no_pair(cases: StudyCases, tmp_path: Path) -> None:
    for asked in (True, False):
        pairs = {"steps": 1, "made": 2, "plan": {"channels": [4, 4], "size": [16, 16, 16]}, "resegmented": asked}
        done = study(tmp_path / f"study-{asked}", cases, arms=(Arm.CLASSIC, Arm.SYNTHETIC), pairs=pairs, seeds=1)
        carry_out(done, "labelloop augment study")
        record = done.pairs(0).record
        assert record is not None
        checks = [check for pair in record.pairs for check in pair.checks if check.name == "resegmentation"]
        assert ["no segmentation model" in check.reason for check in checks] == [not asked] * 2
        report = (done.folder / "study.md").read_text()
        assert ("finds the masks again is not asked" in report) == (not asked)


def test_no_pair_is_used_of_a_generator_that_a_server_would_not_use(cases: StudyCases, tmp_path: Path) -> None:
    made = study(tmp_path / "study", cases, arms=(Arm.CLASSIC, Arm.SYNTHETIC), seeds=1)
    fine = Check(name="kid", value=1.0, limit=2.0, passed=True, reason="As real ones.")
    alike = Check(name="diversity", value=0.9, limit=0.5, passed=False, reason="They are all alike.")
    pair = PairRecord(id="synthetic-0", seed=0, way="warp", how="Warped.", sources=["a"], checks=[fine])
    for checks, refused in (([fine], False), ([fine, alike], True)):
        record = PairsRecord(generator_steps=1, seconds=1.0, reconstruction=None, pairs=[pair], checks=checks)
        write_record(made.pairs(0).folder / RECORD_FILE, record)
        assert record.passed == 1 and record.approved == ([] if refused else [pair])
        found = made.pairs(0).approved(made.plan(0), made.material(0), None, share=1.0)
        assert [case.id for case in found] == ([] if refused else ["synthetic-0"])
        write_record(made.folder / "seed-0" / "classic.json", trial(Arm.CLASSIC, 0, 0.5))
        report = write_report(made, "labelloop augment study").read_text()
        assert ("They are all alike. **A server would not use it" in report) == refused
        assert ("All generators passed" in report) != refused


@pytest.mark.parametrize("steps", [1, 19, 20, 30, 31, 400])
def test_a_study_takes_the_steps_it_was_told(steps: int) -> None:
    schedule = Schedule(**in_epochs(steps))
    assert schedule.epochs * schedule.steps_per_epoch == steps
    assert schedule.steps_per_epoch <= 20


def test_a_workspace_is_studied_on_its_own_validation_patients(
    phantoms: Path, cases: StudyCases, tmp_path: Path
) -> None:
    options = StudyOptions(tmp_path / "out", workspace=tmp_path / "workspace")
    given = {"annotated": 2, "seeds": 2, "steps": 20, "plan": TINY_PLAN}
    opened_study, store = open_study(options, given, torch.device("cpu"), print)
    assert store is not None and opened_study.settings.held_out == 2
    assert {case.id for case in opened_study.cases.held_out} == {case.id for case in cases.held_out}


@pytest.mark.parametrize(
    ("options", "what"), [([], "give --studies with --truth"), (["--studies", "."], "give the truth with --truth")]
)
def test_the_command_says_what_it_needs(options: list[str], what: str, tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["augment", "study", "--out", str(tmp_path / "out"), *options])
    assert found.exit_code == 1 and what in " ".join(found.stderr.split())


def test_a_held_out_case_that_leaks_into_a_generator_is_found(cases: StudyCases, tmp_path: Path) -> None:
    leaked = replace(cases, pool=replace(cases.pool, train=[*cases.pool.train[:3], cases.held_out[0]]))
    arms = (Arm.SYNTHETIC,)
    with pytest.raises(LabelLoopError, match=f"case '{cases.held_out[0].id}' is of a validation patient"):
        study(tmp_path / "study", leaked, arms=arms, annotated=4).run()
