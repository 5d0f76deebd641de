"""The superblock that `veritysetup format` puts before a tree of hashes (cryptsetup, DMVerity)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from uuid import UUID

from dmwatch.devices.below import Below, node_of
from dmwatch.errors import DmwatchError
from dmwatch.units import Bytes, DataBlocks

SIZE = 512
SIGNATURE = b"verity\0\0"
_LAYOUT = struct.Struct("<8sII16s32sIIQH6x256s168x")


@dataclass(frozen=True, slots=True)
class VeritySuperblock:
    """What a hash device says of itself. It does not hold the root digest.

    Attributes:
        hash_type: 1; 0 is the layout of Chrome OS. The `version` of a VerityTable.
        uuid: of the hash device.
        algorithm: `sha256`.
        data_block_size: in bytes.
        hash_block_size: in bytes.
        data_blocks: how many blocks of data are covered.
        salt: in hex digits, or None.
        hash_start: the first block of the tree, counted from the start of the device.
    """

    hash_type: int
    uuid: UUID
    algorithm: str
    data_block_size: Bytes
    hash_block_size: Bytes
    data_blocks: DataBlocks
    salt: str | None
    hash_start: int

    @classmethod
    def read(cls, below: Below, offset: Bytes = Bytes(0)) -> Self:  # noqa: B008 - immutable
        """Read it from a hash device.

        Args:
            below: the device.
            offset: where it lies.

        Raises:
            DmwatchError: there is none, or it cannot be read.
        """
        path = node_of(below)
        try:
            with Path(path).open("rb") as device:
                device.seek(int(offset))
                raw = device.read(SIZE)
        except OSError as error:
            raise DmwatchError(f"{path} cannot be read: {error.strerror}") from error
        return cls.parse(raw, path, offset)

    @classmethod
    def parse(cls, raw: bytes, what: str, offset: Bytes = Bytes(0)) -> Self:  # noqa: B008
        """Read it from its bytes.

        Args:
            raw: 512 bytes.
            what: what it was read from, for errors.
            offset: where it lay.

        Raises:
            DmwatchError: they are none.
        """
        if len(raw) < SIZE or not raw.startswith(SIGNATURE):
            raise _none(what, "it does not begin with its signature")
        _, version, kind, uuid, name, data, hashes, blocks, size, salt = _LAYOUT.unpack(raw[:SIZE])
        if version != 1:
            raise _none(what, f"its version is {version}, not 1")
        if size > len(salt) or not hashes or not data or int(offset) % hashes:
            raise _none(what, "its sizes contradict each other")
        return cls(
            hash_type=kind,
            uuid=UUID(bytes=uuid),
            algorithm=name.rstrip(b"\0").decode("ascii", "replace"),
            data_block_size=Bytes(data),
            hash_block_size=Bytes(hashes),
            data_blocks=DataBlocks(blocks),
            salt=salt[:size].hex() or None,
            hash_start=-(-(int(offset) + SIZE) // hashes),
        )


def _none(what: str, why: str) -> DmwatchError:
    return DmwatchError(
        f"{what} has no superblock of verity: {why}",
        because="the tree was made without one, or this is another device",
        hint="give the parameters that `veritysetup format --no-superblock` was given",
    )
