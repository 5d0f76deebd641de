from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dmwatch.ioctl.abi import Command, Flags
from dmwatch.table import TargetLine
from dmwatch.testing import FakeKernel

Dmwatch = Callable[..., Any]
ZERO = TargetLine(0, 2048, "zero")
ERA = TargetLine(0, 2048, "era", "7:0 7:1 64")


def rows(out: str) -> list[list[str]]:
    return [line.split() for line in out.splitlines()[1:]]


def test_a_line_for_each_device_in_the_order_of_names(kernel: FakeKernel, dmwatch: Dmwatch) -> None:
    kernel.add("b", ZERO, TargetLine(2048, 2048, "linear", "7:0 0"))
    kernel.add("a")
    kernel.raise_event("b", times=3)
    kernel.open_device("b")
    ran = dmwatch("ls")
    assert ran.out.splitlines()[0].split()[:3] == ["NAME", "NUMBER", "TARGETS"]
    assert rows(ran.out) == [
        ["a", "253:1", "-", "0", "B", "0", "0", "empty", "-"],
        ["b", "253:0", "zero,linear", "2.0", "MiB", "1", "3", "active", "-"],
    ]
    assert (ran.code, ran.err) == (0, "")


def test_without_devices_only_the_heads(kernel: FakeKernel, dmwatch: Dmwatch) -> None:
    assert dmwatch("ls").out.count("\n") == 1
    assert dmwatch("ls", "--json").json == []


def test_json(kernel: FakeKernel, dmwatch: Dmwatch) -> None:
    kernel.add("vg-x", ZERO, uuid="LVM-1")
    assert dmwatch("ls", "--json").json == [
        {
            "name": "vg-x",
            "uuid": "LVM-1",
            "number": "253:0",
            "targets": ["zero"],
            "size": 2048,
            "open_count": 0,
            "event_nr": 0,
            "state": ["active"],
            "condition": None,
            "problem": None,
        }
    ]


def test_states(kernel: FakeKernel, dmwatch: Dmwatch) -> None:
    device = kernel.add("a", ZERO)
    kernel.dm.load("a", [ZERO])
    device.suspended = device.internally_suspended = True
    device.read_only = device.deferred_remove = True
    (found,) = dmwatch("ls", "--json").json
    assert found["state"] == [
        "suspended",
        "internally-suspended",
        "read-only",
        "staged",
        "removal-deferred",
    ]


def test_a_condition_that_stands_is_shown(kernel: FakeKernel, dmwatch: Dmwatch) -> None:
    pool = TargetLine(0, 2048, "thin-pool", "7:0 7:1 128 0")
    kernel.add("pool", pool, status=["Fail"])
    assert rows(dmwatch("ls").out)[0][-2:] == ["critical", "thin-pool.failed"]


@pytest.mark.parametrize("wanted", ["vg--x-pool", "vg-x/pool", "253:0", "vg*", "vg-x/*"])
def test_a_device_is_chosen_by_name_label_number_or_glob(
    kernel: FakeKernel, dmwatch: Dmwatch, wanted: str
) -> None:
    kernel.add("vg--x-pool", ZERO, uuid="LVM-1")
    kernel.add("other", ZERO)
    assert [d["name"] for d in dmwatch("ls", "--json", wanted).json] == ["vg--x-pool"]


def test_a_name_that_is_not_unicode_is_escaped(kernel: FakeKernel, dmwatch: Dmwatch) -> None:
    kernel.add("a\udcff\n", ZERO)
    assert rows(dmwatch("ls").out)[0][0] == "a\\xff\\x0a"
    assert dmwatch("ls", "--json").json[0]["name"] == "a\\xff\\x0a"


def test_a_device_that_hangs_is_told_as_stuck_and_delays_no_other(
    kernel: FakeKernel, dmwatch: Dmwatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dmwatch.cli.looking.DEADLINE", 0.2)
    kernel.add("a", ZERO)
    kernel.add("b", ZERO)
    release = kernel.hang(Command.TABLE_STATUS, device="a")
    try:
        first, second = dmwatch("ls", "--json").json
    finally:
        release.set()
    assert (first["state"], first["problem"]) == (["stuck"], "it has not answered within 0.2 s")
    assert second["state"] == ["active"]


def test_a_device_removed_since_it_was_listed_is_left_out(
    kernel: FakeKernel, dmwatch: Dmwatch
) -> None:
    kernel.add("a", ZERO)
    kernel.add("b", ZERO)
    kernel.after(Command.LIST_DEVICES, lambda: kernel.dm.remove("a"))
    assert [d["name"] for d in dmwatch("ls", "--json").json] == ["b"]


def test_era_is_not_asked_for_its_status_while_it_is_suspended(
    kernel: FakeKernel, dmwatch: Dmwatch
) -> None:
    kernel.add("a", ERA).suspended = True
    release = kernel.hang(Command.TABLE_STATUS)
    release.set()
    assert dmwatch("ls", "--json").json[0]["state"] == ["suspended"]
    asked = [c.flags for c in kernel.calls if c.command is Command.TABLE_STATUS]
    assert all(flags & Flags.STATUS_TABLE for flags in asked)


def test_nothing_is_made_up_of_what_was_not_asked_for(kernel: FakeKernel, dmwatch: Dmwatch) -> None:
    pool = TargetLine(2048, 2048, "thin-pool", "7:0 7:1 128 0")
    raid = TargetLine(4096, 2048, "raid", "raid0 1 128 2 7:0 7:1 7:2 7:3")
    kernel.add("a", ERA, pool, raid).suspended = True
    (found,) = dmwatch("status", "--json").json
    assert [(line["status"], line["error"]) for line in found["targets"]] == [
        (None, "not read: it would block while the device is suspended")
    ] * 3
    assert dmwatch("status").out.count("not read: it would block") == 3


def test_what_a_suspend_brings_about_is_no_condition(kernel: FakeKernel, dmwatch: Dmwatch) -> None:
    raid = TargetLine(0, 2048, "raid", "raid1 1 0 2 7:0 7:1 7:2 7:3")
    device = kernel.add("a", raid, status=["raid1 2 AA 8/8 frozen 0 0 -"])
    assert dmwatch("ls", "--json").json[0]["condition"]["type"] == "raid.frozen"
    device.suspended = True
    assert dmwatch("ls", "--json").json[0]["condition"] is None
    assert "raid.frozen" not in dmwatch("status").out


def test_no_status_is_asked_for_without_noflush(kernel: FakeKernel, dmwatch: Dmwatch) -> None:
    kernel.add("a", ZERO)
    for command in ("ls", "status", "table"):
        assert dmwatch(command).code == 0
    asked = [c.flags for c in kernel.calls if c.command is Command.TABLE_STATUS]
    assert len(asked) == 3
    assert all(flags & Flags.NOFLUSH for flags in asked)


def test_a_table_with_a_key_is_read_securely_and_never_shown(
    kernel: FakeKernel, dmwatch: Dmwatch
) -> None:
    kernel.add("a", TargetLine(0, 2048, "crypt", f"aes-xts-plain64 {'ab' * 64} 0 7:0 0"))
    for arguments in (("table",), ("table", "--json"), ("status",), ("ls", "--json")):
        ran = dmwatch(*arguments)
        assert ran.code == 0
        assert "abab" not in ran.out + ran.err
    tables = [c.flags for c in kernel.calls if c.flags & Flags.STATUS_TABLE]
    assert tables
    assert all(flags & Flags.SECURE_DATA for flags in tables)
