"""What stands is a function of the present, and the events tell it step by step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dmwatch import TargetLine
from dmwatch.events import Condition, Event
from dmwatch.ioctl.abi import Command
from dmwatch.monitor.settings import Settings
from dmwatch.monitor.watcher import Watcher
from dmwatch.testing import FakeKernel

STILL = Settings.model_validate(
    {
        "monitor": {
            "poll_interval": 3600,
            "heartbeat": 3600,
            "status_timeout": 60,
            "cpu_share": 1,
        },
        # what depends on how one got there is not a function of the present
        "conditions": {"thin-pool.data-usage": {"hysteresis": 0}},
    }
)
NAMES = ("a", "b", "c")
STRIPED = TargetLine(0, 4096, "striped", "2 128 254:0 0 254:1 0")
POOL = TargetLine(0, 4096, "thin-pool", "254:0 254:1 128 100 0 ")
THIN = TargetLine(0, 4096, "thin", "253:0 0")
SNAPSHOT = TargetLine(0, 4096, "snapshot", "254:4 254:5 PO 16")
MPATH = TargetLine(
    0,
    4096,
    "multipath",
    "2 queue_mode bio 0 2 1 round-robin 0 1 1 254:0 1 round-robin 0 1 1 254:2 1 ",
)
HOLE = TargetLine(0, 4096, "error", "")
LINEAR = TargetLine(0, 4096, "linear", "8:1 0")
TEXTS = {
    # none is unreadable: what stood before one stays, and who begins there does not know it
    "striped": ["2 254:0 254:1 1 AA", "2 254:0 254:1 1 AD", "2 254:0 254:1 1 DD"],
    "thin-pool": [
        "0 116/1024 1/512 - rw discard_passdown queue_if_no_space - 256 ",
        "0 116/1024 420/512 - rw discard_passdown queue_if_no_space - 256 ",
        "0 116/1024 512/512 - out_of_data_space discard_passdown queue_if_no_space - 256 ",
        "0 116/1024 5/512 - ro discard_passdown queue_if_no_space needs_check 256 ",
        "Fail",
    ],
    "thin": ["0 -", "Fail", "8 7"],
    "snapshot": ["16/4096 16", "3900/4096 16", "Overflow", "Invalid"],
    "multipath": [
        "2 0 0 0 2 1 A 0 1 0 254:0 A 0 E 0 1 0 254:2 A 0 ",
        "2 0 0 0 2 1 A 0 1 0 254:0 F 1 E 0 1 0 254:2 A 0 ",
        "2 0 0 0 2 2 E 0 1 0 254:0 F 1 A 0 1 0 254:2 F 1 ",
        "2 0 0 0 2 1 A 0 1 0 254:0 A 1 D 0 1 0 254:2 A 1 ",
    ],
    "error": [""],
    "linear": [""],
}
TABLES = {line.type: line for line in (STRIPED, POOL, THIN, SNAPSHOT, MPATH, HOLE, LINEAR)}


@dataclass(frozen=True)
class Step:
    """Something that somebody does to a device; one that is not there is made."""

    what: str
    name: str
    kind: str
    text: int
    other: str
    look: bool

    def do(self, kernel: FakeKernel) -> None:
        known = {device.name.decode() for device in kernel.devices}
        doing = DOINGS[self.what] if self.name in known else _add
        doing(self, kernel, known)

    @property
    def status(self) -> str:
        return TEXTS[self.kind][self.text % len(TEXTS[self.kind])]


def _add(step: Step, kernel: FakeKernel, _known: set[str]) -> None:
    kernel.add(step.name, TABLES[step.kind], status=[step.status])


def _remove(step: Step, kernel: FakeKernel, _known: set[str]) -> None:
    kernel.dm.remove(step.name)


def _anew(step: Step, kernel: FakeKernel, known: set[str]) -> None:
    _remove(step, kernel, known)
    _add(step, kernel, known)


def _rename(step: Step, kernel: FakeKernel, known: set[str]) -> None:
    if step.other not in known:
        kernel.dm.rename(step.name, step.other)


def _swap(step: Step, kernel: FakeKernel, _known: set[str]) -> None:
    kernel.swap(step.name, TABLES[step.kind], status=[step.status])


def _status(step: Step, kernel: FakeKernel, _known: set[str]) -> None:
    live = kernel.device(step.name).live
    assert live is not None
    texts = TEXTS[live.lines[0].type]
    kernel.set_status(step.name, 0, texts[step.text % len(texts)])
    kernel.raise_event(step.name)


DOINGS: dict[str, Callable[[Step, FakeKernel, set[str]], None]] = {
    "remove": _remove,
    "anew": _anew,
    "rename": _rename,
    "swap": _swap,
    "status": _status,
}
STEPS = st.builds(
    Step,
    what=st.sampled_from([*DOINGS, "swap", "status", "status"]),
    name=st.sampled_from(NAMES),
    kind=st.sampled_from(sorted(TABLES)),
    text=st.integers(0, 4),
    other=st.sampled_from([*NAMES, "d"]),
    look=st.booleans(),
)


async def settle(watcher: Watcher, kernel: FakeKernel) -> None:
    """Have everything looked at that happened."""
    for _ in range(2):
        await look(watcher, kernel)
    await until(lambda: not watcher._attendant._tasks)
    await until(lambda: all(d.fresh_until is None for d in watcher._tracked.values()))
    await until(lambda: not watcher._attendant._tasks and watcher._outbox._queue.empty())


async def look(watcher: Watcher, kernel: FakeKernel) -> None:
    await until(lambda: waits(watcher))
    looks = kernel.count(Command.DEV_ARM_POLL)
    kernel.tell()
    await until(lambda: kernel.count(Command.DEV_ARM_POLL) > looks)
    await until(lambda: waits(watcher))


def waits(watcher: Watcher) -> bool:
    """White-box: it has taken in what its last look found, and listens to the node again."""
    loop: Any = asyncio.get_running_loop()
    return watcher._dm.fileno() in loop._selector.get_map()


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(50):
        while not true():  # noqa: ASYNC110 - the fake kernel sets no asyncio.Event
            await asyncio.sleep(0.002)


def watch(kernel: FakeKernel, standing: list[Condition] | None = None) -> Watcher:
    return Watcher(
        settings=STILL,
        standing=standing or [],
        control=kernel.open(),
        uevents=False,
        diskseq=kernel.diskseq,
    )


async def collect(watcher: Watcher, events: list[Event]) -> None:
    async for event in watcher:
        events.append(event)  # noqa: PERF401 - it never ends


def told(conditions: list[Condition]) -> list[tuple[Any, ...]]:
    return [
        (c.device.name, str(c.device.number), c.type, c.key, c.severity, c.target, _data(c.data))
        for c in conditions
        if c.device
    ]


def _data(data: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(sorted((key, str(value)) for key, value in data.items()))


def folded(events: list[Event]) -> dict[tuple[str, str, str | None], str]:
    """What stands, by what the events say alone."""
    standing: dict[tuple[str, str, str | None], str] = {}
    for event in events:
        if event.state is None or event.device is None:
            continue
        one = str(event.device.number), event.type, event.key
        match event.state:
            case "raised":
                assert one not in standing, f"{one} is raised twice"
                standing[one] = event.severity
            case "changed":
                assert one in standing, f"{one} changes and does not stand"
                standing[one] = event.severity
            case "cleared":
                assert standing.pop(one, None), f"{one} is cleared and does not stand"
    return standing


async def play(steps: list[Step]) -> None:
    kernel = FakeKernel()
    try:
        events: list[Event] = []
        async with watch(kernel) as watcher:
            collecting = asyncio.create_task(collect(watcher, events))
            for step in steps:
                step.do(kernel)
                if step.look:
                    await settle(watcher, kernel)
            await settle(watcher, kernel)
            standing = watcher.conditions()
            collecting.cancel()
            await asyncio.wait([collecting])
        assert folded(events) == {
            (str(c.device.number), c.type, c.key): c.severity for c in standing if c.device
        }
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        async with watch(kernel) as fresh:
            assert told(fresh.conditions()) == told(standing)
        async with watch(kernel, standing) as again:
            assert told(again.conditions()) == told(standing)
            assert again._outbox._first == type(again._outbox._first)()
    finally:
        kernel.dm.close()


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(st.lists(STEPS, min_size=3, max_size=16))
def test_a_watcher_that_begins_now_knows_what_one_knows_that_watched_all_along(
    steps: list[Step],
) -> None:
    asyncio.run(play(steps))
