"""Errors that nobody foresaw, where the kernel said something that our code does not bear.

They end no watch: what could not be read is told as an event. Here they leave their trace in the
log, once for each place that they come from, for whoever mends it.
"""

from __future__ import annotations

import logging
import traceback

from dmwatch.errors import DmwatchError

_log = logging.getLogger("dmwatch.monitor")
_logged: set[object] = set()


def sentence(error: Exception) -> str:
    """Say what went wrong; an error that nobody foresaw is logged with its trace."""
    if isinstance(error, DmwatchError | OSError):
        return str(error)
    log(error)
    kind = type(error).__name__
    return f"dmwatch cannot make sense of what the kernel says ({kind}: {error})"


def log(error: Exception) -> None:
    """Log an error that nobody foresaw, with its trace; not again from the same place."""
    if isinstance(error, DmwatchError | OSError):
        return
    last = traceback.extract_tb(error.__traceback__)[-1:]
    place = (type(error), *((frame.filename, frame.lineno) for frame in last))
    if place not in _logged:
        _logged.add(place)
        _log.error("an error that nobody foresaw", exc_info=error)
