"""ThinPool: space that thin volumes take as they are written."""

from __future__ import annotations

import errno
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Unpack

from dmwatch.devices import lower
from dmwatch.devices.below import Below, size_of, word_of
from dmwatch.devices.carrying import AT_ONCE, PATIENCE
from dmwatch.devices.change import Change
from dmwatch.devices.device import Device, Options
from dmwatch.devices.linear import Range
from dmwatch.devices.segment import Segment
from dmwatch.dm import DeviceMapper
from dmwatch.errors import CommandError
from dmwatch.targets import TargetMessage, TargetTable
from dmwatch.targets.thin_pool import (
    DeleteThin,
    ReleaseMetadataSnap,
    ReserveMetadataSnap,
    SetTransactionId,
    ThinPoolStatus,
    ThinPoolTable,
    ThinPoolWorking,
)
from dmwatch.targets.thin_pool.messages import THIN_ID_MAX
from dmwatch.units import DataBlocks, Sectors

_IN_ORDER, _AT_RANDOM = 64, 64


class ThinPool(Device[ThinPoolTable]):
    """Space that thin volumes take as they are written. Its length is that of its data device.

    Blank metadata (zeros in its first 4 KiB) becomes a new pool; else the pool is the one that its
    metadata describes: see `lower.blank`.

    setup adopts a pool with another low water mark or other features, and brings these in line.

    Args:
        dm: where it lives.
        name: see DeviceName.
        metadata: the metadata device; the kernel uses at most 33,292,800 sectors of it.
        data: the data device.
        block_size: 128 to 2,097,152 sectors, a multiple of 128; fixed for the pool's life.
        low_water: an event is raised when no more data blocks than this are free.
        features: see ThinPoolTable; without any, writes that find no space wait for it.
        options: see Options.

    Attributes:
        metadata: as above.
        data: as above.
        block_size: as above.
        low_water: as above.
        features: as above.
    """

    # a flush could wait for space that only the new table brings
    swap_flags = AT_ONCE
    adjustable = frozenset({"low_water", "features"})

    def __init__(
        self,
        dm: DeviceMapper,
        name: str,
        *,
        metadata: Below,
        data: Below,
        block_size: Sectors,
        low_water: DataBlocks = DataBlocks(0),  # noqa: B008 - it is immutable
        features: Iterable[str] = (),
        **options: Unpack[Options],
    ) -> None:
        super().__init__(dm, name, **options)
        self.metadata = metadata
        self.data = data
        self.block_size = block_size
        self.low_water = low_water
        self.features = tuple(features)
        self._next_id = 0

    def segments(self) -> tuple[Segment[ThinPoolTable], ...]:
        """One, as long as the data device."""
        table = ThinPoolTable(
            metadata=word_of(self.metadata),
            data=word_of(self.data),
            block_size=self.block_size,
            low_water=self.low_water,
            features=self.features,
        )
        return (Segment(size_of(self.data), table),)

    def meaning(self, table: TargetTable) -> object:
        """Features count as a set."""
        if not isinstance(table, ThinPoolTable):
            return super().meaning(table)
        features = sorted({feature.lower() for feature in table.features})
        return replace(table, features=tuple(features))

    def status(self) -> ThinPoolStatus:
        """How it stands. Nothing is committed. Raises as `statuses`."""
        (found,) = self.statuses()
        assert isinstance(found, ThinPoolStatus)  # noqa: S101 - its module gives no other
        return found

    # Its size, mark and features

    def extend(self, *, data: Iterable[Range] = (), metadata: Iterable[Range] = ()) -> None:
        """Add ranges to its devices, which must be LinearDevices; it is swapped once, last.

        A pool that has grown cannot shrink again: within a larger change that fails later, it and
        its devices stay as they are then.

        Raises:
            CommandError: the kernel refuses. All three are as they were.
        """
        with self.change() as change:
            lower.extend("metadata", self.metadata, metadata)
            lower.extend("data", self.data, data)
            self.swap(change)
            change.settle(self.name, *lower.names((self.metadata, self.data)))

    def set_low_water(self, blocks: DataBlocks) -> None:
        """Have an event raised when no more data blocks than this are free.

        It is raised once after each resume, when a block is taken: look at `status` as well.
        """
        with self.change() as change:
            self.low_water = blocks
            self.swap(change)

    def change_features(self, *, add: Iterable[str] = (), drop: Iterable[str] = ()) -> None:
        """Add and drop features of those that ThinPoolTable knows; nothing is done if it is so."""
        added, dropped = tuple(add), set(drop)
        kept = [feature for feature in self.features if feature not in dropped]
        wanted = tuple(dict.fromkeys([*kept, *added]))
        if wanted == self.features:
            return
        with self.change() as change:
            self.features = wanted
            self.swap(change)

    # What its owner keeps in it

    def set_transaction_id(self, new: int, *, current: int | None = None) -> None:
        """Count on the owner's transaction id.

        Args:
            new: what it shall be.
            current: what it must be now, else the kernel refuses; None: whatever it is.

        Raises:
            CommandError: it is not what it must be, or the pool has failed.
        """
        with self.change() as change:
            now = self.transaction_id(change) if current is None else current
            back = SetTransactionId(new, now)
            change.message(self, SetTransactionId(now, new), undo=back)

    def transaction_id(self, change: Change | None = None) -> int:
        """The owner's transaction id; 0 where the pool does not tell it."""
        if change is not None and change.dry and not self.exists():
            return 0
        status = self.status()
        return status.transaction_id if isinstance(status, ThinPoolWorking) else 0

    def reserve_metadata_snapshot(self) -> None:
        """Hold a copy of the metadata's root, for thin_dump -m and the like; one at a time."""
        with self.change() as change:
            change.message(self, ReserveMetadataSnap(), undo=ReleaseMetadataSnap())

    def release_metadata_snapshot(self) -> None:
        """Drop that copy."""
        with self.change() as change:
            change.message(self, ReleaseMetadataSnap(), undo=ReserveMetadataSnap())

    # Ids

    def take_id(
        self, change: Change, wanted: int | None, message: Callable[[int], TargetMessage]
    ) -> int:
        """Take a thin id by a message that makes a volume of it; undone by deleting it.

        Args:
            change: of which this is a step.
            wanted: the id; None: one that is free.
            message: what to say for an id.

        Raises:
            CommandError: EEXIST: the id is in use.
        """
        change.keep(self)
        for thin_id in self._candidates() if wanted is None else iter((wanted,)):
            try:
                change.message(self, message(thin_id), undo=DeleteThin(thin_id))
            except CommandError as error:
                if error.errno != errno.EEXIST:
                    raise
                refused = error
            else:
                self._next_id = (thin_id + 1) & THIN_ID_MAX
                return thin_id
        raise CommandError(
            refused.command,
            refused.device,
            refused.errno or errno.EEXIST,
            request=refused.request,
            reply=refused.reply,
            because="the thin id is in use" if wanted is not None else "no free thin id was found",
            hint="let the pool choose one (thin_id=None)" if wanted is not None else "choose one",
        ) from refused

    def _candidates(self) -> Iterator[int]:
        """Ids to try: on from the last one, then any."""
        for offset in range(_IN_ORDER):
            yield (self._next_id + offset) & THIN_ID_MAX
        for _ in range(_AT_RANDOM):
            yield secrets.randbelow(THIN_ID_MAX + 1)

    def delete_id(self, thin_id: int) -> None:
        """Delete a volume that is not active, for ever: this cannot be undone.

        Raises:
            CommandError: ENODATA: there is none of that id; EBUSY: it is active.
        """
        self.send(DeleteThin(thin_id))

    def teardown(self, *, patience: float = PATIENCE, below: bool = False) -> None:
        """Remove it; what it holds stays in its devices.

        Args:
            patience: see Device.teardown.
            below: then its data and metadata devices too, where they are devices of ours.
        """
        with self.change():
            super().teardown(patience=patience)
            if below:
                lower.teardown((self.data, self.metadata))
