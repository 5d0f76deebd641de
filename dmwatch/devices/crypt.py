"""CryptDevice: what is written to it is stored encrypted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Self, Unpack

from dmwatch.devices.adopting import read_device
from dmwatch.devices.below import Below, size_of, word_of
from dmwatch.devices.device import Device, Options
from dmwatch.devices.segment import Segment
from dmwatch.dm import DeviceMapper
from dmwatch.dm.udev import PUBLIC
from dmwatch.targets import TargetTable
from dmwatch.targets.crypt import CryptTable, KeySet, KeyWipe
from dmwatch.targets.keyed import Key, NoKey, Option
from dmwatch.units import Sectors

CIPHER = "aes-xts-plain64"


class CryptDevice(Device[CryptTable]):
    """What is written to it is stored encrypted on the device below.

    Keys are never shown, and the kernel is told to wipe its copies of what carries them. Headers
    (LUKS) are not read: the parameters come from `cryptsetup luksDump`, the volume key too.

    Args:
        dm: where it lives.
        name: see DeviceName.
        below: holds the encrypted data.
        key: a HexKey, a KeyringKey or NoKey.
        cipher: see CryptTable.
        iv_offset: see CryptTable.
        start: where the data begins on the device below.
        length: how much of it is used; None: all from `start`.
        features: see CryptTable.options.
        options: see Options.

    Attributes:
        below: as above.
        key: as above; NoKey while it is locked.
        cipher: as above.
        iv_offset: as above.
        start: as above.
        length: as above.
        features: as above.
    """

    default_visibility = PUBLIC

    def __init__(
        self,
        dm: DeviceMapper,
        name: str,
        below: Below,
        key: Key,
        *,
        cipher: str = CIPHER,
        iv_offset: Sectors = Sectors(0),  # noqa: B008 - it is immutable
        start: Sectors = Sectors(0),  # noqa: B008
        length: Sectors | None = None,
        features: Iterable[Option] = (),
        **options: Unpack[Options],
    ) -> None:
        super().__init__(dm, name, **options)
        self.below = below
        self.key = key
        self.cipher = cipher
        self.iv_offset = iv_offset
        self.start = start
        self.length = length
        self.features = tuple(features)

    @classmethod
    def found(cls, dm: DeviceMapper, name: str) -> Self:
        """One that is there already, whoever made it: its key is what the kernel has.

        Raises:
            DeviceNotFoundError: there is no such device.
            DeviceMismatchError: it is none of crypt.
        """
        found = read_device(dm, name, CryptTable)
        table = found.table
        return cls(
            dm,
            name,
            table.device,
            table.key,
            cipher=table.cipher,
            iv_offset=table.iv_offset,
            start=table.start,
            length=found.length,
            features=table.options,
            uuid=found.uuid,
            read_only=found.read_only,
        )

    def segments(self) -> tuple[Segment[CryptTable], ...]:
        """One, as long as the device below is from `start`."""
        length = size_of(self.below) - self.start if self.length is None else self.length
        table = CryptTable(
            self.cipher,
            self.key,
            self.iv_offset,
            word_of(self.below),
            self.start,
            self.features,
        )
        return (Segment(length, table),)

    def meaning(self, table: TargetTable) -> object:
        """The options count as a set; sectors of 512 bytes are what is meant without one."""
        if not isinstance(table, CryptTable):
            return super().meaning(table)
        said = (o for o in table.options if o.word() != "sector_size:512")
        return replace(table, options=tuple(sorted(said, key=Option.word)))

    def lock(self) -> None:
        """Hold all I/O back and wipe the key, here and in the kernel; `unlock` undoes that.

        Only a caller who still has the key can unlock it.
        """
        with self.change() as change:
            change.suspend(self)
            known = None if isinstance(self.key, NoKey) else KeySet(self.key)
            change.message(self, KeyWipe(), undo=known)
            self.key = NoKey()

    def unlock(self, key: Key) -> None:
        """Give it its key again, and let I/O run.

        Args:
            key: the one that it had, or one of the same size: then it reads nonsense.

        Raises:
            CommandError: the kernel refuses the key. It is locked as before.
        """
        with self.change() as change:
            change.message(self, KeySet(key), undo=KeyWipe())
            change.resume(self)
            self.key = key
