"""Handlers run as the daemon would run them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from dmwatch.events import Event
from dmwatch.handlers import Handler
from dmwatch.service.delivery.attempt import Outcome, attempt
from dmwatch.service.delivery.owner import Owner


class Logged:
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def __getattr__(self, level: str) -> Callable[..., None]:
        return partial(self._keep, level)

    def _keep(self, level: str, sentence: str, **keys: Any) -> None:
        self.lines.append({"level": level, "event": sentence} | keys)


class Opened:
    """A handler that is open."""

    def __init__(self, handler: Handler[Any], log: Logged) -> None:
        self.handler, self.log = handler, log
        self.owner = Owner("test")

    async def tell(self, event: Event, limit: float = 20.0, grace: float = 10.0) -> Outcome:
        return await attempt(self.owner, partial(self.handler.handle, event), limit, grace)


@asynccontextmanager
async def opened(kind: type[Handler[Any]], settings: Mapping[str, Any]) -> AsyncIterator[Opened]:
    log = Logged()
    handler = kind("test", kind.Settings.model_validate(dict(settings)), log)
    await handler.open()
    try:
        yield Opened(handler, log)
    finally:
        await handler.close()


async def until(true: Callable[[], object], seconds: float = 20) -> None:
    """Wait until something is true."""
    end = asyncio.get_running_loop().time() + seconds
    while not true():
        assert asyncio.get_running_loop().time() < end, "it never came true"
        await asyncio.sleep(0.01)
