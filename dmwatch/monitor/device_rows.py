"""The catalogue rows of every device, whatever its targets, and what its record shows."""

from __future__ import annotations

from collections.abc import Iterator

from dmwatch.dm import DeviceInfo
from dmwatch.monitor.conditions import TABLE, Found, Scope
from dmwatch.monitor.data import (
    AddedData,
    EventData,
    HandlerFailingData,
    HandlerOverflowData,
    HeartbeatData,
    JournalFailingData,
    RenamedData,
    ResizedData,
    ResyncedData,
    StartedData,
    StoppedData,
    TableChangedData,
    UnreadableData,
)
from dmwatch.severity import Severity
from dmwatch.targets.catalogue import ConditionType, MomentType

SUSPENDED = ConditionType("device.suspended", (Severity.WARNING,), after=30.0)
REMOVAL_DEFERRED = ConditionType("device.removal-deferred", (Severity.NOTICE,))
TABLE_STAGED = ConditionType("device.table-staged", (Severity.NOTICE,), after=300.0)
STATUS_STUCK = ConditionType(
    "device.status-stuck",
    (Severity.ERROR,),
    advice="Look for what the device waits for (dmsetup info, the kernel log, the disks below): "
    "its I/O probably hangs too.",
)
STATUS_UNREADABLE = ConditionType(
    "device.status-unreadable",
    (Severity.ERROR,),
    UnreadableData,
    key="line",
    advice="This kernel's status is not understood: look at `dmsetup status` and report it; "
    "until then this target is not watched.",
)
ERROR_TARGET = ConditionType("device.error-target", (Severity.WARNING,))
CONTROL_FAILING = ConditionType(
    "dmwatch.control-failing",
    (Severity.CRITICAL,),
    advice="Nothing is watched until it answers: look in the kernel log, and whether dmwatch "
    "still may use /dev/mapper/control.",
)
HANDLER_FAILING = ConditionType(
    "dmwatch.handler-failing",
    (Severity.ERROR,),
    HandlerFailingData,
    key="handler",
    advice="It is tried again with growing pauses; `dmwatch handlers` and the log say what it met.",
)
HANDLER_OVERFLOW = ConditionType(
    "dmwatch.handler-overflow",
    (Severity.ERROR,),
    HandlerOverflowData,
    key="handler",
    advice="Events were dropped for this handler: it is too slow or fails; "
    "`dmwatch events` has them all.",
)
JOURNAL_FAILING = ConditionType(
    "dmwatch.journal-failing",
    (Severity.ERROR,),
    JournalFailingData,
    advice="Events are delivered but would not survive a crash: look at the disk of the journal.",
)
OWN_CONDITIONS = (CONTROL_FAILING, HANDLER_FAILING, HANDLER_OVERFLOW, JOURNAL_FAILING)
CONDITIONS = (
    SUSPENDED,
    REMOVAL_DEFERRED,
    TABLE_STAGED,
    STATUS_STUCK,
    STATUS_UNREADABLE,
    ERROR_TARGET,
)
_OF_TABLE = frozenset({STATUS_UNREADABLE.type, ERROR_TARGET.type})
MOMENTS = (
    MomentType("device.added", Severity.INFO, AddedData),
    MomentType("device.removed", Severity.INFO),
    MomentType("device.recreated", Severity.NOTICE),
    MomentType("device.renamed", Severity.INFO, RenamedData),
    MomentType("device.uuid-set", Severity.INFO),
    MomentType("device.table-changed", Severity.INFO, TableChangedData),
    MomentType("device.resized", Severity.INFO, ResizedData),
    MomentType("device.resumed", Severity.INFO),
    MomentType("device.event", Severity.DEBUG, EventData),
)
STARTED = MomentType("dmwatch.started", Severity.INFO, StartedData)
STOPPED = MomentType("dmwatch.stopped", Severity.INFO, StoppedData)
OWN_MOMENTS = (
    STARTED,
    STOPPED,
    MomentType("dmwatch.resynced", Severity.NOTICE, ResyncedData),
    MomentType("dmwatch.heartbeat", Severity.DEBUG, HeartbeatData),
)


def found(row: ConditionType, summary: str, **more: object) -> Found:
    """A condition of the device itself."""
    return Found(
        row.type,
        None,
        row.severities[0],
        summary,
        essence=tuple(more.values()),
        data=more,
        advice=row.advice,
        after=row.after,
        scope=scope_of(row.type),
    )


def scope_of(type_: str) -> Scope:
    """Where a condition of no target belongs: to the device's record, or to its table."""
    return TABLE if type_ in _OF_TABLE else None


def of_record(info: DeviceInfo) -> Iterator[Found]:
    """What the kernel's record of a device shows."""
    if info.suspended:
        yield found(SUSPENDED, "its I/O is suspended")
    if info.deferred_remove:
        yield found(REMOVAL_DEFERRED, "it will be removed once nobody has it open")
    if info.has_staged_table:
        yield found(TABLE_STAGED, "a table is loaded that no resume has put in place")
