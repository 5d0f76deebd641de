"""VerityDevice: a read-only device, checked against a tree of hashes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Self, Unpack

from dmwatch.devices.adopting import read_device
from dmwatch.devices.below import Below, size_of, word_of
from dmwatch.devices.device import Device, Options
from dmwatch.devices.known import Known
from dmwatch.devices.segment import Segment
from dmwatch.devices.verity_superblock import VeritySuperblock
from dmwatch.dm import DeviceMapper
from dmwatch.dm.udev import PUBLIC
from dmwatch.targets import TargetTable
from dmwatch.targets.verity import FEC, SIGNATURE, VerityStatus, VerityTable
from dmwatch.units import Bytes, DataBlocks, Sectors

BLOCK = Bytes(4096)


class VerityDevice(Device[VerityTable]):
    """A read-only device, checked against a tree of hashes whose root is known.

    Args:
        dm: where it lives.
        name: see DeviceName.
        data: what is checked.
        hashes: holds the tree; it can be the same device.
        root_digest: the hash of the tree's root, in hex digits.
        salt: in hex digits, or None.
        algorithm: of the hashes.
        data_block_size: see VerityTable.
        hash_block_size: see VerityTable.
        data_blocks: how much is checked; None: all of `data`.
        hash_start: the first block of the tree on its device.
        version: see VerityTable.
        features: see VerityTable.options.
        options: see Options; it is read-only whatever they say.

    Attributes:
        data: as above.
        hashes: as above.
        root_digest: as above.
        salt: as above.
        algorithm: as above.
        data_block_size: as above.
        hash_block_size: as above.
        data_blocks: as above.
        hash_start: as above.
        version: as above.
        features: as above.
    """

    default_visibility = PUBLIC

    def __init__(
        self,
        dm: DeviceMapper,
        name: str,
        *,
        data: Below,
        hashes: Below,
        root_digest: str,
        salt: str | None = None,
        algorithm: str = "sha256",
        data_block_size: Bytes = BLOCK,
        hash_block_size: Bytes = BLOCK,
        data_blocks: DataBlocks | None = None,
        hash_start: int = 0,
        version: int = 1,
        features: Iterable[str] = (),
        **options: Unpack[Options],
    ) -> None:
        options["read_only"] = True  # the kernel refuses anything else
        super().__init__(dm, name, **options)
        self.data = data
        self.hashes = hashes
        self.root_digest = root_digest
        self.salt = salt
        self.algorithm = algorithm
        self.data_block_size = data_block_size
        self.hash_block_size = hash_block_size
        self.data_blocks = data_blocks
        self.hash_start = hash_start
        self.version = version
        self.features = tuple(features)

    @classmethod
    def formatted(
        cls,
        dm: DeviceMapper,
        name: str,
        *,
        data: Below,
        hashes: Below,
        root_digest: str,
        offset: Bytes = Bytes(0),  # noqa: B008 - it is immutable
        features: Iterable[str] = (),
        **options: Unpack[Options],
    ) -> Self:
        """One whose parameters stand in the superblock that `veritysetup format` wrote.

        Args:
            dm: where it lives.
            name: see DeviceName.
            data: what is checked.
            hashes: holds superblock and tree.
            root_digest: what `veritysetup format` printed.
            offset: where the superblock lies.
            features: see VerityTable.options.
            options: see Options. Without a uuid it gets the one by which veritysetup knows it.

        Raises:
            DmwatchError: there is no superblock.
        """
        known = VeritySuperblock.read(hashes, offset)
        if options.get("uuid") is None:
            options["uuid"] = f"CRYPT-VERITY-{known.uuid.hex}-{name}"
        return cls(
            dm,
            name,
            data=data,
            hashes=hashes,
            root_digest=root_digest,
            salt=known.salt,
            algorithm=known.algorithm,
            data_block_size=known.data_block_size,
            hash_block_size=known.hash_block_size,
            data_blocks=known.data_blocks,
            hash_start=known.hash_start,
            version=known.hash_type,
            features=features,
            **options,
        )

    @classmethod
    def found(cls, dm: DeviceMapper, name: str) -> Self:
        """One that is there already, whoever made it.

        Raises:
            DeviceNotFoundError: there is no such device.
            DeviceMismatchError: it is none of verity.
        """
        found = read_device(dm, name, VerityTable)
        table = found.table
        return cls(
            dm,
            name,
            data=table.data,
            hashes=table.hash,
            root_digest=table.root_digest,
            salt=table.salt,
            algorithm=table.algorithm,
            data_block_size=table.data_block_size,
            hash_block_size=table.hash_block_size,
            data_blocks=table.data_blocks,
            hash_start=table.hash_start,
            version=table.version,
            features=table.options,
            uuid=found.uuid,
        )

    def segments(self) -> tuple[Segment[VerityTable], ...]:
        """One, as long as what is checked."""
        blocks = self.data_blocks
        if blocks is None:
            # a size of 0 is refused with the table
            blocks = DataBlocks(int(size_of(self.data)) * 512 // (int(self.data_block_size) or 1))
        table = VerityTable(
            version=self.version,
            data=word_of(self.data),
            hash=word_of(self.hashes),
            data_block_size=self.data_block_size,
            hash_block_size=self.hash_block_size,
            data_blocks=blocks,
            hash_start=self.hash_start,
            algorithm=self.algorithm,
            root_digest=self.root_digest,
            salt=self.salt,
            options=self.features,
        )
        return (Segment(Sectors(int(blocks) * int(self.data_block_size) // 512), table),)

    def _refuse_other_mode(self, known: Known) -> None:
        """Its target is read-only, whatever the device says."""

    def meaning(self, table: TargetTable) -> object:
        """The options count as a set, hex digits in any case; fec_start is 0 if not said."""
        if not isinstance(table, VerityTable):
            return super().meaning(table)
        return replace(
            table,
            root_digest=table.root_digest.lower(),
            salt=table.salt.lower() if table.salt else None,
            options=tuple(sorted(_pairs(table.options))),
        )

    def status(self) -> VerityStatus:
        """Whether something was read that does not match its hash. Raises as `statuses`."""
        (found,) = self.statuses()
        assert isinstance(found, VerityStatus)  # noqa: S101 - its module gives no other
        return found


def _pairs(words: Iterable[str]) -> Iterable[str]:
    """Each option as one text, with its value where it has one."""
    rest = iter(words)
    for name in rest:
        pair = f"{name} {next(rest, '')}" if name in FEC or name == SIGNATURE else name
        if pair != "fec_start 0":
            yield pair
