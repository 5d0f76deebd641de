"""LinearDevice: ranges of other devices, one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Unpack

from dmwatch.devices.below import Below, size_of, word_of
from dmwatch.devices.device import Device, Options
from dmwatch.devices.segment import Segment
from dmwatch.dm import DeviceMapper
from dmwatch.targets.linear import LinearTable
from dmwatch.units import Sectors


@dataclass(frozen=True, slots=True)
class Range:
    """A range of a lower device.

    Attributes:
        below: the lower device.
        length: of the range; None: from `start` to the end of what lies below.
        start: its first sector there.
    """

    below: Below
    length: Sectors | None = None
    start: Sectors = Sectors(0)  # noqa: RUF009 - it is immutable

    def segment(self) -> Segment[LinearTable]:
        """The piece of a table that it makes."""
        length = size_of(self.below) - self.start if self.length is None else self.length
        return Segment(length, LinearTable(word_of(self.below), self.start))


class LinearDevice(Device[LinearTable]):
    """Ranges of other devices, one after the other.

    Args:
        dm: where it lives.
        name: see DeviceName.
        ranges: in order; a lower device alone stands for all of it.
        options: see Options.

    Attributes:
        ranges: as above.
    """

    def __init__(
        self,
        dm: DeviceMapper,
        name: str,
        ranges: Iterable[Range] | Below,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(dm, name, **options)
        self.ranges = (
            tuple(ranges)
            if isinstance(ranges, Iterable) and not isinstance(ranges, str)
            else (Range(ranges),)
        )

    def segments(self) -> tuple[Segment[LinearTable], ...]:
        """A piece for each range."""
        return tuple(piece.segment() for piece in self.ranges)

    def replace(self, ranges: Iterable[Range]) -> None:
        """Make it of other ranges; what it holds is what lies there.

        Raises:
            CommandError: the kernel refuses. It is as it was.
        """
        with self.change() as change:
            self.ranges = tuple(ranges)
            self.swap(change)

    def extend(self, *ranges: Range) -> None:
        """Add ranges at its end. What lies on top has to be reloaded to see it."""
        self.replace((*self.ranges, *ranges))
