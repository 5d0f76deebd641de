"""Watching device-mapper: a kernel that says only "something happened" becomes typed events."""

from dmwatch.monitor.watcher import Watcher

__all__ = ["Watcher"]
