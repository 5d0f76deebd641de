"""WritecacheDevice: writes go to a fast device first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Unpack

from dmwatch.devices.below import Below, size_of, word_of
from dmwatch.devices.device import Device, Options
from dmwatch.devices.linear import LinearDevice
from dmwatch.devices.segment import Segment
from dmwatch.devices.waiting import wait_until
from dmwatch.dm import DeviceMapper
from dmwatch.dm.udev import PUBLIC
from dmwatch.errors import DmwatchError
from dmwatch.targets import TargetTable
from dmwatch.targets.writecache import (
    Cleaner,
    Flush,
    WritecacheMedium,
    WritecacheOption,
    WritecacheStatus,
    WritecacheTable,
)
from dmwatch.units import Bytes

BLOCK = Bytes(4096)


class WritecacheDevice(Device[WritecacheTable]):
    """Writes go to a fast device first. It is as large as the slow one.

    A blank fast device becomes a new, empty cache. One that was taken down is set up with the same
    two devices; the slow one alone is not up to date: see `detach`.

    Args:
        dm: where it lives.
        name: see DeviceName.
        origin: the slow device.
        cache: the fast device.
        medium: what the fast device is.
        block_size: see WritecacheTable. Whoever uses the device must not use smaller blocks: a file
            system with blocks of 1024 bytes cannot be mounted with one of 4096.
        features: see WritecacheTable.options.
        options: see Options.

    Attributes:
        origin: as above.
        cache: as above.
        medium: as above.
        block_size: as above.
        features: as above.
    """

    default_visibility = PUBLIC

    def __init__(
        self,
        dm: DeviceMapper,
        name: str,
        *,
        origin: Below,
        cache: Below,
        medium: WritecacheMedium = WritecacheMedium.SSD,
        block_size: Bytes = BLOCK,
        features: Iterable[WritecacheOption] = (),
        **options: Unpack[Options],
    ) -> None:
        super().__init__(dm, name, **options)
        self.origin = origin
        self.cache = cache
        self.medium = medium
        self.block_size = block_size
        self.features = tuple(features)

    def segments(self) -> tuple[Segment[WritecacheTable], ...]:
        """One, as long as the origin."""
        origin, cache = word_of(self.origin), word_of(self.cache)
        table = WritecacheTable(self.medium, origin, cache, self.block_size, self.features)
        return (Segment(size_of(self.origin), table),)

    def meaning(self, table: TargetTable) -> object:
        """What is cached where; the options only say how fast it goes, but for the first sector."""
        if not isinstance(table, WritecacheTable):
            return super().meaning(table)
        start = (o for o in table.options if o.name.lower() == "start_sector" and o.value)
        return replace(table, options=tuple(start))

    def status(self) -> WritecacheStatus:
        """How the cache does. Raises as `statuses`."""
        (found,) = self.statuses()
        assert isinstance(found, WritecacheStatus)  # noqa: S101 - its module gives no other
        return found

    def flush(self) -> None:
        """Write all that the cache holds to the origin; this returns when that is done.

        Raises:
            DmwatchError: the cache has failed.
        """
        with self.change() as change:
            change.message(self, Flush())
            if not change.dry:
                self._refuse_failed()

    def detach(self, *, timeout: float = 600.0) -> LinearDevice:
        """Write all that the cache holds to the origin, and put the origin in the cache's place.

        Name, uuid and number stay, and so does what lies on top, which can be in use.

        Args:
            timeout: seconds that the writing may take.

        Returns:
            the device as it is now; this object is of no use any more.

        Raises:
            DmwatchError: the cache has failed, or time is up. It is in place still, and goes on
                writing back until `reload`.
        """
        bare = LinearDevice(
            self.dm,
            self.name,
            self.origin,
            uuid=self.uuid,
            read_only=self.read_only,
            visibility=self.visibility,
            udev=self._udev,
        )
        with self.change() as change:
            change.message(self, Cleaner())
            if not change.dry:
                what = f"the writing back of {self.name}"
                wait_until(self._is_clean, what, timeout, because="the origin is slow")
            bare.swap(change)
        return bare

    def _is_clean(self) -> bool:
        self._refuse_failed()
        status = self.status()
        return status.free == status.blocks

    def _refuse_failed(self) -> None:
        if self.status().error:
            raise DmwatchError(
                f"{self.name} cannot be written back: the cache has failed",
                because="one of its devices had errors",
                hint="look at the kernel log",
            )
