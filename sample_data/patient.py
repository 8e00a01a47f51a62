"""What differs from one made-up patient to the next: drawn once, then only read (see `anatomy`)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from sample_data.texture import SmoothField


class Organ(StrEnum):
    """The organs that are labelled."""

    LIVER = "liver"
    SPLEEN = "spleen"
    LEFT_KIDNEY = "left_kidney"
    RIGHT_KIDNEY = "right_kidney"


@dataclass(frozen=True, kw_only=True)
class Build:
    """The trunk, in mm.

    Attributes:
        half_width_mm, half_depth_mm: half axes of the skin's outline.
        fat_mm, wall_mm: mean thickness of the subcutaneous fat and of the abdominal wall.
        rib_phase_mm, disc_phase_mm: where the pattern of ribs and that of vertebrae start.
        dome_mm: height of the right dome of the diaphragm.
    """

    half_width_mm: float
    half_depth_mm: float
    fat_mm: float
    wall_mm: float
    rib_phase_mm: float
    disc_phase_mm: float
    dome_mm: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Build:
        """Adults from slim to stout."""
        return cls(
            half_width_mm=rng.uniform(134, 152),
            half_depth_mm=rng.uniform(98, 116),
            fat_mm=rng.uniform(7, 22),
            wall_mm=rng.uniform(9, 14),
            rib_phase_mm=rng.uniform(0, 30),
            disc_phase_mm=rng.uniform(0, 36),
            dome_mm=rng.uniform(84, 95),
        )


@dataclass(frozen=True, kw_only=True)
class Pose:
    """How one organ departs from the average: shift (mm), size (factor for each axis), turn (degrees about x, y, z)."""

    shift_mm: np.ndarray
    size: np.ndarray
    angles_deg: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, *, spread: float) -> Pose:
        """A departure; ``spread`` 1 shifts by up to 8 mm, scales by 15 % and turns by 10 degrees."""
        common = rng.uniform(-0.10, 0.10)
        return cls(
            shift_mm=spread * rng.uniform(-8, 8, 3),
            size=1 + spread * (common + rng.uniform(-0.05, 0.05, 3)),
            angles_deg=spread * rng.uniform(-10, 10, 3),
        )


@dataclass(frozen=True, kw_only=True)
class Attenuation:
    """Mean attenuation in HU, in the portal venous phase; ``grain`` is the standard deviation within an organ."""

    fat: float
    muscle: float
    liver: float
    liver_vessel: float
    spleen: float
    kidney_medulla: float
    kidney_cortex: float
    aorta: float
    cava: float
    stomach: float
    bowel: float
    pancreas: float
    cancellous_bone: float
    cortical_bone: float
    grain: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Attenuation:
        """One patient's values: all that is perfused shares the timing of the contrast agent."""
        late = rng.uniform(0, 1)
        liver = rng.uniform(98, 120)
        medulla = rng.uniform(158, 170) + 12 * late
        aorta = 185 - 40 * late + rng.uniform(-8, 8)
        return cls(
            fat=rng.uniform(-108, -94),
            muscle=rng.uniform(46, 60),
            liver=liver,
            liver_vessel=liver + rng.uniform(25, 45),
            spleen=rng.uniform(117, 133),
            kidney_medulla=medulla,
            kidney_cortex=medulla + rng.uniform(18, 34) * (1 - 0.5 * late),
            aorta=aorta,
            cava=aorta - 30 * (1 - late),
            stomach=rng.uniform(5, 45),
            bowel=rng.uniform(25, 60),
            pancreas=rng.uniform(80, 105),
            cancellous_bone=rng.uniform(255, 300),
            cortical_bone=rng.uniform(420, 560),
            grain=rng.uniform(3, 7),
        )


@dataclass(frozen=True, kw_only=True)
class Patient:
    """One made-up patient, independent of any image grid.

    Attributes:
        warp: the displacement of all anatomy along x, y and z (unit variance; `anatomy` scales it).
        surface: for each organ the field that makes its surface uneven.
        grain, vessels, gut: fields for parenchyma, for the liver's vessels (two) and for the bowel (two).
    """

    build: Build
    attenuation: Attenuation
    poses: dict[Organ, Pose]
    warp: tuple[SmoothField, SmoothField, SmoothField]
    surface: dict[Organ, SmoothField]
    grain: SmoothField
    vessels: tuple[SmoothField, SmoothField]
    gut: tuple[SmoothField, SmoothField]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Patient:
        """A patient from a random generator; the same state of the generator gives the same patient."""
        # The liver fills its place; small organs have more freedom.
        spread = {Organ.LIVER: 0.8, Organ.SPLEEN: 1.2, Organ.LEFT_KIDNEY: 1.0, Organ.RIGHT_KIDNEY: 1.0}
        return cls(
            build=Build.draw(rng),
            attenuation=Attenuation.draw(rng),
            poses={organ: Pose.draw(rng, spread=spread[organ]) for organ in Organ},
            warp=tuple(SmoothField(rng, knot_mm=45) for _ in range(3)),
            surface={organ: SmoothField(rng, knot_mm=18) for organ in Organ},
            grain=SmoothField(rng, knot_mm=5),
            vessels=tuple(SmoothField(rng, knot_mm=20) for _ in range(2)),
            gut=tuple(SmoothField(rng, knot_mm=knot) for knot in (13, 20)),
        )
