"""The data of events that belong to no target: of devices, of gauges and counters, of dmwatch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LineData:
    """The shape of one line of a table, in sectors. Never its text: that may hold a key."""

    start: int
    length: int
    type: str


@dataclass(frozen=True, slots=True)
class LineStatusData(LineData):
    """A line and what it reports."""

    status: str


@dataclass(frozen=True, slots=True)
class AddedData:
    """For device.added: its first table; empty where it has none yet."""

    targets: tuple[LineData, ...]


@dataclass(frozen=True, slots=True)
class RenamedData:
    """For device.renamed."""

    old_name: str


@dataclass(frozen=True, slots=True)
class TableChangedData:
    """For device.table-changed: the shapes of both tables; the same where only text differs."""

    before: tuple[LineData, ...]
    after: tuple[LineData, ...]


@dataclass(frozen=True, slots=True)
class ResizedData:
    """For device.resized: its sizes in sectors."""

    before: int
    after: int


@dataclass(frozen=True, slots=True)
class EventData:
    """For device.event: what was reported before and after; null where it was never read."""

    before: tuple[LineStatusData, ...] | None
    after: tuple[LineStatusData, ...] | None


@dataclass(frozen=True, slots=True)
class UnreadableData:
    """For device.status-unreadable: where the status makes no sense; nulls for the whole device.

    Attributes:
        target: whose status it is.
        field: the first one that makes no sense.
        position: where it begins in the text.
    """

    target: str | None
    field: str | None
    position: int | None


@dataclass(frozen=True, slots=True)
class UsageData:
    """For every usage condition: how much is used, and the rung that it stands on."""

    used: int
    total: int
    percent: float
    rung: float


@dataclass(frozen=True, slots=True)
class FlappingData:
    """For what fails too often: how often since the table was loaded."""

    failures: int


@dataclass(frozen=True, slots=True)
class HeartbeatData:
    """For dmwatch.heartbeat: how many devices are being watched."""

    devices: int


@dataclass(frozen=True, slots=True)
class ResyncedData:
    """For dmwatch.resynced: why everything is looked at again."""

    reason: str


@dataclass(frozen=True, slots=True)
class StartedData:
    """Of dmwatch.started.

    Attributes:
        version: of dmwatch.
        devices: how many are watched.
        handlers: the configured handlers by name.
    """

    version: str
    devices: int
    handlers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoppedData:
    """Of dmwatch.stopped.

    Attributes:
        why: what made it stop.
    """

    why: str


@dataclass(frozen=True, slots=True)
class HandlerFailingData:
    """Of dmwatch.handler-failing.

    Attributes:
        handler: its name in the configuration.
        failures: how many attempts in a row have failed.
        problem: what the last one met.
    """

    handler: str
    failures: int
    problem: str


@dataclass(frozen=True, slots=True)
class HandlerOverflowData:
    """Of dmwatch.handler-overflow.

    Attributes:
        handler: its name in the configuration.
        dropped: events that it will never get, since the condition was raised.
    """

    handler: str
    dropped: int


@dataclass(frozen=True, slots=True)
class JournalFailingData:
    """Of dmwatch.journal-failing.

    Attributes:
        path: of the journal.
        problem: what it met.
    """

    path: str
    problem: str
