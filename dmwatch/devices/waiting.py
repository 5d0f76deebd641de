"""Waiting for what the kernel does in its own time: it is looked at again until it is done."""

from __future__ import annotations

import time
from collections.abc import Callable

from dmwatch.errors import DmwatchError

PAUSE = 0.05
LONGEST = 1.0


def wait_until(done: Callable[[], bool], what: str, timeout: float, *, because: str = "") -> None:
    """Look until it is done, first often, then once a second.

    Args:
        done: looks; whatever it raises ends the wait.
        what: is waited for, as part of a sentence.
        timeout: seconds; it is looked at once at least.
        because: why it could take so long.

    Raises:
        DmwatchError: time is up. What was begun goes on.
    """
    deadline = time.monotonic() + timeout
    pause = PAUSE
    while not done():
        left = deadline - time.monotonic()
        if left <= 0:
            raise DmwatchError(
                f"{what} has not happened within {timeout:g} s",
                because=because,
                hint="look at its status: if it moves on, wait again with a longer timeout",
            )
        time.sleep(min(pause, left))
        pause = min(2 * pause, LONGEST)
