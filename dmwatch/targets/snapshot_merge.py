"""snapshot-merge: a snapshot that is written back to its origin (drivers/md/dm-snap.c).

Table   as snapshot, but with a persistent store
Status  as snapshot; `allocated` falls to `metadata`, then all is merged

Neither the end nor a failure comes with an event: it is polled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dmwatch.severity import Severity
from dmwatch.targets.base import Finding, Moment, Notice, Observation, Seen, Target
from dmwatch.targets.catalogue import CatalogueRow, ConditionType, MomentType
from dmwatch.targets.snapshot import (
    STATUSES,
    SnapshotInvalid,
    SnapshotMergeFailed,
    SnapshotStatus,
    SnapshotStore,
    SnapshotTable,
    SnapshotWorking,
    read_status,
)
from dmwatch.targets.words import require


@dataclass(frozen=True, slots=True)
class SnapshotMergeTable(SnapshotTable):
    """What is merged: the fields of a SnapshotTable."""

    type: ClassVar[str] = "snapshot-merge"

    def check(self) -> None:
        """Hold snapshot_ctr's rules against the values. Raises InvalidTableError."""
        SnapshotTable.check(self)
        kept = self.store is not SnapshotStore.TRANSIENT
        require(kept, self.type, "store", "must be P or PO: a transient store cannot be merged")


@dataclass(frozen=True, slots=True)
class MergeFinishedData:
    """For merge-finished.

    Attributes:
        followed_by: the target type that took the merge's place, or None: it still stands there.
    """

    followed_by: str | None


def parse_status(text: str) -> SnapshotStatus:
    """Read the status of a snapshot-merge.

    Raises:
        StatusParseError: where it does not follow the grammar.
    """
    return read_status("snapshot-merge", text)


def observe(seen: Seen) -> Observation:
    """Say what stands on a merge as seen now."""
    match seen.status:
        case SnapshotMergeFailed():
            return Observation((_failed("merging has failed: the origin is merged only in part"),))
        case SnapshotInvalid():
            # the kernel does not begin, or stops, to merge a snapshot that is not valid
            return Observation((_failed("the snapshot is lost: it cannot be merged"),))
    return Observation()


def _failed(summary: str) -> Finding:
    return Finding("snapshot-merge.merge-failed", Severity.CRITICAL, summary)


def moments(before: Seen, after: Seen) -> tuple[Moment, ...]:
    """Say what happened to a merge between two looks; `after` may show another target."""
    if not isinstance(before.status, SnapshotWorking):
        return ()
    if after.type != SnapshotMergeTable.type:
        return (_replaced(after.type),) if before.status.empty else ()
    ended = isinstance(after.status, SnapshotWorking) and after.status.empty
    return (_ENDED,) if ended and not before.status.empty else ()


_ENDED = Moment(
    "snapshot-merge.merge-finished",
    Severity.NOTICE,
    "the snapshot is merged into its origin and can be taken down",
    MergeFinishedData(None),
)


def _replaced(target: str) -> Moment:
    return Moment(
        "snapshot-merge.merge-finished",
        Severity.NOTICE,
        f"the snapshot was merged into its origin, and {target} has taken its place",
        MergeFinishedData(target),
    )


CONDITIONS: tuple[CatalogueRow, ...] = (
    ConditionType(
        "snapshot-merge.merge-failed",
        (Severity.CRITICAL,),
        advice="Keep the snapshot, look in the kernel log for errors of its devices, and activate "
        "it again: merging goes on where it stopped.",
    ),
)

MOMENTS = (MomentType("snapshot-merge.merge-finished", Severity.NOTICE, MergeFinishedData),)

TARGET = Target(
    type="snapshot-merge",
    module="dm-snapshot",
    since="5.10",
    summary="a snapshot that is written back to its origin",
    table=SnapshotMergeTable.parse,
    status=parse_status,
    tables=(SnapshotMergeTable,),
    statuses=STATUSES,
    observe=observe,
    moments=moments,
    conditions=CONDITIONS,
    moment_types=MOMENTS,
    notice=Notice.POLL,
)
