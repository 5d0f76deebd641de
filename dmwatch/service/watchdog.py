"""Tells the service manager that the loop runs and the watcher makes progress.

It runs as a task: a blocked loop does not get here, and a watcher that is stuck is seen by how long
it has been busy. Then nothing is told, and the service manager kills and restarts the daemon.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dmwatch.monitor import Watcher
from dmwatch.service import logs
from dmwatch.service.deputy import Deputy
from dmwatch.service.notify import Notifier

USUAL_INTERVAL = 10.0
"""How often the status line is told where there is no watchdog."""
SOON = 1.0
"""When a thread may hang it is looked at again after so long."""
PATIENCE = 60.0
"""A watcher that is busy for longer is stuck: each of its calls has a deadline of seconds."""


class Watchdog:
    """Feeds the service manager's watchdog, and tells it figures.

    Args:
        notifier: tells the service manager.
        watcher: whose progress counts.
        status: gives a line of figures.
    """

    def __init__(self, notifier: Notifier, watcher: Watcher, status: Callable[[], str]) -> None:
        self._notifier = notifier
        self._watcher = watcher
        self._status = status
        self._warned = False
        self._deputy = Deputy(notifier)

    async def run(self) -> None:
        """Go on for ever."""
        limit = self._notifier.watchdog_seconds
        interval = USUAL_INTERVAL if limit is None else min(limit / 3, USUAL_INTERVAL)
        while True:
            self.tick()
            await asyncio.sleep(interval)

    def look(self) -> None:
        """See whether a call hangs; where one may, again soon."""
        self._deputy.look()
        if self._deputy.undecided:
            asyncio.get_running_loop().call_later(SOON, self._deputy.look)

    def tick(self) -> None:
        """Tell once, where there is progress."""
        self.look()
        stuck = self._watcher.busy_for > PATIENCE
        if not stuck:
            self._notifier.watchdog()
        elif not self._warned:
            logs.get("dmwatch.daemon").critical("the watcher makes no progress")
        self._warned = stuck
        self._notifier.status(self._status())
