"""Grids: the same place in the patient, or a sentence that says what differs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from LabelLoopLib.scene.errors import SceneError
from LabelLoopLib.scene.grid import Grid

from .scene_cases import DIRECTIONS, ORIGIN, SIZE, SPACING, flat_grid, grid, turned

angles = st.floats(-3, 3)
sizes = st.integers(2, 600)
spacings = st.floats(0.05, 10)
places = st.floats(-900, 900)


@st.composite
def grids(draw) -> Grid:
    direction = turned(draw(angles), draw(angles), draw(angles)) @ np.diag([1, 1, draw(st.sampled_from([1, -1]))])
    size, spacing, origin = (tuple(draw(kind) for _ in range(3)) for kind in (sizes, spacings, places))
    return Grid(size, spacing, origin, tuple(direction.ravel()))


def from_ijk(own: Grid, matrix: np.ndarray, size) -> Grid:
    """The grid whose index is mapped onto an index of another by a 4 x 4 matrix."""
    return Grid.fromIjkToRas(own.ijkToRas() @ matrix, size)


@given(grids())
def test_is_the_same_after_the_way_through_ras(own):
    back = Grid.fromIjkToRas(own.ijkToRas(), own.size)
    for name in ("size", "spacing", "origin", "direction"):
        np.testing.assert_allclose(getattr(back, name), getattr(own, name), rtol=1e-9, atol=1e-9)
    assert own.difference(back) is None


@given(grids(), st.data())
def test_places_voxels_where_itk_does(own, data):
    image = sitk.Image(2, 2, 2, sitk.sitkUInt8)
    image.SetSpacing(own.spacing)
    image.SetOrigin(own.origin)
    image.SetDirection(own.direction)
    ijk = [data.draw(st.integers(0, n - 1)) for n in own.size]
    left, posterior, superior = image.TransformIndexToPhysicalPoint(ijk)
    ras = own.ijkToRas() @ [*ijk, 1]
    np.testing.assert_allclose(ras[:3], (-left, -posterior, superior), atol=1e-6)


@given(grids(), st.sampled_from([0, 1, 2]))
def test_a_flipped_axis_is_seen(own, axis):
    flip = np.eye(4)
    flip[axis, axis], flip[axis, 3] = -1, own.size[axis] - 1  # the same box in the patient
    assert own.difference(from_ijk(own, flip, own.size)) == f"axis {'ijk'[axis]} runs the other way"


@given(grids(), st.sampled_from([0, 1, 2]), st.sampled_from([-1, 1]))
def test_a_shift_by_one_voxel_is_seen(own, axis, step):
    shift = np.eye(4)
    shift[axis, 3] = step
    difference = own.difference(from_ijk(own, shift, own.size))
    assert difference == f"voxels of the same index lie {own.spacing[axis]:.3g} mm apart"


@given(grids(), st.permutations([0, 1, 2]))
def test_other_order_of_axes_is_seen(own, order):
    own = Grid((20, 20, 20), own.spacing, own.origin, own.direction)  # so that the size cannot tell
    permuted = np.zeros((4, 4))
    permuted[3, 3] = 1
    for new, old in enumerate(order):
        permuted[old, new] = 1
    difference = own.difference(from_ijk(own, permuted, own.size))
    assert difference == (None if order == [0, 1, 2] else "the axes are in another order")


@given(grids(), places, places, places)
def test_rounding_in_a_file_is_no_difference(own, x, y, z):
    rough = Grid(
        own.size,
        tuple(np.float32(own.spacing)),
        tuple(np.asarray(own.origin) + 0.03 * min(own.spacing) * np.sign((x, y, z))),
        tuple(np.round(own.direction, 7)),
    )
    assert own.difference(rough) is None


def test_says_what_differs():
    own = grid()
    assert own.difference(grid(size=(14, 12, 11))) == (
        "14 x 12 x 10 voxels on the one side, 14 x 12 x 11 voxels on the other"
    )
    assert own.difference(grid("coronal")).startswith("the axes are turned by ")
    coarse = Grid(own.size, (0.7, 0.9, 3.0), own.origin, own.direction)
    assert own.difference(coarse) == "spacing of 0.7 x 0.9 x 2.5 mm on the one side, 0.7 x 0.9 x 3 mm on the other"
    turned_a_little = Grid(own.size, SPACING, ORIGIN, tuple((DIRECTIONS["oblique"] @ turned(0, 0, 0.1)).ravel()))
    assert own.difference(turned_a_little) == "the axes are turned by 5.73 degrees"
    half = Grid(own.size, SPACING, tuple(np.add(ORIGIN, (0, 0, 0.5))), own.direction)
    assert own.difference(half) == half.difference(own) == "voxels of the same index lie 0.5 mm apart"


def test_flat_grids():
    flat = flat_grid()
    assert (flat.dimension, flat.shape) == (2, (1, 12, 14))
    image = sitk.Image(2, 2, sitk.sitkUInt8)
    image.SetSpacing(flat.spacing)
    image.SetOrigin(flat.origin)
    image.SetDirection(flat.direction)
    left, posterior = image.TransformIndexToPhysicalPoint((13, 11))
    np.testing.assert_allclose(flat.ijkToRas() @ [13, 11, 0, 1], (-left, -posterior, 0, 1), atol=1e-9)
    assert flat.difference(flat_grid()) is None
    as_volume = Grid.fromIjkToRas(flat.ijkToRas(), (14, 12, 1))
    assert as_volume.dimension == 3 and flat.difference(as_volume) is None
    assert flat.difference(Grid((14, 12), (0.5, 0.7), (3.0, -4.0), (0.8, 0.6, 0.6, -0.8))) == (
        "axis j runs the other way"
    )
    assert flat.difference(grid()) == "14 x 12 voxels on the one side, 14 x 12 x 10 voxels on the other"


def test_takes_what_the_server_sends():
    shape = SimpleNamespace(
        size=list(SIZE), spacing=list(SPACING), origin=list(ORIGIN), direction=[1, 0, 0, 0, 1, 0, 0, 0, 1]
    )
    own = Grid.fromServer(shape)
    assert own == grid("upright") and hash(own) == hash(grid("upright"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", (3, 4, 0)),
        ("size", (3, 4, 5, 6)),
        ("spacing", (1.0, 0.0, 1.0)),
        ("spacing", (1.0, 1.0)),
        ("origin", (0.0, float("nan"), 0.0)),
        ("direction", (1, 0, 0, 1, 0, 0, 0, 0, 1)),
    ],
)
def test_refuses_what_is_no_grid(field, value):
    fields = {"size": SIZE, "spacing": SPACING, "origin": ORIGIN, "direction": tuple(np.eye(3).ravel()), field: value}
    with pytest.raises(SceneError, match="image"):
        Grid(**fields)
