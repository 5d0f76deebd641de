from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dmwatch.devices.survey import build
from dmwatch.ioctl.abi import Command
from dmwatch.table import TargetLine
from dmwatch.testing import FakeKernel

Dmwatch = Callable[..., Any]
MOUNT = "30 1 253:3 / /srv rw - xfs /dev/dm-3 rw\n31 1 253:3 / /again rw - xfs /dev/dm-3 rw\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with two disks, one of them unused, and one without a medium."""
    for name, number, size in (("sda", "8:0", 8192), ("sdb", "8:16", 4096), ("sr0", "11:0", 0)):
        directory = tmp_path / "sys/class/block" / name
        directory.mkdir(parents=True)
        (directory / "dev").write_text(f"{number}\n")
        (directory / "size").write_text(f"{size}\n")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text(MOUNT)
    monkeypatch.setattr("dmwatch.cli.tree.build", partial(build, root=tmp_path))
    return tmp_path


@pytest.fixture
def pool(kernel: FakeKernel, root: Path) -> FakeKernel:
    kernel.add("vg-tmeta", TargetLine(0, 1024, "linear", "8:0 0"), uuid="LVM-1")
    kernel.add("vg-tdata", TargetLine(0, 2048, "linear", "8:0 1024"), uuid="LVM-2")
    text = "253:0 253:1 128 0"
    kernel.add("vg-pool", TargetLine(0, 2048, "thin-pool", text), uuid="LVM-3")
    kernel.add("vg-a", TargetLine(0, 2048, "thin", "253:2 1"), uuid="LVM-4")
    kernel.add("vg-b", TargetLine(0, 2048, "thin", "253:2 2"), uuid="LVM-5")
    return kernel


def names(out: str) -> list[str]:
    """The first column, with the lines before the names."""
    heads, *lines = out.splitlines()
    return [line[: heads.index("NUMBER")].rstrip() for line in lines]


def test_each_stands_above_what_it_lies_on(pool: FakeKernel, dmwatch: Dmwatch) -> None:
    ran = dmwatch("tree")
    assert names(ran.out) == [
        "sdb",
        "vg/a",
        "└─ vg/pool",
        "   ├─ vg/tdata",
        "   │  └─ sda",
        "   └─ vg/tmeta",
        "      └─ sda",
        "vg/b",
        "└─ vg/pool ...",
    ]
    assert (ran.code, ran.err) == (0, "")


def test_a_line_shows_number_type_size_and_mounts(pool: FakeKernel, dmwatch: Dmwatch) -> None:
    lines = dmwatch("tree").out.splitlines()
    assert lines[2].split()[:5] == ["vg/a", "253:3", "thin", "1.0", "MiB"]
    assert lines[2].endswith("  /srv (xfs), /again (xfs)")
    assert lines[5].split()[2:] == ["sda", "8:0", "disk", "4.0", "MiB", "-"]


def test_upwards_it_begins_with_the_disks(pool: FakeKernel, dmwatch: Dmwatch) -> None:
    lines = dmwatch("tree", "--up", "sda").out.splitlines()
    assert lines[1].startswith("sda ")
    assert names("\n".join(lines))[1:] == [
        "├─ vg/tdata",
        "│  └─ vg/pool",
        "│     ├─ vg/a",
        "│     └─ vg/b",
        "└─ vg/tmeta",
        "   └─ vg/pool ...",
    ]


@pytest.mark.parametrize("word", ["vg/a", "vg-a", "253:3", "dm-3", "vg/a*"])
def test_a_device_is_shown_with_its_stack(
    pool: FakeKernel, root: Path, dmwatch: Dmwatch, word: str
) -> None:
    directory = root / "sys/class/block/dm-3"
    directory.mkdir()
    (directory / "dev").write_text("253:3\n")
    shown = dmwatch("tree", "--json", word).json
    assert [node["label"] for node in shown] == ["vg/a", "vg/pool", "vg/tmeta", "vg/tdata", "sda"]


def test_a_device_that_is_not_there_is_told(pool: FakeKernel, dmwatch: Dmwatch) -> None:
    ran = dmwatch("tree", "vg/c")
    assert (ran.code, ran.out) == (3, "")
    assert "there is no block device 'vg/c'" in ran.err


def test_json_has_edges_both_ways(pool: FakeKernel, dmwatch: Dmwatch) -> None:
    shown = {node["number"]: node for node in dmwatch("tree", "--json").json}
    assert shown["253:3"] == {
        "name": "vg-a",
        "label": "vg/a",
        "number": "253:3",
        "kernel_name": None,
        "uuid": "LVM-4",
        "kind": "dm",
        "targets": ["thin"],
        "size": 2048,
        "below": ["253:2"],
        "above": [],
        "mounts": [
            {"point": "/srv", "file_system": "xfs"},
            {"point": "/again", "file_system": "xfs"},
        ],
        "file": None,
        "problem": None,
    }
    assert shown["253:2"]["above"] == ["253:3", "253:4"]
    assert shown["8:0"]["above"] == ["253:0", "253:1"]
    assert shown["8:0"]["kind"] == "disk"


def test_a_disk_without_a_medium_is_left_out_unless_asked_for(
    pool: FakeKernel, dmwatch: Dmwatch
) -> None:
    assert "sr0" not in dmwatch("tree").out
    assert "sr0" in dmwatch("tree", "sr0").out


def test_without_device_mapper_the_disks_are_shown(
    kernel: FakeKernel, root: Path, dmwatch: Dmwatch
) -> None:
    kernel.permitted = False
    ran = dmwatch("tree")
    assert [line.split()[0] for line in ran.out.splitlines()] == ["NAME", "sda", "sdb"]
    assert ran.code == 0
    assert "shown without target types" in ran.err


def test_a_device_that_hangs_stands_in_its_place(
    pool: FakeKernel, dmwatch: Dmwatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dmwatch.cli.looking.DEADLINE", 0.3)
    release = pool.hang(Command.TABLE_STATUS, device="vg-pool")
    try:
        ran = dmwatch("tree", "vg/a")
    finally:
        release.set()
    assert "└─ vg/pool" in ran.out
    assert "vg/tdata" in ran.out
    assert "vg/pool: it has not answered within 0.3 s" in ran.err


def test_a_name_that_is_not_unicode_is_escaped(
    kernel: FakeKernel, root: Path, dmwatch: Dmwatch
) -> None:
    kernel.add("a\udcff\n", TargetLine(0, 8, "zero"))
    assert "a\\xff\\x0a" in dmwatch("tree").out
    assert dmwatch("tree", "--json", "a*").json[0]["name"] == "a\\xff\\x0a"


def test_a_terminal_without_lines_gets_plain_ones(
    pool: FakeKernel, dmwatch: Dmwatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dmwatch.cli.tree._can_draw", lambda: False)
    assert "`- vg/pool" in dmwatch("tree").out
