"""Load, and the end of a watcher."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dmwatch import TargetLine
from dmwatch.ioctl.abi import Command
from dmwatch.monitor import outbox
from dmwatch.monitor.watcher import Watcher
from dmwatch.testing import FakeKernel

Fixture = Any
STRIPED = TargetLine(0, 4096, "striped", "2 128 254:0 0 254:1 0")
WELL, BROKEN = "2 254:0 254:1 1 AA", "2 254:0 254:1 1 AD"
FAILED = "striped.leg-failed"


def descriptors() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


class TestLoad:
    async def test_a_storm_costs_a_bounded_number_of_calls_and_tells_the_last_state(
        self, kernel: FakeKernel, watch: Fixture
    ) -> None:
        names = [f"vol{n}" for n in range(10)]
        for name in names:
            kernel.add(name, STRIPED, status=[WELL])
        async with watch(kernel) as watched:
            before = len(kernel.calls)

            def storm() -> None:
                for n in range(2000):
                    name = names[n % len(names)]
                    kernel.set_status(name, 0, BROKEN if n % 20 < 10 else WELL)
                    kernel.raise_event(name)
                for name in names[:5]:
                    kernel.set_status(name, 0, BROKEN)
                    kernel.raise_event(name)

            await asyncio.to_thread(storm)
            await watched.settle()
            standing = {c.device.name for c in watched.watcher.conditions()}
            assert standing == set(names[:5])
            # at worst one list and one reading (record and status) for each event
            assert len(kernel.calls) - before < 2005 * 4
            assert max(self.heard(watched).values()) == 201

    @staticmethod
    def heard(watched: Fixture) -> Counter[str]:
        """How many kernel events were told of each device: one a look, and what was folded."""
        heard: Counter[str] = Counter()
        looks: set[tuple[str, int]] = set()
        for event in watched.events:
            name = event.device.name
            heard[name] += event.coalesced + ((name, event.event_nr) not in looks)
            looks.add((name, event.event_nr))
        return heard

    async def test_what_the_kernel_folded_adds_up(self, kernel: FakeKernel, watch: Fixture) -> None:
        kernel.add("vol", STRIPED, status=[WELL])
        async with watch(kernel) as watched:
            for burst in (1, 7, 100, 400):
                kernel.raise_event("vol", burst)
                await asyncio.sleep(0.01)
            await watched.settle()
            assert self.heard(watched) == {"vol": 508}

    async def test_events_do_not_pile_up_in_the_schedule(
        self, kernel: FakeKernel, watch: Fixture
    ) -> None:
        kernel.add("vol", STRIPED, status=[WELL])
        async with watch(kernel) as watched:
            for _ in range(30):
                kernel.raise_event("vol")
                await watched.settle()
            # white-box: only an earlier time than all before it leaves another entry
            assert len(watched.watcher._schedule._heap) < 20

    async def test_a_reader_that_does_not_read_bounds_the_queue_and_loses_no_state(
        self, kernel: FakeKernel, eventually: Fixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(outbox, "QUEUE_LENGTH", 5)
        for n in range(4):
            kernel.add(f"vol{n}", STRIPED, status=[WELL])
        watcher = Watcher(control=kernel.open(), uevents=False, diskseq=kernel.diskseq)
        async with watcher:
            queue = watcher._outbox._queue
            for n in range(50):
                name = f"vol{n % 4}"
                kernel.set_status(name, 0, WELL if n % 8 < 4 else BROKEN)
                kernel.raise_event(name)
                await asyncio.sleep(0.002)
            for n in range(4):
                kernel.set_status(f"vol{n}", 0, BROKEN)
                kernel.raise_event(f"vol{n}")
            await eventually(lambda: queue.qsize() == 5)
            standing: set[str] = set()
            sequence = []
            while len(standing) < 4 or queue.qsize():
                event = await asyncio.wait_for(anext(watcher), 30)
                assert queue.qsize() <= 5
                sequence.append(event.sequence)
                assert event.device is not None
                if event.type == FAILED:
                    change = standing.discard if event.state == "cleared" else standing.add
                    change(event.device.name)
            assert sequence == list(range(1, len(sequence) + 1))
            watcher.conditions()

    async def test_many_reads_at_once_are_no_reason_to_call_a_device_stuck(
        self, kernel: FakeKernel, watch: Fixture, choose: Fixture
    ) -> None:
        for n in range(240):
            kernel.add(f"vol{n}", STRIPED, status=[WELL])
        chosen = choose(status_timeout=1)
        async with watch(kernel, chosen=chosen) as watched:
            # with 16 threads the last one is answered 1.5 s after it was asked for
            kernel.before(Command.TABLE_STATUS, lambda: time.sleep(0.1), times=None)
            watched.watcher.adopt(chosen)
            await watched.settle()
            assert watched.events == []
            kernel.calm()

    async def test_what_is_found_but_not_told_yet_is_not_shown_as_standing(
        self, kernel: FakeKernel, eventually: Fixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(outbox, "QUEUE_LENGTH", 1)
        kernel.add("vol", STRIPED, status=[WELL])
        async with Watcher(control=kernel.open(), uevents=False, diskseq=kernel.diskseq) as watcher:
            kernel.set_status("vol", 0, "2 254:0 254:1 1 DD")
            kernel.raise_event("vol")
            await eventually(lambda: watcher._outbox._queue.qsize() == 1)
            assert [c.key for c in watcher.conditions()] == ["0"]
            await anext(watcher)
            await anext(watcher)
            assert [c.key for c in watcher.conditions()] == ["0", "1"]


class TestTheEnd:
    async def test_two_watchers_do_not_disturb_each_other(
        self, kernel: FakeKernel, watch: Fixture
    ) -> None:
        kernel.add("vol", STRIPED, status=[WELL])
        async with watch(kernel) as one:
            async with watch(kernel, "other*") as two:
                kernel.set_status("vol", 0, BROKEN)
                kernel.raise_event("vol")
                await one.wait(FAILED)
                await two.settle()
                assert two.events == []
            kernel.set_status("vol", 0, WELL)
            kernel.raise_event("vol")
            await one.wait(FAILED, state="cleared")

    async def test_the_epochs_of_two_watchers_differ(
        self, kernel: FakeKernel, watch: Fixture
    ) -> None:
        kernel.add("vol", STRIPED, status=[BROKEN])
        async with watch(kernel) as one, watch(kernel) as two:
            first, second = await one.wait(FAILED), await two.wait(FAILED)
            assert first.id != second.id
            assert first.sequence == second.sequence == 1

    @pytest.mark.parametrize(
        "command", [Command.LIST_DEVICES, Command.TABLE_STATUS, Command.DEV_STATUS]
    )
    async def test_cancelled_while_a_call_is_out_it_leaves_no_task_and_no_descriptor(
        self, kernel: FakeKernel, command: Command, eventually: Fixture
    ) -> None:
        kernel.add("vol", STRIPED, status=[WELL])
        before = descriptors()
        entered = asyncio.Event()

        async def watching() -> None:
            async with Watcher(
                control=kernel.open(), uevents=False, diskseq=kernel.diskseq
            ) as watcher:
                entered.set()
                async for _ in watcher:
                    pass

        task = asyncio.create_task(watching())
        await entered.wait()
        calls = kernel.count(command)
        released = kernel.hang(command)
        kernel.raise_event("vol")
        await eventually(lambda: kernel.count(command) > calls)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [t.get_name() for t in asyncio.all_tasks() if "dmwatch" in t.get_name()] == []
        assert descriptors() == before
        released.set()

    async def test_cancelled_on_entering_it_leaves_no_task_and_no_descriptor(
        self, kernel: FakeKernel, eventually: Fixture
    ) -> None:
        kernel.add("vol", STRIPED, status=[WELL])
        before = descriptors()
        released = kernel.hang(Command.TABLE_STATUS)

        async def entering() -> None:
            async with Watcher(control=kernel.open(), uevents=False):
                pytest.fail("it cannot be entered")

        task = asyncio.create_task(entering())
        await eventually(lambda: kernel.count(Command.TABLE_STATUS))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [t.get_name() for t in asyncio.all_tasks() if "dmwatch" in t.get_name()] == []
        assert descriptors() == before
        released.set()
