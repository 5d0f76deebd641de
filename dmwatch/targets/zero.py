"""zero: reads give zeros, writes are thrown away (drivers/md/dm-zero.c).

Table   empty
Status  empty; it raises no events
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dmwatch.errors import TableParseError
from dmwatch.targets.base import EmptyStatus, Notice, Target, TargetTable, no_status
from dmwatch.targets.words import Words


@dataclass(frozen=True, slots=True)
class ZeroTable(TargetTable):
    """It takes no arguments."""

    type: ClassVar[str] = "zero"

    @classmethod
    def parse(cls, text: str) -> ZeroTable:
        """Read the table's text.

        Raises:
            TableParseError: where there is any.
        """
        Words(cls.type, text, TableParseError).end()
        return cls(raw=text)

    def format(self) -> str:
        """The text for the kernel."""
        return ""


TARGET = Target(
    type="zero",
    module="dm-zero",
    since="5.10",
    summary="reads give zeros, writes are thrown away",
    table=ZeroTable.parse,
    status=no_status,
    tables=(ZeroTable,),
    statuses=(EmptyStatus,),
    notice=Notice.NOTHING,
    poll=None,
)
