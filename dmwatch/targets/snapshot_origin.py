"""snapshot-origin: a device with snapshots, which get a copy of what is overwritten
(drivers/md/dm-snap.c).

Table   `<device>`
Status  empty; it raises no events
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dmwatch.errors import TableParseError
from dmwatch.targets.base import EmptyStatus, Notice, Target, TargetTable, no_status
from dmwatch.targets.words import Device, Words, check_word


@dataclass(frozen=True, slots=True)
class SnapshotOriginTable(TargetTable):
    """Where the data lies.

    Attributes:
        device: the device below; snapshots name the same one as their origin.
    """

    type: ClassVar[str] = "snapshot-origin"
    device: Device

    @classmethod
    def parse(cls, text: str) -> SnapshotOriginTable:
        """Read the table's text.

        Raises:
            TableParseError: where it does not follow the grammar.
        """
        words = Words(cls.type, text, TableParseError)
        table = cls(words.device("device"), raw=text)
        words.end()
        return table

    def check(self) -> None:
        """Hold origin_ctr's rules against the values. Raises InvalidTableError."""
        check_word(self.type, "device", self.device)

    def format(self) -> str:
        """The text for the kernel. Raises InvalidTableError as `check`."""
        self.check()
        return str(self.device)


TARGET = Target(
    type="snapshot-origin",
    module="dm-snapshot",
    since="5.10",
    summary="a device with snapshots, which get a copy of what is overwritten",
    table=SnapshotOriginTable.parse,
    status=no_status,
    tables=(SnapshotOriginTable,),
    statuses=(EmptyStatus,),
    notice=Notice.NOTHING,
    poll=None,
)
