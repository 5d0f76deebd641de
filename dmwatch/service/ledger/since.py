"""From where on somebody wants events: an id, a time, or a span of time back from now."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dmwatch.errors import DmwatchError, shorten
from dmwatch.spans import seconds

_ID = re.compile(r"([0-9a-f]{12})-([0-9]{1,15})", re.ASCII)


class SinceError(DmwatchError):
    """A text that says no place in the order of events."""


@dataclass(frozen=True, slots=True)
class EventId:
    """An event's id: what comes after it is wanted."""

    epoch: str
    sequence: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.sequence}"


def parse(text: str, now: datetime | None = None) -> EventId | datetime:
    """Read an id, an RFC 3339 time (without a zone: local time), or a span like `2h`.

    Raises:
        SinceError: it is none of these.
    """
    match = _ID.fullmatch(text.strip())
    if match:
        return EventId(match[1], int(match[2]))
    try:
        return _time(text.strip(), now or datetime.now(UTC))
    except (ValueError, OverflowError):
        raise SinceError(
            f"{shorten(text, 60)!r} is no id of an event, no time and no span of time",
            hint="the id of the last event that you have, 2026-11-22T10:00:00Z, or 2h",
        ) from None


def fixed(text: str) -> str:
    """The same place, also when it is read later: a span back from now as a time.

    Raises:
        SinceError: as `parse`.
    """
    place = parse(text)
    return place.isoformat() if isinstance(place, datetime) else str(place)


def _time(text: str, now: datetime) -> datetime:
    try:
        found = datetime.fromisoformat(text.upper())  # RFC 3339 knows t and z, too
    except ValueError:
        return now - timedelta(seconds=seconds(text))
    return found.astimezone(UTC)
