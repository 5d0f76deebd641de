"""Events as dmwatch would tell them, made up: for tests of handlers, and for `test-handler`."""

from __future__ import annotations

import types
import typing
from copy import deepcopy
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from dmwatch.errors import InvalidValueError
from dmwatch.events import DeviceRef, Event, Severity, State
from dmwatch.monitor.catalogue import EventType, event_types
from dmwatch.names import DeviceName, DeviceNumber
from dmwatch.targets import TYPES

_SIMPLE = {bool: False, int: 1, float: 1.0, str: "test"}
_sequence = iter(range(1, 1 << 62))


def make_event(type_: str = "thin-pool.data-usage", **more: Any) -> Event:
    """Make an event of a type, with everything that an event of this type has.

    Args:
        type_: of the catalogue: `raid.leg-failed`, `device.added`, ...
        more: fields of Event that shall be otherwise, as in `severity="critical"`.

    Raises:
        InvalidValueError: there is no such type.
    """
    row = event_types().get(type_)
    if row is None:
        raise InvalidValueError(
            f"there is no event of type {type_!r}", hint="schema/events.json has all of them"
        )
    number = next(_sequence)
    target = type_.partition(".")[0]
    made: dict[str, Any] = {
        "id": f"test-{number}",
        "sequence": number,
        "time": datetime.now(UTC),
        "host": "testhost",
        "boot_id": "00000000-0000-4000-8000-000000000000",
        "type": type_,
        "state": State.RAISED if row.stands else None,
        "severity": Severity.ERROR,
        "device": None if target == "dmwatch" else make_device(),
        "target": target if target in TYPES else None,
        "event_nr": 1,
        "summary": f"vg/test: made up by a test, as if it were {type_}",
        "data": deepcopy(_data(row)),
    }
    return Event.model_validate(made | more)


def make_device(name: str = "vg-test", uuid: str | None = "LVM-test") -> DeviceRef:
    """Make the description of a device, with the number 254:0."""
    return DeviceRef.of(DeviceName(name), uuid, DeviceNumber(254, 0), 1)


@cache
def _data(row: EventType) -> dict[str, Any]:
    plain: dict[str, Any] = TypeAdapter(row.data).dump_python(_example(row.data), mode="json")
    return plain


def _example(kind: Any) -> Any:
    """A value of a type: of a dataclass one whose fields are examples."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in {typing.Union, types.UnionType}:
        return None if type(None) in arguments else _example(arguments[0])
    if origin is typing.Annotated:
        return _example(arguments[0])
    if origin is typing.Literal:
        return arguments[0]
    if is_dataclass(kind) and isinstance(kind, type):
        return _of_dataclass(kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next(iter(kind))
    return _SIMPLE[kind] if kind in _SIMPLE else (origin or kind)()


def _of_dataclass(kind: type) -> Any:
    hints = typing.get_type_hints(kind, include_extras=True)
    given = {
        item.name: _example(hints[item.name])
        for item in fields(kind)
        if item.default is MISSING and item.default_factory is MISSING
    }
    return kind(**given)
