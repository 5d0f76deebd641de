"""`log`: each event as a line of the daemon's own log, with the event's severity."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from dmwatch.events import Event
from dmwatch.handlers.base import Handler, HandlerSettings


class LogSettings(HandlerSettings):
    """What can be chosen about `log`; how lines look is the daemon's `[log]`."""

    data: bool = Field(
        default=True, strict=True, description="also the event's data and its advice"
    )


class LogHandler(Handler[LogSettings]):
    """Writes events to the daemon's log: to the journal with their priority, else JSON or text."""

    Settings = LogSettings

    async def handle(self, event: Event) -> None:
        """Write one line."""
        self.log.info(event.summary, severity=event.severity, **self._keys(event))

    def _keys(self, event: Event) -> dict[str, Any]:
        device = event.device
        keys: dict[str, Any] = {
            "event_id": event.id,
            "type": event.type,
            "state": event.state,
            "reason": event.reason,
            "device": device.name if device else None,
            "number": str(device.number) if device else None,
            "uuid": device.uuid if device else None,
            "target": event.target,
            "key": event.key,
            "initial": event.initial or None,
        }
        if self.settings.data:
            keys |= {"advice": event.advice, "data": event.data or None}
        return {name: value for name, value in keys.items() if value is not None}
