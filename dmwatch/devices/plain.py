"""Devices of any table, and of the plainest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar, Unpack

from dmwatch.devices.device import Device, Options
from dmwatch.devices.segment import Segment
from dmwatch.dm import DeviceMapper
from dmwatch.table import TargetLine
from dmwatch.targets import TargetTable, find
from dmwatch.targets.error import ErrorTable
from dmwatch.targets.zero import ZeroTable
from dmwatch.units import Sectors

T = TypeVar("T", bound=TargetTable)


@dataclass(frozen=True, slots=True)
class RawTable(TargetTable):
    """The table of a target that dmwatch does not know: text, sent as it is.

    Attributes:
        kind: the target type.
        text: of the table. `repr` does not show it: it may hold a key.
    """

    kind: str
    text: str = field(default="", repr=False)

    def format(self) -> str:
        """The text, unchanged."""
        return self.text

    def line(self, start: Sectors | int, length: Sectors | int) -> TargetLine:
        """A line of a table with this text.

        Raises:
            InvalidNameError: for an impossible type.
        """
        return TargetLine(int(start), int(length), self.kind, self.text)


class TableDevice(Device[T], Generic[T]):
    """A device of any table, typed or not, of one target or several.

    Args:
        dm: where it lives.
        name: see DeviceName.
        pieces: in order.
        options: see Options.
    """

    def __init__(
        self,
        dm: DeviceMapper,
        name: str,
        pieces: Iterable[Segment[T]],
        **options: Unpack[Options],
    ) -> None:
        super().__init__(dm, name, **options)
        self.pieces = tuple(pieces)

    @classmethod
    def of_lines(
        cls, dm: DeviceMapper, name: str, lines: Iterable[TargetLine], **options: Unpack[Options]
    ) -> TableDevice[TargetTable]:
        """A device of lines as text; those of unknown targets too.

        Raises:
            TableParseError: a line of a known target cannot be read.
        """
        return TableDevice(dm, name, map(segment_of, lines), **options)

    def segments(self) -> tuple[Segment[T], ...]:
        """The pieces."""
        return self.pieces

    def replace(self, pieces: Iterable[Segment[T]]) -> None:
        """Make it of other pieces.

        Raises:
            CommandError: the kernel refuses. It is as it was.
        """
        with self.change() as change:
            self.pieces = tuple(pieces)
            self.swap(change)

    def extend(self, *pieces: Segment[T]) -> None:
        """Add pieces at its end."""
        self.replace((*self.pieces, *pieces))


def segment_of(line: TargetLine) -> Segment[TargetTable]:
    """A line as a segment, typed; its start is left out.

    Raises:
        TableParseError: it cannot be read.
    """
    known = find(line.type)
    if known.since:
        return Segment(Sectors(line.length), known.table(line.text))
    return Segment(Sectors(line.length), RawTable(line.type, line.text))


class ZeroDevice(Device[ZeroTable]):
    """Reads give zeros, writes vanish."""

    def __init__(
        self, dm: DeviceMapper, name: str, size: Sectors, **options: Unpack[Options]
    ) -> None:
        super().__init__(dm, name, **options)
        self.length = size

    def segments(self) -> tuple[Segment[ZeroTable], ...]:
        """One of zeros."""
        return (Segment(self.length, ZeroTable()),)

    def extend(self, by: Sectors) -> None:
        """Make it larger."""
        with self.change() as change:
            self.length += by
            self.swap(change)


class ErrorDevice(Device[ErrorTable]):
    """Every read and write fails."""

    def __init__(
        self, dm: DeviceMapper, name: str, size: Sectors, **options: Unpack[Options]
    ) -> None:
        super().__init__(dm, name, **options)
        self.length = size

    def segments(self) -> tuple[Segment[ErrorTable], ...]:
        """One of errors."""
        return (Segment(self.length, ErrorTable()),)

    def extend(self, by: Sectors) -> None:
        """Make it larger."""
        with self.change() as change:
            self.length += by
            self.swap(change)
