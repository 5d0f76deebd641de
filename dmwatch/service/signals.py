"""SIGHUP during the start: it waits until the daemon can reload; without that it would end it.

Imports nothing, as it has to come before all that takes long.
"""

from __future__ import annotations

import signal


def hold() -> None:
    """Let SIGHUP wait; threads that are started meanwhile never get it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


def release() -> None:
    """Take it now where it has come, and whenever it comes."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
