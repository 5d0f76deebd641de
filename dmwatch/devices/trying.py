"""DelayDevice and FlakeyDevice: devices that are slow, or fail, on purpose: to try others out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Unpack

from dmwatch.devices.below import Below, size_of, word_of
from dmwatch.devices.device import Device, Options
from dmwatch.devices.segment import Segment
from dmwatch.dm import DeviceMapper
from dmwatch.targets import TargetTable
from dmwatch.targets.delay import DelayPath, DelayStatus, DelayTable
from dmwatch.targets.flakey import FlakeyFault, FlakeyFeature, FlakeyTable
from dmwatch.units import Sectors

_START = Sectors(0)
_ALL_FAIL = (FlakeyFault.ERROR_READS, FlakeyFault.ERROR_WRITES)


class DelayDevice(Device[DelayTable]):
    """Holds I/O back for a time.

    Args:
        dm: where it lives.
        name: see DeviceName.
        below: the device below.
        reads: milliseconds for which reads are held back.
        writes: the same for writes; None: as reads.
        flushes: the same for flushes; None: as writes.
        options: see Options.

    Attributes:
        below: as above.
        reads: as above.
        writes: as above.
        flushes: as above.
    """

    def __init__(
        self,
        dm: DeviceMapper,
        name: str,
        below: Below,
        *,
        reads: int,
        writes: int | None = None,
        flushes: int | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(dm, name, **options)
        self.below = below
        self.reads = reads
        self.writes = writes
        self.flushes = flushes

    def segments(self) -> tuple[Segment[DelayTable], ...]:
        """One, as long as the device below."""
        writes = self.reads if self.writes is None else self.writes
        flushes = writes if self.flushes is None else self.flushes
        device = word_of(self.below)
        paths = (DelayPath(device, _START, delay) for delay in (self.reads, writes, flushes))
        return (Segment(size_of(self.below), DelayTable(*paths)),)

    def meaning(self, table: TargetTable) -> object:
        """A path that is left out is the one before it; the kernel prints what it was given."""
        if not isinstance(table, DelayTable):
            return super().meaning(table)
        writes = table.writes or table.reads
        return replace(table, writes=writes, flushes=table.flushes or writes)

    def set(self, *, reads: int, writes: int | None = None, flushes: int | None = None) -> None:
        """Change how long I/O is held back; see the class."""
        with self.change() as change:
            self.reads, self.writes, self.flushes = reads, writes, flushes
            self.swap(change)

    def status(self) -> DelayStatus:
        """What is held back now. Raises as `statuses`."""
        (found,) = self.statuses()
        assert isinstance(found, DelayStatus)  # noqa: S101 - its module gives no other
        return found


class FlakeyDevice(Device[FlakeyTable]):
    """Works for a time, then fails for a time, and so on.

    Args:
        dm: where it lives.
        name: see DeviceName.
        below: the device below.
        up: seconds for which it works.
        down: seconds for which it does not.
        features: what happens then; none: all reads and writes fail.
        options: see Options.

    Attributes:
        below: as above.
        up: as above.
        down: as above.
        features: as above.
    """

    def __init__(
        self,
        dm: DeviceMapper,
        name: str,
        below: Below,
        *,
        up: int,
        down: int,
        features: Iterable[FlakeyFeature] = (),
        **options: Unpack[Options],
    ) -> None:
        super().__init__(dm, name, **options)
        self.below = below
        self.up = up
        self.down = down
        self.features = tuple(features)

    def segments(self) -> tuple[Segment[FlakeyTable], ...]:
        """One, as long as the device below."""
        table = FlakeyTable(word_of(self.below), _START, self.up, self.down, self.features)
        return (Segment(size_of(self.below), table),)

    def meaning(self, table: TargetTable) -> object:
        """Features count as a set; both ways to say that all fails are one (kernels since 6.12
        print the longer one).
        """
        if not isinstance(table, FlakeyTable):
            return super().meaning(table)
        features = _ALL_FAIL if table.fails_all else table.features
        return table.device, table.start, table.up, table.down, frozenset(features)

    def set(self, *, up: int, down: int, features: Iterable[FlakeyFeature] = ()) -> None:
        """Change when it fails, and how; see the class. Its time begins anew."""
        with self.change() as change:
            self.up, self.down, self.features = up, down, tuple(features)
            self.swap(change)
