"""Calls into code that may never come back, where there is no loop: imports, checks of settings.

Each runs on a thread of its own, which is left behind at the limit. While it hangs the same call is
refused at once: a start that waited its whole limit for it again, for each handler and each step,
would be ended by the service manager.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any

_hung: dict[Hashable, threading.Thread] = {}


class HangsError(Exception):
    """The call did not come back within its limit."""


def limited(key: Hashable, limit: float, function: Callable[[], Any]) -> Any:
    """Call a function on a thread.

    Args:
        key: what is called.
        limit: seconds; then it is left behind.
        function: without arguments.

    Raises:
        HangsError: at the limit, or at once where an earlier call still hangs.
        BaseException: what the function raised.
    """
    earlier = _hung.get(key)
    if earlier is not None and earlier.is_alive():
        raise HangsError
    answer: list[tuple[Any, BaseException | None]] = []

    def call() -> None:
        try:
            answer.append((function(), None))
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            answer.append((None, error))

    thread = threading.Thread(target=call, name="dmwatch-limited", daemon=True)
    thread.start()
    thread.join(limit)
    if not answer:
        _hung[key] = thread
        raise HangsError
    value, error = answer[0]
    if error is not None:
        raise error
    return value
