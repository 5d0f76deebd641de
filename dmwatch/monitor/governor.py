"""Bounds the processor time that a storm of events may cost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

BURST = 0.5
"""Seconds of processor time that may be spent at once after a quiet time."""
LONGEST = 1.0
"""No pause is longer than this: the last state of every device is told soon."""


class Governor:
    """Makes its callers pause once more than a share of one processor was used.

    What is not used is saved up to a burst, so that a quiet system is served at once; under load
    the pauses grow with it, and the kernel folds what happens meanwhile.

    Args:
        share: of one processor, above 0 up to 1; may be changed later.
        cpu: gives the processor time used so far, in seconds.
        clock: gives the time, in seconds.
    """

    def __init__(
        self,
        share: float,
        cpu: Callable[[], float] = time.process_time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.share = share
        self._cpu = cpu
        self._clock = clock
        self.begin()

    def begin(self) -> None:
        """Count from now on: what a start has cost was no storm."""
        self._credit = BURST
        self._last_cpu, self._last_time = self._cpu(), self._clock()

    def forgive(self, cpu: float) -> None:
        """Some seconds of processor time had nothing to do with events."""
        self._last_cpu += cpu

    def owed(self) -> float:
        """How long to pause now, in seconds; 0 while there is credit."""
        cpu, now = self._cpu(), self._clock()
        self._credit += (now - self._last_time) * self.share - (cpu - self._last_cpu)
        self._credit = min(self._credit, BURST)
        self._last_cpu, self._last_time = cpu, now
        return min(-self._credit / self.share, LONGEST) if self._credit < 0 else 0.0

    async def breathe(self) -> None:
        """Pause as long as is owed."""
        pause = self.owed()
        if pause:
            await asyncio.sleep(pause)
