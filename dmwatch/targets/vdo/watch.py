"""What stands on a vdo."""

from __future__ import annotations

from dataclasses import dataclass

from dmwatch.severity import Severity
from dmwatch.targets.base import Finding, Gauge, Observation, Seen, TargetTable
from dmwatch.targets.catalogue import CatalogueRow, ConditionType, GaugeType
from dmwatch.targets.vdo.text import VdoIndex, VdoMode, VdoStatus, VdoTable

_OFFLINE = frozenset({VdoIndex.OFFLINE, VdoIndex.CLOSED, VdoIndex.CLOSING})


@dataclass(frozen=True, slots=True)
class IndexData:
    """For index-offline: what the index is doing."""

    index: VdoIndex


def observe(seen: Seen) -> Observation:
    """Say what stands on a vdo as seen now."""
    status = seen.status
    if not isinstance(status, VdoStatus):
        return Observation()
    found = (_mode(status), _index(status, seen.table))
    gauge = Gauge("vdo.usage", int(status.used), int(status.total), "blocks of 4 KiB")
    return Observation(tuple(finding for finding in found if finding), (gauge,))


_READ_ONLY = Finding(
    "vdo.read-only", Severity.CRITICAL, "the volume went read-only after an error: writes fail"
)
_RECOVERING = Finding(
    "vdo.recovering", Severity.WARNING, "the volume is rebuilding its metadata after a crash"
)
_INDEX_FAILED = Finding(
    "vdo.index-failed",
    Severity.ERROR,
    "the deduplication index has failed: nothing is deduplicated",
)


def _mode(status: VdoStatus) -> Finding | None:
    if status.mode is VdoMode.READ_ONLY:
        return _READ_ONLY
    return _RECOVERING if status.recovering or status.mode is VdoMode.RECOVERING else None


def _index(status: VdoStatus, table: TargetTable | None) -> Finding | None:
    if status.index is VdoIndex.ERROR:
        return _INDEX_FAILED
    # a table that asks for no deduplication leaves the index closed: nothing is wrong then
    wanted = not isinstance(table, VdoTable) or table.deduplication
    if status.index not in _OFFLINE or not wanted:
        return None
    summary = f"the deduplication index is {status.index}: nothing is deduplicated"
    return Finding("vdo.index-offline", Severity.WARNING, summary, data=IndexData(status.index))


CONDITIONS: tuple[CatalogueRow, ...] = (
    ConditionType(
        "vdo.read-only",
        (Severity.CRITICAL,),
        advice="Look for the error in the kernel log, save the data, then take the volume down and "
        "run vdoforcerebuild; some data may be lost.",
        group="mode",
    ),
    ConditionType("vdo.recovering", (Severity.WARNING,), group="mode"),
    ConditionType(
        "vdo.index-failed",
        (Severity.ERROR,),
        advice="Look for the error in the kernel log; the message index-create makes a new index.",
        group="index",
    ),
    ConditionType("vdo.index-offline", (Severity.WARNING,), IndexData, after=30.0, group="index"),
    GaugeType(
        "vdo.usage",
        advice="Grow the physical device, or discard or delete data, before the volume is full.",
    ),
)
