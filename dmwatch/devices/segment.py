"""A piece of a device: so many sectors of one target."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from dmwatch.errors import InvalidTableError
from dmwatch.table import TargetLine
from dmwatch.targets import TargetTable
from dmwatch.units import Sectors

T_co = TypeVar("T_co", bound=TargetTable, covariant=True)


@dataclass(frozen=True, slots=True)
class Segment(Generic[T_co]):
    """One line of a table without its start, which follows from those before it.

    Attributes:
        length: of the piece.
        table: what it is.
    """

    length: Sectors
    table: T_co


def lines_of(segments: Iterable[Segment[TargetTable]]) -> tuple[TargetLine, ...]:
    """The table that puts segments one after the other.

    Raises:
        InvalidTableError: there is none, one has no length, or a value breaks a target's rule.
    """
    lines: list[TargetLine] = []
    start = Sectors(0)
    for segment in segments:
        if not segment.length:
            raise InvalidTableError(segment.table.type or "table", "length", "must be 1 or more")
        lines.append(segment.table.line(start, segment.length))
        start += segment.length
    if not lines:
        raise InvalidTableError("table", "lines", "must be one or more")
    return tuple(lines)
