"""A complete handler: says each event in a room of a chat that listens on a Unix socket."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pydantic import Field

from dmwatch.events import Event
from dmwatch.handlers import Drop, Handler, HandlerSettings, Retry, Secret


class RoomSettings(HandlerSettings):
    """The keys of `[handlers.NAME]` beside use, match and delivery."""

    socket: Path = Field(description="where the chat listens")
    room: str = Field(min_length=1, description="where to say it")
    password: Secret | None = Field(default=None, description="of the room")


class RoomHandler(Handler[RoomSettings]):
    """Says `ROOM PASSWORD SENTENCE` on a line; the chat answers ok, busy or no."""

    Settings = RoomSettings
    _writer: asyncio.StreamWriter | None = None

    async def open(self) -> None:
        """Read the password, connect. What goes wrong here is tried again by dmwatch."""
        secret = self.settings.password
        self._password = secret.read().get_secret_value() if secret else "-"
        self._reader, self._writer = await asyncio.open_unix_connection(self.settings.socket)

    async def handle(self, event: Event) -> None:
        """Say one event; raise Retry to be asked again, Drop where that is no use."""
        assert self._writer is not None
        line = f"{self.settings.room} {self._password} {event.summary}\n"
        self._writer.write(line.encode())
        await self._writer.drain()
        answer = (await self._reader.readline()).decode().strip()
        if answer == "busy":
            raise Retry(reason="the chat is busy")
        if answer == "no":
            raise Drop(f"there is no room {self.settings.room}")
        if answer != "ok":
            raise ConnectionError("the chat has hung up")
        self.log.debug("said", room=self.settings.room)

    async def close(self) -> None:
        """Hang up; also called where `open` has failed."""
        if self._writer is not None:
            self._writer.close()
