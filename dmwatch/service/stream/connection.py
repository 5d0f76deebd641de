"""One client: what it asks for, history, then live events, as fast as it reads and no faster.

Theory of operation. History is read in pages, each when the client has taken the one before. Once
there is nothing published that it has not been sent, it is live, in the same step of the loop: so
there is neither gap nor repeat. From then on each event is put into a bounded queue that is written
out as the socket takes it. When the queue is full, or when a client takes nothing for long, it is
told where to go on from, and let go. The daemon never waits for a client.
"""

from __future__ import annotations

import asyncio
import select
from collections import deque
from typing import TYPE_CHECKING, Any

from dmwatch.errors import DmwatchError
from dmwatch.service.ledger import Row, since
from dmwatch.service.ledger.reader import Page
from dmwatch.service.stream import requests
from dmwatch.service.stream.listening import peer
from dmwatch.service.stream.requests import Question, Subscription

if TYPE_CHECKING:
    from dmwatch.service.stream.server import Stream

QUEUE = 1000
"""So many live events may wait for a client."""
CHUNK = 64 * 1024
"""So many bytes are handed to the socket at once."""


class Connection(asyncio.Protocol):
    """A client of the stream.

    Args:
        stream: which it is a client of.

    Attributes:
        live: it gets what is published.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._history = stream.history
        self._buffer = bytearray()
        self._said = False
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.TimerHandle | None = None
        self._queue: deque[tuple[str, bytes]] = deque()
        self._writable = asyncio.Event()
        self._writable.set()
        self._flushing = False
        self._wanted = Subscription().wanted.test
        self._position = 0
        self._resume_from: str | None = None
        self.live = False

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self._transport = transport
        self._position = self._history.position
        self._resume_from = str(self._history.id) if self._history.id else None
        self._log = self._stream.log.bind(**peer(transport.get_extra_info("socket")))
        if self._stream.take(self):
            self._log.info("a client has come")
            self._after(self._stream.pace.first_line, self._heard_nothing)
        else:
            self._said = True
            self._log.warning("a client was turned away: there are too many")
            self.end({"error": "the daemon has too many clients"})

    def data_received(self, data: bytes) -> None:
        """The client says something: its first line counts, the rest is not kept."""
        if self._said:
            return
        self._buffer += data
        line, end, _ = self._buffer.partition(b"\n")
        if len(line) > requests.LONGEST:
            self._said = True
            self.end({"error": f"the line has more than {requests.LONGEST} bytes"})
        elif end:
            self._hear(bytes(line))

    def eof_received(self) -> bool:
        """The client says no more; it may go on listening."""
        if has_hung_up(self._transport):
            return False
        if not self._said:
            self._hear(bytes(self._buffer))
        # nothing else would tell that it is gone, where there is nothing to write
        self._look_after()
        return True

    def pause_writing(self) -> None:
        """The client does not read as fast as it is written to."""
        self._writable.clear()
        if not self._transport.is_closing():
            self._after(self._stream.pace.stalled, self._overflow)

    def resume_writing(self) -> None:
        """The client has read."""
        self._stop_timer()
        self._writable.set()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The client has gone."""
        self._stop_timer()
        if self._looking:
            self._looking.cancel()
        self.live = False
        self._queue.clear()
        self._writable.set()
        if self._task:
            self._task.cancel()
        self._stream.lost(self)

    def _look_after(self) -> None:
        if has_hung_up(self._transport):
            self.abort()
        elif not self._transport.is_closing():
            loop = asyncio.get_running_loop()
            self._looking = loop.call_later(self._stream.pace.look_after, self._look_after)

    # what it asks for

    def _heard_nothing(self) -> None:
        if self._buffer:
            # a line has begun
            self._after(self._stream.pace.whole_line, self._no_line)
        else:
            self._hear(b"")

    def _no_line(self) -> None:
        self._said = True
        self.end({"error": "the line has no end"})

    def _hear(self, line: bytes) -> None:
        self._said = True
        self._buffer.clear()
        self._stop_timer()
        self._task = asyncio.create_task(self._serve(line))

    async def _serve(self, line: bytes) -> None:
        try:
            said = requests.read(line)
            if isinstance(said, Question):
                await self._answer(said)
            else:
                await self._tell(said)
        except DmwatchError as error:
            self._log.info("a client was refused", problem=str(error))
            self.end(requests.problem(error, self._resume_from))
        except Exception as error:  # noqa: BLE001 - it is logged, and the client is told
            self._log.exception("a client could not be served")
            self.end(requests.problem(error))

    async def _answer(self, question: Question) -> None:
        try:
            async with asyncio.timeout(self._stream.pace.answer):
                answer = await self._stream.ask(question.ask)
        except TimeoutError:
            raise DmwatchError(f"{question.ask!r} could not be answered in time") from None
        self.end(answer)

    async def _tell(self, subscription: Subscription) -> None:
        self._wanted = subscription.wanted.test
        if subscription.since is not None:
            # until it is told the first event it has to begin there again
            self._resume_from = since.fixed(subscription.since)
            self._position = await self._history.start(self._resume_from)
        while self._position < self._history.position:
            page = await self._history.page(self._position, self._wanted)
            self._send(page)
            await self._writable.wait()
        self._caught_up()
        if not subscription.follow:
            self.end()

    def _send(self, page: Page) -> None:
        self._position = page.last
        if page.rows and not self._transport.is_closing():
            self._resume_from = page.rows[-1].id
            self._transport.write(b"".join(line_of(row) for row in page.rows))

    def _caught_up(self) -> None:
        if self._history.id is not None:
            self._resume_from = str(self._history.id)
        self.live = True

    # live

    def put(self, row: Row, line: bytes) -> None:
        """An event was published. Never waits."""
        if row.position <= self._position:
            return
        self._position = row.position
        if self._wanted is not None and not self._wanted(row):
            if not self._queue:
                self._resume_from = row.id
            return
        self._queue.append((row.id, line))
        if len(self._queue) > QUEUE:
            self._flush()
            if len(self._queue) > QUEUE:
                self._overflow()
        elif not self._flushing:
            # what is published in one step of the loop is written together
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        while self._queue and self._writable.is_set() and not self._transport.is_closing():
            chunk, size = [], 0
            while self._queue and size < CHUNK:
                self._resume_from, line = self._queue.popleft()
                chunk.append(line)
                size += len(line)
            self._transport.write(b"".join(chunk))

    def _overflow(self) -> None:
        self._log.warning("a client did not keep up", resume_from=self._resume_from)
        self.end({"error": "overflow", "resume_from": self._resume_from})

    # the end

    def end(self, last: dict[str, Any] | None = None) -> None:
        """Let it go, after a last line; it gets what was written if it reads it soon."""
        self.live = False
        self._stop_timer()
        if self._transport.is_closing():
            return
        if last is not None:
            self._queue.clear()
            self._transport.write(requests.line_of(last))
        else:
            self._flush()
        self._transport.close()
        self._after(self._stream.pace.last_words, self._transport.abort)
        if self._task and self._task is not asyncio.current_task():
            self._task.cancel()

    def abort(self) -> None:
        """Let it go at once."""
        self._transport.abort()

    def _after(self, seconds: float, do: Any) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, do)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None


def has_hung_up(transport: asyncio.Transport) -> bool:
    """Whether the other end is closed, not only for what it would say."""
    descriptor = transport.get_extra_info("socket").fileno()
    if descriptor < 0:
        return True
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(events & select.POLLHUP for _, events in poll.poll(0))


def line_of(row: Row) -> bytes:
    """An event as the stream tells it."""
    return row.json.encode() + b"\n"
