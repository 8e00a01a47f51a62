"""Synthetic samples through the client, against a real server: lists, pictures, decisions, blinded rounds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from LabelLoopLib.client import LoopClient, Refused, ServerAddress

from monailabel_app.demo.process import ServerProcess
from tests.slicer.story.synthetic_site import LABELS, VERDICT, annotate, fill_bank, keep_verdict, write_phantoms

PNG = b"\x89PNG\r\n\x1a\n"
ME = "Dr. Möller"


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopClient]:
    """A server with three candidates and a failed one; each test brings back what it has changed."""
    folder = tmp_path_factory.mktemp("bank")
    studies = write_phantoms(folder / "studies", cases=4)
    fill_bank(folder / "workspace", studies, candidates=3)
    keep_verdict(folder / "workspace")
    options = ("--labels", ",".join(LABELS), "--device", "cpu")
    with ServerProcess(studies.images, folder / "workspace", folder / "server.log", options) as server:
        annotate(server.client, studies, cases=3)
        yield LoopClient(ServerAddress.parse(server.url))


def test_samples_come_by_their_state(bank: LoopClient) -> None:
    samples = bank.samples()
    assert [one.state for one in samples] == ["candidate"] * 3 and len({one.id for one in samples}) == 3
    first = samples[0]
    assert first.name.startswith("SYNTHETIC") and set(first.labels) == set(LABELS) and first.failedChecks == ()
    assert (first.sources[0].case, first.sources[0].role) == ("phantom_001", "mask")
    assert first.checks[0].details["liver"] == 0.9 and first.checks[2].value is None
    (failed,) = bank.samples("failed")
    assert [one.name for one in failed.failedChecks] == ["memorisation"] and failed.nearest.distance == 0.02
    assert bank.samples("revoked") == []


def test_the_summary_counts_and_tells_the_study(bank: LoopClient) -> None:
    summary = bank.syntheticSummary()
    assert (summary.counts["candidate"], summary.counts["failed"], summary.generator) == (3, 1, None)
    assert summary.study.sentence == VERDICT.sentence and summary.study.helped is VERDICT.helped
    assert summary.share == 1.0 and summary.share_reason and summary.in_use == 0


def test_a_decision_is_taken_once_however_often_it_arrives(bank: LoopClient) -> None:
    sample = bank.samples()[0].id
    for _ in range(2):
        rejected = bank.decideSample(sample, "reject", ME, "the spleen is missing")
        assert (rejected.state, rejected.reviewer, rejected.reason) == ("rejected", ME, "the spleen is missing")
    assert rejected.decided > rejected.created
    assert bank.decideSample(sample, "reopen", ME).state == "candidate"


@pytest.mark.parametrize(
    ("decision", "reason", "status"), [("reject", "", 400), ("revoke", "none", 409), ("reopen", "", 409)]
)
def test_what_does_not_suit_is_refused(bank: LoopClient, decision: str, reason: str, status: int) -> None:
    sample = bank.samples()[1].id
    with pytest.raises(Refused) as refusal:
        bank.decideSample(sample, decision, ME, reason)
    assert refusal.value.status == status
    assert bank.samples()[1].state == "candidate"


def test_a_failed_sample_is_approved_only_over_the_checks(bank: LoopClient) -> None:
    (failed,) = bank.samples("failed")
    with pytest.raises(Refused, match="did not pass a check"):
        bank.decideSample(failed.id, "approve", ME, "but")
    assert bank.decideSample(failed.id, "approve", ME, "another scan of him", overrule=True).state == "approved"
    bank.decideSample(failed.id, "revoke", ME, "back")
    assert bank.decideSample(failed.id, "reopen", ME).state == "failed"


def test_image_mask_and_picture_are_files_of_our_naming(bank: LoopClient, tmp_path: Path) -> None:
    sample = bank.samples()[0]
    image = sitk.ReadImage(str(bank.downloadSampleImage(sample.id, tmp_path)))
    mask = sitk.ReadImage(str(bank.downloadSampleMask(sample.id, tmp_path)))
    assert image.GetSize() == mask.GetSize() and image.GetSpacing() == pytest.approx(mask.GetSpacing())
    assert set(np.unique(sitk.GetArrayViewFromImage(mask))) - {0} <= set(sample.labels.values())
    picture = bank.samplePicture(sample.id, tmp_path)
    assert picture.parent == tmp_path and picture.suffix == ".png" and picture.read_bytes().startswith(PNG)
    assert sample.id not in picture.name
    with pytest.raises(Refused) as gone:
        bank.samplePicture("synthetic-0", tmp_path)
    assert gone.value.status == 404 and len(list(tmp_path.iterdir())) == 3


def test_a_run_without_a_preview_has_none(bank: LoopClient, tmp_path: Path) -> None:
    assert bank.trainingPreview("no-such-run", tmp_path) is None and list(tmp_path.iterdir()) == []


def test_a_blinded_round_mixes_and_counts(bank: LoopClient, tmp_path: Path) -> None:
    trial = bank.startBlinded(ME, 4)
    assert len(trial.items) == 4
    answers = []
    for left, item in zip((3, 2, 1, 0), trial.items, strict=True):
        assert bank.blindedPicture(trial.trial, item.item, tmp_path).read_bytes().startswith(PNG)
        for _ in range(2):
            answer = bank.answerBlinded(trial.trial, item.item, True)
            assert answer.left == left, "the same answer once more changes nothing"
        answers.append(answer)
        assert answer.right == answer.was_synthetic
    figures = bank.syntheticSummary().blinded
    real = sum(not one.was_synthetic for one in answers)
    assert 1 <= real <= 3, "both sorts are there"
    assert (figures.shown, figures.right, figures.real_taken_for_synthetic) == (4, 4 - real, real)
