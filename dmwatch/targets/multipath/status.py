"""The status of multipath (drivers/md/dm-mpath.c, multipath_status)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dmwatch.errors import StatusParseError
from dmwatch.targets.base import TargetStatus
from dmwatch.targets.words import Device, Words


class GroupState(StrEnum):
    """Whether a group is used."""

    ACTIVE = "A"
    """It is the one in use."""
    ENABLED = "E"
    """It can be used."""
    DISABLED = "D"
    """It is passed over (disable_group, or its hardware refused)."""


class PathState(StrEnum):
    """Whether a path is used."""

    ACTIVE = "A"
    FAILED = "F"


@dataclass(frozen=True, slots=True)
class MultipathPathStatus:
    """A path.

    Attributes:
        device: which.
        state: whether it is used.
        failures: how often it has failed since the table was loaded.
        info: what the group's selector says of it. round-robin: nothing; queue-length: I/O in
            flight; service-time: bytes in flight, relative throughput; historical-service-time:
            service time, I/O in flight, nanoseconds until that is stale; io-affinity: misses of
            the whole selector.
    """

    device: Device
    state: PathState
    failures: int
    info: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MultipathGroupStatus:
    """A group of paths.

    Attributes:
        state: whether it is used.
        paths: in order.
        info: what its selector says of it; historical-service-time: base weight, threshold
            multiplier; the others: nothing.
    """

    state: GroupState
    paths: tuple[MultipathPathStatus, ...]
    info: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MultipathStatus(TargetStatus):
    """How it stands.

    Attributes:
        queue_io: I/O waits, for a path or for a group to be made ready.
        pg_init_count: how often the group in use has been tried to be made ready.
        current_group: the group in use, or the one to be used next, counted from 1; 0 where there
            is none.
        groups: in order.
        handler: words of the hardware handler; the kernel prints none.
        features: words behind queue_io and pg_init_count; the kernels known print none.
    """

    queue_io: bool
    pg_init_count: int
    current_group: int
    groups: tuple[MultipathGroupStatus, ...]
    handler: tuple[str, ...] = ()
    features: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[MultipathPathStatus, ...]:
        """The paths of all groups; one that is in two groups comes twice."""
        return tuple(path for group in self.groups for path in group.paths)


def parse_status(text: str) -> MultipathStatus:
    """Read the status.

    Raises:
        StatusParseError: where it does not follow the grammar.
    """
    words = Words("multipath", text, StatusParseError)
    features = words.count("#features")
    if features < 2:
        words.fail("#features", "must be 2 or more")
    queue_io, pg_init_count = words.number("queue_io"), words.number("pg_init_count")
    more = words.take("features", features - 2)
    handler = words.take("handler", words.count("#handler"))
    number = words.count("#groups")
    current = words.number("current_group")
    return MultipathStatus(
        queue_io=queue_io > 0,
        pg_init_count=pg_init_count,
        current_group=current,
        groups=tuple(_group(words) for _ in range(number)),
        handler=handler,
        features=more,
        extra=words.rest(),
    )


def _group(words: Words) -> MultipathGroupStatus:
    state = words.choice("group state", GroupState)
    info = words.take("group info", words.count("#group info"))
    number = words.number("#paths")
    each = words.number("#path info")
    if number * (3 + each) > words.left:
        words.fail("#paths", f"announces {number} paths where {words.left} words are left")
    paths = tuple(_path(words, each) for _ in range(number))
    return MultipathGroupStatus(state, paths, info)


def _path(words: Words, each: int) -> MultipathPathStatus:
    device = words.device("path")
    state = words.choice("path state", PathState)
    failures = words.number("failures")
    return MultipathPathStatus(device, state, failures, words.take("path info", each))
