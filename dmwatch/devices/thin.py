"""ThinDevice: a volume in a pool."""

from __future__ import annotations

import errno
from typing import Self, Unpack

from dmwatch.devices.below import Below, word_of
from dmwatch.devices.carrying import PATIENCE
from dmwatch.devices.change import Change
from dmwatch.devices.device import Device, Options
from dmwatch.devices.segment import Segment
from dmwatch.devices.thin_pool import ThinPool
from dmwatch.dm import DeviceMapper
from dmwatch.dm.udev import PUBLIC
from dmwatch.errors import DeviceBusyError, InvalidValueError
from dmwatch.ioctl.abi import Command
from dmwatch.targets.thin import ThinStatus, ThinTable
from dmwatch.targets.thin_pool import CreateSnap, CreateThin, DeleteThin
from dmwatch.units import Sectors


class ThinDevice(Device[ThinTable]):
    """A volume in a pool: as large as it says, with blocks of the pool where it was written.

    `create` takes an id in the pool and makes the device; `setup` makes that of an id that the pool
    has; `teardown` removes the device and leaves the volume in the pool; `delete` ends both.

    Args:
        dm: where it lives.
        name: see DeviceName.
        pool: which it takes its blocks from.
        size: of the volume; it may be more than the pool has.
        thin_id: 0 to 16,777,215; None: `create` takes one that is free.
        origin: a device outside the pool that is read where nothing was written, and must not be
            written any more; None for zeros.
        options: see Options.

    Attributes:
        pool: as above.
        length: the size.
        thin_id: as above.
        origin: as above.
    """

    default_visibility = PUBLIC

    def __init__(
        self,
        dm: DeviceMapper,
        name: str,
        *,
        pool: ThinPool,
        size: Sectors,
        thin_id: int | None = None,
        origin: Below | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(dm, name, **options)
        self.pool = pool
        self.length = size
        self.thin_id = thin_id
        self.origin = origin

    def segments(self) -> tuple[Segment[ThinTable], ...]:
        """One, of the volume.

        Raises:
            InvalidValueError: it has no id yet.
        """
        if self.thin_id is None:
            raise InvalidValueError(
                f"{self.name} has no thin id yet", hint="give thin_id, or call create()"
            )
        origin = None if self.origin is None else word_of(self.origin)
        return (Segment(self.length, ThinTable(word_of(self.pool), self.thin_id, origin)),)

    @property
    def size(self) -> Sectors:
        """How large it shall be."""
        return self.length

    def status(self) -> ThinStatus:
        """How it stands. Raises as `statuses`."""
        (found,) = self.statuses()
        assert isinstance(found, ThinStatus)  # noqa: S101 - its module gives no other
        return found

    def create(self) -> Self:
        """Take an id in the pool, and make the device. It is empty, or shows its external origin.

        Raises:
            DeviceBusyError: the name or the uuid is taken. The pool is as it was.
            CommandError: the kernel refuses: EEXIST: the id is in use. The pool is as it was.
        """
        with self.change() as change:
            self._must_be_new(change)
            self.thin_id = self.pool.take_id(change, self.thin_id, CreateThin)
            self.make(change)
        return self

    def _must_be_new(self, change: Change) -> None:
        """Before an id is taken for it.

        Raises:
            DeviceBusyError: it is there.
        """
        if change.look(self) is not None:
            raise DeviceBusyError(
                Command.DEV_CREATE.name,
                self.name,
                errno.EBUSY,
                because="a device of that name is there",
                hint="choose another name; setup() takes an existing one",
            )

    def snapshot(
        self, name: str, *, thin_id: int | None = None, **options: Unpack[Options]
    ) -> ThinDevice:
        """Make a volume that begins as this one is now; neither changes with the other.

        This one is suspended for a moment where it is active, its file system frozen: what was
        written before is in the snapshot.

        Args:
            name: of the new one.
            thin_id: of the new one; None: one that is free.
            options: of the new one, see Options.

        Raises:
            CommandError: the kernel refuses. Both are as they were, this one is not left suspended.
        """
        ours = self.segments()[0].table.thin_id
        new = ThinDevice(
            self.dm,
            name,
            pool=self.pool,
            size=self.length,
            thin_id=thin_id,
            origin=self.origin,
            **options,
        )
        with self.change() as change:
            change.keep(new)
            new._must_be_new(change)
            with change.paused(self):
                new.thin_id = self.pool.take_id(
                    change, thin_id, lambda wanted: CreateSnap(wanted, ours)
                )
            new.make(change)
        return new

    def extend(self, by: Sectors) -> None:
        """Make it larger; the pool gives blocks when they are written."""
        self.resize(self.length + by)

    def resize(self, size: Sectors) -> None:
        """Give it another size. What lay beyond stays in the pool, and shows again when it grows.

        Raises:
            CommandError: the kernel refuses. It is as it was.
        """
        with self.change() as change:
            self.length = size
            self.swap(change)

    def set_origin(self, origin: Below | None) -> None:
        """Have another external origin, or none."""
        with self.change() as change:
            self.origin = origin
            self.swap(change)

    def delete(self, *, patience: float = PATIENCE) -> None:
        """Remove the device where it is there, and the volume from the pool, for ever.

        Raises:
            DeviceBusyError: it is open. The volume is still there.
            CommandError: the pool refuses. The device is there again.
        """
        thin_id = self.segments()[0].table.thin_id
        with self.change() as change:
            if change.look(self) is not None:
                change.remove(self, patience=patience)
            change.message(self.pool, DeleteThin(thin_id))
