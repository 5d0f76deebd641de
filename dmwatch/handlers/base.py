"""What a handler is: a class with settings of its own, told one event at a time, in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from dmwatch.events import Event


class HandlerSettings(BaseModel):
    """Base of a handler's own settings: the keys of its `[handlers.NAME]` table.

    `use`, `match` and `delivery` are taken: they are the daemon's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


S = TypeVar("S", bound=HandlerSettings)


class Retry(Exception):  # noqa: N818 - it is no fault: it is what the handler asks for
    """The event could not be handled now: bring it again.

    Args:
        after: seconds to wait; None lets the daemon choose a growing delay, which is also the
            least from the fifth failure in a row.
        reason: a sentence for the log and for `dmwatch handlers`.
    """

    def __init__(self, after: float | None = None, reason: str = "") -> None:
        super().__init__(reason or "the handler asked to be tried again")
        self.after = after


class Drop(Exception):  # noqa: N818 - as Retry
    """The event shall not be brought again; it is counted and logged with this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


class Handler(ABC, Generic[S]):
    """Base of every handler; a plug-in's entry point (group `dmwatch.handlers`) names a subclass.

    The daemon makes it with its validated settings, awaits `open` once, then `handle` with one
    event at a time in order, and `close` at the end, also where `open` has failed. Each call has a
    time limit, past which it is cancelled. `handle` raises Retry or Drop; any other exception
    counts as a fault, is logged, and the event is tried again with a growing delay.

    Attributes:
        Settings: the model of its settings.
        name: what the configuration calls it.
        settings: validated.
        log: a structlog logger bound to the handler's name; the daemon's own log.
    """

    Settings: ClassVar[type[HandlerSettings]] = HandlerSettings

    def __init__(self, name: str, settings: S, log: Any) -> None:
        self.name = name
        self.settings = settings
        self.log = log

    async def open(self) -> None:
        """Get ready: connect, open files, import what `handle` needs."""

    @abstractmethod
    async def handle(self, event: Event) -> None:
        """Deal with one event."""

    async def close(self) -> None:
        """Let go of what `open` took."""
