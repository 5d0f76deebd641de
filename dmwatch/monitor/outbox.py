"""Where events wait for their reader: numbered, filtered by device, bounded."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from dmwatch.events import Condition, Event, Reason, Severity, State
from dmwatch.monitor.conditions import Conditions, Found, Id, Look, Step
from dmwatch.monitor.device_rows import CONTROL_FAILING, found
from dmwatch.monitor.settings import Settings, utc_now
from dmwatch.monitor.teller import Teller
from dmwatch.monitor.tracked import Happened, Told, Tracked
from dmwatch.names import matches, printable
from dmwatch.targets import plain

QUEUE_LENGTH = 1000


class Outbox:
    """Makes events of what was found, and keeps them until they are read.

    Args:
        patterns: shell globs for the devices that are wanted; none means all.
        settings: how what stands on the watching itself is told.
    """

    def __init__(self, patterns: tuple[str, ...], settings: Settings) -> None:
        self._patterns = patterns
        self._teller = Teller()
        self._first: deque[Event] = deque()
        self._starting = True
        self._queue: asyncio.Queue[Event | BaseException] = asyncio.Queue()
        # an event gets its number once there is room for it: so they are read in its order
        self._room = asyncio.Semaphore(QUEUE_LENGTH)
        self._own = Conditions(settings)
        self._own_since: dict[Id, datetime] = {}

    def adopt(self, settings: Settings) -> None:
        """Go by other settings from now on."""
        self._own.adopt(settings)

    async def get(self) -> Event:
        """The next event. Raises what ended the watch."""
        if self._first:
            return self._first.popleft()
        found = await self._queue.get()
        self._room.release()
        if isinstance(found, BaseException):
            self._queue.put_nowait(found)  # for whoever asks again
            raise found
        return found

    def started(self) -> None:
        """From now on who puts an event waits while the queue is full."""
        self._starting = False

    def wants(self, device: Tracked, *names: str) -> bool:
        """Say whether a device (or one of these names) is wanted."""
        if not self._patterns:
            return True
        called = (*device.names, *names)
        return any(matches(pattern, *called) for pattern in self._patterns)

    async def tell(
        self, device: Tracked, told: list[Told], *, coalesced: int = 0, old_name: str = ""
    ) -> None:
        """Tell about a device, in order; the first event carries what the kernel folded."""
        if not self.wants(device, *([old_name] if old_name else [])):
            return
        # when it was seen; there may be no room for it until much later
        seen = utc_now()
        for item in told:
            await self._make_room()
            self._put(self._event(device, item, coalesced, seen))
            coalesced = 0

    def standing(self, device: Tracked) -> Iterator[Condition]:
        """What stands on a device."""
        if not self.wants(device):
            return
        for key, held in device.conditions.standing.items():
            item = held.found
            if key not in device.since:
                # found, but not told yet
                continue
            yield Condition(
                type=item.type,
                key=item.key,
                severity=item.severity,
                device=device.ref,
                target=item.target,
                since=device.since[key],
                summary=printable(f"{device.ref.label}: {item.summary}"),
                advice=item.advice,
                data=dict(item.data),
            )

    def standing_itself(self) -> Iterator[Condition]:
        """What stands on the watching itself."""
        for key, since in self._own_since.items():
            item = self._own.standing[key].found
            yield Condition(
                type=item.type,
                severity=item.severity,
                device=None,
                since=since,
                summary=printable(item.summary),
                advice=item.advice,
            )

    def gone_before(self, condition: Condition) -> None:
        """What stood before watching began is over with its device."""
        self._first.append(self._gone(condition))

    async def gone_meanwhile(self, condition: Condition) -> None:
        """As `gone_before`, where that is known only now."""
        await self._make_room()
        self._put(self._gone(condition))

    def _gone(self, condition: Condition) -> Event:
        event = self._teller.moment(
            condition.type,
            condition.severity,
            None,
            f"gone with the device: {condition.summary}",
            state=State.CLEARED,
            reason=Reason.DEVICE_REMOVED,
            initial=True,
            target=condition.target,
            key=condition.key,
            data=condition.data,
        )
        return event.model_copy(update={"device": condition.device})

    async def heartbeat(self, devices: int) -> None:
        """Tell that watching goes on."""
        summary, seen = f"watching {devices} devices", utc_now()
        await self._make_room()
        data = {"devices": devices}
        self._put(
            self._teller.moment(
                "dmwatch.heartbeat", Severity.DEBUG, None, summary, time=seen, data=data
            )
        )

    async def resynced(self, reason: str) -> None:
        """Tell that something was lost and everything is looked at again."""
        summary, seen = f"{reason}: every device is looked at again", utc_now()
        await self._make_room()
        data = {"reason": reason}
        self._put(
            self._teller.moment(
                "dmwatch.resynced", Severity.NOTICE, None, summary, time=seen, data=data
            )
        )

    async def control_failing(self, error: Exception) -> None:
        """Tell, once and when a reminder is due, that the list of devices cannot be had."""
        summary = f"device-mapper does not answer: {error}"
        await self._look_at_itself(found(CONTROL_FAILING, summary))

    async def control_works(self) -> None:
        """Tell, once, that the list of devices can be had again."""
        await self._look_at_itself()

    async def _look_at_itself(self, *items: Found) -> None:
        now = asyncio.get_running_loop().time()
        steps = self._own.look(Look(items, frozenset({None})), now)
        for step in [*steps, *self._own.remind(now)]:
            await self._put_step(step)

    async def _put_step(self, step: Step) -> None:
        seen, key = utc_now(), step.found.id
        if step.state is State.RAISED:
            self._own_since[key] = seen
        elif step.state is State.CLEARED:
            del self._own_since[key]
        await self._make_room()
        self._put(self._teller.step(step, None, time=seen))

    async def fail(self, error: BaseException) -> None:
        """End the iteration with an error."""
        await self._make_room()
        self._queue.put_nowait(error)

    def close(self) -> None:
        """End the iteration, once what was told is read."""
        self._queue.put_nowait(StopAsyncIteration())

    def _event(self, device: Tracked, item: Told, coalesced: int, seen: datetime) -> Event:
        more: dict[str, Any] = {
            "event_nr": device.event_nr,
            "coalesced": coalesced,
            "time": seen,
        }
        if isinstance(item, Happened):
            return self._moment(device, item, more)
        event = self._teller.step(item, device.ref, **more)
        if item.state is State.RAISED:
            device.since[item.found.id] = event.time
        elif item.state is State.CLEARED:
            device.since.pop(item.found.id, None)
        return event

    def _moment(self, device: Tracked, item: Happened, more: dict[str, Any]) -> Event:
        moment = item.moment
        data = plain(moment.data) if item.data is None else dict(item.data)
        return self._teller.moment(
            moment.type,
            moment.severity,
            device.ref,
            moment.summary,
            target=item.target,
            advice=item.advice,
            data=data,
            **more,
        )

    async def _make_room(self) -> None:
        if not self._starting:
            await self._room.acquire()

    def _put(self, event: Event) -> None:
        if self._starting:
            self._first.append(event)
        else:
            self._queue.put_nowait(event)
