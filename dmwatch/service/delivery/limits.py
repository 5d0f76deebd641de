"""The delivery's own limits: what no configuration has to choose."""

from __future__ import annotations

from dataclasses import dataclass

from dmwatch.service import logs

log = logs.get("dmwatch.delivery")


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds, unless said otherwise.

    Attributes:
        grace: so long may a call take to end after it was cancelled.
        close: so long may a handler's `close` take.
        handover: so long may a call go on when a reload replaces or removes its handler.
        failing_after: a handler that has not succeeded for so long is failing.
        failing_count: as many failures in a row: it is failing.
        drops_in_a_row: as many events dropped by the handler itself: it is failing.
        shortest_after: no handler can ask for a shorter pause.
        longest_after: no handler can ask for a longer one.
        abandoned: so many calls that cannot be stopped may pile up (a count).
        blocked: when the loop stands still for so long it is told who blocks it.
        interrupt: when a handler's code blocks the loop for so long it is interrupted.
    """

    grace: float = 5.0
    close: float = 0.7
    handover: float = 2.0
    failing_after: float = 60.0
    failing_count: int = 5
    drops_in_a_row: int = 3
    shortest_after: float = 0.1
    longest_after: float = 3600.0
    abandoned: int = 4
    blocked: float = 2.0
    interrupt: float = 5.0
