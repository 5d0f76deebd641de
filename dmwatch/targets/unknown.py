"""A target type that dmwatch does not know: everything is carried raw, nothing fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dmwatch.table import KEYED_TYPES
from dmwatch.targets.base import EmptyStatus, Target, TargetStatus, TargetTable
from dmwatch.targets.keyed import empty_status
from dmwatch.targets.secret import Secret


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
class HiddenTable(TargetTable):
    """The table of an unknown target of which it is known that its tables can hold a key.

    Attributes:
        text: as it was read; shown as a mask.
    """

    text: Secret

    def format(self) -> str:
        """The text, unchanged, with the key in clear."""
        return self.text.reveal()


@dataclass(frozen=True, slots=True)
class UnknownStatus(TargetStatus):
    """The status of an unknown target.

    Attributes:
        text: as it was read.
    """

    state: ClassVar[str] = "unknown"
    text: str


def unknown(target_type: str) -> Target:
    """A Target that carries everything raw; hidden where it is known to have keys."""
    if target_type in KEYED_TYPES:
        return _hidden(target_type)
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


def _hidden(target_type: str) -> Target:
    return Target(
        type=target_type,
        module=f"dm-{target_type}",
        since="",
        summary="not known to dmwatch; its tables can hold keys and are not shown",
        table=lambda text: HiddenTable(Secret(text)),
        status=empty_status,
        tables=(HiddenTable,),
        statuses=(EmptyStatus,),
        keyed=True,
    )
