"""When each device is to be looked at though nothing happened: polls, delays, the heartbeat."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator, Mapping

from dmwatch.monitor.settings import Settings, utc_now
from dmwatch.monitor.tracked import Tracked
from dmwatch.names import DeviceNumber

NEVER = float("inf")
SOONEST = 0.1
"""A look that has just failed to bring about what was due is not repeated sooner."""


class Schedule:
    """A heap of devices by the time at which each is due.

    A device is in it once for the earliest time it was put there for; entries that were overtaken
    are passed over when their time comes.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._heap: list[tuple[float, int, DeviceNumber]] = []

    def adopt(self, settings: Settings) -> None:
        """Go by other settings from now on."""
        self._settings = settings

    @property
    def next_time(self) -> float:
        """When the first device is due."""
        return self._heap[0][0] if self._heap else NEVER

    def attended(self, device: Tracked, now: float) -> None:
        """A device was just looked at: it is due again after its poll, its delay or a heartbeat."""
        # spread out: a thousand devices are not to be asked at once
        spread = random.uniform(0.5, 1.0)  # noqa: S311 - not for secrets
        device.next_record = now + self._settings.monitor.heartbeat * spread
        after = device.poll_after()
        device.next_read = NEVER if after is None else max(device.read_at + after, now + SOONEST)
        due = device.due()
        device.next_due = NEVER if due is None else max(due, now + SOONEST)
        ends = self._settings.window_ends(utc_now())
        if ends is not None:
            # what a rule keeps from being told until then is sought when its time is over
            device.next_due = min(device.next_due, now + max(ends, SOONEST))
        self._put(device)

    def take_due(
        self, now: float, devices: Mapping[DeviceNumber, Tracked]
    ) -> Iterator[tuple[Tracked, bool]]:
        """The devices that are due, each with whether its status is to be read or its record."""
        while self._heap and self._heap[0][0] <= now:
            when, identity, number = heapq.heappop(self._heap)
            device = devices.get(number)
            if device is None or id(device) != identity or when != device.scheduled:
                continue
            device.scheduled = NEVER
            if now >= device.next_time:
                yield device, now >= min(device.next_read, device.next_due)
            else:
                self._put(device)

    def _put(self, device: Tracked) -> None:
        when = device.next_time
        if when < device.scheduled:
            device.scheduled = when
            heapq.heappush(self._heap, (when, id(device), device.number))
