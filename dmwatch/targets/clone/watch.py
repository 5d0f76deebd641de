"""What stands on a clone, and what happens to it."""

from __future__ import annotations

from dataclasses import dataclass

from dmwatch.severity import Severity
from dmwatch.targets.base import Finding, Gauge, Moment, Observation, Seen
from dmwatch.targets.catalogue import CatalogueRow, ConditionType, GaugeType, MomentType
from dmwatch.targets.clone.text import CloneFail, CloneMode, CloneWorking
from dmwatch.units import DataBlocks


@dataclass(frozen=True, slots=True)
class HydrationData:
    """For read-only and hydrated: how far the copy has come, in regions."""

    hydrated: DataBlocks
    regions: DataBlocks


def observe(seen: Seen) -> Observation:
    """Say what stands on a clone as seen now."""
    match seen.status:
        case CloneFail():
            return Observation((_FAILED,))
        case CloneWorking() as status:
            return Observation(findings=_findings(status), gauges=(_gauge(status),))
    return Observation()


_FAILED = Finding("clone.failed", Severity.CRITICAL, "the clone has failed: all its I/O fails")


def _gauge(status: CloneWorking) -> Gauge:
    used, total = int(status.metadata_used), int(status.metadata_total)
    return Gauge("clone.metadata-usage", used, total, "metadata blocks")


def _findings(status: CloneWorking) -> tuple[Finding, ...]:
    match status.mode:
        case CloneMode.FAIL:
            return (_FAILED,)
        case CloneMode.READ_ONLY:
            return (_read_only(status),)
    return ()


def _read_only(status: CloneWorking) -> Finding:
    done, of = int(status.hydrated), int(status.regions)
    summary = f"the clone's metadata went read-only with {done} of {of} regions copied"
    data = HydrationData(status.hydrated, status.regions)
    return Finding("clone.read-only", Severity.ERROR, summary, data=data)


def moments(before: Seen, after: Seen) -> tuple[Moment, ...]:
    """Say what happened to a clone between two looks."""
    old, new = before.status, after.status
    if not isinstance(old, CloneWorking) or not isinstance(new, CloneWorking):
        return ()
    if old.complete or not new.complete:
        return ()
    summary = f"all {int(new.regions)} regions are copied: the source is not needed any more"
    data = HydrationData(new.hydrated, new.regions)
    return (Moment("clone.hydrated", Severity.NOTICE, summary, data),)


CONDITIONS: tuple[CatalogueRow, ...] = (
    ConditionType(
        "clone.read-only",
        (Severity.ERROR,),
        HydrationData,
        advice="Look in the kernel log for the failed metadata commit, see to the metadata device, "
        "then activate the clone again.",
        group="mode",
    ),
    ConditionType(
        "clone.failed",
        (Severity.CRITICAL,),
        advice="Take the clone down and see to its metadata device; keep the source: the copy "
        "may be incomplete.",
        group="mode",
    ),
    GaugeType(
        "clone.metadata-usage",
        advice="Move the clone to a larger metadata device before it is full.",
    ),
)

MOMENTS = (MomentType("clone.hydrated", Severity.NOTICE, HydrationData),)
