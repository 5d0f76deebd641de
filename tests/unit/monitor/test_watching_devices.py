"""Every row of the device section, through the whole watcher."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import Any

import pytest

from dmwatch import TargetLine
from dmwatch.errors import DmwatchError
from dmwatch.ioctl.abi import Command, Flags
from dmwatch.monitor.watcher import Watcher
from dmwatch.testing import FakeKernel

Fixture = Any
LINEAR = TargetLine(0, 2048, "linear", "8:1 0")
MOVED = TargetLine(0, 2048, "linear", "8:2 0")
LARGER = TargetLine(0, 4096, "linear", "8:1 0")
STRIPED = TargetLine(0, 4096, "striped", "2 128 254:0 0 254:1 0")
WELL, BROKEN = "2 254:0 254:1 1 AA", "2 254:0 254:1 1 AD"


@pytest.fixture(params=["uevents", "alone"])
def swap(
    request: pytest.FixtureRequest, kernel: FakeKernel, uevents: Fixture
) -> Callable[..., dict[str, bool]]:
    """Swap a table with the uevent that comes of it; or a watcher that hears none."""
    heard = request.param == "uevents"

    def swapped(name: str | None = None, *lines: TargetLine, **properties: str) -> dict[str, bool]:
        if name is not None:
            kernel.swap(name, *lines)
            if heard:
                uevents.send(kernel, "change", name, **properties)
        return {"uevents": heard}

    return swapped


async def test_a_device_is_added_with_its_first_table(kernel: FakeKernel, watch: Fixture) -> None:
    async with watch(kernel) as watched:
        kernel.dm.create("new")
        await asyncio.sleep(0.15)
        kernel.dm.load("new", [LINEAR])
        kernel.dm.resume("new")
        added = await watched.wait("device.added")
        assert added.data == {"targets": [{"start": 0, "length": 2048, "type": "linear"}]}
        assert not added.initial
        await watched.settle()
        assert watched.steps() == [("device.added", None, None)]


async def test_a_device_that_gets_no_table_is_added_without(
    kernel: FakeKernel, watch: Fixture
) -> None:
    async with watch(kernel) as watched:
        kernel.dm.create("bare")
        added = await watched.wait("device.added")
        assert added.data == {"targets": []}
        kernel.swap("bare", LINEAR)
        changed = await watched.wait("device.table-changed")
        assert changed.data["before"] == []


async def test_what_stands_on_a_new_device_comes_after_it(
    kernel: FakeKernel, watch: Fixture
) -> None:
    async with watch(kernel) as watched:
        kernel.add("new", STRIPED, status=[BROKEN])
        failed = await watched.wait("striped.leg-failed")
        assert not failed.initial
        assert [type_ for type_, *_ in watched.steps()] == ["device.added", "striped.leg-failed"]


async def test_a_removed_device_takes_what_stood_on_it_along(
    kernel: FakeKernel, watch: Fixture
) -> None:
    kernel.add("old", STRIPED, status=[BROKEN])
    async with watch(kernel) as watched:
        kernel.dm.remove("old")
        await watched.wait("device.removed")
        assert watched.steps() == [
            ("striped.leg-failed", "1", "raised"),
            ("striped.leg-failed", "1", "cleared"),
            ("device.removed", None, None),
        ]
        assert watched.all("striped.leg-failed")[-1].reason == "device-removed"
        assert watched.watcher.conditions() == []


async def test_a_device_that_came_and_went_unseen_tells_nothing(
    kernel: FakeKernel, watch: Fixture
) -> None:
    async with watch(kernel) as watched:
        kernel.before(Command.LIST_DEVICES, lambda: kernel.add("short", LINEAR))
        kernel.before(Command.LIST_DEVICES, lambda: kernel.dm.remove("short"))
        await watched.settle()
        assert watched.events == []


@pytest.mark.parametrize("heard", [True, False])
async def test_a_device_made_anew_is_known_by_its_incarnation(
    kernel: FakeKernel, watch: Fixture, uevents: Fixture, heard: bool
) -> None:
    kernel.add("vol", STRIPED, status=[BROKEN], uuid="LVM-x")
    async with watch(kernel, uevents=heard) as watched:
        uevents.send(kernel, "remove", "vol")
        kernel.dm.remove("vol")
        kernel.add("vol", STRIPED, status=[BROKEN], uuid="LVM-x")
        uevents.send(kernel, "add", "vol")
        uevents.send(kernel, "change", "vol")
        kernel.tell()
        anew = await watched.wait("device.recreated")
        await watched.settle()
        assert anew.severity == "notice"
        assert [step for step in watched.steps() if step[0] != "device.table-changed"] == [
            ("striped.leg-failed", "1", "raised"),
            ("striped.leg-failed", "1", "cleared"),
            ("device.recreated", None, None),
            ("striped.leg-failed", "1", "raised"),
        ]
        before, cleared, again = watched.all("striped.leg-failed")
        assert cleared.reason == "recreated"
        assert cleared.device == before.device
        assert again.device.diskseq == kernel.device("vol").diskseq != before.device.diskseq


async def test_a_removal_and_an_addition_tell_it_on_a_kernel_without_incarnations(
    watch: Fixture, uevents: Fixture
) -> None:
    old = FakeKernel((4, 43, 0))
    old.add("vol", STRIPED, status=[BROKEN])
    async with watch(old, uevents=True) as watched:
        assert old.diskseq(old.device("vol").number) is None
        for _ in range(2):
            uevents.send(old, "remove", "vol")
        old.dm.remove("vol")
        old.add("vol", LINEAR)
        uevents.send(old, "add", "vol")
        await watched.wait("device.recreated")
        await watched.settle()
        assert watched.all("striped.leg-failed")[-1].reason == "recreated"
        assert watched.watcher.conditions() == []
    old.dm.close()


@pytest.mark.parametrize("dm_version", [(4, 47, 0), (4, 43, 0)])
async def test_a_number_taken_by_another_name_is_told_by_the_list_though_uevents_come_first(
    watch: Fixture, uevents: Fixture, dm_version: tuple[int, int, int]
) -> None:
    kernel = FakeKernel(dm_version)
    kernel.add("old", STRIPED, status=[BROKEN])
    async with watch(kernel, uevents=True) as watched:
        kernel.fail(Command.LIST_DEVICES, errno.ENOMEM)
        uevents.send(kernel, "remove", "old")
        kernel.dm.remove("old")
        kernel.add("new", LINEAR)
        uevents.send(kernel, "add", "new")
        uevents.send(kernel, "change", "new")
        await watched.wait("device.added")
        await watched.settle()
        told = [(event.type, event.device.name) for event in watched.events if event.device]
        assert told == [
            ("striped.leg-failed", "old"),
            ("striped.leg-failed", "old"),
            ("device.removed", "old"),
            ("device.added", "new"),
        ]
        assert watched.all("striped.leg-failed")[-1].reason == "device-removed"
    kernel.dm.close()


@pytest.mark.parametrize("dm_version", [(4, 47, 0), (4, 43, 0)])
async def test_a_number_taken_and_left_again_makes_nothing_anew(
    watch: Fixture, uevents: Fixture, dm_version: tuple[int, int, int]
) -> None:
    kernel = FakeKernel(dm_version)
    kernel.add("old", STRIPED, status=[BROKEN])
    async with watch(kernel, uevents=True) as watched:
        kernel.fail(Command.LIST_DEVICES, errno.ENOMEM)
        uevents.send(kernel, "remove", "old")
        kernel.dm.remove("old")
        kernel.add("short", LINEAR)
        uevents.send(kernel, "add", "short")
        kernel.dm.remove("short")
        await watched.wait("device.removed")
        await watched.settle()
        told = [(event.type, event.device.name) for event in watched.events if event.device]
        assert told == [
            ("striped.leg-failed", "old"),
            ("striped.leg-failed", "old"),
            ("device.removed", "old"),
        ]
    kernel.dm.close()


async def test_an_event_number_that_went_back_shows_another_incarnation(
    kernel: FakeKernel, watch: Fixture, uevents: Fixture
) -> None:
    kernel.add("vol", STRIPED, status=[BROKEN])
    kernel.raise_event("vol", 5)
    async with watch(kernel, uevents=True) as watched:
        kernel.dm.remove("vol")
        kernel.add("vol", STRIPED, status=[WELL])
        await watched.wait("device.recreated")
        assert watched.all("striped.leg-failed")[-1].reason == "recreated"


async def test_another_device_with_the_number_of_a_removed_one(
    kernel: FakeKernel, watch: Fixture
) -> None:
    kernel.add("old", STRIPED, status=[BROKEN])
    async with watch(kernel) as watched:

        def replace() -> None:
            kernel.dm.remove("old")
            kernel.add("new", LINEAR)

        kernel.before(Command.LIST_DEVICES, replace)
        kernel.tell()
        await watched.wait("device.added")
        assert watched.steps("old")[1:] == [
            ("striped.leg-failed", "1", "cleared"),
            ("device.removed", None, None),
        ]
        assert watched.steps("new") == [("device.added", None, None)]


async def test_a_rename_is_told_with_the_old_name(kernel: FakeKernel, watch: Fixture) -> None:
    kernel.add("old", STRIPED, status=[BROKEN])
    async with watch(kernel) as watched:
        kernel.dm.rename("old", "new")
        renamed = await watched.wait("device.renamed", name="new")
        assert renamed.data == {"old_name": "old"}
        await watched.settle()
        assert watched.steps()[1:] == [("device.renamed", None, None)]
        assert [c.device.name for c in watched.watcher.conditions()] == ["new"]


@pytest.mark.parametrize("lines", [(), (LINEAR,)])
async def test_a_uuid_that_is_set_is_told(
    kernel: FakeKernel, watch: Fixture, lines: tuple[TargetLine, ...]
) -> None:
    kernel.add("vol", *lines)
    async with watch(kernel) as watched:
        kernel.dm.set_uuid("vol", "LVM-abc")
        told = await watched.wait("device.uuid-set")
        assert told.device is not None
        assert (told.device.uuid, told.device.subsystem) == ("LVM-abc", "LVM")
        await watched.settle()
        assert watched.steps() == [("device.uuid-set", None, None)]


async def test_a_swapped_table_of_the_same_shape(
    kernel: FakeKernel, watch: Fixture, swap: Fixture
) -> None:
    kernel.add("vol", LINEAR)
    async with watch(kernel, **swap()) as watched:
        swap("vol", MOVED)
        await watched.wait("device.table-changed")
        await watched.settle()
        assert watched.steps() == [("device.table-changed", None, None)]


async def test_a_swapped_table_tells_types_and_sizes_but_no_text(
    kernel: FakeKernel, watch: Fixture, swap: Fixture
) -> None:
    key = "00112233445566778899aabbccddeeff"
    kernel.add("vol", LINEAR)
    async with watch(kernel, **swap()) as watched:
        crypt = TargetLine(0, 2048, "crypt", f"aes-xts-plain64 {key} 0 8:1 0")
        swap("vol", crypt)
        told = await watched.wait("device.table-changed")
        assert told.data == {
            "before": [{"start": 0, "length": 2048, "type": "linear"}],
            "after": [{"start": 0, "length": 2048, "type": "crypt"}],
        }
        assert key not in told.json_line()


async def test_a_resize_is_told_beside_the_table(
    kernel: FakeKernel, watch: Fixture, swap: Fixture
) -> None:
    kernel.add("vol", LINEAR)
    async with watch(kernel, **swap()) as watched:
        swap("vol", LARGER, RESIZE="1")
        resized = await watched.wait("device.resized")
        assert resized.data == {"before": 2048, "after": 4096}
        await watched.settle()
        assert [type_ for type_, *_ in watched.steps()] == [
            "device.table-changed",
            "device.resized",
        ]


async def test_only_what_was_swapped_is_read_where_uevents_are_heard(
    kernel: FakeKernel, watch: Fixture, uevents: Fixture
) -> None:
    for name in "abc":
        kernel.add(name, LINEAR)
    async with watch(kernel, uevents=True) as watched:
        before = kernel.count(Command.TABLE_STATUS, "b")
        kernel.swap("a", MOVED)
        uevents.send(kernel, "change", "a")
        await watched.wait("device.table-changed", name="a")
        await watched.settle()
        assert kernel.count(Command.TABLE_STATUS, "b") == before


async def test_a_suspension_is_told_after_its_delay_and_cleared_with_a_resume(
    kernel: FakeKernel, watch: Fixture, choose: Fixture
) -> None:
    kernel.add("vol", LINEAR)
    chosen = choose({"device.suspended": {"after": "300ms"}}, heartbeat=0.2)
    async with watch(kernel, chosen=chosen) as watched:
        kernel.dm.suspend("vol")
        told = await watched.wait("device.suspended", state="raised")
        assert (told.severity, told.initial, told.target) == ("warning", False, None)
        kernel.dm.resume("vol")
        cleared = await watched.wait("device.suspended", state="cleared")
        assert cleared.reason == "healthy"


async def test_a_short_suspension_tells_nothing(
    kernel: FakeKernel, watch: Fixture, choose: Fixture
) -> None:
    kernel.add("vol", LINEAR)
    async with watch(kernel, chosen=choose(heartbeat=0.1)) as watched:
        kernel.dm.suspend("vol")
        await watched.called(Command.DEV_STATUS, "vol", 2)
        kernel.dm.resume("vol")
        await watched.settle()
        assert [event.type for event in watched.events if event.device] == []


async def test_a_resume_after_a_while_is_told(
    kernel: FakeKernel, watch: Fixture, uevents: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dmwatch.monitor.tracked.RESUMED_AFTER", 0.0)
    kernel.add("vol", LINEAR)
    kernel.dm.suspend("vol")
    async with watch(kernel, uevents=True) as watched:
        kernel.dm.resume("vol")
        uevents.send(kernel, "change", "vol")
        told = await watched.wait("device.resumed")
        assert told.severity == "info"


async def test_a_deferred_removal_stands_until_it_is_cancelled(
    kernel: FakeKernel, watch: Fixture, choose: Fixture
) -> None:
    kernel.add("vol", LINEAR)
    kernel.open_device("vol")
    async with watch(kernel, chosen=choose(heartbeat=0.1)) as watched:
        kernel.dm.remove("vol", flags=Flags.DEFERRED_REMOVE)
        told = await watched.wait("device.removal-deferred", state="raised")
        assert told.severity == "notice"
        kernel.device("vol").deferred_remove = False
        cleared = await watched.wait("device.removal-deferred", state="cleared")
        assert cleared.reason == "healthy"


async def test_a_deferred_removal_that_happens_is_a_removal(
    kernel: FakeKernel, watch: Fixture, choose: Fixture
) -> None:
    kernel.add("vol", LINEAR)
    kernel.open_device("vol")
    async with watch(kernel, chosen=choose(heartbeat=0.1)) as watched:
        kernel.dm.remove("vol", flags=Flags.DEFERRED_REMOVE)
        await watched.wait("device.removal-deferred")
        kernel.close_device("vol")
        await watched.wait("device.removed")
        assert watched.all("device.removal-deferred")[-1].reason == "device-removed"


async def test_a_staged_table_is_told_after_its_delay(
    kernel: FakeKernel, watch: Fixture, choose: Fixture
) -> None:
    kernel.add("vol", LINEAR)
    chosen = choose({"device.table-staged": {"after": "200ms"}}, heartbeat=0.1)
    async with watch(kernel, chosen=chosen) as watched:
        kernel.dm.load("vol", [MOVED])
        told = await watched.wait("device.table-staged", state="raised")
        assert told.severity == "notice"
        kernel.dm.clear("vol")
        await watched.wait("device.table-staged", state="cleared", reason="healthy")


async def test_a_hole_is_told_and_stays_though_only_the_record_is_read(
    kernel: FakeKernel, watch: Fixture, choose: Fixture
) -> None:
    kernel.add("vol", TargetLine(0, 8, "linear", "8:1 0"), TargetLine(8, 8, "error"))
    async with watch(kernel, chosen=choose(heartbeat=0.1), uevents=False) as watched:
        await watched.called(Command.DEV_STATUS, "vol", 4)
        assert watched.steps("vol") == [("device.error-target", None, "raised")]
        kernel.swap("vol", LINEAR)
        cleared = await watched.wait("device.error-target", state="cleared")
        assert cleared.reason == "healthy"


async def test_a_hole_stays_where_uevents_are_heard_and_nothing_happens(
    kernel: FakeKernel, watch: Fixture, choose: Fixture, uevents: Fixture
) -> None:
    kernel.add("vol", TargetLine(0, 8, "error"))
    async with watch(kernel, chosen=choose(heartbeat=0.1), uevents=True) as watched:
        await watched.called(Command.DEV_STATUS, "vol", 4)
        assert watched.steps("vol") == [("device.error-target", None, "raised")]


async def test_an_event_is_told_only_where_nothing_else_was_found(
    kernel: FakeKernel, watch: Fixture
) -> None:
    kernel.add("vol", STRIPED, status=[WELL])
    async with watch(kernel) as watched:
        kernel.raise_event("vol")
        told = await watched.wait("device.event")
        assert (told.severity, told.event_nr, told.coalesced) == ("debug", 1, 0)
        kernel.set_status("vol", 0, BROKEN)
        kernel.raise_event("vol")
        await watched.wait("striped.leg-failed")
        await watched.settle()
        assert len(watched.all("device.event")) == 1


async def test_events_that_the_kernel_folded_are_counted(
    kernel: FakeKernel, watch: Fixture
) -> None:
    kernel.add("vol", STRIPED, status=[WELL])
    async with watch(kernel) as watched:
        kernel.set_status("vol", 0, BROKEN)
        kernel.before(Command.TABLE_STATUS, lambda: kernel.raise_event("vol", 6))
        kernel.raise_event("vol")
        told = await watched.wait("striped.leg-failed")
        assert (told.coalesced, told.event_nr) == (6, 7)


async def test_the_event_number_wraps(kernel: FakeKernel, watch: Fixture) -> None:
    kernel.add("vol", STRIPED, status=[WELL])
    kernel.device("vol").event_nr = (1 << 32) - 1
    async with watch(kernel) as watched:
        kernel.raise_event("vol")
        told = await watched.wait("device.event")
        assert (told.event_nr, told.coalesced) == (0, 0)


async def test_only_wanted_devices_are_read_and_told(kernel: FakeKernel, watch: Fixture) -> None:
    for name in ("vg-a", "vg-b", "other"):
        kernel.add(name, STRIPED, status=[BROKEN])
    async with watch(kernel, "vg-*") as watched:
        assert watched.watcher.count == 2
        kernel.raise_event("other")
        kernel.dm.remove("other")
        kernel.dm.remove("vg-a")
        await watched.wait("device.removed", name="vg-a")
        assert watched.steps("other") == []
        assert kernel.count(Command.TABLE_STATUS, "other") == 0


async def test_a_device_without_permission_to_look_is_an_error_on_entering(
    kernel: FakeKernel,
) -> None:
    kernel.permitted = False
    with pytest.raises(DmwatchError):
        async with Watcher(control=kernel.open(), uevents=False):
            pass
    kernel.permitted = True
