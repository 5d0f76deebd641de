"""MirrorDevice: copies kept alike by device-mapper itself, as `pvmove` uses it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Unpack

from dmwatch.devices.below import Below, size_of, word_of
from dmwatch.devices.device import Device, Options
from dmwatch.devices.segment import Segment
from dmwatch.devices.waiting import wait_until
from dmwatch.dm import DeviceMapper
from dmwatch.errors import DmwatchError
from dmwatch.targets import TargetTable
from dmwatch.targets.mirror import (
    CoreLog,
    DiskLog,
    MirrorHealth,
    MirrorLeg,
    MirrorStatus,
    MirrorSync,
    MirrorTable,
)
from dmwatch.units import Sectors

REGION = Sectors(1024)


class MirrorDevice(Device[MirrorTable]):
    """Copies that are kept alike.

    Args:
        dm: where it lives.
        name: see DeviceName.
        legs: 2 to 9, each used from its first sector; what the first one holds is copied.
        log: keeps what is in sync; None: it is in memory, and all is copied after each activation.
        region_size: what is copied at once, a power of two.
        sync: what is said of the legs when it is made; None: what the log says.
        handle_errors: a leg that fails is left out; else its errors are ignored.
        options: see Options.

    Attributes:
        legs: as above.
        log: as above.
        region_size: as above.
        sync: as above.
        handle_errors: as above.
    """

    def __init__(
        self,
        dm: DeviceMapper,
        name: str,
        legs: Iterable[Below],
        *,
        log: Below | None = None,
        region_size: Sectors = REGION,
        sync: MirrorSync | None = None,
        handle_errors: bool = True,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(dm, name, **options)
        self.legs = tuple(legs)
        self.log = log
        self.region_size = region_size
        self.sync = sync
        self.handle_errors = handle_errors

    def segments(self) -> tuple[Segment[MirrorTable], ...]:
        """One, as long as the shortest leg."""
        legs = tuple(MirrorLeg(word_of(leg), Sectors(0)) for leg in self.legs)
        features = ("handle_errors",) if self.handle_errors else ()
        length = min((size_of(leg) for leg in self.legs), default=Sectors(0))
        return (Segment(length, MirrorTable(self._log(), legs, features)),)

    def _log(self) -> CoreLog | DiskLog:
        if self.log is None:
            return CoreLog(self.region_size, self.sync)
        return DiskLog(word_of(self.log), self.region_size, self.sync)

    def meaning(self, table: TargetTable) -> object:
        """Legs and log; what is said about the sync counts only when it is made."""
        if not isinstance(table, MirrorTable) or not isinstance(table.log, CoreLog | DiskLog):
            return super().meaning(table)
        return replace(table, log=replace(table.log, sync=None))

    def status(self) -> MirrorStatus:
        """How its legs stand, and what is in sync. Raises as `statuses`."""
        (found,) = self.statuses()
        assert isinstance(found, MirrorStatus)  # noqa: S101 - its module gives no other
        return found

    def wait_synced(self, *, timeout: float = 3600.0) -> None:
        """Wait until the legs are alike.

        Args:
            timeout: seconds.

        Raises:
            DmwatchError: time is up, or a leg has failed.
        """
        wait_until(self._is_synced, f"the sync of {self.name}", timeout, because="it is large")

    def _is_synced(self) -> bool:
        status = self.status()
        failed = [str(leg.device) for leg in status.legs if leg.health is not MirrorHealth.ALIVE]
        if failed:
            raise DmwatchError(
                f"{self.name} cannot be synced: {', '.join(failed)} has failed",
                because="that device had errors",
                hint="reload it without that leg",
            )
        return status.in_sync == status.regions
