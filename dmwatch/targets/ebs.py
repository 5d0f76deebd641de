"""ebs: blocks smaller than those of the device below (drivers/md/dm-ebs-target.c).

Table   `<device> <start> <emulated>[ <underlying>]`, block sizes in sectors
Status  empty; it raises no events
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dmwatch.errors import TableParseError
from dmwatch.table import TargetLine
from dmwatch.targets.base import EmptyStatus, Notice, Target, TargetTable, no_status
from dmwatch.targets.words import Device, Words, check_range, check_word, power_of_two, require
from dmwatch.units import Sectors

EMULATED_MAX = 128  # the largest page of any Linux is 64 KiB; on x86 the kernel stops at 8
UNDERLYING_MAX = 32_768  # the largest power of two in 16 bits


@dataclass(frozen=True, slots=True)
class EbsTable(TargetTable):
    """The two block sizes.

    Attributes:
        device: the device below.
        start: the first sector there, a multiple of the underlying block size.
        emulated: the block size shown, a power of two up to a page, in sectors.
        underlying: the block size of the device below, a power of two, in sectors; None for
            what that device says.
    """

    type: ClassVar[str] = "ebs"
    device: Device
    start: Sectors
    emulated: Sectors
    underlying: Sectors | None = None

    @classmethod
    def parse(cls, text: str) -> EbsTable:
        """Read the table's text.

        Raises:
            TableParseError: where it does not follow the grammar.
        """
        words = Words(cls.type, text, TableParseError)
        table = cls(
            device=words.device("device"),
            start=Sectors(words.number("start")),
            emulated=Sectors(words.number("emulated")),
            underlying=Sectors(words.number("underlying")) if words.left else None,
            raw=text,
        )
        words.end()
        return table

    def check(self) -> None:
        """Hold ebs_ctr's rules against the values. Raises InvalidTableError."""
        check_word(self.type, "device", self.device)
        start = check_range(self.type, "start", self.start)
        _block_size("emulated", self.emulated, EMULATED_MAX)
        if self.underlying is not None:
            size = _block_size("underlying", self.underlying, UNDERLYING_MAX)
            rule = "must be a multiple of the underlying block size"
            require(start % size == 0, self.type, "start", rule)

    def format(self) -> str:
        """The text for the kernel. Raises InvalidTableError as `check`."""
        self.check()
        sizes = [self.emulated] if self.underlying is None else [self.emulated, self.underlying]
        return " ".join([str(self.device), *(str(int(n)) for n in (self.start, *sizes))])

    def line(self, start: Sectors | int, length: Sectors | int) -> TargetLine:
        """A line of a table with this text.

        Raises:
            InvalidTableError: as `check`, and where `start` is not below the line's length, which
                the kernel wants although the two have nothing to do with each other.
        """
        rule = "must be less than the length of the line"
        require(int(self.start) < int(length), self.type, "start", rule)
        return TargetTable.line(self, start, length)


def _block_size(field: str, value: Sectors, maximum: int) -> int:
    size = check_range("ebs", field, value, 1, maximum)
    require(power_of_two(size), "ebs", field, "must be a power of two")
    return size


TARGET = Target(
    type="ebs",
    module="dm-ebs",
    since="5.10",
    summary="blocks smaller than those of the device below",
    table=EbsTable.parse,
    status=no_status,
    tables=(EbsTable,),
    statuses=(EmptyStatus,),
    notice=Notice.NOTHING,
    poll=None,
)
