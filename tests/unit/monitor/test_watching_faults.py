"""Errors in our own code, where a kernel says what nobody foresaw: told, logged, and no end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from dmwatch import TargetLine, Watcher
from dmwatch.ioctl.abi import Command
from dmwatch.monitor import faults, interpreting, tracked
from dmwatch.targets import Target, find
from dmwatch.testing import FakeKernel

Fixture = Any
STRIPED = TargetLine(0, 4096, "striped", "2 128 254:0 0 254:1 0")
VERITY = TargetLine(0, 8, "verity", f"1 254:0 254:1 4096 4096 1 1 sha256 {'a' * 64} {'b' * 64}")
WELL, BROKEN = "2 254:0 254:1 1 AA", "2 254:0 254:1 1 AD"
UNREADABLE = "device.status-unreadable"


class UnforeseenError(Exception):
    """Nothing that the code foresees."""


def fail(*_arguments: object) -> Any:
    raise UnforeseenError("evidence")


@pytest.fixture(autouse=True)
def not_logged_yet() -> Iterator[None]:
    faults._logged.clear()
    yield
    faults._logged.clear()


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Callable[[], None]]:
    """broken(type, functions...): these functions of a target fail, until what it gives is called.

    One that is well answers as before.
    """

    def breaks(kind: str, *functions: str) -> Callable[[], None]:
        well = find(kind)
        broken: Any = dict.fromkeys(functions, fail)
        held = {"target": replace(well, **broken)}

        def found(name: str) -> Target:
            return held["target"] if name == kind else find(name)

        for module in (interpreting, tracked):
            monkeypatch.setattr(module, "find", found)
        return lambda: held.update(target=well)

    return breaks


@pytest.mark.parametrize("function", ["status", "observe", "parts"])
async def test_a_fault_in_reading_a_line_stands_until_it_is_mended(
    kernel: FakeKernel, watch: Fixture, broken: Fixture, function: str
) -> None:
    kernel.add("bad", STRIPED, status=[WELL])
    kernel.add("well", TargetLine(0, 8, "linear", "8:1 0"))
    mend = broken("striped", function)
    async with watch(kernel) as watched:
        told = await watched.wait(UNREADABLE, state="raised", name="bad")
        assert (told.initial, told.key, told.target) == (True, "0", "striped")
        assert "UnforeseenError: evidence" in told.summary
        kernel.raise_event("well")
        await watched.wait("device.event", name="well")
        mend()
        kernel.set_status("bad", 0, BROKEN)
        kernel.raise_event("bad")
        await watched.wait("striped.leg-failed", name="bad")
        assert watched.all(UNREADABLE)[-1].reason == "healthy"
        assert len(watched.all(UNREADABLE)) == 2


async def test_a_fault_in_comparing_two_looks_stands_for_that_look(
    kernel: FakeKernel, watch: Fixture, broken: Fixture
) -> None:
    kernel.add("bad", STRIPED, status=[WELL])
    async with watch(kernel) as watched:
        mend = broken("striped", "moments")
        kernel.set_status("bad", 0, BROKEN)
        kernel.raise_event("bad")
        await watched.wait(UNREADABLE, state="raised")
        await watched.wait("striped.leg-failed")
        mend()
        kernel.raise_event("bad")
        await watched.wait(UNREADABLE, state="cleared")
        assert [c.type for c in watched.watcher.conditions()] == ["striped.leg-failed"]


async def test_a_fault_in_what_a_uevent_means_is_told(
    kernel: FakeKernel, watch: Fixture, broken: Fixture, uevents: Fixture
) -> None:
    kernel.add("bad", VERITY, status=["V"])
    broken("verity", "uevent")
    async with watch(kernel, uevents=True) as watched:
        uevents.send(kernel, "change", "bad", DM_VERITY_ERR_BLOCK_NR="0,3")
        told = await watched.wait(UNREADABLE, state="raised")
        assert told.target == "verity"


async def test_a_fault_anywhere_else_in_a_look_is_told_and_the_device_is_looked_at_again(
    kernel: FakeKernel, watch: Fixture, choose: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.add("bad", STRIPED, status=[WELL])
    async with watch(kernel, chosen=choose(poll_interval=0.2)) as watched:
        monkeypatch.setattr(tracked, "changes", fail)
        kernel.raise_event("bad")
        told = await watched.wait(UNREADABLE, state="raised")
        assert (told.key, told.data["target"]) == (None, None)
        monkeypatch.undo()
        await watched.wait(UNREADABLE, state="cleared")
        kernel.set_status("bad", 0, BROKEN)
        kernel.raise_event("bad")
        await watched.wait("striped.leg-failed")


async def test_a_fault_in_the_first_look_keeps_no_watcher_from_starting(
    kernel: FakeKernel, watch: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.add("bad", STRIPED, status=[WELL])
    monkeypatch.setattr(tracked, "look", fail)
    async with watch(kernel) as watched:
        told = await watched.wait(UNREADABLE, state="raised")
        assert told.initial
        assert watched.watcher.count == 1


async def test_a_fault_in_taking_the_list_counts_as_a_list_that_fails(
    kernel: FakeKernel, watch: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.add("vol", STRIPED, status=[WELL])
    async with watch(kernel) as watched:
        with monkeypatch.context() as patched:
            patched.setattr(watched.watcher._lister, "look", fail)
            kernel.tell()
            failing = await watched.wait("dmwatch.control-failing", state="raised")
            assert "evidence" in failing.summary
        await watched.wait("dmwatch.control-failing", state="cleared")


async def test_a_fault_is_logged_with_its_trace_once_for_each_place(
    kernel: FakeKernel,
    watch: Fixture,
    broken: Fixture,
    caplog: pytest.LogCaptureFixture,
) -> None:
    kernel.add("bad", STRIPED, status=[WELL])
    broken("striped", "observe")
    with caplog.at_level(logging.ERROR):
        async with watch(kernel) as watched:
            for n in range(3):
                kernel.raise_event("bad")
                await watched.called(Command.TABLE_STATUS, "bad", n and 1)
            await watched.settle()
    (record,) = [r for r in caplog.records if r.name == "dmwatch.monitor"]
    assert record.exc_info is not None
    assert record.exc_info[0] is UnforeseenError


async def test_what_is_refused_or_unparsable_is_told_and_not_logged(
    kernel: FakeKernel, watch: Fixture, caplog: pytest.LogCaptureFixture
) -> None:
    kernel.add("bad", STRIPED, status=["gibberish"])
    with caplog.at_level(logging.DEBUG):
        async with watch(kernel) as watched:
            await watched.wait(UNREADABLE)
    assert [r for r in caplog.records if r.name == "dmwatch.monitor"] == []


async def test_what_a_line_is_called_does_not_depend_on_the_lines_beside_it(
    kernel: FakeKernel, watch: Fixture, uevents: Fixture
) -> None:
    kernel.add("bad", STRIPED, status=["gibberish"])
    async with watch(kernel, uevents=True) as watched:
        assert (await watched.wait(UNREADABLE)).key == "0"
        more = TargetLine(4096, 8, "linear", "8:1 0")
        kernel.swap("bad", STRIPED, more, status=["gibberish", ""])
        uevents.send(kernel, "change", "bad")
        await watched.wait("device.table-changed")
        assert len(watched.all(UNREADABLE)) == 1
        assert watched.standing() == [(UNREADABLE, "0", "error")]


async def test_uevents_that_cannot_be_heard_any_more_leave_the_other_witnesses(
    kernel: FakeKernel, watch: Fixture, uevents: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.add("vol", STRIPED, status=[WELL])

    def refuse() -> Any:
        raise OSError(12, "injected")

    async with watch(kernel, uevents=True) as watched:
        monkeypatch.setattr(uevents, "read", refuse)
        uevents.send(kernel, "change", "vol")
        told = await watched.wait("dmwatch.resynced")
        assert "uevents cannot be heard any more" in told.summary
        (covered,) = watched.watcher.coverage()
        assert "uevent" not in covered.how
        kernel.set_status("vol", 0, BROKEN)
        kernel.raise_event("vol")
        await watched.wait("striped.leg-failed")


async def test_a_corrupted_block_is_told_though_the_look_that_its_uevent_asked_for_failed(
    kernel: FakeKernel, watch: Fixture, choose: Fixture, uevents: Fixture
) -> None:
    kernel.add("vol", VERITY, status=["V"])
    async with watch(kernel, uevents=True, chosen=choose(status_timeout=0.2)) as watched:
        released = kernel.hang(Command.TABLE_STATUS)
        uevents.send(kernel, "change", "vol", DM_VERITY_ERR_BLOCK_NR="0,3")
        await watched.wait("device.status-stuck", state="raised")
        released.set()
        await watched.wait("verity.block-corrupted")
        assert len(watched.all("verity.block-corrupted")) == 1


async def test_a_watcher_that_was_closed_ends_its_iteration(kernel: FakeKernel) -> None:
    kernel.add("vol", STRIPED, status=[BROKEN])
    async with Watcher(control=kernel.open(), uevents=False, diskseq=kernel.diskseq) as watcher:
        pass
    assert [event.type async for event in watcher] == ["striped.leg-failed"]
    assert [event async for event in watcher] == []


async def test_closing_that_is_cancelled_lets_go_of_everything(
    kernel: FakeKernel, eventually: Fixture
) -> None:
    control = kernel.open()
    watcher = Watcher(control=control, uevents=False, diskseq=kernel.diskseq)
    await watcher.__aenter__()
    closing = asyncio.create_task(watcher.__aexit__(None, None, None))
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    assert closing.cancelled()
    assert control.fileno() < 0
    await eventually(lambda: watcher._task is not None and watcher._task.done())
