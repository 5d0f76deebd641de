"""An event and its place in the order of everything that was ever told here."""

from __future__ import annotations

from dataclasses import dataclass

from dmwatch.events import Event


@dataclass(frozen=True, slots=True)
class Entry:
    """A numbered event.

    Attributes:
        position: rises by one with every event, over all epochs; what cursors keep.
        event: with its final id and sequence.
    """

    position: int
    event: Event
