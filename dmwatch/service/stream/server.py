"""The stream: who listens, and is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from dmwatch.service import logs
from dmwatch.service.entry import Entry
from dmwatch.service.ledger import Row
from dmwatch.service.ledger.history import History
from dmwatch.service.settings import StreamSettings
from dmwatch.service.stream import listening
from dmwatch.service.stream.connection import Connection, line_of

Ask = Callable[[str], Awaitable[dict[str, Any]]]


class HasHistory(Protocol):
    """What the stream needs of the ledger."""

    history: History


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a client may take, in seconds.

    Attributes:
        first_line: for its line; then it gets live events.
        whole_line: for the rest of a line that it has begun.
        stalled: without reading.
        last_words: to read what it was told before it is let go.
        answer: the daemon, for an answer.
        look_after: how often one that says no more is looked at: has it gone?
    """

    first_line: float = 1.0
    whole_line: float = 5.0
    stalled: float = 30.0
    last_words: float = 10.0
    answer: float = 10.0
    look_after: float = 5.0


class Stream:
    """The socket and its clients.

    Args:
        settings: where it is, whose, and for how many.
        ledger: has the history.
        ask: answers questions; raises DmwatchError.
        pace: how long a client may take.
    """

    def __init__(
        self, settings: StreamSettings, ledger: HasHistory, ask: Ask, pace: Pace | None = None
    ) -> None:
        self._settings = settings
        self._clients: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._inode = 0
        self._gone = asyncio.Event()
        self.history = ledger.history
        self.ask = ask
        self.pace = pace or Pace()
        self.log = logs.get("dmwatch.stream")

    @property
    def clients(self) -> int:
        """How many there are."""
        return len(self._clients)

    async def start(self) -> None:
        """Listen.

        Raises:
            AlreadyRunningError: a daemon listens there.
            DmwatchError: the socket cannot be made.
        """
        path = self._settings.socket
        made = listening.listen(path, self._settings.group)
        self._inode = path.lstat().st_ino
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(
            lambda: Connection(self), sock=made, backlog=listening.BACKLOG
        )
        self.log.info("listening", socket=str(path), mode=f"{listening.MODE:o}")

    async def close(self) -> None:
        """Listen no more; clients get what was told until now, if they read it soon."""
        if self._server:
            self._server.close()
            listening.remove(self._settings.socket, self._inode)
        for client in list(self._clients):
            client.end()
        try:
            async with asyncio.timeout(min(0.5, self.pace.last_words)):
                while self._clients:
                    self._gone.clear()
                    await self._gone.wait()
        except TimeoutError:
            for client in list(self._clients):
                client.abort()

    def put(self, entry: Entry) -> None:
        """Tell every client that wants it. Never waits."""
        live = [client for client in self._clients if client.live]
        if live:
            row = Row.of(entry)
            line = line_of(row)
            for client in live:
                client.put(row, line)

    def take(self, client: Connection) -> bool:
        """Count a client; False where there are too many."""
        self._clients.add(client)
        return len(self._clients) <= self._settings.max_clients

    def lost(self, client: Connection) -> None:
        """A client has gone."""
        self._clients.discard(client)
        self._gone.set()
