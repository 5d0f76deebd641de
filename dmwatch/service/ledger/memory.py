"""What was told while the journal could not be written: kept, within bounds, until it can."""

from __future__ import annotations

from collections import deque
from itertools import islice

from dmwatch.service.ledger.rows import Row

ROWS = 10_000
BYTES = 16 * 1024**2


class Tail:
    """The last events, in order. Their positions have no gap.

    Args:
        rows: so many are kept.
        size: so many bytes of JSON are kept.

    Attributes:
        begin: the position of the first event that was ever put here.
        dropped: how many had to go.
    """

    def __init__(self, begin: int, rows: int = ROWS, size: int = BYTES) -> None:
        self.begin = begin
        self.dropped = 0
        self._limits = rows, size
        self._rows: deque[Row] = deque()
        self._size = 0

    def add(self, row: Row) -> None:
        """Keep an event; where there are too many the oldest go."""
        self._rows.append(row)
        self._size += len(row.json)
        rows, size = self._limits
        while len(self._rows) > rows or (self._size > size and len(self._rows) > 1):
            self._size -= len(self._rows.popleft().json)
            self.dropped += 1

    def after(self, position: int, limit: int) -> list[Row]:
        """The events after a position, so many at most."""
        if not self._rows:
            return []
        start = max(0, position + 1 - self._rows[0].position)
        return list(islice(self._rows, start, start + limit))

    def position_of(self, epoch: str, sequence: int) -> int | None:
        """The position of an event; None where it is not here."""
        for row in self._rows:
            if (row.epoch, row.sequence) == (epoch, sequence):
                return row.position
        return None

    def position_before(self, time: int) -> int | None:
        """The position before the first event from a time on; None where all are older."""
        return next((row.position - 1 for row in self._rows if row.time >= time), None)
