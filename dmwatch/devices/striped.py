"""StripedDevice: chunks spread over several devices in turn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

from dmwatch.devices.below import Below, size_of, word_of
from dmwatch.devices.device import Device, Options
from dmwatch.devices.segment import Segment
from dmwatch.dm import DeviceMapper
from dmwatch.targets.striped import StripedLeg, StripedStatus, StripedTable
from dmwatch.units import Sectors


class StripedDevice(Device[StripedTable]):
    """Chunks spread over legs in turn.

    Args:
        dm: where it lives.
        name: see DeviceName.
        legs: the lower devices, each used from its first sector.
        chunk: how much lies on a leg before the next one follows.
        leg_length: how much of each leg is used; None: as many whole chunks as all of them have.
        options: see Options.

    Attributes:
        legs: as above.
        chunk: as above.
        leg_length: as above.
    """

    def __init__(
        self,
        dm: DeviceMapper,
        name: str,
        legs: Iterable[Below],
        *,
        chunk: Sectors,
        leg_length: Sectors | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(dm, name, **options)
        self.legs = tuple(legs)
        self.chunk = chunk
        self.leg_length = leg_length

    def segments(self) -> tuple[Segment[StripedTable], ...]:
        """One, over all legs."""
        legs = tuple(StripedLeg(word_of(leg), Sectors(0)) for leg in self.legs)
        return (Segment(self._leg() * len(legs), StripedTable(self.chunk, legs)),)

    def _leg(self) -> Sectors:
        if self.leg_length is not None or not self.legs or not self.chunk:
            return self.leg_length or Sectors(0)
        shortest = min(size_of(leg) for leg in self.legs)
        return shortest - shortest % self.chunk

    def extend(self, by: Sectors) -> None:
        """Use more of each leg; they must be as large already.

        Args:
            by: of each leg, a whole number of chunks.
        """
        with self.change() as change:
            self.leg_length = self._leg() + by
            self.swap(change)

    def status(self) -> StripedStatus:
        """How its legs stand. Raises as `statuses`."""
        (found,) = self.statuses()
        assert isinstance(found, StripedStatus)  # noqa: S101 - its module gives no other
        return found
