"""The text of thin-pool: its table and its status."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from dmwatch.errors import StatusParseError, TableParseError
from dmwatch.targets.base import TargetStatus, TargetTable
from dmwatch.targets.words import Device, Words, check_range, check_word, require
from dmwatch.units import DataBlocks, MetadataBlocks, Sectors

BLOCK_MIN, BLOCK_MAX, BLOCK_STEP = 128, 2_097_152, 128
FEATURES_MAX = 4  # of the five that there are
_FEATURES = frozenset(
    {
        "skip_block_zeroing",
        "ignore_discard",
        "no_discard_passdown",
        "read_only",
        "error_if_no_space",
    }
)


@dataclass(frozen=True, slots=True)
class ThinPoolTable(TargetTable):
    """What a pool was asked to be.

    Attributes:
        metadata: the metadata device.
        data: the data device.
        block_size: 128 to 2,097,152 sectors (64 KiB to 1 GiB), a multiple of 128.
        low_water: an event is raised when no more data blocks than this are free.
        features: as requested, in order; of skip_block_zeroing, ignore_discard,
            no_discard_passdown, read_only, error_if_no_space. Four at most.
    """

    type: ClassVar[str] = "thin-pool"
    metadata: Device
    data: Device
    block_size: Sectors
    low_water: DataBlocks
    features: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> ThinPoolTable:
        """Read the table's text. The number of features may be left out.

        Raises:
            TableParseError: where it does not follow the grammar.
        """
        words = Words(cls.type, text, TableParseError)
        table = cls(
            metadata=words.device("metadata"),
            data=words.device("data"),
            block_size=Sectors(words.number("block_size")),
            low_water=DataBlocks(words.number("low_water")),
            features=words.take("features", words.count("#features") if words.left else 0),
            raw=text,
        )
        words.end()
        return table

    def check(self) -> None:
        """Hold pool_ctr's rules against the values. Raises InvalidTableError."""
        metadata = check_word(self.type, "metadata", self.metadata)
        data = check_word(self.type, "data", self.data)
        require(data != metadata, self.type, "data", "cannot be the metadata device")
        size = check_range(self.type, "block_size", self.block_size, BLOCK_MIN, BLOCK_MAX)
        require(size % BLOCK_STEP == 0, self.type, "block_size", "must be a multiple of 128")
        check_range(self.type, "low_water", self.low_water)
        for feature in self.features:
            require(feature.lower() in _FEATURES, self.type, "features", f"cannot be {feature!r}")
        few = len(self.features) <= FEATURES_MAX
        require(few, self.type, "features", f"can be {FEATURES_MAX} at most")

    def format(self) -> str:
        """The text for the kernel. Raises InvalidTableError as `check`."""
        self.check()
        numbers = [int(self.block_size), int(self.low_water), len(self.features)]
        return " ".join([str(self.metadata), str(self.data), *map(str, numbers), *self.features])


class PoolMode(StrEnum):
    """What the pool allows. READ_ONLY is also said where only the metadata is full."""

    READ_WRITE = "rw"
    READ_ONLY = "ro"
    OUT_OF_DATA_SPACE = "out_of_data_space"


class Discard(StrEnum):
    """What becomes of discards, in effect (not as requested)."""

    IGNORE = "ignore_discard"
    PASSDOWN = "discard_passdown"
    NO_PASSDOWN = "no_discard_passdown"


class NoSpace(StrEnum):
    """What becomes of writes that find no space."""

    ERROR = "error_if_no_space"
    QUEUE = "queue_if_no_space"


@dataclass(frozen=True, slots=True)
class ThinPoolWorking(TargetStatus):
    """A pool that answers.

    Attributes:
        transaction_id: set by the owner of the pool (LVM counts its changes here).
        metadata_used: blocks used, the kernel's reserve among them: an empty pool shows some.
        metadata_total: blocks on the metadata device.
        data_used: blocks mapped.
        data_total: blocks on the data device.
        held_root: block of the metadata snapshot, or None.
        mode: what it allows now.
        discard: what becomes of discards.
        no_space: what becomes of writes without space; forced to ERROR by the kernel's timeout.
        needs_check: the metadata must be checked (thin_check) before the pool can be written again.
        metadata_low_water: the kernel's threshold in metadata blocks; None before Linux 4.19.
    """

    transaction_id: int
    metadata_used: MetadataBlocks
    metadata_total: MetadataBlocks
    data_used: DataBlocks
    data_total: DataBlocks
    held_root: int | None
    mode: PoolMode
    discard: Discard
    no_space: NoSpace
    needs_check: bool
    metadata_low_water: MetadataBlocks | None = None

    @property
    def out_of_metadata_space(self) -> bool:
        """Read-only for want of metadata space alone (PM_OUT_OF_METADATA_SPACE)."""
        full = self.metadata_used == self.metadata_total
        return self.mode is PoolMode.READ_ONLY and full and not self.needs_check


@dataclass(frozen=True, slots=True)
class ThinPoolFail(TargetStatus):
    """`Fail`: the metadata cannot be used any more; all I/O fails."""

    state: ClassVar[str] = "fail"


@dataclass(frozen=True, slots=True)
class ThinPoolError(TargetStatus):
    """`Error`: the kernel could not read the figures from the metadata."""

    state: ClassVar[str] = "error"


ThinPoolStatus = ThinPoolWorking | ThinPoolFail | ThinPoolError


def parse_status(text: str) -> ThinPoolStatus:
    """Read a pool's status.

    Raises:
        StatusParseError: where it does not follow the grammar.
    """
    words = Words("thin-pool", text, StatusParseError)
    match words.accept("Fail", "Error"):
        case "Fail":
            return ThinPoolFail(extra=words.rest())
        case "Error":
            return ThinPoolError(extra=words.rest())
    return _working(words)


def _working(words: Words) -> ThinPoolWorking:
    transaction_id = words.number("transaction_id")
    metadata = words.ratio("metadata")
    data = words.ratio("data")
    return ThinPoolWorking(
        transaction_id=transaction_id,
        metadata_used=MetadataBlocks(metadata[0]),
        metadata_total=MetadataBlocks(metadata[1]),
        data_used=DataBlocks(data[0]),
        data_total=DataBlocks(data[1]),
        held_root=None if words.accept("-") else words.number("held_root"),
        mode=words.choice("mode", PoolMode),
        discard=words.choice("discard", Discard),
        no_space=words.choice("no_space", NoSpace),
        needs_check=words.expect("needs_check", "needs_check", "-") == "needs_check",
        metadata_low_water=MetadataBlocks(words.number("metadata_low_water"))
        if words.left
        else None,
        extra=words.rest(),
    )
