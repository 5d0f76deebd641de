"""Importing what no event shall have to wait for."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable

from dmwatch.targets import TYPES, find


def load_aside(forgive: Callable[[float], None]) -> None:
    """Import every target module on a thread of its own.

    Args:
        forgive: called in the running loop with the processor seconds that this takes, a module
            at a time.
    """
    loop = asyncio.get_running_loop()

    def load() -> None:
        before = time.thread_time()
        for kind in TYPES:
            find(kind)
            now = time.thread_time()
            # the loop may be closed by now: then nobody waits for anything
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(forgive, now - before)
            before = now

    threading.Thread(target=load, name="dmwatch-loading", daemon=True).start()
