"""linear: a range of another device (drivers/md/dm-linear.c).

Table   `<device> <start>`
Status  empty; it raises no events
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dmwatch.errors import TableParseError
from dmwatch.targets.base import EmptyStatus, Notice, Target, TargetTable, no_status
from dmwatch.targets.words import Device, Words, check_range, check_word
from dmwatch.units import Sectors


@dataclass(frozen=True, slots=True)
class LinearTable(TargetTable):
    """Where the range lies.

    Attributes:
        device: the device below.
        start: its first sector there.
    """

    type: ClassVar[str] = "linear"
    device: Device
    start: Sectors

    @classmethod
    def parse(cls, text: str) -> LinearTable:
        """Read the table's text.

        Raises:
            TableParseError: where it does not follow the grammar.
        """
        words = Words(cls.type, text, TableParseError)
        table = cls(words.device("device"), Sectors(words.number("start")), raw=text)
        words.end()
        return table

    def check(self) -> None:
        """Hold linear_ctr's rules against the values. Raises InvalidTableError."""
        check_word(self.type, "device", self.device)
        check_range(self.type, "start", self.start)

    def format(self) -> str:
        """The text for the kernel. Raises InvalidTableError as `check`."""
        self.check()
        return f"{self.device} {int(self.start)}"


TARGET = Target(
    type="linear",
    module="dm-mod",
    since="5.10",
    summary="a range of another device",
    table=LinearTable.parse,
    status=no_status,
    tables=(LinearTable,),
    statuses=(EmptyStatus,),
    notice=Notice.NOTHING,
    poll=None,
)
