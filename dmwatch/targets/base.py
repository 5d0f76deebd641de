"""What a target module offers: values for its text, and what stands and happens as pure functions.

A module of this folder knows everything about one kernel target and ends in a `Target`:

    table     text of STATUSTYPE_TABLE -> a TargetTable, and back by `format`
    status    text of STATUSTYPE_INFO -> a TargetStatus, one class for each variant
    messages  values that format themselves for TARGET_MSG
    observe   one look -> what stands (findings), what is measured (gauges), what moves (progress,
              counters). Without memory: it depends on that look alone
    moments   two looks -> what happened between them that does not stand

Reading is tolerant: what the kernel prints is taken as it is. `check` holds the kernel's own rules,
and `format` applies it, so that a wrong value is named before the kernel answers a bare EINVAL.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from typing import Any, ClassVar

from dmwatch.names import DeviceNumber
from dmwatch.severity import Severity
from dmwatch.table import TargetLine
from dmwatch.targets.catalogue import NO_DATA, CatalogueRow, MomentType
from dmwatch.targets.secret import Secret
from dmwatch.units import Sectors

_HIDDEN = {"plain": False}


@dataclass(frozen=True, slots=True)
class TargetTable:
    """Base of the typed tables.

    Attributes:
        raw: the text it was read from, "" for one made by hand and for targets that carry keys.
            It takes no part in comparisons.
    """

    type: ClassVar[str] = ""
    raw: str = field(default="", kw_only=True, compare=False, repr=False, metadata=_HIDDEN)

    def check(self) -> None:
        """Hold the kernel's rules against the values.

        Raises:
            InvalidTableError: naming the field and the rule.
        """

    def format(self) -> str:
        """The text for the kernel.

        Raises:
            InvalidTableError: as `check`.
        """
        raise NotImplementedError

    def lasting(self) -> object:
        """What of it only another table changes, to tell a swap by; None where that is unknown.

        The text of some tables moves with messages and with time.
        """
        return self

    def line(self, start: Sectors | int, length: Sectors | int) -> TargetLine:
        """A line of a table with this text.

        Raises:
            InvalidTableError: as `check`.
        """
        return TargetLine(int(start), int(length), self.type, self.format())


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """Base of the typed statuses. Each subclass sets `state`, the tag of its variant.

    Attributes:
        extra: words at the end that this version of dmwatch does not know.
    """

    state: ClassVar[str] = "working"
    extra: tuple[str, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True, slots=True)
class EmptyStatus(TargetStatus):
    """The status of targets that report none: linear, zero, crypt, ..."""

    state: ClassVar[str] = "empty"


@dataclass(frozen=True, slots=True)
class TargetMessage:
    """Base of the messages.

    Attributes:
        keyed: the text can hold a key: it is sent with DM_SECURE_DATA and never shown.
    """

    keyed: ClassVar[bool] = False

    def format(self) -> str:
        """The text for TARGET_MSG.

        Raises:
            InvalidMessageError: where the target would refuse or misread it.
        """
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at one line of a device's live table.

    Attributes:
        type: the target type.
        start: where the line begins on the device.
        length: how long it is.
        status: what it reported, or None where it was not read.
        table: its table, or None where it was not read (always None for targets with keys).
        suspended: the device's I/O is suspended.
        read_only: the device is read-only.
    """

    type: str
    start: Sectors
    length: Sectors
    status: TargetStatus | None = None
    table: TargetTable | None = None
    suspended: bool = False
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """A condition that this look shows.

    Attributes:
        type: `target.name`, as the catalogue has it.
        severity: how bad it is as seen now.
        summary: a clause about the device, without its name: "leg 1 (8:16) has failed".
        key: what tells apart several of this type on one device (leg `1`, path `8:16`), or None.
        data: a frozen dataclass; its class stands in the ConditionType.
    """

    type: str
    severity: Severity
    summary: str
    key: str | None = None
    data: Any = NO_DATA


@dataclass(frozen=True, slots=True)
class Gauge:
    """A measured share. The monitor holds rungs and hysteresis against it.

    Attributes:
        type: `target.name`, as the catalogue has it.
        used: how much is used.
        total: of how much; 0 means that it cannot be told.
        unit: what is counted: "data blocks", "sectors", ...
        key: as in Finding.
    """

    type: str
    used: int
    total: int
    unit: str
    key: str | None = None

    @property
    def percent(self) -> float:
        """The share in percent, 0 where there is no total."""
        return 100 * self.used / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True)
class Progress:
    """Something that should move: the monitor raises its type when `value` stands still too long.

    Attributes:
        type: `target.name` of a StallType.
        value: anything comparable; any difference counts as a movement.
        summary: the clause for the condition.
        key: as in Finding.
    """

    type: str
    value: tuple[int | str, ...]
    summary: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Counter:
    """A count of failures: the monitor raises its type when it grows too fast.

    Attributes:
        type: `target.name` of a FlapType.
        value: the count; a smaller one than before means that it began anew.
        key: as in Finding.
    """

    type: str
    value: int
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that one look shows.

    Attributes:
        unknown: types of which this look cannot tell: what stands of them stays as it is; a finding
            of theirs counts where nothing stands yet.
    """

    findings: tuple[Finding, ...] = ()
    gauges: tuple[Gauge, ...] = ()
    progress: tuple[Progress, ...] = ()
    counters: tuple[Counter, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened between two looks.

    Attributes:
        type: `target.name`, as the catalogue has it.
        severity: how bad it is.
        summary: a clause about the device, without its name.
        data: a frozen dataclass; its class stands in the MomentType.
    """

    type: str
    severity: Severity
    summary: str
    data: Any = NO_DATA


class Notice(Enum):
    """How changes of a target become known."""

    EVENT = "event"
    """It raises device-mapper events for what matters most; the rest is polled."""
    UEVENT = "uevent"
    """It sends uevents for what matters most; the rest is polled."""
    POLL = "poll"
    """It raises nothing: only reading it again shows a change."""
    NOTHING = "nothing"
    """It has no status that could change."""


def _observe_nothing(_seen: Seen) -> Observation:
    return Observation()


def _no_moments(_before: Seen, _after: Seen) -> tuple[Moment, ...]:
    return ()


def _no_parts(_seen: Seen) -> frozenset[str] | None:
    return None


def _no_uevent(_properties: Mapping[str, str]) -> tuple[Moment, ...]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One kernel target: what dmwatch knows of it.

    Attributes:
        type: its name in a table.
        module: the kernel module that has it ("dm-thin-pool"; "dm-mod" where it is built in).
        since: the oldest of the kernels 5.10, 6.1, 6.12, 7.2 that has it.
        summary: one line on what it is.
        table: text -> typed table. Raises TableParseError.
        status: text -> typed status. Raises StatusParseError.
        tables: the classes that `table` can give.
        statuses: the classes that `status` can give.
        messages: the message classes.
        observe: see the module's docstring.
        moments: see the module's docstring.
        uevent: the properties of a `change` uevent -> the moments that it tells.
        parts: one look -> the keys of all legs or paths that exist, well or not: a condition
            whose part is gone did not heal. None where its conditions have no such keys.
        conditions: the catalogue rows of its conditions.
        moment_types: the catalogue rows of its moments.
        notice: how changes become known.
        poll: seconds after which it wants to be read again when nothing happened (the monitor's
            poll interval where that is longer), or None where it need not be polled.
        wants_table: `observe` uses the table too.
        keyed: its table can hold a key: the monitor never asks for it.
        blocks_suspended: its status blocks while the device is suspended; it is not read then.
        settles: after an event it is read again until two looks agree.
        pooled: when the device below it changes (a thin's pool), it is read too.
    """

    type: str
    module: str
    since: str
    summary: str
    table: Callable[[str], TargetTable]
    status: Callable[[str], TargetStatus]
    tables: tuple[builtins.type[TargetTable], ...]
    statuses: tuple[builtins.type[TargetStatus], ...]
    messages: tuple[builtins.type[TargetMessage], ...] = ()
    observe: Callable[[Seen], Observation] = _observe_nothing
    moments: Callable[[Seen, Seen], tuple[Moment, ...]] = _no_moments
    uevent: Callable[[Mapping[str, str]], tuple[Moment, ...]] = _no_uevent
    parts: Callable[[Seen], frozenset[str] | None] = _no_parts
    conditions: tuple[CatalogueRow, ...] = ()
    moment_types: tuple[MomentType, ...] = ()
    notice: Notice = Notice.POLL
    poll: float | None = 10.0
    wants_table: bool = False
    keyed: bool = False
    blocks_suspended: bool = False
    settles: bool = False
    pooled: bool = False


def no_status(_text: str) -> EmptyStatus:
    """Read the status of a target that reports none; words of a later kernel go to `extra`."""
    return EmptyStatus(extra=tuple(_text.split()))


def plain(value: Any) -> Any:
    """Give a value of this folder as what JSON knows: enums by value, amounts as int, keys masked.

    A status has its `state` first and its `extra` last.
    """
    if isinstance(value, DeviceNumber | Secret):
        return str(value)
    if is_dataclass(value):
        return _plain_dataclass(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple | list | frozenset):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return int(value)


def _plain_dataclass(value: Any) -> dict[str, Any]:
    shown: dict[str, Any] = {"state": value.state} if isinstance(value, TargetStatus) else {}
    for spec in fields(value):
        if spec.metadata.get("plain", True) and spec.name != "extra":
            shown[spec.name] = plain(getattr(value, spec.name))
    if isinstance(value, TargetStatus):
        shown["extra"] = list(value.extra)
    return shown
