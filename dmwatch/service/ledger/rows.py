"""An event as the journal keeps it: its JSON, and what it is looked up and filtered by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from pydantic_core import PydanticSerializationError

from dmwatch.events import Event
from dmwatch.names import printable
from dmwatch.service.entry import Entry
from dmwatch.severity import Severity

_START = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Row(NamedTuple):
    """A numbered event.

    Attributes:
        position: see Entry.
        epoch: the first half of its id.
        sequence: the second half.
        time: microseconds since 1970, UTC.
        type: of the event.
        severity: its rank.
        name: of the device; "" for dmwatch.*.
        label: as name.
        number: as name.
        uuid: "" where there is none.
        json: the whole event.
    """

    position: int
    epoch: str
    sequence: int
    time: int
    type: str
    severity: int
    name: str
    label: str
    number: str
    uuid: str
    json: str

    @classmethod
    def of(cls, entry: Entry) -> Row:
        """The row of an event."""
        event, device = entry.event, entry.event.device
        return cls(
            entry.position,
            event.id.rpartition("-")[0],
            event.sequence,
            microseconds(event.time),
            event.type,
            event.severity.rank,
            device.name if device else "",
            device.label if device else "",
            str(device.number) if device else "",
            (device.uuid or "") if device else "",
            event.json_line(),
        )

    @property
    def id(self) -> str:
        """The event's id."""
        return f"{self.epoch}-{self.sequence}"

    def entry(self) -> Entry:
        """The event, read back.

        Raises:
            ValueError: the JSON is none of an event.
        """
        return Entry(self.position, Event.model_validate_json(self.json))


def microseconds(time: datetime) -> int:
    """A time as the journal keeps it."""
    return (time - _START) // _MICROSECOND


def writable(event: Event) -> Event:
    r"""The event, or one that can be written: bytes that are no text are shown as \xNN.

    What is told shall reach everybody, whatever a device is called.
    """
    try:
        event.json_line()
    except PydanticSerializationError:
        spoilt = {name: value for name, value in event if isinstance(value, (str, dict))}
        return event.model_copy(update={name: _readable(v) for name, v in spoilt.items()})
    return event


def _readable(value: Any) -> Any:
    if isinstance(value, StrEnum):
        return value
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {_readable(key): _readable(held) for key, held in value.items()}
    if isinstance(value, (list, tuple)):
        return [_readable(held) for held in value]
    return value if isinstance(value, (int, float)) or value is None else repr(value)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events somebody wants; all that is given must fit.

    Attributes:
        types: globs for the type; none means all.
        severity: this and worse.
        device: a glob for its name, label, number or uuid; None: also events without a device.
    """

    types: tuple[str, ...] = ()
    severity: Severity = Severity.DEBUG
    device: str | None = None

    @property
    def test(self) -> Callable[[Row], bool] | None:
        """Says of a row whether it is wanted; None where every one is."""
        return None if self == _ALL else self.fits

    def fits(self, row: Row) -> bool:
        """Say whether it is wanted."""
        if row.severity < self.severity.rank:
            return False
        if self.types and not any(fnmatchcase(row.type, glob) for glob in self.types):
            return False
        return self.device is None or any(
            fnmatchcase(name, self.device)
            for name in (row.name, row.label, row.number, row.uuid)
            if name
        )


_ALL = Wanted()
