"""Reading what `dmsetup status` and `dmsetup table` print, line by line. Any line gives a value."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dmwatch.errors import DmwatchError
from dmwatch.table import TargetLine
from dmwatch.targets import EmptyStatus, Target, TargetStatus, TargetTable, find

# greedy: a name ends at the last ": " before two numbers and a type
_LINE = re.compile(
    r"(?:(?P<name>.*): )?(?P<start>[0-9]{1,20}) (?P<length>[0-9]{1,20}) (?P<type>\S{1,15})"
    r"(?: (?P<text>.*))?"
)
_NO_TABLE = re.compile(r"(?P<name>.+): ?")
NO_DEVICES = "No devices found"


@dataclass(frozen=True, slots=True)
class Read:
    """One line that was read.

    Attributes:
        name: of the device, or None where the line has none.
        line: start, length, type and text, or None for a device without a table and for a
            line that is none.
        status: what the text means as a status, or None.
        table: what it means as a table, or None.
        error: why it could not be read, as a sentence, or None.
    """

    name: str | None = None
    line: TargetLine | None = None
    status: TargetStatus | None = None
    table: TargetTable | None = None
    error: str | None = None


def read_line(text: str, *, as_table: bool = False) -> Read | None:
    """Read one line; None for a blank one.

    Args:
        text: the line.
        as_table: it comes from `dmsetup table`.
    """
    text = text.rstrip("\r\n")
    if not text.strip() or text.strip() == NO_DEVICES:
        return None
    match = _LINE.fullmatch(text.rstrip()) or _LINE.fullmatch(text)
    if match is None:
        without = _NO_TABLE.fullmatch(text)
        if without:
            return Read(without["name"])
        return Read(error="this is no line of `dmsetup status`: start, length and type are missing")
    try:
        line = TargetLine(
            int(match["start"]), int(match["length"]), match["type"], match["text"] or ""
        )
    except DmwatchError as error:
        return Read(match["name"], error=str(error))
    return _interpret(match["name"], line, as_table=as_table)


def _interpret(name: str | None, line: TargetLine, *, as_table: bool) -> Read:
    target = find(line.type)
    if as_table:
        table, error = _table(target, line.text)
        return Read(name, line, table=table, error=error)
    status, error = _status(target, line.text)
    if error is None and not _looks_like_a_table(status):
        return Read(name, line, status=status)
    table, table_error = _table(target, line.text)
    if table is not None:
        return Read(name, line, table=table)
    if target.keyed:
        # words that a status does not have could be a key: say where the table went wrong, no more
        return Read(name, line, error=error or table_error)
    return Read(name, line, status=status, error=error)


def _looks_like_a_table(status: TargetStatus | None) -> bool:
    # a target without a status has nothing to say: words there are those of a table
    return isinstance(status, EmptyStatus) and bool(status.extra)


def _status(target: Target, text: str) -> tuple[TargetStatus | None, str | None]:
    try:
        return target.status(text), None
    except DmwatchError as error:
        return None, str(error)


def _table(target: Target, text: str) -> tuple[TargetTable | None, str | None]:
    try:
        return target.table(text), None
    except DmwatchError as error:
        return None, str(error)
