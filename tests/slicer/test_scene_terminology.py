"""Names of structures become Slicer's terminology entries and colours."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import slicer
from LabelLoopLib.scene.errors import SceneError
from LabelLoopLib.scene.terminology import KELLY, Terminology, defaultTerminology, paletteColor

TABLE = Path(__file__).resolve().parents[2] / "slicer_extension/LabelLoop/Resources/Terminology/structures.json"
LIVER = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^123037004^Anatomical Structure"
    "~SCT^10200004^Liver~^^~Anatomic codes - DICOM master list~^^~^^"
)


@pytest.fixture(scope="module")
def terminology() -> Terminology:
    return defaultTerminology()


def fields(entry: str) -> list[str]:
    """Meanings of category, type, modifier, region and region's modifier, read by Slicer's own logic."""
    logic, parsed = slicer.vtkSlicerTerminologiesModuleLogic(), slicer.vtkSlicerTerminologyEntry()
    assert logic.DeserializeTerminologyEntry(entry, parsed), entry
    parts = (
        parsed.GetCategoryObject(),
        parsed.GetTypeObject(),
        parsed.GetTypeModifierObject(),
        parsed.GetRegionObject(),
        parsed.GetRegionModifierObject(),
    )
    return [part.GetCodeMeaning() or "" if part else "" for part in parts]


def meaning(terminology: Terminology, name: str) -> str:
    """Such as "Kidney/Left" or "Cyst in Kidney/Left"; "-" for unknown."""
    category, kind, modifier, region, region_modifier = fields(terminology.lookup(name, 0).entry)
    if (category, kind) == ("Tissue", "Tissue"):
        return "-"
    text = kind + (f"/{modifier}" if modifier else "")
    return text + (f" in {region}" if region else "") + (f"/{region_modifier}" if region_modifier else "")


def test_entry_is_slicers_serialised_form(terminology: Terminology) -> None:
    found = terminology.lookup("liver", 3)
    assert found.entry == LIVER
    assert found.color == pytest.approx((221 / 255, 130 / 255, 101 / 255))


@pytest.mark.parametrize("name", ["left_kidney", "Kidney L", "kidney-left", "LEFT KIDNEY", "LeftKidney", "lt. kidney"])
def test_one_structure_has_many_spellings(terminology: Terminology, name: str) -> None:
    expected = LIVER.replace("10200004^Liver~^^", "64033007^Kidney~SCT^7771000^Left")
    assert terminology.lookup(name, 0).entry == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kidneys", "Kidney"),
        ("left and right kidney", "Kidney"),
        ("Kidney_R", "Kidney/Right"),
        ("spleen", "Spleen"),
        ("oesophagus", "Esophagus"),
        ("lung_upper_lobe_left", "Upper lobe of lung/Left"),
        ("lung_middle_lobe_right", "Middle lobe of right lung"),
        ("right lower lobe", "Lower lobe of lung/Right"),
        ("heart_ventricle_left", "Left Ventricle"),
        ("left lateral ventricle", "Lateral ventricle/Left"),
        ("4th ventricle", "Fourth ventricle"),
        ("inferior vena cava", "Inferior vena cava"),
        ("adrenal glands", "Adrenal gland"),
        ("ribs", "Rib"),
        ("teeth", "Tooth"),
        ("arteries", "Artery"),
        ("vertebrae", "Vertebra"),
        ("femur_left", "Femur/Left"),
        ("hippocampus", "Hippocampus"),
        ("anterior hippocampus", "Hippocampus/Anterior"),
        ("Hippocampus posterior", "Hippocampus/Posterior"),
        ("left hippocampus", "Hippocampus/Left"),
        ("left anterior hippocampus", "Hippocampus/Anterior"),
        ("grey matter", "Gray Matter"),
        ("CSF", "Brain cerebrospinal fluid pathway"),
        ("tumour", "Neoplasm"),
        ("masses", "Mass"),
        ("lesion", "Lesion"),
        ("metastases", "Neoplasm, Secondary"),
        ("oedema", "Edema"),
        ("liver tumor", "Neoplasm in Liver"),
        ("left_kidney_cyst", "Cyst in Kidney/Left"),
        ("haemorrhage in the brain", "Hemorrhage in Brain"),
        ("necrotic core", "Necrosis"),
    ],
)
def test_known_structures(terminology: Terminology, name: str, expected: str) -> None:
    assert meaning(terminology, name) == expected


@pytest.mark.parametrize(
    "name", ["", "  ", "anterior", "left", "class_3", "left liver", "posterior kidney", "tumor edema", "Ωmega", "~^"]
)
def test_unknown_is_tissue_in_a_colour_of_the_palette(terminology: Terminology, name: str) -> None:
    found = terminology.lookup(name, 4)
    assert fields(found.entry) == ["Tissue", "Tissue", "", "", ""]
    assert found.color == paletteColor(4)


def test_parts_of_one_structure_differ_in_colour(terminology: Terminology) -> None:
    assert terminology.lookup("anterior hippocampus", 0).color != terminology.lookup("posterior hippocampus", 1).color


def test_every_structure_of_the_table_is_found_and_read_by_slicer(terminology: Terminology) -> None:
    table = json.loads(TABLE.read_text("utf-8"))
    assert len(table["structures"]) >= 100
    for structure in table["structures"]:
        for name in (structure["meaning"], *structure.get("also", ())):
            found = terminology.lookup(name, 0)
            assert fields(found.entry)[1:2] == [structure["meaning"]], f"{name} is taken for another structure"
            assert all(0 <= value <= 1 for value in found.color)
        assert structure["code"].isdigit() and set(structure) <= {
            *("meaning", "code", "category", "rgb", "also", "sides", "parts", "list"),
        }


def test_codes_are_not_used_twice() -> None:
    codes = [structure["code"] for structure in json.loads(TABLE.read_text("utf-8"))["structures"]]
    assert len(codes) == len(set(codes))


def test_snomed_codes_have_their_check_digit() -> None:
    """SNOMED CT ends each identifier with a Verhoeff check digit, so a mistyped code is found."""
    table = json.loads(TABLE.read_text("utf-8"))
    codes = [structure["code"] for structure in table["structures"]]
    codes += [code for code, _ in (*table["categories"].values(), *table["modifiers"].values())]
    assert [code for code in codes if not verhoeff(code)] == []
    assert not verhoeff("10200005") and not verhoeff("12000004")


def verhoeff(code: str) -> bool:
    """True if the last digit fits: the group D5 and a permutation by position, per Verhoeff 1969."""
    permute = "1576283094"
    total = 0
    for place, digit in enumerate(int(d) for d in reversed(code)):
        for _ in range(place % 8):
            digit = int(permute[digit])
        total = d5(total, digit)
    return total == 0


def d5(a: int, b: int) -> int:
    """Product of two symmetries of a pentagon: 0 to 4 turn it, 5 to 9 mirror it."""
    turn, other = a % 5, b % 5
    if a < 5:
        return (turn + other) % 5 + (5 if b >= 5 else 0)
    return (turn - other) % 5 + (0 if b >= 5 else 5)


def lab(color: tuple[float, float, float]) -> np.ndarray:
    """CIE L*a*b* (D65) of an sRGB colour."""
    rgb = np.asarray(color)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ linear / (0.9505, 1.0, 1.089)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_palette_is_well_separated() -> None:
    colors = [lab(paletteColor(index)) for index in range(len(KELLY))]
    black, white = lab((0, 0, 0)), lab((1, 1, 1))
    assert min(np.linalg.norm(a - b) for a, b in combinations(colors, 2)) > 15
    neighbours = zip(colors, colors[1:] + colors[:1], strict=True)
    assert min(np.linalg.norm(a - b) for a, b in neighbours) > 45
    assert min(np.linalg.norm(color - ground) for color in colors for ground in (black, white)) > 30


def test_palette_goes_on_without_an_end() -> None:
    colors = [paletteColor(index) for index in range(3 * len(KELLY))]
    assert len(set(colors)) == len(colors)
    assert paletteColor(3 * len(KELLY)) == paletteColor(0)


def test_a_missing_or_damaged_table_is_said(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="cannot be read"):
        Terminology.load(tmp_path / "none.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(SceneError, match="install the extension again"):
        Terminology.load(tmp_path / "list.json")
