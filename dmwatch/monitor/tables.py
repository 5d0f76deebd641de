"""What changed between two tables of a device: types, sizes, and what they map to. Never text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dmwatch.monitor.interpreting import LineSeen
from dmwatch.names import printable
from dmwatch.severity import Severity
from dmwatch.targets import Moment

Lines = tuple[LineSeen, ...]


def changes(before: Lines, after: Lines) -> Iterator[tuple[Moment, Mapping[str, Any]]]:
    """A swapped table, and another size; each with the data of its event."""
    old, new = plain_table(before), plain_table(after)
    if old != new or _swapped(before, after):
        summary = f"the table was changed: {kinds(before)} -> {kinds(after)}"
        moment = Moment("device.table-changed", Severity.INFO, summary)
        yield moment, {"before": old, "after": new}
    size, new_size = _size(before), _size(after)
    if size and new_size and size != new_size:
        summary = f"the device was resized from {size} to {new_size} sectors"
        moment = Moment("device.resized", Severity.INFO, summary)
        yield moment, {"before": size, "after": new_size}


def plain_table(lines: Lines | None) -> list[dict[str, object]]:
    """The shape of a table as an event carries it."""
    return [
        {
            "start": int(line.seen.start),
            "length": int(line.seen.length),
            "type": printable(line.seen.type),
        }
        for line in lines or ()
    ]


def plain_status(lines: Lines | None) -> list[dict[str, object]] | None:
    """What each line reports, as an event carries it."""
    if lines is None:
        return None
    shown = zip(plain_table(lines), lines, strict=True)
    return [{**shape, "status": printable(line.text)} for shape, line in shown]


def kinds(lines: Lines | None) -> str:
    """The target types for people."""
    return ", ".join(dict.fromkeys(printable(line.seen.type) for line in lines or ())) or "none"


def texts(lines: Lines | None) -> str:
    """What the lines report, for people."""
    shown = (f"{line.seen.type} {line.text}".strip() for line in lines or ())
    return " | ".join(shown)


def _swapped(before: Lines, after: Lines) -> bool:
    """Another table of the same shape, where both were read."""
    pairs = [(_lasting(old), _lasting(new)) for old, new in zip(before, after, strict=False)]
    return any(old is not None and new is not None and old != new for old, new in pairs)


def _lasting(line: LineSeen) -> object:
    return line.seen.table.lasting() if line.seen.table else None


def _size(lines: Lines) -> int:
    return sum(int(line.seen.length) for line in lines)
