"""A ledger with a stream on a socket of its own, and clients that speak its lines."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dmwatch.errors import DmwatchError
from dmwatch.events import DeviceRef, Event
from dmwatch.monitor.teller import Teller
from dmwatch.names import DeviceName, DeviceNumber
from dmwatch.service.entry import Entry
from dmwatch.service.ledger import Ledger
from dmwatch.service.ledger.disk import Pace as JournalPace
from dmwatch.service.own import Own
from dmwatch.service.settings import JournalSettings, StreamSettings
from dmwatch.service.stream import Stream
from dmwatch.service.stream.server import Pace
from dmwatch.severity import Severity

PATIENCE = 40.0
QUICK = Pace(first_line=0.1, whole_line=0.2, stalled=30.0, last_words=0.5, look_after=0.05)


class Client:
    """A connection to the socket."""

    def __init__(self, path: Path, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.setblocking(False)
        self._path = path
        self._buffer = bytearray()

    async def connect(self) -> Client:
        await asyncio.get_running_loop().sock_connect(self.socket, str(self._path))
        return self

    async def send(self, raw: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, raw)

    async def say(self, **request: Any) -> Client:
        await self.send(json.dumps(request).encode() + b"\n")
        return self

    async def line(self) -> Any:
        """The next line; None at the end."""
        async with asyncio.timeout(PATIENCE):
            while b"\n" not in self._buffer:
                try:
                    got = await asyncio.get_running_loop().sock_recv(self.socket, 65536)
                except ConnectionResetError:
                    got = b""
                if not got:
                    assert not self._buffer, bytes(self._buffer)
                    return None
                self._buffer += got
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    async def lines(self, count: int) -> list[Any]:
        return [await self.line() for _ in range(count)]

    async def rest(self) -> list[Any]:
        """Everything until the end."""
        found = []
        while (line := await self.line()) is not None:
            found.append(line)
        return found

    async def rest_of_a_broken_line(self) -> list[Any]:
        """Everything until the end, without what is no whole line."""
        found = bytearray()
        async with asyncio.timeout(PATIENCE):
            while got := await asyncio.get_running_loop().sock_recv(self.socket, 65536):
                found += got
        return [json.loads(line) for line in found.split(b"\n")[:-1]]

    async def summaries(self, count: int) -> list[str]:
        return [line["summary"] for line in await self.lines(count)]

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.socket.close()


class Service:
    """A ledger and a stream."""

    def __init__(self, ledger: Ledger, stream: Stream, path: Path) -> None:
        self.ledger, self.stream, self.path = ledger, stream, path
        self._teller = Teller()
        self._clients: list[Client] = []
        self.told: list[Event] = []

    async def client(self, receive_buffer: int | None = None) -> Client:
        made = await Client(self.path, receive_buffer).connect()
        self._clients.append(made)
        return made

    async def subscribed(self, **request: Any) -> Client:
        made = await self.client()
        return await made.say(**request)

    def count_live(self) -> int:
        return sum(client.live for client in self.stream._clients)

    async def live(self, **request: Any) -> Client:
        """A client that has got as far as live events."""
        before = self.count_live()
        made = await self.subscribed(**request)
        await self.until(lambda: self.count_live() > before)
        return made

    def event(
        self,
        summary: str,
        type_: str = "device.event",
        name: str | None = None,
        uuid: str | None = None,
        severity: str = "info",
    ) -> Event:
        on = DeviceRef.of(DeviceName(name), uuid, DeviceNumber(253, 0), None) if name else None
        return self._teller.moment(type_, Severity(severity), on, summary)

    async def tell(self, *events: Event | str) -> None:
        for event in events:
            one = self.event(event) if isinstance(event, str) else event
            await self.ledger.tell(one)
        await self.ledger.flush()

    async def tell_many(self, count: int, first: int = 0) -> None:
        await self.tell(*(str(number) for number in range(first, first + count)))

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not true():  # noqa: ASYNC110 - what is waited for comes through a socket
                await asyncio.sleep(0.005)

    def close(self) -> None:
        for client in self._clients:
            client.close()


async def answer(question: str) -> dict[str, Any]:
    if question != "health":
        raise DmwatchError(f"there is no question {question!r}", hint="ask health")
    return {"pid": 1}


@pytest.fixture
def serve(tmp_path: Path) -> Callable[..., Any]:
    """serve(pace=..., ask=..., **settings): a context with a ledger and a stream."""

    @asynccontextmanager
    async def begin(
        pace: Pace = QUICK, ask: Any = answer, *, commit: float = 10.0, **settings: Any
    ) -> AsyncIterator[Service]:
        told: list[Event] = []
        streams: list[Stream] = []

        def publish(entry: Entry) -> None:
            told.append(entry.event)
            for stream in streams:
                stream.put(entry)

        found: list[Event] = []
        journal = JournalSettings(path=tmp_path / "events.db")
        chosen = StreamSettings(socket=tmp_path / "events.sock", **settings)
        ledger = Ledger(
            journal, Own(found.append), publish, pace=JournalPace(commit=commit, cursors=0.02)
        )
        async with ledger:
            stream = Stream(chosen, ledger, ask, pace)
            streams.append(stream)
            await stream.start()
            service = Service(ledger, stream, chosen.socket)
            service.told = told
            try:
                yield service
            finally:
                await stream.close()
                service.close()

    return begin


@pytest.fixture
def quick() -> Callable[..., Pace]:
    """quick(**changes): short times for clients."""

    def made(**changes: float) -> Pace:
        names = ("first_line", "whole_line", "stalled", "last_words", "answer", "look_after")
        return Pace(**{name: getattr(QUICK, name) for name in names} | changes)

    return made
