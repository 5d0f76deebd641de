"""error: every read and write fails (drivers/md/dm-target.c, io_err_*).

Table   empty, or `<device> <start>`: 6.12 takes its limits from there, 6.1 ignores it
Status  empty; it raises no events

The kernel always prints an empty table, whatever it was given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dmwatch.errors import TableParseError
from dmwatch.targets.base import EmptyStatus, Notice, Target, TargetTable, no_status
from dmwatch.targets.words import Device, Words, check_range, check_word, require
from dmwatch.units import Sectors


@dataclass(frozen=True, slots=True)
class ErrorTable(TargetTable):
    """A hole, perhaps with the limits of a device. Give both attributes or none.

    Attributes:
        device: whose limits it takes, or None. Linux 6.1 ignores it.
        start: the first sector there, or None.
    """

    type: ClassVar[str] = "error"
    device: Device | None = None
    start: Sectors | None = None

    @classmethod
    def parse(cls, text: str) -> ErrorTable:
        """Read the table's text.

        Raises:
            TableParseError: where it does not follow the grammar.
        """
        words = Words(cls.type, text, TableParseError)
        if not words.left:
            return cls(raw=text)
        table = cls(words.device("device"), Sectors(words.number("start")), raw=text)
        words.end()
        return table

    def check(self) -> None:
        """Hold io_err_ctr's rules against the values. Raises InvalidTableError."""
        paired = (self.device is None) == (self.start is None)
        require(paired, self.type, "start", "must be given with the device, and only then")
        if self.device is not None and self.start is not None:
            check_word(self.type, "device", self.device)
            check_range(self.type, "start", self.start)

    def format(self) -> str:
        """The text for the kernel. Raises InvalidTableError as `check`."""
        self.check()
        return "" if self.start is None else f"{self.device} {int(self.start)}"


TARGET = Target(
    type="error",
    module="dm-mod",
    since="5.10",
    summary="every read and write fails",
    table=ErrorTable.parse,
    status=no_status,
    tables=(ErrorTable,),
    statuses=(EmptyStatus,),
    notice=Notice.NOTHING,
    poll=None,
)
