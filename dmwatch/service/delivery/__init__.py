"""Delivery: from the ledger to the handlers, at least once, in order, a lane for each.

plugins.py   what is installed; loading       dispatcher.py  the lanes together, reload
inbox.py     what waits for a handler         lane.py        bringing it, attempts, pauses
attempt.py   one call and its time limit      owner.py       whose task is it
backoff.py   growing pauses                   blocking.py    who blocks the loop
health.py    figures and conditions           trial.py       one event through one handler
pools.py     threads of handlers              limited.py     what may never come back
limits.py    seconds and counts
"""

from dmwatch.service.delivery.dispatcher import Dispatcher
from dmwatch.service.delivery.health import HandlerHealth, LaneState
from dmwatch.service.delivery.limits import Limits
from dmwatch.service.delivery.plugins import Installed, Loaded, PluginError, installed, load

__all__ = [
    "Dispatcher",
    "HandlerHealth",
    "Installed",
    "LaneState",
    "Limits",
    "Loaded",
    "PluginError",
    "installed",
    "load",
]
