"""Threads that a handler's code asks the loop for: asyncio.to_thread, the look-up of a host's name.

The loop has one pool of a few threads for everybody. Calls that hang in it, of one handler, would
take it from all others, and from the daemon: no reload would end any more. So each handler gets
threads of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

MOST_THREADS = 8
"""A handler that has more calls than this that do not come back waits for them."""
P = ParamSpec("P")
T = TypeVar("T")


class Pools(ThreadPoolExecutor):
    """The loop's executor: hands what a handler's code submits to that handler's own pool.

    Args:
        whose: gives the pool of the handler on whose behalf this runs, or None.
    """

    def __init__(self, whose: Callable[[], ThreadPoolExecutor | None]) -> None:
        super().__init__(thread_name_prefix="dmwatch")
        self._whose = whose

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """As of any executor."""
        pool = self._whose()
        if pool is None:
            return super().submit(fn, *args, **kwargs)
        return pool.submit(fn, *args, **kwargs)


def pool(name: str) -> ThreadPoolExecutor:
    """A pool for one handler; its threads begin when there is something to do."""
    return ThreadPoolExecutor(MOST_THREADS, thread_name_prefix=f"handler {name}")
