"""A receiver that refuses connections for an hour, with the defaults. The clock runs faster."""

from __future__ import annotations

import asyncio
import selectors
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dmwatch.events import Event
from dmwatch.service.delivery import Dispatcher, HandlerHealth, load
from dmwatch.service.entry import Entry
from dmwatch.service.own import Own
from dmwatch.service.settings import HandlerTable
from dmwatch.testing import make_event

FASTER = 1000
HOUR = 3600.0


class Selector(selectors.DefaultSelector):
    """Waits a thousandth of what it is told."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(None if timeout is None else timeout / FASTER)


class Loop(asyncio.SelectorEventLoop):
    """A loop whose clock runs a thousand times faster. Sockets are real."""

    def __init__(self) -> None:
        super().__init__(Selector())

    def time(self) -> float:
        return time.monotonic() * FASTER


class Receiver:
    """Refuses connections until it is opened; each answer is the next status, then 200."""

    def __init__(self, *statuses: str) -> None:
        self.bodies: list[bytes] = []
        self._statuses = list(statuses)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.port = taken.getsockname()[1]

    async def open(self) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
        body = await reader.readexactly(length)
        status = self._statuses.pop(0) if self._statuses else "200 OK"
        if status.startswith("200"):
            self.bodies.append(body)
        head = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
        writer.write(head)
        await writer.drain()
        writer.close()


class Story:
    """A webhook with the defaults, and a file beside it that keeps its pace."""

    def __init__(self, receiver: Receiver, folder: Path) -> None:
        self.told: list[Event] = []
        self.receiver = receiver
        # the clock runs, the machine does not: time limits are those of a slow machine
        slow = {"timeout": "600m"}
        webhook = {"url": f"http://127.0.0.1:{receiver.port}/", "connect_timeout": "600m"}
        tables = {
            "web": {"use": "webhook", "delivery": slow} | webhook,
            "file": {"use": "file", "path": str(folder / "events"), "delivery": slow},
        }
        self.handlers = {
            name: load(name, HandlerTable.model_validate(table)) for name, table in tables.items()
        }
        self.dispatcher = Dispatcher(Own(self.told.append), lambda *_: None)
        self.position = 0

    def put(self) -> None:
        self.position += 1
        self.dispatcher.put(Entry(self.position, make_event()))

    def health(self, name: str) -> HandlerHealth:
        return next(health for health in self.dispatcher.health() if health.name == name)

    async def until(self, true: Callable[[], object]) -> None:
        end = time.monotonic() + 30
        while not true():
            assert time.monotonic() < end, self.dispatcher.health()
            await asyncio.sleep(1)


def play(story: Any) -> None:
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(story())


def test_nothing_is_lost_when_a_receiver_refuses_connections_for_an_hour(
    tmp_path: Path,
) -> None:
    async def hour() -> None:
        story = Story(Receiver(), tmp_path)
        await story.dispatcher.start(story.handlers)
        loop = asyncio.get_running_loop()
        began = loop.time()
        for minute in range(60):
            story.put()
            await asyncio.sleep(max(0, began + minute * HOUR / 60 - loop.time()))
        # pauses have grown: not thousands of attempts, but not a pause of an hour either
        assert 8 <= story.health("web").failures <= 40
        assert [(e.type, e.state) for e in story.told] == [("dmwatch.handler-failing", "raised")]
        assert (story.health("web").delivered, story.health("web").queued) == (0, 60)
        await story.until(lambda: story.health("file").delivered == 60)
        await story.receiver.open()
        await story.until(lambda: story.health("web").delivered == 60)
        assert story.health("web").dropped == 0
        assert len(story.receiver.bodies) == 60
        assert story.told[-1].state == "cleared"
        await story.dispatcher.close(1000)
        story.receiver.server.close()

    play(hour)


def test_a_receiver_that_answers_500_then_200_gets_each_event_once_and_in_order(
    tmp_path: Path,
) -> None:
    async def short() -> None:
        story = Story(Receiver("500 No", "503 No", "200 OK", "502 No"), tmp_path)
        await story.receiver.open()
        await story.dispatcher.start(story.handlers)
        for _ in range(3):
            story.put()
        await story.until(lambda: story.health("web").delivered == 3)
        written = (tmp_path / "events").read_bytes().splitlines()
        assert story.receiver.bodies == written
        assert story.health("web").failures == 3
        assert story.told == []
        await story.dispatcher.close(1000)
        story.receiver.server.close()

    play(short)
