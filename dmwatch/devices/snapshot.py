"""OriginDevice and SnapshotDevice: a device that can be written while its state is kept.

    base = OriginDevice(dm, "base", "/dev/vdb").create()
    before = SnapshotDevice(dm, "before", base, cow="/dev/vdc").create()
    ...                         # write to base: what is overwritten is copied to vdc first
    before.merge()              # base is again as it was; vdc is free

All that writes to what an origin lies on must go through the origin, from before the first snapshot
of it is made until after the last one is gone.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import replace
from typing import Unpack

from dmwatch.devices.below import Below, size_of, word_of
from dmwatch.devices.change import Change
from dmwatch.devices.device import Device, Options
from dmwatch.devices.segment import Segment
from dmwatch.devices.waiting import wait_until
from dmwatch.dm import DeviceMapper
from dmwatch.dm.udev import PUBLIC
from dmwatch.errors import DeviceBusyError, DmwatchError
from dmwatch.ioctl.abi import Flags
from dmwatch.targets import TargetTable, find
from dmwatch.targets.snapshot import (
    SnapshotInvalid,
    SnapshotMergeFailed,
    SnapshotStatus,
    SnapshotStore,
    SnapshotTable,
    SnapshotWorking,
)
from dmwatch.targets.snapshot_merge import SnapshotMergeTable
from dmwatch.targets.snapshot_origin import SnapshotOriginTable
from dmwatch.units import Sectors

CHUNK = Sectors(16)
Merging = SnapshotOriginTable | SnapshotMergeTable


class OriginDevice(Device[Merging]):
    """A device with snapshots, which get a copy of what is overwritten.

    Args:
        dm: where it lives.
        name: see DeviceName.
        below: holds the data.
        options: see Options.

    Attributes:
        below: as above.
        merging: the table of a snapshot that is being merged into it, or None.
    """

    default_visibility = PUBLIC

    def __init__(
        self, dm: DeviceMapper, name: str, below: Below, **options: Unpack[Options]
    ) -> None:
        super().__init__(dm, name, **options)
        self.below = below
        self.merging: SnapshotMergeTable | None = None

    def segments(self) -> tuple[Segment[Merging], ...]:
        """One, as long as the device below."""
        table = self.merging or SnapshotOriginTable(word_of(self.below))
        return (Segment(size_of(self.below), table),)

    def merge_status(self) -> SnapshotStatus | None:
        """How far a merge has come; None where none is under way."""
        (line,) = self.dm.table_status(self.name, flags=Flags.NOFLUSH).lines
        if line.type != SnapshotMergeTable.type:
            return None
        found = find(line.type).status(line.text)
        assert isinstance(found, SnapshotStatus)  # noqa: S101 - its module gives no other
        return found

    def finish_merge(self, *, timeout: float = 600.0) -> None:
        """Wait until what is being merged is merged, then let it be a plain origin again.

        Args:
            timeout: seconds to wait.

        Raises:
            DmwatchError: time is up (it goes on: call this again), or the merge has failed.
        """
        with self.change() as change:
            if not change.dry:
                what = f"the end of the merge into {self.name}"
                wait_until(self._is_merged, what, timeout, because="much was changed since")
            self.merging = None
            self.swap(change)

    def _is_merged(self) -> bool:
        match self.merge_status():
            case SnapshotWorking() as status:
                return status.empty
            case SnapshotMergeFailed() | SnapshotInvalid() as status:
                raise DmwatchError(
                    f"the merge into {self.name} has failed ({status.state})",
                    because="its COW device or the device below has errors",
                    hint="look at the kernel log; what was merged so far stays",
                )
        return True


class SnapshotDevice(Device[SnapshotTable]):
    """A device as it was when this was made. It can be written; the origin does not see that.

    A blank COW device, or one with another chunk, begins a new snapshot; a COW device with a
    persistent store goes on where it was, if nothing was written to the origin meanwhile.

    Args:
        dm: where it lives.
        name: see DeviceName.
        origin: of what. It must be there, and is held up for the moment that this takes.
        cow: takes the differences.
        store: how they are kept.
        chunk: the size of what is copied at once, a power of two.
        features: see SnapshotTable.
        options: see Options.

    Attributes:
        origin: as above.
        cow: as above.
        store: as above.
        chunk: as above.
        features: as above.
    """

    default_visibility = PUBLIC

    def __init__(
        self,
        dm: DeviceMapper,
        name: str,
        origin: OriginDevice,
        *,
        cow: Below,
        store: SnapshotStore = SnapshotStore.PERSISTENT,
        chunk: Sectors = CHUNK,
        features: Iterable[str] = (),
        **options: Unpack[Options],
    ) -> None:
        super().__init__(dm, name, **options)
        self.origin = origin
        self.cow = cow
        self.store = store
        self.chunk = chunk
        self.features = tuple(features)

    def segments(self) -> tuple[Segment[SnapshotTable], ...]:
        """One, as long as the origin."""
        return (Segment(self.origin.size, self._table(SnapshotTable)),)

    def _table(self, kind: type[SnapshotTable]) -> SnapshotTable:
        below, cow = word_of(self.origin.below), word_of(self.cow)
        return kind(below, cow, self.store, self.chunk, self.features)

    def meaning(self, table: TargetTable) -> object:
        """P and PO keep the same; the features count as a set."""
        if not isinstance(table, SnapshotTable):
            return super().meaning(table)
        transient = table.store is SnapshotStore.TRANSIENT
        return replace(
            table,
            store=table.store if transient else SnapshotStore.PERSISTENT,
            features=tuple(sorted(word.lower() for word in table.features)),
        )

    def begin(self, change: Change) -> None:
        """The origin is held up while the snapshot comes to life.

        With its resume it takes the size of the copies anew: whose origin was suspended resumes it.
        """
        known = change.look(self.origin)
        if known and known.suspended:
            change.resume(self)
            return
        change.suspend(self.origin)
        change.resume(self)
        change.resume(self.origin)

    def status(self) -> SnapshotStatus:
        """How much of the COW device is in use. Raises as `statuses`."""
        (found,) = self.statuses()
        assert isinstance(found, SnapshotStatus)  # noqa: S101 - its module gives no other
        return found

    def merge(self, *, wait: bool = True, timeout: float = 600.0) -> None:
        """Make the origin what this snapshot is, with all that was written to the snapshot.

        The origin can be used at once, and reads as the snapshot; this device is gone. There must
        be no other snapshot that is written to while it merges.

        Args:
            wait: until all is merged; else call the origin's `finish_merge` later.
            timeout: seconds to wait.

        Raises:
            DeviceBusyError: the snapshot is open. Nothing was done.
            InvalidTableError: its store is transient.
            DmwatchError: it can't be used any more, or as `finish_merge`.
        """
        with self.change() as change, self.origin.change():
            if not change.dry:
                self._check_merge()
            table = self._table(SnapshotMergeTable)
            assert isinstance(table, SnapshotMergeTable)  # noqa: S101 - as asked for
            self.origin.merging = table
            lines = self.origin.lines()
            # The store is handed over by a snapshot at rest. Nobody has it open, so it may be
            # suspended first; it could not be resumed while the merge is loaded.
            change.suspend(self)
            change.load(self.origin, lines)
            change.resume(self.origin)
            change.remove(self)
        if wait:
            self.origin.finish_merge(timeout=timeout)

    def _check_merge(self) -> None:
        if self.info().open_count:
            because = "it is open: mounted, or another device lies on it"
            raise DeviceBusyError("DEV_REMOVE", self.name, errno.EBUSY, because=because)
        status = self.status()
        if not isinstance(status, SnapshotWorking):
            raise DmwatchError(
                f"{self.name} cannot be merged: its state is {status.state}",
                because="its COW device was full, or had errors",
                hint="take it down: what it kept is lost",
            )
