"""Watching device-mapper: a kernel that says only "something happened" becomes typed events.

The Watcher is loaded when it is first used: it needs pydantic, and what only reads does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dmwatch.monitor.watcher import Watcher

__all__ = ["Watcher"]


def __getattr__(name: str) -> Any:
    if name != "Watcher":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dmwatch.monitor.watcher import Watcher  # noqa: PLC0415

    return Watcher
