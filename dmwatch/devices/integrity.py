"""IntegrityDevice: a checksum for every block."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Self, Unpack

from dmwatch.devices.adopting import read_device
from dmwatch.devices.below import Below, node_of, word_of
from dmwatch.devices.change import Change
from dmwatch.devices.device import Device, Options
from dmwatch.devices.segment import Segment
from dmwatch.dm import DeviceMapper
from dmwatch.dm.udev import PUBLIC
from dmwatch.errors import DmwatchError, InvalidValueError
from dmwatch.targets import TargetTable
from dmwatch.targets.integrity import (
    Algorithm,
    IntegrityMode,
    IntegrityOption,
    IntegrityStatus,
    IntegrityTable,
)
from dmwatch.targets.keyed import Option
from dmwatch.units import Bytes, Sectors

CHECKSUM = Algorithm("internal_hash", "crc32c")
_MAGIC = b"integrt\0"
_PROVIDED = struct.Struct("<16xQ")
_SUPERBLOCK = 4096
_FORMAT_LENGTH = Sectors(8)
# what the superblock holds, and what only says how fast it goes: neither makes another device
_COUNTS = frozenset({"allow_discards", "allow_discards_keyed", "meta_device", "block_size"})


class IntegrityDevice(Device[IntegrityTable]):
    """A checksum for every block, kept beside the data on the device below.

    The device below is formatted once (`format`); how much it then offers stands in its superblock.
    Blocks that were never written have wrong checksums: write all of it first, or give it the
    feature Option("recalculate").

    Args:
        dm: where it lives.
        name: see DeviceName.
        below: holds data and checksums.
        start: where they begin on it.
        tag_size: see IntegrityTable.
        mode: how data and checksums are kept in step.
        length: how much of it is used; None: all that the superblock says.
        features: see IntegrityTable.options; by default checksums by crc32c.
        options: see Options.

    Attributes:
        below: as above.
        start: as above.
        tag_size: as above.
        mode: as above.
        length: as above.
        features: as above.
    """

    default_visibility = PUBLIC

    def __init__(
        self,
        dm: DeviceMapper,
        name: str,
        below: Below,
        *,
        start: Sectors = Sectors(0),  # noqa: B008 - it is immutable
        tag_size: Bytes | None = None,
        mode: IntegrityMode = IntegrityMode.JOURNAL,
        length: Sectors | None = None,
        features: Iterable[IntegrityOption] = (CHECKSUM,),
        **options: Unpack[Options],
    ) -> None:
        super().__init__(dm, name, **options)
        self.below = below
        self.start = start
        self.tag_size = tag_size
        self.mode = mode
        self.length = length
        self.features = tuple(features)

    @classmethod
    def found(cls, dm: DeviceMapper, name: str) -> Self:
        """One that is there already, whoever made it.

        Raises:
            DeviceNotFoundError: there is no such device.
            DeviceMismatchError: it is none of integrity.
        """
        found = read_device(dm, name, IntegrityTable)
        table = found.table
        return cls(
            dm,
            name,
            table.device,
            start=table.start,
            tag_size=table.tag_size,
            mode=table.mode,
            length=found.length,
            features=table.options,
            uuid=found.uuid,
            read_only=found.read_only,
        )

    def segments(self) -> tuple[Segment[IntegrityTable], ...]:
        """One, as long as the superblock says.

        Raises:
            DmwatchError: there is no superblock, and no length was given.
        """
        length = self._provided() if self.length is None else self.length
        return (Segment(length, self._table()),)

    def _table(self) -> IntegrityTable:
        below = word_of(self.below)
        return IntegrityTable(below, self.start, self.tag_size, self.mode, self.features)

    def meaning(self, table: TargetTable) -> object:
        """Algorithms, their keys and what discards do count; what the superblock holds does not."""
        if not isinstance(table, IntegrityTable):
            return super().meaning(table)
        counts = (
            option
            for option in table.options
            if isinstance(option, Algorithm)
            or (option.name in _COUNTS and option.word() != "block_size:512")
        )
        hashed = table.algorithm("internal_hash") is not None
        return replace(
            table,
            tag_size=None if hashed else table.tag_size,
            options=tuple(sorted(counts, key=lambda option: option.word())),
        )

    def status(self) -> IntegrityStatus:
        """How many mismatches there were, and how large it is. Raises as `statuses`."""
        (found,) = self.statuses()
        assert isinstance(found, IntegrityStatus)  # noqa: S101 - its module gives no other
        return found

    # The superblock

    def format(self, *, overwrite: bool = False) -> Self:
        """Format the device below: all that it holds is lost. It must not be in use.

        The kernel does it when it first sees a blank superblock; a device of that name stands for
        the moment that it takes.

        Args:
            overwrite: also where the place of the superblock is not blank.

        Raises:
            InvalidValueError: it is not blank.
            CommandError: the kernel refuses.
        """
        with self.change() as change:
            if not change.dry:
                self._make_blank(overwrite=overwrite)
            self._let_format(change)
        return self

    def _let_format(self, change: Change) -> None:
        length, self.length = self.length, _FORMAT_LENGTH
        self.make(change)
        change.remove(self)
        self.length = length

    def _make_blank(self, *, overwrite: bool) -> None:
        found = self._read_superblock()
        if not any(found):
            return
        path = node_of(self._superblock_device())
        if not overwrite:
            raise InvalidValueError(
                f"the superblock of {path} is not blank",
                because="it is formatted already, or holds something else",
                hint="say overwrite=True if what it holds can be lost",
            )
        with Path(path).open("r+b", buffering=0) as device:
            device.seek(int(self.start) * 512)
            device.write(bytes(_SUPERBLOCK))

    def _provided(self) -> Sectors:
        raw = self._read_superblock()
        if not raw.startswith(_MAGIC) or len(raw) < _PROVIDED.size:
            path = node_of(self._superblock_device())
            raise DmwatchError(
                f"{path} has no superblock of integrity, so its size cannot be told",
                because="it was never formatted",
                hint="call format(), which loses all that it holds, or give a length",
            )
        return Sectors(_PROVIDED.unpack_from(raw)[0])

    def _read_superblock(self) -> bytes:
        path = node_of(self._superblock_device())
        try:
            with Path(path).open("rb") as device:
                device.seek(int(self.start) * 512)
                return device.read(_SUPERBLOCK)
        except OSError as error:
            raise DmwatchError(f"{path} cannot be read: {error.strerror}") from error

    def _superblock_device(self) -> Below:
        """Where it lies: on the device below, or on one for metadata alone."""
        for option in self.features:
            if isinstance(option, Option) and option.name == "meta_device":
                return str(option.value)
        return self.below
