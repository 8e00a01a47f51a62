"""Coded names and colours for structures, so that "Kidney_L" is the same thing here and in a DICOM segmentation.

Source of the codes, meanings and recommended colours: 3D Slicer's own General Anatomy list
(``Modules/Loadable/Terminologies/Resources/SegmentationCategoryTypeModifier-SlicerGeneralAnatomy.json``). What that
list lacks (hippocampus, cerebellum, atria, femur, tumours, ...) is coded as in DICOM PS3.16 and Slicer's DICOM master
list; those entries are marked ``"list": "dicom"`` and coloured like their kin.

Colours of unknown structures: Kelly's colours of maximum contrast (K. L. Kelly, "Twenty-two colors of maximum
contrast", Color Engineering 3(26), 1965) in his order, without white, grey, black and the near-black olive.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from .errors import SceneError

Color = tuple[float, float, float]
Words = frozenset[str]

SIDES = ("left", "right")
FILLER = frozenset(("of", "the", "in", "and"))
KELLY = (
    (243, 195, 0),
    (135, 86, 146),
    (243, 132, 0),
    (161, 202, 241),
    (190, 0, 50),
    (194, 178, 128),
    (0, 136, 86),
    (230, 143, 172),
    (0, 103, 165),
    (249, 147, 121),
    (96, 78, 151),
    (246, 166, 0),
    (179, 68, 108),
    (220, 211, 0),
    (136, 45, 23),
    (141, 182, 0),
    (101, 69, 34),
    (226, 88, 34),
)


class TerminologyEntry(NamedTuple):
    """What a segment is.

    Attributes:
        entry: Slicer's serialised terminology entry (list, category, type, modifier, region list, region, modifier).
        color: Red, green, blue, each from 0 to 1.
    """

    entry: str
    color: Color


class _Match(NamedTuple):
    structure: dict[str, Any]
    modifier: str | None


class Terminology:
    """Finds the code and colour of a structure by the words of its name.

    Case, order, plural, British spelling, ``_`` and ``-`` do not matter; l, r, left, right name a side. A lesion
    beside a structure's name ("liver tumour", "left kidney cyst") is the lesion, with the structure as its region.
    """

    def __init__(self, table: dict[str, Any]) -> None:
        self._lists = table["lists"]
        self._regions = table["regions"]
        self._categories = table["categories"]
        self._modifiers = table["modifiers"]
        self._spelling = table["words"]
        self._structures: dict[Words, dict[str, Any]] = {}
        for structure in table["structures"]:
            for name in (structure["meaning"], *structure.get("also", ())):
                self._structures.setdefault(self._wordsOf(name), structure)
        self._lesions: list[Words] = [w for w, s in self._structures.items() if s["category"] == "altered"]
        self._lesions.sort(key=len, reverse=True)  # "necrotic core" before "core"

    @classmethod
    def load(cls, path: Path) -> Terminology:
        """Read the table of structures (``Resources/Terminology/structures.json``).

        Raises:
            SceneError: The file is missing, or is not such a table.
        """
        try:
            return cls(json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise SceneError(
                f"The table of structures '{path}' cannot be read ({error!r}): install the extension again."
            ) from error

    def lookup(self, name: str, index: int) -> TerminologyEntry:
        """The code and colour of a structure, or those of "Tissue" and the palette's colour if it is not known.

        Args:
            index: Position of the structure among its segments; it chooses the colour of unknown ones.
        """
        words = self._wordsOf(name)
        match = self._structureOf(words)
        if match is not None:
            return self._entry(match, None)
        for lesion in self._lesions:
            region = self._structureOf(words - lesion) if lesion < words else None
            if region is not None and region.structure["category"] != "altered":
                return self._entry(_Match(self._structures[lesion], None), region)
        tissue = _Match(self._structures[frozenset(("tissue",))], None)
        return TerminologyEntry(self._entry(tissue, None).entry, paletteColor(index))

    def _wordsOf(self, name: str) -> Words:
        parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)  # LeftKidney
        words = set(re.findall(r"[^\W_]+", parted.lower())) - FILLER
        return frozenset(self._normal(word) for word in words)

    def _normal(self, word: str) -> str:
        word = self._spelling.get(word, word)
        if len(word) > 4 and word.endswith("ies"):
            word = word[:-3] + "y"
        elif word.endswith("sses"):
            word = word[:-2]
        elif len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
            word = word[:-1]  # also "pancreas": table and name are treated alike
        return self._spelling.get(word, word)

    def _structureOf(self, words: Words) -> _Match | None:
        if words in self._structures:  # "left ventricle" is a name of its own
            return _Match(self._structures[words], None)
        named = sorted(words & set(self._modifiers))
        structure = self._structures.get(words - set(named))
        if structure is None or not named:
            return None
        parts = [m for m in named if m not in SIDES]
        sided = len(named) > len(parts)
        if (sided and "sides" not in structure) or not set(parts) <= set(structure.get("parts", ())):
            return None
        one = parts or named  # an entry has room for one modifier; a part says more than a side
        return _Match(structure, one[0] if len(one) == 1 else None)

    def _entry(self, match: _Match, region: _Match | None) -> TerminologyEntry:
        structure = match.structure
        where = region or _Match({}, None)
        fields = (
            self._lists[structure.get("list", "general")],
            _coded(*self._categories[structure["category"]]),
            _coded(structure["code"], structure["meaning"]),
            self._modifier(match.modifier),
            self._regions,
            _coded(where.structure["code"], where.structure["meaning"]) if region else "^^",
            self._modifier(where.modifier),
        )
        rgb = structure.get("parts", {}).get(match.modifier, structure["rgb"])
        return TerminologyEntry("~".join(fields), _unit(rgb))

    def _modifier(self, name: str | None) -> str:
        return _coded(*self._modifiers[name]) if name else "^^"


@lru_cache(maxsize=1)
def defaultTerminology() -> Terminology:
    """The table that comes with the extension.

    Raises:
        SceneError: The extension's file is missing or damaged.
    """
    module = Path(__file__).resolve().parents[2]
    return Terminology.load(module / "Resources" / "Terminology" / "structures.json")


def paletteColor(index: int) -> Color:
    """One of well-separated colours; later rounds are lighter, then darker versions of the first.

    Args:
        index: Position, from 0; after three rounds of `KELLY` the colours repeat.
    """
    turn, place = divmod(index, len(KELLY))
    target, share = ((0, 0.0), (255, 0.5), (0, 0.45))[turn % 3]
    red, green, blue = (round(value + (target - value) * share) for value in KELLY[place])
    return _unit((red, green, blue))


def _coded(code: str, meaning: str) -> str:
    return f"SCT^{code}^{meaning}"


def _unit(rgb: Any) -> Color:
    red, green, blue = (value / 255 for value in rgb)
    return (red, green, blue)
