"""unstriped: one stripe of a striped device (drivers/md/dm-unstripe.c).

Table   `<#stripes> <chunk> <stripe> <device> <start>`
Status  empty; it raises no events

The kernel leaves the status unwritten: what comes back is what the caller's buffer held. The ioctl
layer zeroes its buffers, so here it is empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dmwatch.errors import TableParseError
from dmwatch.table import TargetLine
from dmwatch.targets.base import EmptyStatus, Notice, Target, TargetTable, no_status
from dmwatch.targets.words import (
    U32_MAX,
    Device,
    Words,
    check_range,
    check_word,
    power_of_two,
    require,
)
from dmwatch.units import Sectors


@dataclass(frozen=True, slots=True)
class UnstripedTable(TargetTable):
    """Which stripe of what.

    Attributes:
        stripes: how many stripes the device below has, 1 or more.
        chunk: the size of its chunks, a power of two in sectors.
        stripe: which one this is, from 0.
        device: the device below.
        start: the first sector there.
    """

    type: ClassVar[str] = "unstriped"
    stripes: int
    chunk: Sectors
    stripe: int
    device: Device
    start: Sectors

    @classmethod
    def parse(cls, text: str) -> UnstripedTable:
        """Read the table's text.

        Raises:
            TableParseError: where it does not follow the grammar.
        """
        words = Words(cls.type, text, TableParseError)
        table = cls(
            stripes=words.number("stripes"),
            chunk=Sectors(words.number("chunk")),
            stripe=words.number("stripe"),
            device=words.device("device"),
            start=Sectors(words.number("start")),
            raw=text,
        )
        words.end()
        return table

    def check(self) -> None:
        """Hold unstripe_ctr's rules against the values. Raises InvalidTableError."""
        stripes = check_range(self.type, "stripes", self.stripes, 1, U32_MAX)
        chunk = check_range(self.type, "chunk", self.chunk, 1, U32_MAX)
        require(power_of_two(chunk), self.type, "chunk", "must be a power of two")
        # the kernel also takes stripe == stripes, and then reads the next row's first stripe
        check_range(self.type, "stripe", self.stripe, 0, stripes - 1)
        check_word(self.type, "device", self.device)
        check_range(self.type, "start", self.start)

    def format(self) -> str:
        """The text for the kernel. Raises InvalidTableError as `check`."""
        self.check()
        numbers = f"{self.stripes} {int(self.chunk)} {self.stripe}"
        return f"{numbers} {self.device} {int(self.start)}"

    def line(self, start: Sectors | int, length: Sectors | int) -> TargetLine:
        """A line of a table with this text.

        Raises:
            InvalidTableError: as `check`, and for a length that the stripes do not divide, or
                whose share is not whole chunks.
        """
        self.check()
        share, rest = divmod(int(length), self.stripes)
        require(rest == 0, self.type, "length", "must be a multiple of the number of stripes")
        whole = share % int(self.chunk) == 0
        require(whole, self.type, "length", "divided by the stripes must be whole chunks")
        return TargetTable.line(self, start, length)


TARGET = Target(
    type="unstriped",
    module="dm-unstripe",
    since="5.10",
    summary="one stripe of a striped device",
    table=UnstripedTable.parse,
    status=no_status,
    tables=(UnstripedTable,),
    statuses=(EmptyStatus,),
    notice=Notice.NOTHING,
    poll=None,
)
