from __future__ import annotations

from typing import Any

import pytest

from dmwatch import TargetLine
from dmwatch.dm import DeviceMapper
from dmwatch.monitor.conditions import TABLE, Found, Gauges, Look
from dmwatch.monitor.interpreting import Memory, look, see
from dmwatch.monitor.reading import Raw, Wish, read
from dmwatch.monitor.rules import Ruling
from dmwatch.monitor.settings import Settings
from dmwatch.severity import Severity
from dmwatch.targets.snapshot import SnapshotOverflow
from dmwatch.testing import FakeKernel

STRIPED = "2 128 254:0 0 254:1 0"
WELL, BROKEN = "2 254:0 254:1 1 AA", "2 254:0 254:1 1 AD"
RESYNC = "raid1 2 aa 6528/32768 resync 0 0 -"
RAID = "raid1 3 0 region_size 1024 2 254:0 254:1 254:2 254:3"
NONE = Ruling((), (), "")
MPATH = "2 queue_mode bio 0 1 1 round-robin 0 1 1 254:0 1 "


class Device:
    """A device of a fake kernel, looked at again and again with the memory of one."""

    def __init__(self, kernel: FakeKernel, **chosen: Any) -> None:
        self.kernel = kernel
        self.dm = DeviceMapper(kernel.open())
        self.gauges = Gauges(Settings.model_validate(chosen))

    def put(self, *lines: tuple[str, str, str]) -> None:
        """Put lines in place: type, table, status."""
        tables = [TargetLine(8 * n, 8, kind, text) for n, (kind, text, _) in enumerate(lines)]
        known = [device.name for device in self.kernel.devices]
        change = self.kernel.swap if b"vol" in known else self.kernel.add
        change("vol", *tables, status=[status for *_, status in lines])

    def read(self, *, table: bool = True) -> Raw:
        return read(self.dm, self.kernel.device("vol").number, Wish(table=table))

    def look(self, now: float = 0.0, *, table: bool = True) -> Look:
        raw = self.read(table=table)
        return look(raw.info, see(raw), Memory(self.gauges, NONE), now)

    def keys(self, now: float = 0.0) -> list[tuple[str, str | None]]:
        return sorted((item.id for item in self.look(now).found), key=str)


@pytest.fixture
def device(kernel: FakeKernel) -> Any:
    made = Device(kernel)
    yield made
    made.dm.close()


def only(found: Look) -> Found:
    (item,) = found.found
    return item


def test_a_finding_carries_its_row_of_the_catalogue(device: Device) -> None:
    device.put(("striped", STRIPED, BROKEN))
    item = only(device.look())
    assert (item.type, item.key, item.severity) == ("striped.leg-failed", "1", Severity.CRITICAL)
    assert (item.scope, item.target) == ((0, "striped"), "striped")
    assert item.data == {"leg": 1, "device": "254:1"}
    assert item.advice


def test_several_lines_of_one_type_have_keys_of_their_own(device: Device) -> None:
    device.put(("striped", STRIPED, BROKEN), ("striped", STRIPED, "2 254:0 254:1 1 DD"))
    assert device.keys() == [
        ("striped.leg-failed", "0:1"),
        ("striped.leg-failed", "8:0"),
        ("striped.leg-failed", "8:1"),
    ]


def test_lines_of_different_types_need_no_prefix(device: Device) -> None:
    device.put(("linear", "8:1 0", ""), ("striped", STRIPED, BROKEN))
    assert device.keys() == [("striped.leg-failed", "1")]


def test_the_parts_of_several_lines_have_the_same_keys_as_their_conditions(
    device: Device,
) -> None:
    device.put(("raid", RAID, RESYNC), ("raid", RAID, RESYNC))
    parts = device.look().parts
    assert parts[0, "raid"] == {"0", "0:0", "0:1"}
    assert parts[8, "raid"] == {"8", "8:0", "8:1"}


def test_gauges_of_several_lines_have_a_memory_each(device: Device) -> None:
    device.put(("snapshot", "8:1 8:2 P 16", "80/100 2"), ("snapshot", "8:1 8:3 P 16", "79/100 2"))
    assert device.keys() == [("snapshot.usage", "0")]
    device.kernel.set_status("vol", 0, "79/100 2")
    assert device.keys() == [("snapshot.usage", "0")]


def test_what_moves_in_several_lines_is_watched_apart(device: Device) -> None:
    device.put(("raid", RAID, RESYNC), ("raid", RAID, RESYNC))
    assert device.keys(0.0) == []
    device.kernel.set_status("vol", 1, RESYNC.replace("6528", "6529"))
    device.keys(200.0)
    assert device.keys(300.0) == [("raid.sync-stalled", "0")]
    assert device.keys(500.0) == [("raid.sync-stalled", "0"), ("raid.sync-stalled", "8")]


def test_an_unreadable_line_is_told_and_not_covered(device: Device) -> None:
    device.put(("striped", STRIPED, "gibberish"))
    found = device.look()
    item = only(found)
    assert (item.type, item.key) == ("device.status-unreadable", "0")
    assert (item.scope, item.target) == ((0, "striped"), "striped")
    assert set(item.data) == {"target", "field", "position"}
    assert found.covered == {None, TABLE}
    assert found.lines == frozenset([(0, "striped")])


def test_an_unreadable_line_does_not_hide_the_others(device: Device) -> None:
    device.put(("striped", STRIPED, "gibberish"), ("striped", STRIPED, BROKEN))
    found = device.look()
    assert {item.id for item in found.found} == {
        ("device.status-unreadable", "0"),
        ("striped.leg-failed", "8:1"),
    }
    assert found.covered == {None, TABLE, (8, "striped")}


def test_an_unreadable_table_is_as_one_that_was_not_read(device: Device) -> None:
    device.put(
        ("thin-pool", "nonsense", "0 1/8 512/512 - rw discard_passdown queue_if_no_space - 2")
    )
    raw = device.read()
    lines = see(raw)
    assert lines is not None
    assert lines[0].seen.table is None
    assert lines[0].unreadable is None


def test_a_record_covers_the_device_alone(kernel: FakeKernel, device: Device) -> None:
    device.put(("error", "", ""))
    kernel.dm.suspend("vol")
    raw = read(device.dm, kernel.device("vol").number, Wish(status=False))
    found = look(raw.info, see(raw), Memory(device.gauges, NONE), 0.0)
    assert [item.type for item in found.found] == ["device.suspended"]
    assert found.covered == {None}
    assert found.lines is None


def test_what_a_record_shows(kernel: FakeKernel, device: Device) -> None:
    device.put(("linear", "8:1 0", ""))
    kernel.open_device("vol")
    kernel.device("vol").deferred_remove = True
    kernel.dm.load("vol", [TargetLine(0, 8, "zero")])
    found = {item.type: item for item in device.look().found}
    assert set(found) == {"device.removal-deferred", "device.table-staged"}
    assert found["device.table-staged"].after == 300.0
    assert all(item.scope is None for item in found.values())


def test_a_hole_belongs_to_the_table(device: Device) -> None:
    device.put(("linear", "8:1 0", ""), ("error", "", ""), ("error", "", ""))
    item = only(device.look())
    assert (item.type, item.scope) == ("device.error-target", TABLE)


@pytest.mark.parametrize("status", ["Overflow", "Invalid", "Unknown"])
def test_a_status_that_only_says_that_it_failed_is_blind(device: Device, status: str) -> None:
    device.put(("snapshot", "8:1 8:2 P 16", status))
    assert device.look().blind == {(0, "snapshot")}


def test_a_status_in_figures_is_not_blind(device: Device) -> None:
    device.put(("snapshot", "8:1 8:2 P 16", "16/100 2"))
    assert device.look().blind == frozenset()


def test_a_usage_has_its_figures_and_its_rung(device: Device) -> None:
    device.put(("snapshot", "8:1 8:2 P 16", "957/1000 2"))
    item = only(device.look())
    assert item.data == {"used": 957, "total": 1000, "percent": 95.7, "rung": 95}
    assert (item.severity, item.summary) == (
        Severity.ERROR,
        "space is 95 % used (957 of 1000 sectors)",
    )
    assert item.advice


def test_advice_comes_with_what_is_bad_enough(device: Device) -> None:
    device.put(("snapshot", "8:1 8:2 P 16", "80/100 2"))
    assert only(device.look()).advice is None


def test_flapping_names_its_path(device: Device) -> None:
    status = "2 0 0 0 1 1 A 0 1 0 254:0 A {} "
    device.put(("multipath", MPATH, status.format(0)))
    device.look(0.0)
    device.kernel.set_status("vol", 0, status.format(5))
    item = only(device.look(10.0))
    assert (item.type, item.key) == ("multipath.path-flapping", "254:0")
    assert item.summary == "path 254:0 has failed 5 times or more within 10 minutes"
    assert item.data == {"failures": 5}


def test_a_stall_needs_no_second_delay(device: Device) -> None:
    device.put(("raid", RAID, RESYNC))
    device.look(0.0)
    item = only(device.look(300.0))
    assert (item.type, item.after) == ("raid.sync-stalled", None)


def test_an_unknown_target_has_no_conditions_and_no_fault(
    kernel: FakeKernel, device: Device
) -> None:
    kernel.targets["of-tomorrow"] = (1, 0, 0)
    device.put(("of-tomorrow", "a b", "c d"))
    found = device.look()
    assert found.found == ()
    assert (0, "of-tomorrow") in found.covered


def test_the_typed_status_is_seen(device: Device) -> None:
    device.put(("snapshot", "8:1 8:2 P 16", "Overflow"))
    lines = see(device.read())
    assert lines is not None
    assert lines[0].seen.status == SnapshotOverflow()
    assert lines[0].text == "Overflow"
