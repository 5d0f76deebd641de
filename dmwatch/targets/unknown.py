"""A target type that dmwatch does not know: everything is carried raw, nothing fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dmwatch.targets.base import Target, TargetStatus, TargetTable


@dataclass(frozen=True, slots=True)
class UnknownTable(TargetTable):
    """The table of an unknown target.

    Attributes:
        text: as it was read. It is not known whether it holds a key: `repr` does not show it.
    """

    text: str

    def format(self) -> str:
        """The text, unchanged."""
        return self.text

    def __repr__(self) -> str:
        return f"UnknownTable(<{len(self.text.split())} words, not shown>)"


@dataclass(frozen=True, slots=True)
class UnknownStatus(TargetStatus):
    """The status of an unknown target.

    Attributes:
        text: as it was read.
    """

    state: ClassVar[str] = "unknown"
    text: str


def unknown(target_type: str) -> Target:
    """A Target that carries everything raw."""
    return Target(
        type=target_type,
        module=f"dm-{target_type}",
        since="",
        summary="not known to dmwatch: shown as the kernel prints it",
        table=UnknownTable,
        status=UnknownStatus,
        tables=(UnknownTable,),
        statuses=(UnknownStatus,),
        keyed=True,
    )
