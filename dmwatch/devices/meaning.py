"""Equality of tables by meaning: what is the same to the target is the same here.

Texts differ without a reason that counts: a path for a number, a blank at the end, `default` for
`smq`, features in another order, options that a target prints only for a while. So tables are
compared as values, each target's own way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from dmwatch.devices.below import number_of
from dmwatch.names import DeviceNumber
from dmwatch.table import TargetLine
from dmwatch.targets import Secret, TargetTable, find, plain

_WHOLE = DeviceNumber | Secret
"""Values that are not taken apart."""
Meaning = Callable[[TargetTable], object]


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two tables differ.

    Attributes:
        field: `data`, or `line 2: start` in tables of several lines.
        wanted: as text; "" where it could be a key.
        found: as text; "" where it could be a key.
    """

    field: str
    wanted: str
    found: str


def typed(line: TargetLine) -> TargetTable:
    """The table of a line as a value, devices by number.

    Raises:
        TableParseError: where it cannot be read.
    """
    found = _by_number(find(line.type).table(line.text))
    assert isinstance(found, TargetTable)  # noqa: S101 - what goes in comes out
    return found


def lasting(table: TargetTable) -> object:
    """What of a table counts, where its device has no rule of its own."""
    found = table.lasting()
    return table if found is None else found


def differences(
    wanted: Sequence[TargetLine], found: Sequence[TargetLine], meaning: Meaning = lasting
) -> list[Difference]:
    """Where two tables differ in meaning; none where they are equal.

    Raises:
        TableParseError: where a table cannot be read.
    """
    if len(wanted) != len(found):
        return [Difference("number of lines", str(len(wanted)), str(len(found)))]
    several = len(wanted) > 1
    return [
        replace(difference, field=f"line {i + 1}: {difference.field}") if several else difference
        for i, (ours, theirs) in enumerate(zip(wanted, found, strict=True))
        for difference in _in_line(ours, theirs, meaning)
    ]


def _in_line(wanted: TargetLine, found: TargetLine, meaning: Meaning) -> Iterator[Difference]:
    for name in ("start", "length", "type"):
        ours, theirs = getattr(wanted, name), getattr(found, name)
        if ours != theirs:
            yield Difference(name, str(ours), str(theirs))
    if wanted.type != found.type:
        return
    ours, theirs = typed(wanted), typed(found)
    means, is_ = meaning(ours), meaning(theirs)
    if means == is_:
        return
    pair = (means, is_) if is_dataclass(means) and is_dataclass(is_) else (ours, theirs)
    for difference in _walk(*pair, name="table"):
        yield Difference(difference.field, "", "") if find(found.type).keyed else difference


def _walk(wanted: Any, found: Any, name: str) -> Iterator[Difference]:
    if wanted == found:
        return
    if type(wanted) is type(found) and is_dataclass(wanted) and not isinstance(wanted, _WHOLE):
        for spec in fields(wanted):
            if spec.compare:
                yield from _walk(getattr(wanted, spec.name), getattr(found, spec.name), spec.name)
    elif isinstance(wanted, tuple) and isinstance(found, tuple) and len(wanted) == len(found):
        for i, (ours, theirs) in enumerate(zip(wanted, found, strict=True)):
            for difference in _walk(ours, theirs, f"{name}[{i}]"):
                inner = difference.field
                shown = inner if inner.startswith(name) else f"{name}[{i}].{inner}"
                yield replace(difference, field=shown)
    else:
        yield Difference(name, str(plain(wanted)), str(plain(found)))


def _by_number(value: Any) -> Any:
    """A value with every path of a block device replaced by its number."""
    if isinstance(value, str) and type(value) is str:
        return (number_of(value) or value) if value.startswith("/") else value
    if isinstance(value, tuple):
        return tuple(_by_number(item) for item in value)
    if not is_dataclass(value) or isinstance(value, type):
        return value
    changed = {
        spec.name: new
        for spec in fields(value)
        if spec.init and (new := _by_number(old := getattr(value, spec.name))) is not old
    }
    return replace(value, **changed) if changed else value
