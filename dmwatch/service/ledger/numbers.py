"""What an event is known by: epoch, sequence and position."""

from __future__ import annotations

import secrets
import time

from dmwatch.events import Event
from dmwatch.service.entry import Entry

_UNKNOWN = 2**42
"""Above every position that one journal gives, and what a clock in milliseconds shows now."""


def new_epoch() -> str:
    """A random epoch: no two journals, and no two switches to memory, share one."""
    return secrets.token_hex(6)


def unknown_position() -> int:
    """A position above all in a journal that cannot be read."""
    now = int(time.time() * 1000)
    return now if now > _UNKNOWN // 4 else _UNKNOWN


class Numbers:
    """Gives events their numbers.

    Args:
        epoch: the first half of ids.
        sequence: the last that was given in this epoch.
        position: the last that was given.
    """

    def __init__(self, epoch: str, sequence: int = 0, position: int = 0) -> None:
        self.epoch = epoch
        self.sequence = sequence
        self.position = position

    @property
    def id(self) -> str:
        """The last id that was given."""
        return f"{self.epoch}-{self.sequence}"

    def next(self, event: Event) -> Entry:
        """The event with the next numbers."""
        self.position += 1
        return self._numbered(event, self.position)

    def anew(self, entries: list[Entry]) -> list[Entry]:
        """Begin a new epoch with these: they keep their positions."""
        self.epoch, self.sequence = new_epoch(), 0
        return [self._numbered(entry.event, entry.position) for entry in entries]

    def _numbered(self, event: Event, position: int) -> Entry:
        self.sequence += 1
        update = {"id": self.id, "sequence": self.sequence}
        return Entry(position, event.model_copy(update=update))
