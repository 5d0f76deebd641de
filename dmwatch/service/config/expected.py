"""From what pydantic says to what an operator should write.

Of a value that is refused nothing is shown: it could be a secret in the wrong place.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from dmwatch.service.config.faults import Fault, Path
from dmwatch.service.config.kinds import as_toml, bare_types

Context = Mapping[str, Any]


def faults_of(error: ValidationError, model: type[BaseModel], under: Path = ()) -> list[Fault]:
    """Give a fault for each error of a validation.

    Args:
        error: what was raised.
        model: the model that was validated.
        under: where in the file its table stands.
    """
    errors = error.errors(include_url=False, include_input=False)
    faults = [_fault(item, _path(item["loc"], model), model, under) for item in errors]
    return list(_merged(faults))


def _fault(item: Mapping[str, Any], path: Path, model: type[BaseModel], under: Path) -> Fault:
    if item["type"] == "extra_forbidden":
        return Fault(under + path, unknown(str(path[-1]), keys_at(model, path[:-1])))
    if item["type"] in _LIMITS:
        return Fault(under + path, _limit(item, field_at(model, path)))
    say = _SENTENCES.get(item["type"])
    sentence = say(item.get("ctx") or {}) if say else _as_pydantic_says(item["msg"])
    return Fault(under + path, sentence)


def _path(place: Path, model: type[BaseModel]) -> Path:
    """The keys of a place as pydantic names it: it also names which type of several was tried."""
    path: Path = ()
    kind: Any = model
    for part in place:
        if part == "[key]" or (
            isinstance(part, str) and len(bare_types(kind)) > 1 and _is_tag(part)
        ):
            continue
        path += (part,)
        kind = _inside(kind, part)
    return path


def _is_tag(part: str) -> bool:
    return "(" in part or "[" in part or part in _TAGS


_TAGS = {"str", "int", "float", "bool", "Secret", "path", "is-instance[Path]"}


def _merged(faults: list[Fault]) -> Iterator[Fault]:
    """One fault a key: of a value that fits none of several types each type has its say."""
    said: dict[Path, list[str]] = {}
    for fault in faults:
        said.setdefault(fault.path, []).append(fault.expected)
    for path, sentences in said.items():
        if not any(other[: len(path)] == path != other for other in said if path):
            first, *others = dict.fromkeys(sentences)
            yield Fault(path, ", or ".join([first, *(s.removeprefix("expected ") for s in others)]))


def unknown(name: str, known: Iterable[str], what: str = "key") -> str:
    """Say that there is no such key, and which one was most likely meant."""
    names = sorted(known)
    close = difflib.get_close_matches(name[:_LONGEST], names, 1, 0.6)
    if close:
        return f"there is no such {what}, did you mean {close[0]}?"
    if not names or len(names) > _MANY:
        return f"there is no such {what}"
    return f"there is no such {what}, expected one of {', '.join(names)}"


_LONGEST = 100
_MANY = 20


def keys_at(model: type[BaseModel], path: Path) -> list[str]:
    """Give the keys that the table at this path may have; none where it is no model's."""
    kind: Any = model
    for part in path:
        kind = _inside(kind, part)
    found = _model_in(kind)
    return [] if found is None else _keys(found)


def field_at(model: type[BaseModel], path: Path) -> FieldInfo | None:
    """Give the field at this path, or None."""
    kind: Any = model
    for part in path[:-1]:
        kind = _inside(kind, part)
    found = _model_in(kind)
    return None if found is None or not path else found.model_fields.get(str(path[-1]))


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _inside(kind: Any, part: str | int) -> Any:
    model = _model_in(kind)
    if model is not None and isinstance(part, str):
        field = model.model_fields.get(part)
        return None if field is None else field.annotation
    for option in bare_types(kind):
        origin, arguments = typing.get_origin(option), typing.get_args(option)
        if origin is dict and isinstance(part, str):
            return arguments[1]
        if origin in {tuple, list, set, frozenset} and isinstance(part, int):
            return arguments[0]
    return None


def _model_in(kind: Any) -> type[BaseModel] | None:
    models = [
        option
        for option in bare_types(kind)
        if isinstance(option, type) and issubclass(option, BaseModel)
    ]
    return models[0] if len(models) == 1 else None


# Sentences


_LIMITS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def _limit(item: Mapping[str, Any], field: FieldInfo | None) -> str:
    word, name = _LIMITS[item["type"]]
    limit = item["ctx"][name]
    shown = f"{limit:g}" if field is None else as_toml(field, limit, quoted=False)
    return f"expected {word} {shown}"


def _plain(sentence: str) -> Callable[[Context], str]:
    return lambda _: sentence


_TRUE = _plain("expected true or false")
_NUMBER = _plain("expected a number")
_WHOLE = _plain("expected a whole number")
_TEXT = _plain('expected a text in quotes, as in "text"')
_ARRAY = _plain('expected an array, as in ["one", "two"]')
_A_TABLE = "expected a table: [name] and its keys, or { key = value }"
_TABLE = _plain(_A_TABLE)
_MODELS = {"Secret": 'expected a secret: { credential = "name" } or { file = "/path" }'}
_TIME = _plain("expected a time with its zone, as in 2026-12-01T06:00:00Z")
_SIZE = _plain('expected a size in bytes or with a unit, as in "256MiB"')
_PATH = _plain('expected a path in quotes, as in "/var/lib/x"')

_SENTENCES: dict[str, Callable[[Context], str]] = {
    "missing": _plain("is missing and has no default"),
    "bool_type": _TRUE,
    "bool_parsing": _TRUE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _plain("expected a finite number"),
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "int_from_float": _WHOLE,
    "string_type": _TEXT,
    "string_too_short": _plain("expected a text that is not empty"),
    "string_pattern_mismatch": lambda context: f"expected a text like {context['pattern']}",
    "too_short": _plain("expected an array that is not empty"),
    "tuple_type": _ARRAY,
    "list_type": _ARRAY,
    "set_type": _ARRAY,
    "frozen_set_type": _ARRAY,
    "dict_type": _TABLE,
    "model_type": lambda context: _MODELS.get(str(context.get("class_name")), _A_TABLE),
    "model_attributes_type": _TABLE,
    "path_type": _PATH,
    "path_not_absolute": _PATH,
    "byte_size": _SIZE,
    "byte_size_unit": _SIZE,
    "timezone_aware": _TIME,
    "datetime_type": _TIME,
    "datetime_parsing": _TIME,
    "datetime_from_date_parsing": _TIME,
    "enum": lambda context: f"expected {_quoted(str(context['expected']))}",
    "literal_error": lambda context: f"expected {_quoted(str(context['expected']))}",
    "value_error": lambda context: f"{context['error']}",
}


def _quoted(text: str) -> str:
    return text.replace("'", '"')


def _as_pydantic_says(message: str) -> str:
    # a kind of error that only a handler's own settings can have
    text = message.removeprefix("Value error, ").removeprefix("Input should be ")
    return f"expected {text}" if text != message else message
