"""The watcher with uevents against a kernel in which anything happens between any two calls.

Nothing wakes it but the kernel itself: once it waits and the node is quiet, it must know what is
there, and its events alone must say so too. Lists that fail are among what happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import select
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dmwatch import TargetLine
from dmwatch.events import Event
from dmwatch.ioctl.abi import Command, Version
from dmwatch.monitor import members
from dmwatch.monitor import watcher as module
from dmwatch.monitor.listing import Lister
from dmwatch.monitor.settings import Settings
from dmwatch.monitor.uevents import Uevent, parse
from dmwatch.monitor.watcher import Watcher
from dmwatch.testing import FakeKernel
from dmwatch.testing.devices import FakeDevice

STILL = Settings.model_validate(
    {"monitor": {"poll_interval": 3600, "heartbeat": 3600, "status_timeout": 60, "cpu_share": 1}}
)
NAMES = ("a", "b", "c")
STRIPED = TargetLine(0, 4096, "striped", "2 128 254:0 0 254:1 0")
TEXTS = ("2 254:0 254:1 1 AA", "2 254:0 254:1 1 AD", "2 254:0 254:1 1 DD")
OLD: Version = (4, 43, 0)
NEW: Version = (4, 47, 0)
LAST_NR = (1 << 32) - 1
POINTS = (Command.DEV_ARM_POLL, Command.LIST_DEVICES, Command.DEV_STATUS, Command.TABLE_STATUS)


class Heard:
    """What the kernel would send, in place of the socket."""

    def __init__(self) -> None:
        kinds = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        self._here, self._there = socket.socketpair(socket.AF_UNIX, kinds)

    def send(self, kernel: FakeKernel, device: FakeDevice, *actions: str) -> None:
        if device.diskseq is None:
            # it has no disk yet
            return
        number, diskseq = device.number, kernel.diskseq(device.number)
        said = f"SUBSYSTEM=block\0MAJOR={number.major}\0MINOR={number.minor}"
        if diskseq is not None:
            said += f"\0DISKSEQ={diskseq}"
        for action in actions:
            self._there.send(f"{action}@/block/dm-{number.minor}\0{said}".encode())

    def fileno(self) -> int:
        return self._here.fileno()

    def read(self) -> Iterator[Uevent]:
        with contextlib.suppress(BlockingIOError):
            while True:
                if uevent := parse(self._here.recv(65536)):
                    yield uevent

    def close(self) -> None:
        self._here.close()
        self._there.close()


@dataclass(frozen=True)
class World:
    """A kernel, and what it says to whom."""

    kernel: FakeKernel
    heard: Heard
    wraps: list[str] = field(default_factory=list)

    def known(self, name: str) -> FakeDevice | None:
        return next((d for d in self.kernel.devices if d.name.decode() == name), None)

    def add(self, name: str, text: str) -> None:
        if self.known(name) is None:
            device = self.kernel.add(name, STRIPED, status=[text])
            self.heard.send(self.kernel, device, "add", "change")

    def bare(self, name: str, _text: str) -> None:
        if self.known(name) is None:
            self.kernel.add(name)

    def remove(self, name: str, _text: str) -> None:
        if device := self.known(name):
            self.heard.send(self.kernel, device, "remove")
            self.kernel.dm.remove(name)

    def anew(self, name: str, text: str) -> None:
        self.remove(name, text)
        self.add(name, text)

    def rename(self, name: str, _text: str) -> None:
        other = NAMES[(NAMES.index(name) + 1) % len(NAMES)]
        device = self.known(name)
        if device and self.known(other) is None:
            self.kernel.dm.rename(name, other)
            self.heard.send(self.kernel, device, "change")

    def event(self, name: str, text: str) -> None:
        device = self.known(name)
        if device and device.live:
            self.kernel.set_status(name, 0, text)
            self.kernel.raise_event(name)

    def wrap(self, name: str, text: str) -> None:
        device = self.known(name)
        if device and device.live:
            self.wraps.append(name)
            device.event_nr = LAST_NR
            self.kernel.set_status(name, 0, text)
            # never onto a number that it had: 2**32 events between two looks are not seen
            self.kernel.raise_event(name, 50 * len(self.wraps))

    def fail(self, _name: str, _text: str) -> None:
        self.kernel.fail(Command.LIST_DEVICES, errno.ENOMEM)


ACTIONS = ("add", "bare", "remove", "anew", "rename", "event", "event", "wrap", "fail")


@dataclass(frozen=True)
class Step:
    """What happens, and when: now, or at the next call of a command."""

    what: str
    name: str
    text: str
    point: Command | None
    after: bool
    pause: bool

    def do(self, world: World) -> None:
        def act() -> None:
            getattr(world, self.what)(self.name, self.text)

        if self.point is None:
            act()
            return
        plan = world.kernel.after if self.after else world.kernel.before
        plan(self.point, act)


STEPS = st.builds(
    Step,
    what=st.sampled_from(ACTIONS),
    name=st.sampled_from(NAMES),
    text=st.sampled_from(TEXTS),
    point=st.none() | st.sampled_from(POINTS),
    after=st.booleans(),
    pause=st.booleans(),
)


def quiet(watcher: Watcher) -> bool:
    """White-box: it waits for the node, which has nothing to say, and nothing is under way."""
    loop: Any = asyncio.get_running_loop()
    node = watcher._dm.fileno()
    if watcher._attendant._tasks or node not in loop._selector.get_map() or watcher._has_fresh():
        return False
    heard = watcher._uevents.fileno() if watcher._uevents else node
    return not watcher._heard.is_set() and not select.select([node, heard], [], [], 0)[0]


async def until_quiet(watcher: Watcher) -> None:
    async with asyncio.timeout(40):
        for _ in range(3):
            while not quiet(watcher) or not watcher._outbox._queue.empty():  # noqa: ASYNC110
                await asyncio.sleep(0.002)
            await asyncio.sleep(0)


def seen(watcher: Watcher) -> list[tuple[Any, ...]]:
    return sorted(
        (d.name, str(d.number), d.event_nr, d.diskseq, [line.text for line in d.lines or ()])
        for d in watcher._tracked.values()
    )


def there(kernel: FakeKernel) -> list[tuple[Any, ...]]:
    return sorted(
        (
            d.name.decode(),
            str(d.number),
            d.event_nr,
            kernel.diskseq(d.number),
            [line.status for line in d.live.lines] if d.live else [],
        )
        for d in kernel.devices
    )


def folded(events: list[Event]) -> tuple[dict[str, str], dict[tuple[str, Any], str]]:
    """Who is there by name, and what stands, by what the events say alone."""
    names: dict[str, str] = {}
    standing: dict[tuple[str, Any], str] = {}
    for event in events:
        if event.device is None:
            continue
        number, one = str(event.device.number), (str(event.device.number), event.key)
        match event.type, event.state:
            case "device.added", _:
                assert number not in names, f"{number} is added twice"
                names[number] = event.device.name
            case "device.removed", _:
                del names[number]
                assert not [key for key in standing if key[0] == number]
            case "device.renamed", _:
                names[number] = event.device.name
            case _, "raised":
                assert one not in standing, f"{one} is raised twice"
                standing[one] = event.severity
            case _, "cleared":
                del standing[one]
    return names, standing


async def collect(watcher: Watcher, events: list[Event]) -> None:
    async for event in watcher:
        events.append(event)  # noqa: PERF401 - it never ends


async def play(steps: list[Step], version: Version) -> None:
    kernel, heard, events = FakeKernel(version), Heard(), list[Event]()
    with patch.object(module, "Uevents", lambda: heard):
        watcher = Watcher(settings=STILL, control=kernel.open(), diskseq=kernel.diskseq)
        async with watcher:
            world = World(kernel, heard)
            collecting = asyncio.create_task(collect(watcher, events))
            for step in steps:
                step.do(world)
                if step.pause:
                    await until_quiet(watcher)
            await until_quiet(watcher)
            kernel.calm()
            found, standing = seen(watcher), watcher.conditions()
            collecting.cancel()
            await asyncio.wait([collecting])
    assert found == there(kernel)
    names, conditions = folded(events)
    assert names == {str(d.number): d.name.decode() for d in kernel.devices}
    assert conditions == {(str(c.device.number), c.key): c.severity for c in standing if c.device}
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    kernel.dm.close()


@contextlib.contextmanager
def quick() -> Iterator[None]:
    with (
        patch.object(members, "FRESH_SECONDS", 0.02),
        patch.object(module, "FRESH_INTERVAL", 0.005),
        patch.object(module, "PAUSE_FIRST", 0.005),
        patch.object(module, "PAUSE_LONGEST", 0.01),
    ):
        yield


def played(examples: int, version: Version, *phases: Phase) -> Callable[[], None]:
    @settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        derandomize=True,
        database=None,
        phases=phases,
    )
    @given(st.lists(STEPS, min_size=1, max_size=14))
    def checked(steps: list[Step]) -> None:
        with quick():
            asyncio.run(play(steps, version))

    return checked


@pytest.mark.parametrize("version", [OLD, NEW])
def test_whatever_happens_between_two_calls_is_known_in_the_end(version: Version) -> None:
    played(60, version, Phase.generate, Phase.shrink)()


def test_a_look_that_lists_before_it_arms_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def listed_first(self: Lister) -> bytes:
        found = self._dm.list_raw().data
        self._dm.arm_poll()
        return found

    monkeypatch.setattr(Lister, "_armed_list", listed_first)
    with pytest.raises(AssertionError):
        played(200, NEW, Phase.generate)()
