"""The choice of cases through the client: reasons, leases, skips, maps, and servers that have none of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from LabelLoopLib.client import MEASURES, Given, LoopClient, Refused, ServerAddress

from monailabel_app.demo.process import ServerProcess
from tests.slicer.story.site import DICE, LABELS, make_versions
from tests.slicer.story.synthetic_site import write_phantoms

from .servers import Answer, Request, WebServer, clientOf

ANNA, BERT = "Dr. Möller", "Dr. B"
CASES = [f"phantom_{number:03d}" for number in range(1, 5)]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopClient]:
    """A server with four cases and two versions; each test gives back what it has taken."""
    folder = tmp_path_factory.mktemp("selection")
    studies = write_phantoms(folder / "studies", cases=4)
    make_versions(folder / "workspace")
    options = ("--labels", ",".join(LABELS), "--device", "cpu")
    with ServerProcess(studies.images, folder / "workspace", folder / "server.log", options) as server:
        yield LoopClient(ServerAddress.parse(server.url))


def test_a_case_comes_with_its_reason_and_is_kept(client: LoopClient) -> None:
    given = client.giveNext("in-order", ANNA)
    assert (given.id, given.strategy, given.rank, given.of, given.control) == (CASES[0], "in-order", 1, 4, False)
    assert given.why and given.version is None and given.score is None
    lease = next(case.lease for case in client.cases() if case.id == given.id)
    assert (lease.annotator, lease.until) == (ANNA, pytest.approx(given.lease_until))
    assert client.case(given.id).lease == lease
    other = client.giveNext("in-order", BERT, [CASES[1]])
    assert other.id == CASES[2], "neither Anna's nor the one that is not wanted"
    client.giveBack(given.id, ANNA)
    client.giveBack(other.id, BERT)
    assert [case.lease for case in client.cases()] == [None] * 4


def test_when_there_is_none_the_server_says_why(client: LoopClient) -> None:
    nothing = client.giveNext("random", ANNA, CASES, "segmentation")
    assert nothing.id is None and nothing.lease_until is None and nothing.why == "Every case is finished."
    with pytest.raises(Refused, match="telepathy"):
        client.giveNext("telepathy", ANNA)
    with pytest.raises(Refused, match="no task"):
        client.giveNext("random", ANNA, (), "cooking")


def test_a_case_is_held_by_one_at_a_time(client: LoopClient) -> None:
    assert client.hold(CASES[3], ANNA).annotator == ANNA
    with pytest.raises(Refused, match=f"{ANNA} works on case") as taken:
        client.hold(CASES[3], BERT)
    assert taken.value.status == 409
    client.giveBack(CASES[3], BERT)
    assert client.case(CASES[3]).lease.annotator == ANNA, "nobody gives back what is another's"
    client.giveBack(CASES[3], ANNA)
    assert client.hold(CASES[3], BERT).annotator == BERT
    client.giveBack(CASES[3], BERT)


def test_a_skipped_case_comes_last(client: LoopClient) -> None:
    client.hold(CASES[0], ANNA)
    client.skip(CASES[0], ANNA, "motion; größer?")
    assert client.case(CASES[0]).lease is None
    order = []
    for number in range(4):
        given = client.giveNext("in-order", f"reader {number}")
        order.append(given.id)
    assert order == [*CASES[1:], CASES[0]] and f"passed over before by {ANNA}" in given.why
    for number, caseId in enumerate(order):
        client.giveBack(caseId, f"reader {number}")
    with pytest.raises(Refused) as gone:
        client.skip("no such case", ANNA)
    assert gone.value.status == 404


@pytest.mark.parametrize("kind", MEASURES)
def test_the_map_of_uncertainty_is_a_file_of_our_naming(client: LoopClient, tmp_path: Path, kind: str) -> None:
    file = client.uncertainty(CASES[1], kind, tmp_path)
    shown, grid = sitk.ReadImage(str(file)), client.case(CASES[1]).geometry
    assert file.parent == tmp_path and file.name.endswith(".nii.gz") and CASES[1] not in file.name
    assert shown.GetSize() == grid.size and shown.GetSpacing() == pytest.approx(grid.spacing)
    values = sitk.GetArrayViewFromImage(shown)
    assert shown.GetPixelID() == sitk.sitkFloat32 and np.isfinite(values).all() and values.max() > 0
    with pytest.raises(Refused) as gone:
        client.uncertainty("no such case", kind, tmp_path)
    assert gone.value.status == 404 and len(list(tmp_path.iterdir())) == 1


def test_the_rounds_are_those_of_the_project(client: LoopClient) -> None:
    curve = client.roundsCurve("segmentation")
    assert [point.version for point in curve.points] == [1, 2]
    assert [point.score for point in curve.points] == pytest.approx(list(DICE))
    assert [point.scoreInUse for point in curve.points] == pytest.approx(list(DICE)), "both came into use"
    assert (curve.control_share, curve.control.cases) == (0.0, 0)
    with pytest.raises(Refused):
        client.roundsCurve("cooking")


def test_strategies_say_what_they_are_for(client: LoopClient) -> None:
    served = client.capabilities()
    assert served.tellsWhy
    assert [one.name for one in served.strategies if one.default] == ["typiclust"]
    assert all(one.title and one.source and "segmentation" in one.tasks for one in served.strategies)


@pytest.mark.parametrize("status", [404, 405])
def test_an_earlier_server_gives_a_case_without_a_reason(status: int) -> None:
    def answer(request: Request) -> Answer:
        if request.path == "/loop/next":
            return Answer.json({"detail": "Not Found"}, status)
        return Answer.json({"id": "ct-1", "weight": 0.5})

    with WebServer(answer) as server:
        assert clientOf(server).giveNext("random", ANNA, ["ct-0"]) == Given.unexplained("ct-1", "random")
        assert [one.path for one in server.requests] == ["/loop/next", "/activelearning/random"]


def test_another_refusal_is_no_reason_to_ask_again() -> None:
    with WebServer(lambda request: Answer.json({"detail": "there is no strategy 'x'"}, 400)) as server:
        with pytest.raises(Refused, match="no strategy"):
            clientOf(server).giveNext("x", ANNA)
        assert len(server.requests) == 1
