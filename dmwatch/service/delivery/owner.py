"""What runs on behalf of one handler: its calls, and the tasks that its code starts.

A task that ends with SystemExit or KeyboardInterrupt ends the whole event loop. Those of a handler
are therefore wrapped, whoever starts them: the loop's task factory knows by a context variable for
which handler a task is started. So it is also known whose task runs when the loop is blocked, what
to cancel when the handler is closed, and whose threads to take (pools.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from typing import Any, cast

from dmwatch.service.delivery.pools import Pools, pool

MOST_TASKS = 256
"""A handler that has more at a time leaks them: the oldest are cancelled."""
Factory = Callable[..., Any]


class LeftError(RuntimeError):
    """A handler tried to end the process by SystemExit or KeyboardInterrupt."""


class Owner:
    """Knows the tasks of one handler.

    Args:
        name: the handler's.
        leaks: called with the number of tasks when there are too many.
    """

    def __init__(self, name: str, leaks: Callable[[int], None] = lambda _: None) -> None:
        self.name = name
        self.pool = pool(name)
        self._leaks = leaks
        self._calls: set[asyncio.Task[Any]] = set()
        # in the order in which they were started
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def call(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a call into the handler."""
        context = copy_context()
        context.run(_OWNER.set, self)
        loop = asyncio.get_running_loop()
        # not by create_task: the factory would take it for one that the handler started
        task: asyncio.Task[Any] = asyncio.Task(
            Contained(coroutine), loop=loop, name=f"handler {self.name}", context=context
        )
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return task

    def has(self, task: asyncio.Task[Any] | None) -> bool:
        """Say whether a task runs on this handler's behalf."""
        return task in self._calls or task in self._tasks

    @property
    def busy(self) -> bool:
        """A call has not ended yet."""
        return bool(self._calls)

    def cancel(self) -> None:
        """Cancel everything that still runs."""
        for task in [*self._calls, *self._tasks]:
            task.cancel()

    def close(self) -> None:
        """Cancel everything that still runs; no more can begin. Threads that hang are left."""
        self.cancel()
        self.pool.shutdown(wait=False, cancel_futures=True)

    def started(self, task: asyncio.Task[Any]) -> None:
        """Take note of a task that the handler's code started."""
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        if len(self._tasks) > MOST_TASKS:
            self._leaks(len(self._tasks))
            next(iter(self._tasks)).cancel()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)


_OWNER: ContextVar[Owner | None] = ContextVar("dmwatch-handler", default=None)


class Contained(Coroutine[Any, Any, Any]):
    """A coroutine that ends with an ordinary error where it wanted to end the process."""

    def __init__(self, inner: Coroutine[Any, Any, Any]) -> None:
        self._inner = inner

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()

    def __getattr__(self, name: str) -> Any:
        # cr_frame, cr_code, __qualname__: for those who show what a task does
        return getattr(self._inner, name)

    def send(self, value: Any) -> Any:
        """As of a coroutine."""
        try:
            return self._inner.send(value)
        except (SystemExit, KeyboardInterrupt) as error:
            raise _left(error) from error

    def throw(self, *error: Any) -> Any:
        """As of a coroutine."""
        try:
            return self._inner.throw(*error)
        except (SystemExit, KeyboardInterrupt) as raised:
            raise _left(raised) from raised

    def close(self) -> None:
        """As of a coroutine."""
        self._inner.close()


def _left(error: BaseException) -> LeftError:
    return LeftError(f"it raised {type(error).__name__}, which would have ended the daemon")


def contain(loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
    """Let a loop know whose tasks are whose; gives a function that undoes it."""
    before: Factory = loop.get_task_factory() or asyncio.Task

    def factory(
        loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **more: Any
    ) -> Any:
        context = more.get("context")
        owner = _OWNER.get() if context is None else context.get(_OWNER)
        if owner is None:
            return _made(before, loop, coroutine, more)
        task = _made(before, loop, Contained(coroutine), more)
        owner.started(task)
        return task

    undo = loop.get_task_factory()
    loop.set_task_factory(cast("Any", factory))
    # it stays: a loop cannot be given back the executor that it makes for itself
    loop.set_default_executor(Pools(_pool))
    return lambda: loop.set_task_factory(undo)


def _pool() -> ThreadPoolExecutor | None:
    owner = _OWNER.get()
    return None if owner is None else owner.pool


def _made(
    before: Factory,
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[Any, Any, Any],
    more: dict[str, Any],
) -> Any:
    if before is asyncio.Task:
        return asyncio.Task(coroutine, loop=loop, **more)
    return before(loop, coroutine, **more)
