"""What kind of value a key takes, in words and as TOML: for the example and for faults."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ByteSize, SecretStr
from pydantic.fields import FieldInfo

from dmwatch.handlers import Secret
from dmwatch.spans import seconds

SPAN = "a span of time"
SIZE = "a size"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a key takes.

    Attributes:
        words: "a span of time", "true or false", ...
        example: a value as TOML.
    """

    words: str
    example: str


_TIME = Kind("a time with its zone", "2026-12-01T06:00:00Z")
_KINDS: dict[Any, Kind] = {
    bool: Kind("true or false", "true"),
    int: Kind("a whole number", "1"),
    float: Kind("a number", "1"),
    str: Kind("a text", '"text"'),
    Path: Kind("a path", '"/path"'),
    ByteSize: Kind(SIZE, '"1MiB"'),
    SecretStr: Kind("a text", '"text"'),
    datetime: _TIME,
    AwareDatetime: _TIME,
    Secret: Kind("a secret: a systemd credential or a file", '{ credential = "name" }'),
}


def kind_of(field: FieldInfo) -> Kind:
    """Say what a field takes."""
    metadata = [*field.metadata, *_metadata(field.annotation)]
    if any(isinstance(item, BeforeValidator) and item.func is seconds for item in metadata):
        return Kind(SPAN, '"10s"')
    kinds = [_kind(option) for option in bare_types(field.annotation)]
    return Kind(" or ".join(dict.fromkeys(kind.words for kind in kinds)), kinds[0].example)


def _kind(bare: Any) -> Kind:
    if bare in _KINDS:
        return _KINDS[bare]
    if isinstance(bare, type) and issubclass(bare, StrEnum):
        return _one_of([str(member) for member in bare])
    origin, arguments = typing.get_origin(bare), typing.get_args(bare)
    if origin is typing.Literal:
        return _one_of([str(argument) for argument in arguments])
    if origin in {tuple, list, set, frozenset}:
        inner = _kind(bare_types(arguments[0])[0])
        return Kind(f"an array of {inner.words.removeprefix('a ')}", f"[{inner.example}]")
    if origin is dict:
        return Kind("a table", f"{{ name = {_kind(bare_types(arguments[1])[0]).example} }}")
    is_model = isinstance(bare, type) and issubclass(bare, BaseModel)
    return Kind("a table", f"{{ {_fields(bare)} }}") if is_model else _KINDS[str]


def _one_of(words: list[str]) -> Kind:
    return Kind(f"one of {', '.join(words)}", json.dumps(words[0]))


def _fields(model: type[BaseModel]) -> str:
    pairs = ((name, kind_of(field).example) for name, field in model.model_fields.items())
    return ", ".join(f"{name} = {example}" for name, example in pairs)


def bounds(field: FieldInfo) -> Iterator[str]:
    """The limits of a field's value, in words: "at least 1"."""
    for item in (*field.metadata, *_metadata(field.annotation)):
        for attribute, word in _BOUNDS.items():
            limit = getattr(item, attribute, None)
            if limit is not None and (attribute, limit) != ("ge", 0):
                yield f"{word} {as_toml(field, limit, quoted=False)}"


_BOUNDS = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}


def as_toml(field: FieldInfo, value: Any, *, quoted: bool = True) -> str:
    """Write a value of a field as TOML, spans and sizes with their units."""
    words = kind_of(field).words
    if words == SPAN:
        return _quoted(span_text(value), quoted=quoted)
    if words == SIZE:
        return _quoted(_size_text(int(value)), quoted=quoted)
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple | list | set | frozenset):
        return json.dumps([str(item) for item in value])
    if isinstance(value, dict):
        pairs = (f"{key} = {json.dumps(held)}" for key, held in value.items())
        return f"{{ {', '.join(pairs)} }}" if value else "{}"
    if isinstance(value, Path):
        value = str(value)
    return json.dumps(value)


def _quoted(text: str, *, quoted: bool) -> str:
    return f'"{text}"' if quoted else text


def span_text(value: float) -> str:
    """Write seconds as people do: `90d`, `5m`, `500ms`."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if value >= size and value % size == 0 and (unit != "m" or value > size):
            return f"{value / size:g}{unit}"
    return f"{value:g}s" if value == 0 or value >= 1 else f"{value * 1000:g}ms"


def _size_text(value: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value and value % size == 0:
            return f"{value // size}{unit}"
    return f"{value}B"


def bare_types(kind: Any) -> list[Any]:
    """The types that a value may have, without None and without annotations."""
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return bare_types(typing.get_args(kind)[0])
    if origin in {typing.Union, types.UnionType}:
        return [one for part in typing.get_args(kind) for one in bare_types(part)]
    return [] if kind is types.NoneType else [kind]


def _metadata(kind: Any) -> list[Any]:
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        inner, *found = typing.get_args(kind)
        return [*(part for item in found for part in _flat(item)), *_metadata(inner)]
    if origin in {typing.Union, types.UnionType}:
        return [item for part in typing.get_args(kind) for item in _metadata(part)]
    return []


def _flat(item: Any) -> list[Any]:
    return item.metadata if isinstance(item, FieldInfo) else [item]
