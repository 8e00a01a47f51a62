"""The abdomen of one patient, painted from the skin inwards. Coordinates are those of the body frame (see `Grid`)."""

from __future__ import annotations

import numpy as np

from sample_data.patient import Organ, Patient, Pose
from sample_data.shapes import Canvas, intersection, superellipsoid, union
from sample_data.texture import Grid

AIR_HU = -1000.0
LUNG_HU = -840.0
# Standard deviation of the displacement of all anatomy, and of an organ's surface.
_WARP_MM = 4.5
_UNEVEN_MM = 1.6
_INF = float("inf")


def paint_abdomen(canvas: Canvas, patient: Patient, grid: Grid) -> None:
    """Paint a patient's abdomen; afterwards ``canvas.mask(organ)`` holds each `Organ`.

    Args:
        canvas: of the grid's shape, holding air.
        patient: whose abdomen.
        grid: the voxel centres, mm.
    """
    painter = _AbdomenPainter(canvas, patient, grid)
    painter.trunk()
    painter.gut()
    painter.chest()
    painter.spine()
    painter.great_vessels()
    painter.liver()
    painter.spleen()
    for organ, side in ((Organ.LEFT_KIDNEY, 1.0), (Organ.RIGHT_KIDNEY, -1.0)):
        painter.kidney(organ, side)


class _AbdomenPainter:
    """Keeps what several structures share: warped coordinates, the cavity, the dome of the diaphragm."""

    def __init__(self, canvas: Canvas, patient: Patient, grid: Grid) -> None:
        self._canvas = canvas
        self._patient = patient
        self._grid = grid
        self._hu = patient.attenuation
        self._build = patient.build
        self._points = tuple(
            coordinate + _WARP_MM * field.on(grid) for coordinate, field in zip(grid.points, patient.warp, strict=True)
        )
        build = self._build
        self._skin = superellipsoid(
            self._points, centre=(0, 0, 0), semi_axes=(build.half_width_mm, build.half_depth_mm, _INF), power=2.2
        )
        x, y, _ = self._points
        # Fat is thicker in front and thin over the flanks.
        self._muscle = self._skin + build.fat_mm * (1 - 0.5 * y / build.half_depth_mm)
        self._cavity = self._muscle + build.wall_mm
        # Two domes, the right one higher, that fall off towards the chest wall; between them the heart's floor.
        right = build.dome_mm - 42 * (((x + 58) / 70) ** 2 + ((y + 12) / 82) ** 2)
        middle = build.dome_mm - 12 - 42 * ((x / 60) ** 2 + ((y + 20) / 90) ** 2)
        left = build.dome_mm - 7 - 42 * (((x - 60) / 68) ** 2 + ((y + 5) / 82) ** 2)
        self._dome = np.maximum.reduce([right, middle, left, np.full_like(right, 18.0)])
        self._grain = self._hu.grain * patient.grain.on(grid)

    def trunk(self) -> None:
        """Table, fat, abdominal wall, ribs, fat inside the cavity."""
        paint = self._canvas.paint
        x, y, z = self._grid.points
        table = np.abs(y - (self._build.half_depth_mm + 12) + (x / 42) ** 2) - 3
        paint(table, -350)
        paint(self._skin, self._hu.fat)
        paint(self._muscle, self._hu.muscle + self._grain)
        paint(self._cavity, self._hu.fat + self._grain)
        _, y, z = self._points
        # Ribs run down towards the front, and end at the costal margin.
        along = np.mod(z - 0.7 * y + self._build.rib_phase_mm, 34.0) - 17.0
        rib = np.hypot(self._cavity - self._build.wall_mm / 2, 0.85 * along) - 5.0
        paint(np.maximum(rib, np.maximum(-35 - 0.7 * y - z, -45 - y)), self._hu.cancellous_bone + 60)

    def spine(self) -> None:
        """Back muscles, psoas, vertebrae with discs, arches and spinous processes, the canal."""
        paint = self._canvas.paint
        x, y, z = self._points
        back = self._build.half_depth_mm - 103
        for side in (-1.0, 1.0):
            erector = self._solid((side * 33, 76 + back, 0), (31, 18, _INF), power=2.6)
            paint(np.maximum(erector, self._skin + 5), self._hu.muscle + self._grain)
            paint(self._solid((side * 36, 50 + back, -75), (17, 19, 75)), self._hu.muscle + self._grain)
        column = self._solid((0, 44 + back, 0), (21, 17, _INF), power=2.4)
        paint(column, 85)
        level = np.abs(np.mod(z + self._build.disc_phase_mm, 36.0) - 18.0)
        body = np.maximum(column, level - 14.0)
        arch = self._solid((0, 71 + back, 0), (15, 14, _INF))
        transverse = np.maximum(self._solid((0, 68 + back, 0), (36, 5, _INF)), level - 6)
        process = np.maximum(self._solid((0, 86 + back, 0), (4.5, 14, _INF)), level - 11)
        for bone in (np.minimum(arch, transverse), process, body):
            paint(bone, self._hu.cortical_bone)
        paint(body + 3, self._hu.cancellous_bone + 2 * self._grain)
        paint(self._solid((0, 70 + back, 0), (9, 8, _INF)), 30)

    def gut(self) -> None:
        """Bowel loops with gas in some, the stomach with its gas bubble, the pancreas."""
        paint = self._canvas.paint
        loops, gas = (field.on(self._grid) for field in self._patient.gut)
        _, y, z = self._points
        place = np.maximum(self._cavity + 5, np.maximum(z - 35, y - 45 - 0.2 * z))
        bowel = np.maximum((0.1 - loops) * 11, place)
        paint(bowel, self._hu.bowel + self._grain)
        paint(np.maximum(bowel + 3.5, np.maximum((0.7 - gas) * 15, y + 5)), -880)
        stomach = self._solid((52, -32, 48), (34, 42, 40), (0, 20, -25))
        stomach = intersection(stomach, self._cavity + 6, blend_mm=6)
        stomach = np.maximum(stomach, z - self._dome + 5)
        paint(stomach, self._hu.muscle + 25)
        paint(stomach + 5, self._hu.stomach)
        paint(np.maximum(stomach + 5, y + 52), -900)
        paint(self._solid((18, -4, 2), (58, 13, 13), (0, -18, 12)), self._hu.pancreas + 2 * self._grain)

    def chest(self) -> None:
        """Lung bases above the diaphragm, the heart and the fat around it."""
        paint = self._canvas.paint
        _, _, z = self._points
        above = self._dome - z
        mediastinum = self._solid((2, 48, 0), (36, 46, _INF))
        lung = intersection(np.maximum(self._cavity + 3, above), -mediastinum, blend_mm=8)
        paint(intersection(lung, self._cavity, blend_mm=3) - 4, self._hu.muscle)
        paint(lung, LUNG_HU + 5 * self._grain)
        paint(np.maximum(self._solid((18, -38, 112), (52, 44, 38)), self._cavity + 6), 110)

    def great_vessels(self) -> None:
        """Aorta to the left of the midline, inferior vena cava to the right."""
        self._canvas.paint(self._solid((13, 18, 0), (10, 10, _INF)), self._hu.aorta)
        self._canvas.paint(self._solid((-20, 14, 0), (13, 10, _INF)), self._hu.cava)

    def liver(self) -> None:
        """Right and left lobe under the diaphragm, with vessels; the gallbladder below."""
        pose = self._patient.poses[Organ.LIVER]
        right = self._posed(pose, (-68, -2, 22), (70, 84, 80))
        left = self._posed(pose, (4, -44, 44), (70, 36, 35), (0, 14, 0))
        liver = union(right, left, blend_mm=24)
        x, y, z = self._points
        shift = pose.shift_mm
        # The visceral surface: it rises from the right flank towards the left.
        visceral = 0.52 * (x + 42 - shift[0]) + 0.30 * (y - shift[1]) - 0.80 * (z + 14 - shift[2])
        liver = intersection(liver, visceral, blend_mm=14)
        liver = intersection(liver, self._cavity + 4, blend_mm=6)
        liver = intersection(liver, z - self._dome + 4, blend_mm=6)
        liver = intersection(liver, -self._solid((-6, 32, 0), (34, 30, _INF)), blend_mm=8)
        liver = liver + _UNEVEN_MM * self._patient.surface[Organ.LIVER].on(self._grid)
        self._canvas.paint(liver, self._hu.liver + self._grain, name=Organ.LIVER)
        first, second = (field.on(self._grid) for field in self._patient.vessels)
        # Where two fields cross zero together there are curves: tubes around them branch like vessels.
        tubes = 20 * np.hypot(first, second) - 3.2
        share = np.clip(0.5 - tubes / 4, 0, 1) * np.clip(-liver / 8, 0, 1)
        inside = self._canvas.mask(Organ.LIVER)
        self._canvas.hu += inside * share * (self._hu.liver_vessel - self._hu.liver)
        self._canvas.paint(self._posed(pose, (-38, -46, -8), (14, 15, 25), (20, 0, 0)), 12)

    def spleen(self) -> None:
        """A crescent under the left dome, hollowed by the stomach."""
        pose = self._patient.poses[Organ.SPLEEN]
        spleen = self._posed(pose, (92, 32, 36), (38, 46, 52), (0, 8, 20))
        spleen = intersection(spleen, -self._posed(pose, (50, 2, 36), (30, 46, 80)), blend_mm=10)
        spleen = intersection(spleen, self._cavity + 5, blend_mm=6)
        spleen = intersection(spleen, self._points[2] - self._dome + 5, blend_mm=6)
        spleen = spleen + _UNEVEN_MM * self._patient.surface[Organ.SPLEEN].on(self._grid)
        self._canvas.paint(spleen, self._hu.spleen + self._grain, name=Organ.SPLEEN)

    def kidney(self, organ: Organ, side: float) -> None:
        """Perirenal fat, a bean with cortex and medulla, the fat of its sinus; ``side`` is +1 on the left."""
        pose = self._patient.poses[organ]
        level = -24 if organ is Organ.LEFT_KIDNEY else -34
        lean = (10, -side * 10, side * 25)
        kidney = self._posed(pose, (side * 66, 38, level), (29, 26, 53), lean)
        kidney = kidney + 0.8 * _UNEVEN_MM * self._patient.surface[organ].on(self._grid)
        kidney = np.maximum(kidney, self._cavity + 4)
        self._canvas.paint(kidney - 5, self._hu.fat)
        cortex = np.clip(1 + kidney / 9, 0, 1)
        hu = self._hu.kidney_medulla + (self._hu.kidney_cortex - self._hu.kidney_medulla) * cortex + self._grain
        self._canvas.paint(kidney, hu, name=organ)
        self._canvas.paint(self._posed(pose, (side * 50, 32, level), (17, 9, 20), lean), -30)

    def _solid(
        self,
        centre: tuple[float, float, float],
        semi_axes: tuple[float, float, float],
        angles_deg: tuple[float, float, float] = (0, 0, 0),
        *,
        power: float = 2.0,
    ) -> np.ndarray:
        return superellipsoid(self._points, centre=centre, semi_axes=semi_axes, angles_deg=angles_deg, power=power)

    def _posed(
        self,
        pose: Pose,
        centre: tuple[float, float, float],
        semi_axes: tuple[float, float, float],
        angles_deg: tuple[float, float, float] = (0, 0, 0),
    ) -> np.ndarray:
        return superellipsoid(
            self._points,
            centre=np.add(centre, pose.shift_mm),
            semi_axes=np.multiply(semi_axes, pose.size),
            angles_deg=np.add(angles_deg, pose.angles_deg),
        )
