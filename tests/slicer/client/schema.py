"""Compares the client's shapes and requests with the server's OpenAPI document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Union, get_args, get_origin
from urllib.parse import unquote

from LabelLoopLib.client.shape import Shape, hintsOf, neededBy

Schema = dict[str, Any]


class Document:
    """An OpenAPI document, or a JSON schema with ``$defs``."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document

    @property
    def shapes(self) -> dict[str, Schema]:
        return self.document.get("components", {}).get("schemas") or self.document.get("$defs", {})

    def resolve(self, schema: Schema) -> Schema:
        while "$ref" in schema:
            schema = self.shapes[schema["$ref"].rsplit("/", 1)[-1]]
        return schema

    def choices(self, schema: Schema) -> Iterator[Schema]:
        """What a value may be, one by one."""
        schema = self.resolve(schema)
        if "anyOf" in schema:
            for one in schema["anyOf"]:
                yield from self.choices(one)
        else:
            yield schema

    # --- answers -----------------------------------------------------------------------------------------------------

    def problems(self, hint: Any, schema: Schema, where: str) -> Iterator[str]:
        """Why a value of this schema might not fit the client's type."""
        choices = list(self.choices(schema))
        nullable = any(one.get("type") == "null" for one in choices)
        hints = get_args(hint) if get_origin(hint) is Union else (hint,)
        optional = type(None) in hints
        if nullable and not optional and hint is not Any:
            yield f"{where} can be null on the server"
        if optional:
            if not nullable:
                yield f"{where} is never null on the server"
        hints = tuple(one for one in hints if one is not type(None))
        choices = [one for one in choices if one.get("type") != "null"]
        if len(hints) > 1:
            yield from self._choiceProblems(hints, choices, where)
        else:
            for one in choices:
                yield from self._problems(hints[0], one, where)

    def _choiceProblems(self, shapes: tuple[Any, ...], choices: list[Schema], where: str) -> Iterator[str]:
        """Why the client might not tell several shapes apart: it reads the first that all fields are there for."""
        read = []
        for one in choices:
            known = one.get("properties", {})
            shape = next((shape for shape in shapes if set(neededBy(shape)) <= set(known)), None)
            if shape is None:
                yield f"{where} may be a {one.get('title', one.get('type'))}, and nothing here reads that"
            else:
                read.append(shape)
                yield from self.shapeProblems(shape, one, f"{where}({shape.__name__})")
        yield from (f"{where} is never a {shape.__name__} on the server" for shape in shapes if shape not in read)

    def _problems(self, hint: Any, schema: Schema, where: str) -> Iterator[str]:
        kind, origin = schema.get("type"), get_origin(hint)
        if hint is Any:
            return
        if origin is tuple and kind == "array":
            yield from self.problems(get_args(hint)[0], schema["items"], f"{where}[]")
        elif origin is dict and kind == "object":
            values = schema.get("additionalProperties", True)
            if get_args(hint)[1] is not Any:
                yield from self.problems(get_args(hint)[1], values if isinstance(values, dict) else {}, f"{where}{{}}")
        elif isinstance(hint, type) and issubclass(hint, Shape) and kind == "object":
            yield from self.shapeProblems(hint, schema, where)
        elif {str: "string", int: "integer", float: "number", bool: "boolean"}.get(hint) != kind:
            yield f"{where} is {kind} on the server, and {hint} here"

    def shapeProblems(self, shape: type[Shape], schema: Schema, where: str = "") -> Iterator[str]:
        """Why an object of this schema might not be one of the client's shapes."""
        known = self.resolve(schema).get("properties", {})
        for name, hint in hintsOf(shape).items():
            place = f"{where or shape.__name__}.{name}"
            if name in known:
                yield from self.problems(hint, known[name], place)
            else:
                yield f"{place} is not on the server"

    def answerOf(self, method: str, path: str) -> Schema:
        """The schema of what a route answers."""
        responses = self.document["paths"][path][method.lower()]["responses"]
        success = next(one for status, one in responses.items() if status.startswith("2"))
        return success["content"]["application/json"]["schema"]

    def example(self, schema: Schema, filled: bool) -> Any:
        """A value of a schema: with every nullable value there, or with none."""
        choices = list(self.choices(schema))
        nulls = [one for one in choices if one.get("type") == "null"]
        chosen = next(one for one in choices if one not in nulls)
        if nulls and not filled:
            return None
        kind = chosen.get("type")
        if "const" in chosen or "enum" in chosen:
            return chosen.get("const", chosen.get("enum", [None])[0])
        if kind == "object":
            values = chosen.get("additionalProperties")
            inside = {name: self.example(one, filled) for name, one in chosen.get("properties", {}).items()}
            return {**inside, "liver": self.example(values, filled)} if isinstance(values, dict) else inside
        if kind == "array":
            items = chosen.get("prefixItems") or [chosen.get("items", {})]
            return [self.example(one, filled) for one in items]
        return {"string": "text", "integer": 3, "number": 2.5, "boolean": True}.get(kind)

    # --- requests ----------------------------------------------------------------------------------------------------

    def findPath(self, method: str, path: str) -> str | None:
        """The template that a path of a request belongs to."""
        for template, methods in sorted(self.document["paths"].items(), key=lambda item: item[0].count("{")):
            pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
            if method.lower() in methods and re.fullmatch(pattern, unquote(path)):
                return template
        return None

    def requestProblems(self, method: str, path: str, query: set[str], contentType: str, sent: Any) -> Iterator[str]:
        """Why the server might not understand a request.

        Args:
            sent: The JSON of the body, or the names of the form's fields; None without a body.
        """
        template = self.findPath(method, path)
        if template is None:
            yield f"{method} {path} is not on the server"
            return
        operation = self.document["paths"][template][method.lower()]
        parameters = {one["name"] for one in operation.get("parameters", []) if one["in"] == "query"}
        yield from (f"{method} {template} has no query parameter {name}" for name in query - parameters)
        content = operation.get("requestBody", {}).get("content", {})
        if sent is None:
            if operation.get("requestBody", {}).get("required"):
                yield f"{method} {template} asks for a body"
        elif contentType not in content:
            yield f"{method} {template} takes {list(content)}, not {contentType}"
        else:
            yield from self.bodyProblems(sent, content[contentType]["schema"], f"{method} {template}")

    def bodyProblems(self, sent: Any, schema: Schema, where: str) -> Iterator[str]:
        """Why the server might not understand an object: unknown names, missing ones, values of another type."""
        known = next(one for one in self.choices(schema) if one.get("type") == "object")
        if known.get("additionalProperties") is True and "properties" not in known:
            return
        properties = known["properties"]
        yield from (f"{where} does not know {name}" for name in set(sent) - set(properties))
        yield from (f"{where} asks for {name}" for name in set(known.get("required", [])) - set(sent))
        if isinstance(sent, dict):
            for name in set(sent) & set(properties):
                if not any(_fits(sent[name], one) for one in self.choices(properties[name])):
                    yield f"{where} does not take {json.dumps(sent[name])} for {name}"


def _fits(value: Any, schema: Schema) -> bool:
    if "enum" in schema or "const" in schema:
        return value in schema.get("enum", [schema.get("const")])
    kinds = {"null": type(None), "string": str, "integer": int, "number": (int, float), "boolean": bool}
    kinds |= {"object": dict, "array": list}
    return isinstance(value, kinds.get(schema.get("type"), object))
