"""Uevents that come before the list: of a device that no look has found yet, or found anew."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping

from dmwatch.monitor.tracked import MARKS, Tracked
from dmwatch.monitor.uevents import Uevent
from dmwatch.names import DeviceNumber


class Early:
    """Keeps what they say themselves until a look has found their device.

    Args:
        diskseq: gives the incarnation of a device number.
    """

    def __init__(self, diskseq: Callable[[DeviceNumber], int | None]) -> None:
        self._diskseq = diskseq
        self._kept: deque[Uevent] = deque(maxlen=MARKS)

    def keep(self, uevent: Uevent) -> bool:
        """Keep a uevent, and say so, where it says more than that there was a change."""
        if uevent.words:
            self._kept.append(uevent)
        return bool(uevent.words)

    def hand_over(self, tracked: Mapping[DeviceNumber, Tracked]) -> Iterator[Tracked]:
        """Put what was kept into inboxes, and give the devices; a look has found all there are."""
        while self._kept:
            uevent = self._kept.popleft()
            device = tracked.get(uevent.number)
            # by now its number may be another one's
            if device and uevent.diskseq in {None, self._diskseq(device.number)}:
                device.inbox.uevents.append(uevent.words)
                yield device
