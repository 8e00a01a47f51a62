"""The scheme of a classification: what is asked about a case, and the answers that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from monailabel_app.errors import BadInput

Answer = str | list[str] | None
"""A class name (single, ordinal), a list of class names (multi), or none for "not sure"."""

Answers = dict[str, Answer]
"""Attribute name to answer. An attribute that is missing was not asked."""

PALETTE = (
    *("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb"),
    *("#ee7733", "#0077bb", "#33bbee", "#ee3377", "#cc3311", "#009988", "#ddcc77"),
)
"""Default colours: Paul Tol's bright and vibrant sets, which colour-blind people can tell apart."""

HOTKEYS = "123456789abcdefghijklmnopqrstuvwxyz"
"""Default keys, in the order in which they are given out."""

_OPTIONAL = ("segment", "color", "hotkey")
"""Fields that may be missing."""

LARGEST_FILE = 1_000_000
"""Bytes of a scheme's file."""

Name = Annotated[str, Field(min_length=1, max_length=120)]


class AttributeKind(StrEnum):
    """How many classes an answer may have, and whether they are ordered."""

    SINGLE = "single"
    """Exactly one class."""
    MULTI = "multi"
    """Any number of findings, possibly none."""
    ORDINAL = "ordinal"
    """Exactly one of ordered grades, lowest first."""


class Scope(StrEnum):
    """What an attribute describes."""

    CASE = "case"
    SEGMENT = "segment"
    """One structure in the case, for example a lesion; the model sees the region around it."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("name", mode="before", check_fields=False)
    @classmethod
    def _name_as_text(cls, name: Any) -> Any:
        """Grades are often written as numbers."""
        if isinstance(name, (int, float)) and not isinstance(name, bool):
            name = str(name)
        return name.strip() if isinstance(name, str) else name

    @field_validator("name", check_fields=False)
    @classmethod
    def _printable(cls, name: str) -> str:
        if not name.isprintable():
            raise ValueError("a name has printable characters only")
        return name


class ClassInfo(_Part):
    """One class.

    Attributes:
        name: Unique in its attribute, also where capitals are not told apart.
        color: ``#rrggbb``; empty only before a `Scheme` has given it one.
        hotkey: The key that chooses it, one character, lower case; none where all keys are taken.
    """

    name: Name
    color: str = ""
    hotkey: str | None = None

    @field_validator("color")
    @classmethod
    def _is_color(cls, color: str) -> str:
        if color and not re.fullmatch(r"#[0-9a-fA-F]{6}", color):
            raise ValueError("a colour is written as '#rrggbb', in quotes in YAML (where # begins a comment)")
        return color.lower()

    @field_validator("hotkey", mode="before")
    @classmethod
    def _is_key(cls, key: Any) -> Any:
        if key in (None, ""):
            return None
        key = str(key).lower()
        if len(key) != 1 or not key.isprintable() or key.isspace():
            raise ValueError("a hotkey is one character that can be seen")
        return key


class Attribute(_Part):
    """One question.

    Attributes:
        name: Unique in the scheme, also where capitals are not told apart.
        kind: How many classes an answer may have.
        scope: Whether it is about the case or about a segment.
        segment: For a segment's attribute, the label it is asked of; none for any.
        classes: In the order shown; for ``ordinal`` the lowest grade first.
    """

    name: Name
    kind: AttributeKind = AttributeKind.SINGLE
    scope: Scope = Scope.CASE
    segment: Name | None = None
    classes: tuple[ClassInfo, ...]

    @field_validator("classes", mode="before")
    @classmethod
    def _names_alone_will_do(cls, classes: Any) -> Any:
        if not isinstance(classes, (list, tuple)):
            return classes
        return [one if isinstance(one, (Mapping, ClassInfo)) else {"name": one} for one in classes]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        least = 1 if self.kind is AttributeKind.MULTI else 2
        if len(self.classes) < least:
            raise ValueError(f"'{self.name}' needs at least {least} class{'es' if least > 1 else ''}")
        _check_unique((one.name for one in self.classes), f"two classes of '{self.name}' have the name")
        if self.segment is not None and self.scope is not Scope.SEGMENT:
            raise ValueError(f"'{self.name}' names a segment: then its scope is 'segment'")
        object.__setattr__(self, "classes", _colored(self.classes))
        return self

    @property
    def names(self) -> list[str]:
        """Of the classes, in order."""
        return [one.name for one in self.classes]

    def check(self, answer: Any) -> Answer:
        """The answer as it is stored: names as the scheme writes them, findings in its order and each once.

        Raises:
            BadInput: It names no class of this attribute, or has another form than its kind asks for.
        """
        if answer is None:
            return None
        if self.kind is AttributeKind.MULTI:
            given = [answer] if isinstance(answer, str) else answer
            if not isinstance(given, Sequence):
                raise BadInput(f"'{self.name}' takes a list of classes, or null for not sure. {self._choices}")
            chosen = {self._class_of(one) for one in given}
            return [name for name in self.names if name in chosen]
        return self._class_of(answer)

    def _class_of(self, given: Any) -> str:
        if isinstance(given, (str, int, float)) and not isinstance(given, bool):
            wanted = str(given).strip().casefold()
            for name in self.names:
                if name.casefold() == wanted:
                    return name
        what = f"'{given[:60]}' is no class" if isinstance(given, str) else "the answer is not the name of one class"
        raise BadInput(f"'{self.name}': {what}. {self._choices}")

    @property
    def _choices(self) -> str:
        return f"Its classes are: {', '.join(self.names)}."


class _TextLoader(yaml.BaseLoader):
    """Knows texts, lists and mappings alone: it is safe, and has no surprises such as ``no`` -> False.

    Fields that may be missing can be null, as programs write them; elsewhere ``null`` is a name like any other.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        if isinstance(node, yaml.MappingNode):
            node.value = [(key, value) for key, value in node.value if not _is_missing(key, value)]
        return super().construct_mapping(node, deep)


def _is_missing(key: yaml.Node, value: yaml.Node) -> bool:
    """Whether the value of an optional field is YAML's null, which is never in quotes."""
    plain = isinstance(value, yaml.ScalarNode) and value.style is None
    return key.value in _OPTIONAL and plain and value.value.lower() in ("", "~", "null")


class Scheme(_Part):
    """All that is asked.

    Classes without a colour get one of `PALETTE`, and those without a key the next free one of `HOTKEYS`.
    """

    attributes: Annotated[tuple[Attribute, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _check_unique((one.name for one in self.attributes), "two attributes have the name")
        taken = [one.hotkey for attribute in self.attributes for one in attribute.classes if one.hotkey]
        _check_unique(taken, "two classes have the hotkey")
        free = iter([key for key in HOTKEYS if key not in taken])
        complete = tuple(
            attribute.model_copy(update={"classes": tuple(_with_key(one, free) for one in attribute.classes)})
            for attribute in self.attributes
        )
        object.__setattr__(self, "attributes", complete)
        return self

    @classmethod
    def of(cls, fields: Any) -> Scheme:
        """A scheme from plain values, as JSON has them.

        Raises:
            BadInput: They make no scheme; the message says why.
        """
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, item['loc'])) or 'scheme'}: {item['msg'].removeprefix('Value error, ')}"
                for item in error.errors(include_input=False)[:5]
            )
            raise BadInput(f"The scheme of classes cannot be used: {problems}.") from error

    @classmethod
    def read(cls, path: Path | str) -> Scheme:
        """Read a file: JSON where its suffix is ``.json``, YAML otherwise.

        In YAML all plain values are taken as text, so that ``[yes, no]`` and ``[0, 1]`` are names of classes, but for
        null where a value may be missing; nothing in a file can make an object.

        Raises:
            BadInput: There is no such file, or it holds no scheme.
        """
        path = Path(path)
        try:
            if path.stat().st_size > LARGEST_FILE:
                raise BadInput(f"{path.name} is larger than a scheme of classes can be.")
            text = path.read_text(encoding="utf-8")
            fields = json.loads(text) if path.suffix.lower() == ".json" else yaml.load(text, Loader=_TextLoader)
        except OSError as error:
            raise BadInput(f"{path.name} cannot be read: {error.strerror}.") from error
        except (ValueError, yaml.YAMLError, RecursionError) as error:
            first = next(iter(str(error).splitlines()), "")
            raise BadInput(f"{path.name} is not well-formed: {first}.") from error
        try:
            return cls.of(fields)
        except BadInput as error:
            raise BadInput(f"{path.name}: {error}") from error

    def attribute(self, name: str) -> Attribute:
        """The attribute of this name (capitals are not told apart).

        Raises:
            BadInput: There is none.
        """
        for one in self.attributes:
            if one.name.casefold() == str(name).strip().casefold():
                return one
        names = ", ".join(one.name for one in self.attributes)
        raise BadInput(f"There is no attribute '{str(name)[:60]}'. The attributes are: {names}.")

    def check(self, answers: Mapping[str, Any]) -> Answers:
        """Answers as they are stored: names as the scheme writes them, in its order; null stays "not sure".

        Raises:
            BadInput: An attribute or a class is unknown; the message lists those that there are.
        """
        if not isinstance(answers, Mapping):
            raise BadInput('Answers are given by attribute, for example {"diagnosis": "benign"}.')
        checked: Answers = {}
        for name, answer in answers.items():
            attribute = self.attribute(name)
            if attribute.name in checked:
                raise BadInput(f"'{attribute.name}' is answered twice.")
            checked[attribute.name] = attribute.check(answer)
        return {one.name: checked[one.name] for one in self.attributes if one.name in checked}

    def spelled(self, answers: Mapping[str, Any]) -> dict[str, Any]:
        """What is said by attribute, in the spelling of this scheme (see `spelled`)."""
        return spelled(answers, self.attributes)

    def fits(self, name: str, answer: Any) -> bool:
        """Whether there is such an attribute, and it can be answered so."""
        try:
            self.check({name: answer})
        except BadInput:
            return False
        return True


def spelled(said: Mapping[str, Any], attributes: Iterable[Attribute]) -> dict[str, Any]:
    """What is said by attribute, in the spelling of these where only capitals differ.

    Args:
        said: A class, a list of classes, or a mapping of them, by the name of the attribute.
    """
    by_name = {one.name.casefold(): one for one in attributes}
    found: dict[str, Any] = {}
    for name, value in said.items():
        attribute = by_name.get(name.casefold())
        found.setdefault(name if attribute is None else attribute.name, _spelled(value, attribute))
    return found


def _spelled(value: Any, attribute: Attribute | None) -> Any:
    if isinstance(value, list):
        return [_spelled(one, attribute) for one in value]
    if isinstance(value, Mapping):
        return {_spelled(one, attribute): of for one, of in value.items()}
    if attribute is None or not isinstance(value, str):
        return value
    return next((name for name in attribute.names if name.casefold() == value.casefold()), value)


def _check_unique(names: Iterable[str], what: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name.casefold() in seen:
            raise ValueError(f"{what} '{name}'")
        seen.add(name.casefold())


def _colored(classes: Sequence[ClassInfo]) -> tuple[ClassInfo, ...]:
    taken = {one.color for one in classes}
    free = [color for color in PALETTE if color not in taken] or list(PALETTE)
    missing = (free[number % len(free)] for number in range(len(classes)))
    return tuple(one if one.color else one.model_copy(update={"color": next(missing)}) for one in classes)


def _with_key(one: ClassInfo, free: Iterable[str]) -> ClassInfo:
    return one if one.hotkey else one.model_copy(update={"hotkey": next(iter(free), None)})
