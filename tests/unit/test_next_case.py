"""The next case: from the scores that there are, never twice at once, skipped ones last, and with the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from monailabel_app.active_learning import next_case
from monailabel_app.active_learning.case_pool import CasePool
from monailabel_app.active_learning.evidence import Evidence
from monailabel_app.active_learning.given import Asked
from monailabel_app.active_learning.next_case import ALL_FINISHED, ON_VARIED, NextCase
from monailabel_app.active_learning.pool import Pool
from monailabel_app.active_learning.pool_embedding import embeddings_wanted
from monailabel_app.active_learning.scoring import evidence_of, next_to_look_at
from monailabel_app.active_learning.selection_views import ScoringState, SelectionViews
from monailabel_app.active_learning.strategies import find_strategy
from monailabel_app.active_learning.strategy import AcquisitionStrategy, Choice
from monailabel_app.errors import BadInput, LabelLoopError
from monailabel_app.models.networks import build_network, weights_of
from monailabel_app.models.registry import Registry
from monailabel_app.models.version import AnnotationUse
from monailabel_app.store.annotations import Revision, Status
from monailabel_app.store.scheme import Scheme
from monailabel_app.store.score_table import ScoreRow
from monailabel_app.store.split import Role
from monailabel_app.store.store import Store
from tests.builders import annotate, small_plan, store_with_volumes, version_record, write_volume

NAMES = tuple("abcdef")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_with_volumes(tmp_path, *NAMES)


@pytest.fixture
def registry(store: Store) -> Registry:
    return Registry(store.database, store.workspace.versions)


@pytest.fixture
def pools(store: Store, registry: Registry) -> CasePool:
    return CasePool(store, registry)


@pytest.fixture
def chooser(store: Store, pools: CasePool) -> NextCase:
    return NextCase(store, pools)


def publish(registry: Registry) -> int:
    record = registry.register(version_record(), weights_of(build_network(small_plan("liver"))))
    registry.publish("segmentation", record.number, "test", "for the test")
    return record.number


def score(store: Store, version: int, entropies: Mapping[str, float]) -> None:
    for case_id, value in entropies.items():
        record = Evidence(
            case_id=case_id,
            task="segmentation",
            version=version,
            foreground_mm3={"liver": 5.0},
            scores={"entropy": value},
            by_class={"entropy": {"liver": value}, "class-entropy": {"liver": value}},
        ).model_dump(mode="json")
        fingerprint = store.catalogue.get(case_id).fingerprint
        store.scores.put(ScoreRow("segmentation", version, case_id, fingerprint, record))


def embed(store: Store, version: int, vectors: Mapping[str, Sequence[float]]) -> dict[str, Evidence]:
    """Have a version look at cases, which it sees as these vectors."""
    for case_id, vector in vectors.items():
        seen = {"embedding": np.array(vector, dtype=np.float32)}
        record = Evidence(case_id=case_id, task="segmentation", version=version).model_dump(mode="json")
        fingerprint = store.catalogue.get(case_id).fingerprint
        store.scores.put(ScoreRow("segmentation", version, case_id, fingerprint, record, seen))
    rows, _ = store.scores.of_version("segmentation", version)
    return {row.case_id: evidence_of(row) for row in rows}


def asked(annotator: str = "anna", strategy: str | None = "entropy", *exclude: str) -> Asked:
    return Asked(annotator, strategy, exclude=frozenset(exclude))


def test_the_highest_score_comes_first_with_its_reason(store: Store, registry: Registry, chooser: NextCase) -> None:
    number = publish(registry)
    score(store, number, {"a": 0.1, "b": 0.9, "c": 0.5, "d": 0.2, "e": 0.3, "f": 0.4})
    given = chooser.choose(asked())
    assert (given.id, given.rank, given.of, given.version, given.strategy) == ("b", 1, 6, number, "entropy")
    assert given.score is not None and given.classes == ("liver",) and "entropy" in given.why
    assert store.leases.running()["b"].until == given.lease_until
    assert [chooser.choose(asked(name)).id for name in ("bert", "carl", "dora")] == ["c", "f", "e"]


@pytest.mark.parametrize("strategy", ["power-entropy", "softrank-entropy", "clasp-pe"])
def test_of_what_is_drawn_the_place_is_that_of_the_score(
    store: Store, registry: Registry, chooser: NextCase, strategy: str
) -> None:
    score(store, publish(registry), {name: 1.0 + number / 10 for number, name in enumerate(NAMES)})
    places = {}
    for number in range(20):
        given = chooser.choose(asked(f"annotator {number}", strategy))
        assert chooser.choose(asked(f"annotator {number}", strategy)).rank == given.rank, "also when it is told again"
        assert given.of == 6 and (strategy == "clasp-pe" or f"place {given.rank} of 6" in given.why)
        places[given.id] = given.rank
        store.leases.end(given.id)
    assert len(places) > 2, "they are drawn"
    assert places.items() <= {name: 6 - number for number, name in enumerate(NAMES)}.items()


def test_one_who_asks_twice_is_given_the_same_case(store: Store, registry: Registry, chooser: NextCase) -> None:
    score(store, publish(registry), dict.fromkeys("ab", 0.5) | {"c": 0.7})
    first = chooser.choose(asked())
    again = chooser.choose(asked())
    assert again.id == first.id == "c" and "still yours" in again.why
    assert again == first.model_copy(update={"why": again.why, "lease_until": again.lease_until})
    assert again.why.startswith(first.why) and again.classes == ("liver",) and again.rank == 1
    prefetched = chooser.choose(asked("anna", "entropy", "c"))
    assert prefetched.id != "c"
    annotate(store, "c")
    assert chooser.choose(asked()).id == prefetched.id, "what was fetched ahead comes next"
    assert len(store.picks.of_cases("segmentation")) == 2, "what is given again is one pick"


def test_another_strategy_is_answered_by_its_own_choice(store: Store, registry: Registry, chooser: NextCase) -> None:
    score(store, publish(registry), {name: number / 10 for number, name in enumerate(NAMES)})
    assert chooser.choose(asked("anna", "in-order")).id == "a"
    assert chooser.choose(asked("anna", "entropy")).id == "f"


def test_every_case_is_given_once_and_then_nothing_is_left(store: Store, chooser: NextCase) -> None:
    given = []
    while case_id := chooser.choose(asked("anna", "random")).id:
        given.append(case_id)
        annotate(store, case_id)
    assert sorted(given) == list(NAMES) and given != list(NAMES)
    assert chooser.choose(asked("anna", "random")).why == ALL_FINISHED


def test_when_others_have_all_that_is_left_the_answer_says_so(store: Store, chooser: NextCase) -> None:
    taken = {chooser.choose(asked(f"annotator {n}", "random")).id for n in range(6)}
    assert taken == set(NAMES)
    nothing = chooser.choose(asked("zoe", "random"))
    assert nothing.id is None and "6 cases" in nothing.why and "other annotators" in nothing.why
    store.leases.end("d")
    assert chooser.choose(asked("zoe", "random")).id == "d"


def test_a_skipped_case_comes_back_last(store: Store, registry: Registry, chooser: NextCase) -> None:
    score(store, publish(registry), {name: 0.1 for name in NAMES} | {"b": 0.9, "e": 0.8})
    assert chooser.choose(asked()).id == "b"
    store.leases.skip("b", "anna", "motion")
    store.leases.skip("e", "bert")
    order = []
    while case_id := chooser.choose(asked()).id:
        order.append(case_id)
        annotate(store, case_id)
    assert sorted(order) == list(NAMES)
    assert order[-2:] == ["e", "b"], "one's own skip is the very last"


def test_the_reason_tells_of_a_skip(store: Store, chooser: NextCase) -> None:
    for name in NAMES:
        store.leases.skip(name, "bert")
    given = chooser.choose(asked("anna", "in-order"))
    assert given.id == "a" and "passed over before by bert" in given.why


def test_a_begun_case_comes_after_the_untouched_ones(store: Store, chooser: NextCase) -> None:
    first = chooser.choose(asked("anna", "in-order")).id
    annotate(store, first, status=Status.DRAFT)
    rest = []
    while (case_id := chooser.choose(asked("anna", "in-order")).id) != first:
        rest.append(case_id)
        annotate(store, case_id)
    assert sorted([*rest, first]) == list(NAMES)


def test_excluded_cases_are_not_given(chooser: NextCase) -> None:
    assert chooser.choose(asked("anna", "in-order", *"abcde")).id == "f"
    assert chooser.choose(asked("anna", "in-order", *NAMES)).id is None


def test_without_scores_the_case_is_drawn_and_the_reason_says_so(chooser: NextCase) -> None:
    given = chooser.choose(asked())
    assert given.id in NAMES and given.score is None and given.version is None
    assert "nothing is known yet" in given.why


def test_a_case_without_a_score_comes_after_those_with_one(store: Store, registry: Registry, chooser: NextCase) -> None:
    score(store, publish(registry), {"c": 0.2, "d": 0.1, "e": 0.3})
    given = [chooser.choose(asked(f"annotator {n}")).id for n in range(6)]
    assert given[:3] == ["e", "c", "d"] and set(given[3:]) == {"a", "b", "f"}


def test_a_new_versions_scores_count_once_there_are_enough(store: Store, registry: Registry, pools: CasePool) -> None:
    first = publish(registry)
    score(store, first, dict.fromkeys(NAMES, 0.1))
    second = publish(registry)
    assert pools.version_for("segmentation", NAMES) == first
    score(store, second, {"a": 0.5, "b": 0.5})
    assert pools.version_for("segmentation", NAMES) == first
    score(store, second, {"c": 0.5})
    assert pools.version_for("segmentation", NAMES) == second
    registry.roll_back("segmentation", "anna")
    assert pools.version_for("segmentation", NAMES) == first, "after a roll-back, its own word counts again"


def test_the_pool_has_what_was_put_last_and_nothing_of_an_image_that_changed(
    store: Store, registry: Registry, pools: CasePool
) -> None:
    number = publish(registry)
    score(store, number, {"a": 0.1, "b": 0.2})
    pool, _ = pools.pool("segmentation", NAMES)
    assert pool.evidence["a"].scores["entropy"] == 0.1 and pool.classes == ("liver",) and pool.round == 1
    score(store, number, {"a": 0.7})
    assert pools.pool("segmentation", NAMES)[0].evidence["a"].scores["entropy"] == 0.7
    write_volume(store.catalogue.studies / "b.nii.gz", size=(7, 6, 5), fill=9)
    store.catalogue.refresh()
    assert set(pools.pool("segmentation", NAMES)[0].evidence) == {"a"}


def test_what_was_read_ahead_is_not_read_again(
    store: Store, registry: Registry, pools: CasePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools.read_ahead()
    number = publish(registry)
    score(store, number, {"a": 0.1, "b": 0.2})
    read = []
    of_version = store.scores.of_version

    def counted(*asked: object) -> object:
        rows, newest = of_version(*asked)
        read.append(asked[2])
        return rows, newest

    monkeypatch.setattr(store.scores, "of_version", counted)
    pools.read_ahead()
    pools.read_ahead()
    assert read == [0.0], "there was nothing new the second time"
    assert set(pools.pool("segmentation", NAMES)[0].evidence) == {"a", "b"}
    assert read[1] > 0, "only what may be new is read for a choice"
    score(store, number, {"c": 0.3})
    pools.read_ahead()
    assert len(read) == 3


def test_what_others_work_on_is_as_good_as_labelled(store: Store, pools: CasePool) -> None:
    annotate(store, "a")
    pool, _ = pools.pool("segmentation", ["c", "d"], busy=["b"])
    assert pool.labelled == ("a", "b") and pool.candidates == ("c", "d")


def test_control_cases_are_drawn_at_random_in_the_set_share_and_marked(
    store: Store, registry: Registry, pools: CasePool
) -> None:
    score(store, publish(registry), {name: number / 10 for number, name in enumerate(NAMES)})
    chooser = NextCase(store, pools, control_share=0.5)
    answers = []
    for n in range(60):
        answers.append(chooser.choose(asked(f"annotator {n}")))
        store.leases.end(answers[-1].id)
    control = [one for one in answers if one.control]
    assert 15 <= len(control) <= 45
    assert all(one.strategy == "random" and "control case" in one.why for one in control)
    assert len({one.id for one in control}) > 2
    assert {one.id for one in answers if not one.control} == {"f"}
    plain = NextCase(store, pools, control_share=0.5)
    assert not any(plain.choose(asked(f"other {n}", "random")).control for n in range(5))


def test_a_repeated_run_asks_for_the_same_cases(tmp_path: Path) -> None:
    orders = []
    for run in ("one", "two"):
        store = store_with_volumes(tmp_path / run, *NAMES)
        chooser = NextCase(store, CasePool(store, Registry(store.database, store.workspace.versions)), seed=4)
        orders.append([])
        while case_id := chooser.choose(asked("anna", "random")).id:
            orders[-1].append(case_id)
            annotate(store, case_id)
    assert orders[0] == orders[1]


def test_random_favours_no_case(store: Store, pools: CasePool) -> None:
    counts = Counter()
    for seed in range(120):
        case_id = NextCase(store, pools, seed=seed).choose(asked("anna", "random")).id
        counts[case_id] += 1
        store.leases.end(case_id)
        with store.database.write() as connection:
            connection.execute("DELETE FROM picks")
    assert set(counts) == set(NAMES) and min(counts.values()) > 6  # 20 expected, standard deviation 4


def test_unknown_names_are_refused_in_words(store: Store, pools: CasePool, chooser: NextCase) -> None:
    with pytest.raises(BadInput, match="clasp-pe"):
        chooser.choose(asked("anna", "best"))
    with pytest.raises(BadInput, match="there are: segmentation"):
        chooser.choose(Asked("anna", "random", task="detection"))
    with pytest.raises(BadInput, match="classification alone"):
        chooser.choose(asked("anna", "badge"))
    with pytest.raises(BadInput, match="no strategy 'best'"):
        NextCase(store, pools, default="best")


def test_the_default_is_by_the_task_or_by_the_settings(store: Store, pools: CasePool, chooser: NextCase) -> None:
    assert chooser.default_strategy() == "typiclust"
    assert chooser.default_strategy("classification") == "bald"
    assert NextCase(store, pools, default="in-order").choose(Asked("anna")).id == "a"


def test_a_default_that_is_not_for_the_task_gives_way_to_the_tasks_own(store: Store, pools: CasePool) -> None:
    chooser = NextCase(store, pools, default="badge")
    assert chooser.default_strategy() == "typiclust", "there is nothing to classify"
    assert chooser.choose(Asked("anna")).strategy == "typiclust"
    store.schemes.set(SCHEME)
    given = chooser.choose(Asked("bert"))
    assert (given.strategy, given.task) == ("badge", "classification")
    assert chooser.choose(Asked("carl", task="segmentation")).strategy == "typiclust"
    assert chooser.last_strategy("segmentation") == "typiclust"


def test_scores_are_wanted_for_the_strategies_that_are_in_use(store: Store, pools: CasePool) -> None:
    assert NextCase(store, pools).wants_scores()
    assert NextCase(store, pools, default="badge").wants_scores(), "typiclust takes its place"
    chooser = NextCase(store, pools, default="random")
    assert not chooser.wants_scores()
    chooser.choose(asked("anna", "entropy"))
    assert chooser.wants_scores()


def test_the_pool_is_embedded_ahead_where_the_default_goes_by_that(
    store: Store, registry: Registry, pools: CasePool, chooser: NextCase
) -> None:
    for calm in ("random", "entropy"):
        NextCase(store, pools, default=calm).look_ahead()
    assert embeddings_wanted(store, registry) is None
    publish(registry)
    chooser.look_ahead()
    assert embeddings_wanted(store, registry) is None, "a version can say more"


def test_before_the_first_version_the_default_has_the_pool_embedded(
    store: Store, registry: Registry, chooser: NextCase
) -> None:
    chooser.look_ahead()
    assert embeddings_wanted(store, registry) == "segmentation"


def test_the_views_show_scores_places_leases_and_how_far_the_scoring_is(
    store: Store, registry: Registry, pools: CasePool, chooser: NextCase
) -> None:
    views = SelectionViews(store, pools, chooser)
    before = views.scores()
    assert (before.state, before.version, before.scores) == (ScoringState.NONE, None, {})
    number = publish(registry)
    score(store, number, {"a": 0.2, "b": 0.6, "c": 0.4})
    during = views.scores()
    assert (during.state, during.done, during.of, during.version) == (ScoringState.SCORING, 3, 6, number)
    chooser.choose(asked("anna", "entropy"))
    standings = views.standings()
    assert {case_id: one.rank for case_id, one in standings.items()} == {"b": 1, "c": 2, "a": 3}
    assert standings["b"].lease.annotator == "anna" and standings["a"].lease is None
    score(store, number, dict.fromkeys("def", 0.1))
    assert views.scores().state is ScoringState.READY
    annotate(store, "b")
    assert "b" not in views.scores().scores


def test_what_waits_for_a_segmentation_is_not_said_to_be_scored(
    store: Store, registry: Registry, pools: CasePool, chooser: NextCase
) -> None:
    asked_of_lesions = {"name": "grade", "classes": ["1", "2"], "scope": "segment", "segment": "lesion"}
    store.schemes.set(Scheme.of({"attributes": [asked_of_lesions]}))
    task = "classification-lesion"
    with store.database.write() as connection:
        connection.execute("INSERT INTO publications VALUES (1, ?, 1, 'test', '', 0)", (task,))
    pools._classes[task, 1] = ()
    views = SelectionViews(store, pools, chooser)
    waiting = views.scores(task)
    assert waiting.state is ScoringState.NONE and "no segmentation is published" in waiting.message
    publish(registry)
    assert views.scores(task).state is ScoringState.SCORING


def test_evidence_survives_the_index(store: Store) -> None:
    score(store, 1, {"a": 0.25})
    evidence = evidence_of(store.scores.get("segmentation", 1, "a"))
    assert evidence is not None and evidence.by_class["entropy"] == {"liver": 0.25}


def test_the_reason_says_what_the_members_were(store: Store, registry: Registry, chooser: NextCase) -> None:
    number = publish(registry)
    for case_id in NAMES:
        record = Evidence(
            case_id=case_id,
            task="segmentation",
            version=number,
            scores={"bald": 1.0},
            by_class={"bald": {"liver": 1.0}},
        ).model_dump(mode="json")
        store.scores.put(ScoreRow("segmentation", number, case_id, store.catalogue.get(case_id).fingerprint, record))
    assert ON_VARIED in chooser.choose(asked("anna", "bald")).why
    assert ON_VARIED not in chooser.choose(asked("bert", "random")).why


# --- what is finished for which task ---------------------------------------------------------------------------------

SCHEME = Scheme.of(
    {
        "attributes": [
            {"name": "diagnosis", "classes": ["benign", "malignant"]},
            {"name": "grade", "classes": ["1", "2"]},
        ]
    }
)


def answer(store: Store, case_id: str, author: str = "anna", **answers: str | None) -> None:
    store.annotations.save(case_id, author, Revision(status=Status.FINAL, classification=answers))


def test_a_case_is_finished_for_the_task_that_it_was_annotated_for(
    store: Store, registry: Registry, chooser: NextCase, pools: CasePool
) -> None:
    store.schemes.set(SCHEME)
    for case_id in NAMES:
        answer(store, case_id, diagnosis="benign", grade=None)
    outline, classify = (Asked("anna", "in-order", task=task) for task in ("segmentation", "classification"))
    assert chooser.choose(classify).why == "Every case is finished for the task 'classification'."
    assert chooser.choose(outline).id == "a", "answers outline nothing"
    annotate(store, "b")
    store.split.name_validation_patients(["somebody else"])
    assert set(pools.pool("segmentation", ["c"])[0].labelled) <= {"b"}
    number = publish(registry)
    assert next_to_look_at(store, registry)[2][-1] == "b"
    score(store, number, dict.fromkeys(NAMES, 0.5))
    assert set(SelectionViews(store, pools, chooser).scores("segmentation").scores) == set(NAMES) - {"b"}


def test_all_that_a_task_asks_has_to_be_answered(store: Store, chooser: NextCase) -> None:
    store.schemes.set(SCHEME)
    annotate(store, "a", "bert")
    answer(store, "b", diagnosis="benign")
    answer(store, "c", diagnosis="benign", grade="1")
    given = []
    while case_id := chooser.choose(Asked("carl", "in-order", task="classification")).id:
        given.append(case_id)
        answer(store, case_id, "carl", diagnosis="malignant", grade=None)
    assert given == list("abdef")


def test_a_case_that_was_submitted_without_what_it_was_offered_for_does_not_come_back_at_once(
    store: Store, chooser: NextCase
) -> None:
    store.schemes.set(SCHEME)
    order = []
    for _ in NAMES:
        order.append(chooser.choose(Asked("anna", "in-order", task="segmentation")).id)
        answer(store, order[-1], diagnosis="benign", grade="1")
    assert order == list(NAMES)
    assert chooser.choose(Asked("anna", "in-order", task="segmentation")).id == "a", "at the end it does"


# --- a batch, one case at a time -------------------------------------------------------------------------------------

KINDS = {f"{kind}{copy}": kind for kind in "wxyz" for copy in "123"}


def kinds_seen(store: Store, registry: Registry, trained_on: Sequence[str] = ()) -> None:
    """Have a new version of the classification look at four kinds of cases, of three near-copies each."""
    store.split.name_validation_patients(["somebody else"])
    uses = [
        AnnotationUse(case_id=one, patient=one, annotation=0, author="anna", sha256="", role=Role.TRAINING)
        for one in trained_on
    ]
    record = version_record("classification").model_copy(update={"annotations": uses})
    number = registry.register(record, weights_of(build_network(small_plan("liver")))).number
    registry.publish("classification", number, "test", "for the test")
    for place, case_id in enumerate(KINDS):
        gradient = np.full(4, 0.01 * place, dtype=np.float32)
        gradient["wxyz".index(KINDS[case_id])] = 10.0 if KINDS[case_id] == "w" else 9.0
        evidence = Evidence(case_id=case_id, task="classification", version=number).model_dump(mode="json")
        fingerprint = store.catalogue.get(case_id).fingerprint
        store.scores.put(ScoreRow("classification", number, case_id, fingerprint, evidence, {"gradient": gradient}))


@pytest.mark.parametrize("seed", range(5))
def test_badges_picks_one_after_the_other_are_spread_as_those_of_a_batch(tmp_path: Path, seed: int) -> None:
    store = store_with_volumes(tmp_path, *KINDS)
    registry = Registry(store.database, store.workspace.versions)
    pools = CasePool(store, registry)
    store.schemes.set(SCHEME)
    kinds_seen(store, registry)
    whole, _ = pools.pool("classification", tuple(KINDS))
    batch = find_strategy("badge").rank(whole, 4, np.random.default_rng(seed))
    assert Counter(KINDS[choice.case_id] for choice in batch) == Counter("wxyz")
    chooser = NextCase(store, pools, seed=seed)
    given = [chooser.choose(Asked("anna", "badge", "classification")).id]
    answer(store, given[0], diagnosis="benign", grade="1")
    store.leases.end(given[0])
    for annotator in ("bert", "carl", "dora"):  # who work at the same time
        given.append(chooser.choose(Asked(annotator, "badge", "classification")).id)
    assert KINDS[given[0]] == "w", "the longest gradient first"
    assert Counter(KINDS[case_id] for case_id in given) == Counter("wxyz")


def test_what_a_version_was_trained_on_is_no_part_of_the_next_batch(tmp_path: Path) -> None:
    store = store_with_volumes(tmp_path, *KINDS)
    registry = Registry(store.database, store.workspace.versions)
    pools = CasePool(store, registry)
    store.schemes.set(SCHEME)
    kinds_seen(store, registry)
    answer(store, "w1", diagnosis="benign", grade="1")
    store.leases.hold("x1", "bert")
    free = [case_id for case_id in KINDS if case_id not in ("w1", "x1")]
    assert pools.pool("classification", free, busy=["x1"])[0].batch == ("w1", "x1")
    kinds_seen(store, registry, trained_on=["w1"])
    pool, _ = pools.pool("classification", free, busy=["x1"])
    assert pool.labelled == ("w1", "x1") and pool.batch == ("x1",)
    assert KINDS[NextCase(store, pools).choose(Asked("anna", "badge", "classification")).id] != "x"


# --- the pool that a strategy sees -----------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["typiclust", "hybrid"])
def test_the_server_gives_what_the_simulation_with_batches_of_one_chooses(tmp_path: Path, strategy: str) -> None:
    names = [f"case-{number:02}" for number in range(30)]
    store = store_with_volumes(tmp_path, *names)
    registry = Registry(store.database, store.workspace.versions)
    chooser = NextCase(store, CasePool(store, registry))
    points = np.random.default_rng(0).normal(size=(len(names), 3)) + np.repeat(np.eye(3) * 4, 10, axis=0)
    evidence = embed(store, publish(registry), dict(zip(names, points.tolist(), strict=True)))
    store.split.name_validation_patients(["somebody else"])
    for case_id in names[:4]:
        annotate(store, case_id)
    pool = Pool(tuple(names[4:]), evidence, tuple(names[:4]), classes=("liver",), round=1)
    for number in range(8):
        annotator = f"annotator {number}"
        random = chooser._random(annotator, strategy, "segmentation")
        random.random()  # whether it is a control case
        (simulated,) = find_strategy(strategy).rank(pool, 1, random)
        given = chooser.choose(asked(annotator, strategy))
        assert (given.id, given.why) == (simulated.case_id, simulated.why)
        store.leases.end(given.id)


def test_a_case_that_another_takes_in_the_same_moment_is_replaced_by_the_next_best(
    store: Store, registry: Registry, chooser: NextCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    score(store, publish(registry), {name: number / 10 for number, name in enumerate(NAMES)})
    take = store.leases.take

    def outrun(case_ids: Sequence[str], annotator: str) -> object:
        monkeypatch.setattr(store.leases, "take", take)
        take(case_ids, "bert")
        return take(case_ids, annotator)

    monkeypatch.setattr(store.leases, "take", outrun)
    assert chooser.choose(asked()).id == "e"
    assert store.leases.running()["f"].annotator == "bert"


class Watching(AcquisitionStrategy):
    """Gives the first case, and keeps the pools that it was shown."""

    name, title, description, source = "watching", "Watching", "Take it never.", "None."

    def __init__(self) -> None:
        self.pools: list[Pool] = []

    def rank(self, pool: Pool, count: int, random: np.random.Generator) -> list[Choice]:
        self.pools.append(pool)
        return [Choice(pool.candidates[0], None, 1, len(pool.candidates), "The first.")]


def install(strategy: AcquisitionStrategy, monkeypatch: pytest.MonkeyPatch) -> None:
    there = {**next_case.all_strategies(), strategy.name: strategy}
    monkeypatch.setattr(next_case, "all_strategies", lambda: there)


def test_ones_own_open_case_counts_as_covered_when_the_next_is_fetched_ahead(
    store: Store, chooser: NextCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching = Watching()
    install(watching, monkeypatch)
    first = chooser.choose(asked("anna", "watching")).id
    store.leases.hold("f", "bert")
    second = chooser.choose(asked("anna", "watching", first)).id
    annotate(store, second, status=Status.DRAFT)
    chooser.choose(asked("anna", "watching", first))
    assert (first, second) == ("a", "b")
    assert [pool.labelled for pool in watching.pools] == [(), ("a", "f"), ("a", "b", "f")]


def test_what_only_measures_covers_nothing_and_comes_after_what_trains(
    store: Store, chooser: NextCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching = Watching()
    install(watching, monkeypatch)
    store.split.name_validation_patients([store.catalogue.get(case_id).patient for case_id in "abc"])
    annotate(store, "a")
    annotate(store, "d")
    annotate(store, "f", status=Status.DRAFT)
    store.leases.hold("c", "bert")
    order = []
    while (given := chooser.choose(asked("anna", "watching"))).id:
        order.append(given.id)
        assert ("measured on" in given.why) == (given.id == "b")
        annotate(store, given.id)
    assert order == ["e", "b", "f"]
    assert [pool.labelled for pool in watching.pools] == [("d",), ("d", "e"), ("d", "e")]


class Faulty(Watching):
    name = "faulty"

    def __init__(self, *answers: str) -> None:
        super().__init__()
        self.answers = answers

    def rank(self, pool: Pool, count: int, random: np.random.Generator) -> list[Choice]:
        return [Choice(case_id, None, 1, 1, "Because.") for case_id in self.answers]


@pytest.mark.parametrize("answers", [(), ("nobody", "f")])
def test_a_strategy_that_gives_no_case_of_the_pool_is_named_as_faulty(
    store: Store, chooser: NextCase, monkeypatch: pytest.MonkeyPatch, answers: tuple[str, ...]
) -> None:
    install(Faulty(*answers), monkeypatch)
    store.leases.hold("f", "bert")
    with pytest.raises(LabelLoopError, match="'faulty'"):
        chooser.choose(asked("anna", "faulty"))
    assert set(store.leases.running()) == {"f"}


def test_of_what_a_strategy_gives_only_cases_of_the_pool_are_taken(
    store: Store, chooser: NextCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(Faulty("nobody", "d"), monkeypatch)
    assert chooser.choose(asked("anna", "faulty")).id == "d"
