"""What stands on a multipath, and what happens to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from dmwatch.severity import Severity
from dmwatch.targets.base import Counter, Finding, Moment, Observation, Seen
from dmwatch.targets.catalogue import VOLATILE, CatalogueRow, ConditionType, FlapType, MomentType
from dmwatch.targets.multipath.status import (
    GroupState,
    MultipathStatus,
    PathState,
)
from dmwatch.targets.multipath.table import MultipathTable

NO_PATHS = "multipath.no-paths"


@dataclass(frozen=True, slots=True)
class MultipathPathData:
    """For path-failed.

    Attributes:
        path: its device.
        group: the first group that has it, counted from 1.
        failures: how often it has failed since the table was loaded.
        paths_left: how many other paths still work, in all groups.
    """

    path: str
    group: int
    failures: int = field(metadata=VOLATILE)
    paths_left: int = field(metadata=VOLATILE)


@dataclass(frozen=True, slots=True)
class MultipathNoPathsData:
    """For no-paths.

    Attributes:
        paths: how many there are, all failed; 0 for a table without any.
        queueing: whether I/O waits for a path; None where that is not known.
    """

    paths: int
    queueing: bool | None = field(metadata=VOLATILE)


@dataclass(frozen=True, slots=True)
class MultipathGroupData:
    """For group-disabled: which group, counted from 1."""

    group: int


@dataclass(frozen=True, slots=True)
class MultipathSwitchData:
    """For group-switched: the groups before and after, counted from 1."""

    before: int
    after: int


@dataclass(frozen=True, slots=True)
class _Path:
    """A path, taken together from all groups that have it; failed where one of them says so."""

    group: int
    failed: bool
    failures: int


def observe(seen: Seen) -> Observation:
    """Say what stands on a multipath as seen now."""
    status = seen.status
    if not isinstance(status, MultipathStatus):
        return Observation()
    paths = _paths(status)
    found = [*_failed(paths), *_no_paths(seen, status), *_disabled(status)]
    counters = [
        Counter("multipath.path-flapping", path.failures, name) for name, path in paths.items()
    ]
    # whether it queues cannot be seen while it is suspended
    hidden = seen.suspended and _queueing(seen) is None
    unknown = tuple(item.type for item in found if hidden and item.type == NO_PATHS)
    return Observation(tuple(found), counters=tuple(counters), unknown=unknown)


def parts(seen: Seen) -> frozenset[str] | None:
    """The keys of all paths, `major:minor`, and of all groups, from `1`."""
    if not isinstance(seen.status, MultipathStatus):
        return None
    groups = map(str, range(1, len(seen.status.groups) + 1))
    return frozenset([*groups, *(str(path.device) for path in seen.status.paths)])


def _paths(status: MultipathStatus) -> dict[str, _Path]:
    found: dict[str, _Path] = {}
    for number, group in enumerate(status.groups, 1):
        for path in group.paths:
            name = str(path.device)
            known = found.get(name, _Path(number, failed=False, failures=0))
            failed = known.failed or path.state is PathState.FAILED
            found[name] = _Path(known.group, failed, known.failures + path.failures)
    return found


def _failed(paths: dict[str, _Path]) -> Iterator[Finding]:
    left = sum(not path.failed for path in paths.values())
    for name, path in paths.items():
        if path.failed:
            data = MultipathPathData(name, path.group, path.failures, left)
            summary = f"path {name} has failed, {left} of {len(paths)} paths are left"
            yield Finding("multipath.path-failed", Severity.WARNING, summary, name, data)


def _no_paths(seen: Seen, status: MultipathStatus) -> Iterator[Finding]:
    # not from _paths: a path that two groups share may have failed in one of them only
    if not all(path.state is PathState.FAILED for path in status.paths):
        return
    queueing = _queueing(seen)
    severity = Severity.ERROR if queueing else Severity.CRITICAL
    fate = {True: "I/O waits", False: "I/O fails", None: "I/O fails or waits"}[queueing]
    data = MultipathNoPathsData(len(status.paths), queueing)
    yield Finding(NO_PATHS, severity, f"no path is left: {fate}", data=data)


def _queueing(seen: Seen) -> bool | None:
    if not isinstance(seen.table, MultipathTable):
        return None
    if seen.table.queues:
        return True
    # a suspend takes queue_if_no_path out of the table and a resume puts it back
    return None if seen.suspended else False


def _disabled(status: MultipathStatus) -> Iterator[Finding]:
    for number, group in enumerate(status.groups, 1):
        if group.state is GroupState.DISABLED:
            summary = f"group {number} of {len(status.groups)} is disabled"
            data = MultipathGroupData(number)
            yield Finding("multipath.group-disabled", Severity.NOTICE, summary, str(number), data)


def moments(before: Seen, after: Seen) -> tuple[Moment, ...]:
    """Say what happened to a multipath between two looks."""
    old, new = before.status, after.status
    if not isinstance(old, MultipathStatus) or not isinstance(new, MultipathStatus):
        return ()
    # after another table was loaded the same number means another group
    if not old.current_group or not new.current_group or _shape(old) != _shape(new):
        return ()
    if old.current_group == new.current_group:
        return ()
    data = MultipathSwitchData(old.current_group, new.current_group)
    summary = f"I/O went over from group {data.before} to group {data.after}"
    return (Moment("multipath.group-switched", Severity.NOTICE, summary, data),)


def _shape(status: MultipathStatus) -> list[list[str]]:
    return [[str(path.device) for path in group.paths] for group in status.groups]


CONDITIONS: tuple[CatalogueRow, ...] = (
    ConditionType("multipath.path-failed", (Severity.WARNING,), MultipathPathData, key="path"),
    ConditionType(
        NO_PATHS,
        (Severity.CRITICAL, Severity.ERROR),
        MultipathNoPathsData,
        advice="Look at the storage and the cabling or network to it; multipathd takes a path "
        "into use again once it works.",
    ),
    ConditionType("multipath.group-disabled", (Severity.NOTICE,), MultipathGroupData, key="group"),
    FlapType("multipath.path-flapping", Severity.WARNING, count=5, window=600.0, key="path"),
)

MOMENTS = (MomentType("multipath.group-switched", Severity.NOTICE, MultipathSwitchData),)
