"""The daemon: watcher, ledger, handlers and stream, put together and taken apart in order.

Theory of operation. Everything runs in one event loop. What the watcher tells and what the daemon
finds out about itself (own.py) goes into the ledger, one event after the other; the ledger numbers
it, keeps it, and publishes it to the lanes of the handlers and to the clients of the stream, which
never make it wait.

Starting: the journal first, as it knows what stood when the last daemon ended; then the handlers,
so that they can be told; the watcher; the stream; READY. Stopping is the same backwards, against a
clock: a handler that does not answer or a call that hangs in the kernel must not keep a successor
from starting (see run.py, which leaves with whatever is still hung).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version

from dmwatch.errors import DmwatchError
from dmwatch.events import Condition, Event
from dmwatch.ioctl.control import ControlLike
from dmwatch.monitor import Watcher, device_rows
from dmwatch.service import logs, memory
from dmwatch.service.answers import Answers
from dmwatch.service.config import DEFAULT_PATH, ConfigError
from dmwatch.service.delivery import Dispatcher
from dmwatch.service.delivery.plugins import Loaded, load_all
from dmwatch.service.entry import Entry
from dmwatch.service.ledger import Ledger
from dmwatch.service.notify import Notifier
from dmwatch.service.own import Own
from dmwatch.service.settings import Configuration
from dmwatch.service.stream import Stream
from dmwatch.service.watchdog import Watchdog

DRAIN_SECONDS = 2.0
"""So long may handlers take at the end for what they were told."""
CLOSE_SECONDS = 1.0
"""So long may each other part take to close."""
REFUSED = "reload refused, the old configuration is in force: see the log"


class Daemon:
    """One life of the daemon.

    Args:
        configuration: valid.
        read: reads the configuration anew, for a reload.
        notifier: tells the service manager.
        control: of a fake kernel, for tests.
        uevents: hear the kernel's uevents.
    """

    def __init__(
        self,
        configuration: Configuration,
        read: Callable[[], Configuration],
        notifier: Notifier,
        *,
        control: ControlLike | None = None,
        uevents: bool = True,
    ) -> None:
        self.configuration = configuration
        self._read = read
        self._notifier = notifier
        self._control, self._uevents = control, uevents
        self._log = logs.get("dmwatch.daemon")
        self._why = ""
        self._stopping = asyncio.Event()
        self.started = asyncio.Event()
        self.refused = ""
        self._found: asyncio.Queue[Event] = asyncio.Queue()
        self.own = Own(self._found.put_nowait)
        self.ledger = Ledger(configuration.journal, self.own, self._publish, on_late=self._learn)
        self.dispatcher = Dispatcher(self.own, self.ledger.cursor)
        self.stream: Stream | None = None

    @property
    def serving(self) -> bool:
        """It is past its start: `stop` ends it in good order."""
        return self.stream is not None

    @property
    def asked_to_stop(self) -> bool:
        """`stop` was called."""
        return self._stopping.is_set()

    def stop(self, why: str) -> None:
        """Begin to stop; `why` is told."""
        self._why = self._why or why
        self._stopping.set()

    async def run(self) -> None:
        """Serve until `stop` is called.

        Raises:
            DmwatchError: it cannot start, each with a sentence.
            Exception: what ended the watcher.
        """
        async with self.ledger:
            handlers = await asyncio.to_thread(load_all, self.configuration.handlers)
            self._tell_source(self.configuration)
            await self.dispatcher.start(handlers, self.ledger.backlog)
            # not earlier: what is wrong with the journal from the start is for the handlers, too
            recording = asyncio.create_task(self._record_own(), name="dmwatch-own")
            try:
                await self._watch()
            finally:
                await self._finish(recording)

    async def reload(self) -> None:
        """Take the configuration anew: all of it, or none where it has a fault."""
        self._notifier.reloading()
        try:
            await self._take_anew()
        except Exception:  # noqa: BLE001 - the manager waits for the end, whatever comes of it
            self._log.exception("reload failed")
            self._is_refused()
        self._notifier.ready()

    async def _take_anew(self) -> None:
        try:
            configuration = await asyncio.to_thread(self._read)
            handlers = await asyncio.to_thread(load_all, configuration.handlers)
        except DmwatchError as error:
            self._refuse(error)
        else:
            await self._adopt(configuration, handlers)

    async def _watch(self) -> None:
        standing = self.ledger.standing()
        async with Watcher(
            settings=self.configuration,
            standing=standing,
            control=self._control,
            uevents=self._uevents,
        ) as watcher:
            self._watcher = watcher
            self.own.restore(standing, set(self.configuration.handlers))
            await self._serve(watcher)

    async def _learn(self, standing: list[Condition]) -> None:
        """What stood when the last daemon ended has become known only now."""
        await self.started.wait()
        self.own.restore(standing, set(self.configuration.handlers))
        await self._watcher.learn(standing)

    async def _serve(self, watcher: Watcher) -> None:
        answers = Answers(self, watcher)
        self.stream = Stream(self.configuration.stream, self.ledger, answers.ask)
        await self.stream.start()
        self._lock_memory()
        self._started(watcher)
        self._watchdog = Watchdog(self._notifier, watcher, answers.status)
        tasks = [
            asyncio.create_task(self._record(watcher), name="dmwatch-record"),
            asyncio.create_task(self._stopping.wait(), name="dmwatch-stopping"),
            asyncio.create_task(self._watchdog.run(), name="dmwatch-watchdog"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._notifier.stopping()
            for task in tasks:
                task.cancel()

    async def _record(self, watcher: Watcher) -> None:
        async for event in watcher:
            if event.type == device_rows.STATUS_STUCK.type:
                self._watchdog.look()
            await self.ledger.tell(event)

    async def _record_own(self) -> None:
        while True:
            await self.ledger.tell(await self._found.get())
            self._found.task_done()

    def _publish(self, entry: Entry) -> None:
        self.dispatcher.put(entry)
        if self.stream is not None:
            self.stream.put(entry)

    def _started(self, watcher: Watcher) -> None:
        handlers = tuple(self.configuration.handlers)
        data = {"version": version("dmwatch"), "devices": watcher.count, "handlers": handlers}
        summary = f"dmwatch {data['version']} is watching {watcher.count} devices"
        self.own.moment(device_rows.STARTED, summary, data)
        self._notifier.ready(f"watching {watcher.count} devices")
        self.started.set()

    async def _finish(self, recording: asyncio.Task[None]) -> None:
        why = self._why or "the watcher ended"
        self.own.moment(device_rows.STOPPED, f"dmwatch stops: {why}", {"why": why})
        await within(CLOSE_SECONDS, self._found.join())
        await within(CLOSE_SECONDS, self.ledger.flush())
        await within(DRAIN_SECONDS + CLOSE_SECONDS, self.dispatcher.close(DRAIN_SECONDS))
        if self.stream is not None:
            await within(CLOSE_SECONDS, self.stream.close())
        recording.cancel()

    def _refuse(self, error: DmwatchError) -> None:
        faults = error.faults if isinstance(error, ConfigError) else [error]
        for fault in faults:
            self._log.error("reload refused", fault=str(fault))
        self._is_refused()

    def _is_refused(self) -> None:
        self.refused = REFUSED
        self._notifier.status(REFUSED)

    async def _adopt(self, new: Configuration, handlers: Mapping[str, Loaded]) -> None:
        old, self.configuration = self.configuration, new
        for part in ("journal", "stream"):
            if getattr(old, part) != getattr(new, part):
                self._log.warning("changed, but not before the next start", table=part)
        if old.log != new.log:
            logs.change(new.log)
        for name in handlers:
            self.ledger.owe(name)
        await self.dispatcher.reconfigure(handlers)
        self._watcher.adopt(new)
        self._lock_memory()
        self.refused = ""
        self._tell_source(new)
        self._log.info("reloaded", handlers=sorted(new.handlers))

    def _tell_source(self, configuration: Configuration) -> None:
        if configuration.source is None:
            self._log.info("there is no configuration: the defaults hold", path=str(DEFAULT_PATH))

    def _lock_memory(self) -> None:
        if not self.configuration.monitor.lock_memory:
            return
        try:
            memory.lock()
        except DmwatchError as error:
            # watching goes on: a page fault less is not worth an alarm less
            self._log.error("lock_memory", problem=str(error))


async def within(limit: float, work: Awaitable[object]) -> None:
    """Wait for something that must not keep the daemon from ending."""
    log = logs.get("dmwatch.daemon")
    try:
        async with asyncio.timeout(limit):
            await work
    except TimeoutError:
        log.warning("left behind", what=getattr(work, "__qualname__", str(work)), limit=limit)
    except Exception:
        log.exception("failed while stopping")
