"""Arms of a simulation with real stores, networks and files, as small as they can be."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from monailabel_app.active_learning.pool import Pool
from monailabel_app.active_learning.simulation.arms import Arm
from monailabel_app.active_learning.simulation.learning import Learner, figures_of
from monailabel_app.active_learning.simulation.oracle import draw_validation, read_oracle
from monailabel_app.active_learning.simulation.run import Simulation
from monailabel_app.active_learning.simulation.settings import FULL_DATA, ArmKey, SimulationSettings
from monailabel_app.active_learning.simulation.state import ArmState, RoundRecord
from monailabel_app.active_learning.strategy import AcquisitionStrategy, Choice, Need
from monailabel_app.classification.figures import evaluate_answers
from monailabel_app.classification.plan import PlannedAttribute
from monailabel_app.errors import BadInput
from monailabel_app.store.scheme import Attribute
from monailabel_app.training.jobs import StartFrom
from sample_data import write_pictures
from tests.simulated import tiny_settings, write_balls


@pytest.fixture(scope="module")
def balls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_balls(tmp_path_factory.mktemp("balls"))


@pytest.fixture(scope="module")
def whole(balls: Path, tmp_path_factory: pytest.TempPathFactory) -> list[RoundRecord]:
    """The rounds of an arm that was run in one go."""
    return rounds_of(tiny_settings(balls), "clasp-pe", tmp_path_factory.mktemp("whole"))


def rounds_of(settings: SimulationSettings, strategy: str, root: Path, seed: int = 0) -> list[RoundRecord]:
    key = ArmKey(seed, strategy)
    Arm(settings, key, root).run()
    return ArmState(root, key).rounds()


def facts(rounds: list[RoundRecord]) -> list[dict[str, object]]:
    """All but how long it took."""
    return [one.model_dump(exclude={"seconds"}) for one in rounds]


def test_an_arm_annotates_trains_and_measures_each_round(whole: list[RoundRecord]) -> None:
    assert [(one.number, one.annotated, len(one.chosen)) for one in whole] == [(1, 2, 2), (2, 4, 2)]
    assert not set(whole[0].chosen) & set(whole[1].chosen)
    assert all(0 <= one.figures["Dice"] <= 1 and one.figures["Dice"] == one.figures["Dice ball"] for one in whole)
    assert whole[1].why and 0 < whole[0].foreground_voxels < whole[1].foreground_voxels


@pytest.mark.parametrize("moment", ["before training", "before it is written down"])
def test_an_arm_that_is_broken_off_ends_as_one_in_one_go(
    moment: str, whole: list[RoundRecord], balls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = Learner.train

    def breaking(self: Learner, seed: int, number: int, steps: int) -> dict[str, float | None]:
        if number == 2:
            if moment == "before it is written down":
                train(self, seed, number, steps)
            raise KeyboardInterrupt
        return train(self, seed, number, steps)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Learner, "train", breaking)
        rounds_of(tiny_settings(balls), "clasp-pe", tmp_path)
    assert len(ArmState(tmp_path, ArmKey(0, "clasp-pe")).rounds()) == 1
    assert facts(rounds_of(tiny_settings(balls), "clasp-pe", tmp_path)) == facts(whole)
    assert not list(tmp_path.rglob("*.safetensors"))  # what is over leaves but its rounds


def test_all_strategies_of_a_seed_begin_with_the_same_batch_and_those_of_another_with_another(
    whole: list[RoundRecord], balls: Path, tmp_path: Path
) -> None:
    settings = tiny_settings(balls, rounds=1)
    drawn = rounds_of(settings, "random", tmp_path)
    for strategy in ("foreground-random", "bald"):  # whatever they go by: there is nothing yet
        (first,) = rounds_of(settings, strategy, tmp_path)
        assert first.chosen == drawn[0].chosen and first.figures == drawn[0].figures
    assert drawn[0].chosen == whole[0].chosen and drawn[0].figures == whole[0].figures
    others = [rounds_of(settings, "random", tmp_path, seed)[0].chosen for seed in (1, 2)]
    assert {*map(tuple, others)} != {tuple(drawn[0].chosen)}


def test_the_full_data_arm_gets_all_but_the_validation_cases(balls: Path, tmp_path: Path) -> None:
    (full,) = rounds_of(tiny_settings(balls), FULL_DATA, tmp_path)
    validation = draw_validation({f"case_{n}": f"case_{n}" for n in range(9)}, 2)
    assert sorted([*full.chosen, *validation]) == [f"case_{n}" for n in range(9)]
    assert full.annotated == 7


class LastFirst(AcquisitionStrategy):
    """A strategy of the user's own."""

    name, title, description, source = "last-first", "Last first", "The last of the alphabet.", "none"

    def rank(self, pool: Pool, count: int, random: np.random.Generator) -> list[Choice]:
        last = sorted(pool.candidates, reverse=True)[:count]
        return [Choice(case_id, None, n, len(pool.candidates), "it is last") for n, case_id in enumerate(last, 1)]


def test_where_versions_go_on_the_full_data_one_is_trained_as_long_as_the_last(balls: Path, tmp_path: Path) -> None:
    assert tiny_settings(balls).full_steps == 3
    assert tiny_settings(balls, start=StartFrom.PUBLISHED).full_steps == 6
    going_on = rounds_of(tiny_settings(balls, start=StartFrom.PUBLISHED), "random", tmp_path / "on")
    afresh = rounds_of(tiny_settings(balls), "random", tmp_path / "afresh")
    assert going_on[0].figures == afresh[0].figures and going_on[1].figures != afresh[1].figures


def test_a_strategy_of_the_users_own_is_asked(balls: Path, tmp_path: Path) -> None:
    settings, key = tiny_settings(balls), ArmKey(0, LastFirst.name)
    Arm(settings, key, tmp_path, strategy=LastFirst()).run()
    validation = draw_validation({f"case_{n}": f"case_{n}" for n in range(9)}, 2)
    pool = [f"case_{n}" for n in range(8, -1, -1) if f"case_{n}" not in validation]
    rounds = ArmState(tmp_path, key).rounds()
    assert [one.chosen for one in rounds] == [pool[:2], pool[2:4]]
    assert rounds[0].why == "it is last"


class Scheduled(LastFirst):
    """Keeps how far the schedule was each time it was asked."""

    name = "scheduled"
    needs = frozenset({Need.EVIDENCE})

    def __init__(self) -> None:
        self.progress: list[float] = []

    def rank(self, pool: Pool, count: int, random: np.random.Generator) -> list[Choice]:
        self.progress.append(pool.progress)
        return super().rank(pool, count, random)


def test_the_last_version_that_is_asked_ends_the_schedule(balls: Path, tmp_path: Path) -> None:
    strategy = Scheduled()
    Arm(tiny_settings(balls, rounds=3, steps=1, batch=1), ArmKey(0, "scheduled"), tmp_path, strategy=strategy).run()
    assert strategy.progress == [0, 1]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> SimulationSettings:
    """What classes are simulated with."""
    folder = tmp_path_factory.mktemp("pictures")
    write_pictures(folder, cases=40, seed=1)
    return SimulationSettings(
        studies=folder / "images",
        truth=folder / "truth.csv",
        classes=folder / "classes.json",
        rounds=2,
        batch=10,
        validation=10,
        steps=4,
        plan={"size": [16, 16], "network": {"width": 8, "strides": [[1, 1], [2, 2]]}},
    )


def test_classes_are_simulated_with_accuracy_and_auc(pictures: SimulationSettings, tmp_path: Path) -> None:
    rounds = rounds_of(pictures, "badge", tmp_path)
    assert [one.annotated for one in rounds] == [10, 20]
    assert all(0 <= one.figures[name] <= 1 for one in rounds for name in ("accuracy", "AUC", "balanced accuracy"))
    assert rounds[0].foreground_voxels is None


def test_an_attribute_that_was_never_learned_makes_no_version_look_better() -> None:
    easy, hard = (Attribute(name=name, classes=["a", "b"]) for name in ("easy", "hard"))
    findings = Attribute(name="findings", kind="multi", classes=["x"])
    truth = [{"easy": "ab"[n % 2], "hard": "ab"[n // 2 % 2]} for n in range(4)]
    stated = [{"easy": np.eye(2)[n % 2], "hard": np.eye(2)[0]} for n in range(4)]

    def figures(learned: list[Attribute], asked: list[Attribute]) -> dict[str, float | None]:
        evaluation = evaluate_answers([PlannedAttribute.of(one) for one in learned], truth, stated, list("pqrs"))
        return figures_of(SimpleNamespace(evaluation=evaluation), asked)

    assert figures([easy, hard], [easy, hard])["accuracy"] == 0.75
    without = figures([easy], [easy, hard])
    assert (without["accuracy"], without["AUC"], without["balanced accuracy"]) == (0.5, 0.5, 0.5)
    assert (without["accuracy easy"], without["accuracy hard"]) == (1.0, 0.0)
    assert figures([easy], [easy, findings])["balanced accuracy"] == 1.0, "findings have none, learned or not"
    assert figures([easy], [easy]) == {"accuracy": 1.0, "AUC": 1.0, "balanced accuracy": 1.0}


def test_typical_cases_are_chosen_before_there_is_a_version(pictures: SimulationSettings, tmp_path: Path) -> None:
    one_round = pictures.model_copy(update={"rounds": 1})
    own = rounds_of(one_round, "typiclust", tmp_path / "own")[0]
    random = rounds_of(one_round, "random", tmp_path / "own")[0]
    assert own.chosen != random.chosen and own.why != random.why
    assert rounds_of(one_round, "hybrid", tmp_path / "own")[0].chosen == own.chosen  # no entropy yet: the same groups
    without = one_round.model_copy(update={"cold_start": False})
    for strategy in ("typiclust", "hybrid"):
        assert rounds_of(without, strategy, tmp_path / "shared")[0].chosen == random.chosen


def test_a_first_batch_of_one_class_gets_a_case_of_another(pictures: SimulationSettings, tmp_path: Path) -> None:
    oracle = read_oracle(pictures)
    answers = {case_id: str(answer) for case_id, answer in oracle.truth.items()}
    alike = max((sorted(c for c in answers if answers[c] == one) for one in set(answers.values())), key=len)
    assert len(alike) >= 5 and not oracle.can_teach(alike) and oracle.can_teach(list(answers))

    class Alike(LastFirst):
        name = "alike"

        def rank(self, pool: Pool, count: int, random: np.random.Generator) -> list[Choice]:
            same = [case_id for case_id in pool.candidates if case_id in alike][:count]
            return [Choice(case_id, None, n, len(pool.candidates), "alike") for n, case_id in enumerate(same, 1)]

    key, settings = ArmKey(0, Alike.name), pictures.model_copy(update={"rounds": 1, "batch": 3})
    Arm(settings, key, tmp_path, strategy=Alike()).run()
    chosen = ArmState(tmp_path, key).rounds()[0].chosen
    assert set(chosen[:2]) <= set(alike) and chosen[2] not in alike
    with pytest.raises(BadInput, match="take larger batches"):
        Arm(settings.model_copy(update={"batch": 1}), key, tmp_path / "single", strategy=Alike()).run()


def test_validation_takes_whole_patients() -> None:
    patients = {f"{patient}-{n}": patient for patient in "abcd" for n in range(2)}
    chosen = draw_validation(patients, 3)
    assert len(chosen) == 4 and len({patients[case_id] for case_id in chosen}) == 2
    assert chosen == draw_validation(patients, 3)


@pytest.mark.parametrize(
    ("changes", "strategies", "words"),
    [
        ({}, ("random", "clever"), "'clever' is no strategy for this task; there are: random"),
        ({}, ("random", "random"), "name each strategy once"),
        ({"rounds": 5}, ("random",), "5 rounds of 2 cases need 10, and 7 are left"),
        ({"validation": 9}, ("random",), "fewer validation cases with --validation"),
        ({"studies": Path("/nowhere/at/all")}, ("random",), "there is no folder /nowhere/at/all"),
        ({"truth": Path("/nowhere/at/all")}, ("random",), "--truth"),
    ],
)
def test_what_cannot_be_simulated_is_said_in_words(
    changes: dict[str, object], strategies: tuple[str, ...], words: str, balls: Path, tmp_path: Path
) -> None:
    with pytest.raises(BadInput) as refused:
        Simulation(tiny_settings(balls, **changes), tmp_path / "out", strategies).check()
    assert words in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_a_folder_is_gone_on_with_under_the_same_conditions_alone(balls: Path, tmp_path: Path) -> None:
    Simulation(tiny_settings(balls), tmp_path, ("random",), seeds=1).check()
    Simulation(tiny_settings(balls), tmp_path, ("random", "entropy"), seeds=4).check()
    with pytest.raises(BadInput, match="steps was 3 and is now 4"):
        Simulation(tiny_settings(balls, steps=4), tmp_path, ("random",)).check()


def test_a_round_without_figures_is_not_over(tmp_path: Path) -> None:
    state = ArmState(tmp_path, ArmKey(0, "random"))
    state.save(RoundRecord(number=1, chosen=["a"], figures={"Dice": 0.5}))
    state.save(RoundRecord(number=2, chosen=["b"]))
    assert [one.number for one in state.rounds()] == [1]
    assert state.begun(2).chosen == ["b"] and state.begun(3) is None
