"""Whatever happens at whatever point of a look: once it is quiet, the watcher knows the truth.

Nothing comes to its help: no poll, no heartbeat, no uevent. With uevents: test_between_calls.py.
"""

from __future__ import annotations

import asyncio
import select
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dmwatch import TargetLine
from dmwatch.events import Event
from dmwatch.ioctl.abi import Command
from dmwatch.monitor.settings import Settings
from dmwatch.monitor.watcher import Watcher
from dmwatch.testing import FakeKernel

ALONE = Settings.model_validate(
    {"monitor": {"poll_interval": 3600, "heartbeat": 3600, "status_timeout": 60, "cpu_share": 1}}
)
LINE = TargetLine(0, 2048, "linear", "8:1 0")
ABOUT_TO_WRAP, MANY = 0xFFFFFFFE, 1_000_000
NAMES = ("a", "b", "c")
OLD = "old"  # its number wraps; it stays: one made anew there cannot be told from a wrap by number
POINTS = [
    (point, command)
    for command in (
        Command.DEV_ARM_POLL,
        Command.LIST_DEVICES,
        Command.DEV_STATUS,
        Command.TABLE_STATUS,
    )
    for point in ("before", "after")
]


@dataclass(frozen=True)
class Step:
    """Something that somebody does to a device when the watcher reaches a point; one that is not
    there is made."""

    what: str
    name: str
    other: str
    at: tuple[str, Command]


STEPS = st.builds(
    Step,
    what=st.sampled_from(["event", "event", "events", "remove", "anew", "rename"]),
    name=st.sampled_from(NAMES),
    other=st.sampled_from([*NAMES, "d"]),
    at=st.sampled_from(POINTS),
)


class World:
    """The kernel, and what is done to it. Each state of a device has a text of its own."""

    def __init__(self) -> None:
        self.kernel = FakeKernel()
        self._texts = 0
        for name in (*NAMES[:2], OLD):
            self._add(name)
        self.kernel.device(OLD).event_nr = ABOUT_TO_WRAP

    def plan(self, step: Step) -> None:
        point, command = step.at
        planning = self.kernel.before if point == "before" else self.kernel.after
        planning(command, lambda: self._do(step))

    def _do(self, step: Step) -> None:
        known = {device.name.decode() for device in self.kernel.devices}
        if step.name not in known:
            self._add(step.name)
        elif step.what == "events":
            self._event(OLD, 2)
        elif step.what == "rename":
            if step.other not in known:
                self.kernel.dm.rename(step.name, step.other)
        elif step.what in {"remove", "anew"}:
            self.kernel.dm.remove(step.name)
            if step.what == "anew":
                self._add(step.name)
        else:
            self._event(step.name)

    def _add(self, name: str) -> None:
        # without uevents it is a number that went back which says at once that a device is another
        # one; what does not show in the list the next poll finds, and here none comes
        with self.kernel._machine.changed:
            made = self.kernel.add(name, LINE, status=[self._text()])
            made.event_nr = MANY - 100 * self._texts

    def _event(self, name: str, times: int = 1) -> None:
        self.kernel.set_status(name, 0, self._text())
        self.kernel.raise_event(name, times)

    def _text(self) -> str:
        self._texts += 1
        return str(self._texts)

    @property
    def truth(self) -> dict[str, tuple[str, int, int | None, str | None]]:
        return {
            str(device.number): (
                device.name.decode(),
                device.event_nr,
                device.diskseq,
                device.live.lines[0].status if device.live else None,
            )
            for device in self.kernel.devices
        }


def known(watcher: Watcher) -> dict[str, tuple[str, int, int | None, str | None]]:
    """White-box: what it would go by from now on."""
    return {
        str(device.number): (
            str(device.name),
            device.event_nr,
            device.diskseq,
            device.lines[0].text if device.lines else None,
        )
        for device in watcher._tracked.values()
    }


def names_told(events: list[Event], first: dict[str, str]) -> dict[str, str]:
    """The devices that are there, by what the events say alone."""
    found = dict(first)
    for event in events:
        assert event.device is not None
        number = str(event.device.number)
        if event.type == "device.renamed":
            assert found[number] == event.data["old_name"]
        if event.type == "device.removed":
            assert found.pop(number) == event.device.name
        else:
            found[number] = event.device.name
    return found


async def quiet(watcher: Watcher) -> None:
    """Until the node is quiet, and nothing is being done or waits to be done."""
    loop: Any = asyncio.get_running_loop()
    node = watcher._dm.fileno()

    def still() -> bool:
        listens = node in loop._selector.get_map() and not select.select([node], [], [], 0)[0]
        fresh = any(device.fresh_until is not None for device in watcher._tracked.values())
        return listens and not fresh and not watcher._attendant._tasks

    async with asyncio.timeout(50):
        while not (still() and watcher._outbox._queue.empty()):  # noqa: ASYNC110 - the fake sets none
            await asyncio.sleep(0.002)


async def play(rounds: list[list[Step]]) -> None:
    world = World()
    events: list[Event] = []

    async def collect(watcher: Watcher) -> None:
        async for event in watcher:
            events.append(event)  # noqa: PERF401 - it never ends

    try:
        async with Watcher(
            settings=ALONE,
            control=world.kernel.open(),
            uevents=False,
            diskseq=world.kernel.diskseq,
        ) as watcher:
            first = {number: name for number, (name, *_) in known(watcher).items()}
            collecting = asyncio.create_task(collect(watcher))
            for steps in rounds:
                await quiet(watcher)
                for step in steps:
                    world.plan(step)
                world.kernel.tell()
                await quiet(watcher)
                world.kernel.calm()
                assert known(watcher) == world.truth
                told = names_told(events, first)
                assert told == {number: name for number, (name, *_) in world.truth.items()}
            collecting.cancel()
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    finally:
        world.kernel.dm.close()


ROUNDS = st.lists(st.lists(STEPS, min_size=1, max_size=4), min_size=1, max_size=6)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(ROUNDS)
def test_once_it_is_quiet_the_watcher_knows_the_truth(rounds: list[list[Step]]) -> None:
    asyncio.run(play(rounds))
