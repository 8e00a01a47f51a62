"""A lesion that was put into an organ has to differ from it as real lesions do."""

from __future__ import annotations

import numpy as np

from monailabel_app.augmentation.checks.contrast import Contrast
from monailabel_app.augmentation.checks.judged import Judged
from monailabel_app.augmentation.checks.verdict import PairChecks
from monailabel_app.augmentation.mask_anatomy import Anatomy
from monailabel_app.augmentation.mask_regions import grown, parts
from tests.pair_material import as_pair, grey, phantoms

KNOWN, ALL = 8, 16


def contrast() -> tuple[Contrast, list[Judged]]:
    """The check, fitted on some phantoms, and others whose lesions in the liver can be seen (by more than 10 HU)."""
    plan, cases = phantoms(ALL)
    known = [Judged.of_case(case) for case in cases[:KNOWN]]
    check = Contrast(plan, known, Anatomy.of(plan, cases[:KNOWN]))
    others = [Judged.of_case(case) for case in cases[KNOWN:]]
    values = [check.check(one).value for one in others]
    return check, [one for one, value in zip(others, values, strict=True) if value is not None and abs(value) > 10]


def without_contrast(judged: Judged) -> Judged:
    """Each lesion painted with the grey values of its organ around it."""
    image, random = judged.image.copy(), np.random.default_rng(0)
    numbered, count = parts(judged.target == 5)
    for number in range(1, count + 1):
        lesion = numbered == number
        around = grown(lesion, 2) & np.isin(judged.target, [1, 3, 4])
        organ = np.bincount(judged.target[around]).argmax()
        image[lesion] = random.choice(image[around & (judged.target == organ)], lesion.sum())
    return Judged(image, judged.target)


def test_lesions_of_other_patients_pass() -> None:
    check, others = contrast()
    assert len(others) >= 2
    assert all(check.check(one).passed for one in others)


def test_lesions_that_cannot_be_seen_fail() -> None:
    check, others = contrast()
    found = [check.check(without_contrast(one)) for one in others]
    assert not any(one.passed for one in found)
    assert "differs from its organ by" in found[0].reason and "HU" in found[0].reason


def test_bright_lesions_are_not_dark_ones() -> None:
    check, others = contrast()
    for one in others:
        image = one.image.copy()
        organ, lesion = image[one.target == 1].mean(), one.target == 5
        image[lesion] = 2 * organ - image[lesion] + 1
        assert not check.check(Judged(image, one.target)).passed


def test_of_an_edit_only_the_new_lesion_counts() -> None:
    check, others = contrast()
    flat = without_contrast(others[0])
    nothing = np.zeros(flat.target.shape, bool)
    assert check.check(Judged(flat.image, flat.target, nothing, nothing)).value is None


def test_the_verdict_on_a_pair_names_it_where_there_are_lesions() -> None:
    plan, cases = phantoms(ALL)
    checks = PairChecks(plan, cases[:KNOWN])
    verdict = checks.of_pair(as_pair(grey(cases[KNOWN]), cases[KNOWN].target.numpy()))
    assert [check.name for check in verdict.checks] == ["resegmentation", "memorisation", "intensities", "contrast"]
