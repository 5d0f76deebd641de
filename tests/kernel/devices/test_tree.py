"""`dmwatch tree` beside lsblk and dmsetup: a cached LVM thin pool on raid1, mounts, swap, crypt."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dmwatch.cli import run
from dmwatch.devices import LinearDevice, Stack, plan, read_stack
from dmwatch.dm import DeviceMapper
from dmwatch.errors import DeviceBusyError
from dmwatch.names import DeviceNumber

from .conftest import tool

Names = Callable[[str], str]
Loop = Callable[[float], str]
GROUP = "dmwatchtest"
Edges = set[tuple[str, str]]
CONFIG = """
devices {{ dir = "/dev" scan = [ "/dev" ] use_devicesfile = 0 }}
devices {{ filter = [ "a|^/dev/loop|", "r|.*|" ] }}
activation {{ udev_sync = 0 udev_rules = 0 monitoring = 0 }}
global {{ use_lvmpolld = 0 locking_dir = "{run}" event_activation = 0 }}
backup {{ backup = 0 archive = 0 }}
"""


class Lvm:
    """LVM without udev and daemons, on loop devices alone."""

    def __init__(self, where: Path) -> None:
        (where / "run").mkdir()
        (where / "lvm.conf").write_text(CONFIG.format(run=where / "run"))
        self._environment = os.environ | {"LVM_SYSTEM_DIR": str(where), "DM_DISABLE_UDEV": "1"}

    def __call__(self, *words: str) -> None:
        done = subprocess.run(
            ["lvm", *words],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert not done.returncode, f"lvm {' '.join(words)}: {done.stderr}"


@pytest.fixture
def lvm(tmp_path: Path, loop: Loop, need_target: Callable[[str], None]) -> Iterator[Lvm]:
    """A group with a thin pool on raid1 with a cache, two volumes in it, and a plain volume."""
    for target in ("raid", "thin-pool", "cache", "linear"):
        need_target(target)
    lvm = Lvm(tmp_path)
    disks = [loop(48), loop(48), loop(24)]
    try:
        lvm("vgcreate", "--physicalextentsize", "1m", GROUP, *disks)
        raid = ("--type", "raid1", "--mirrors", "1", "--nosync", "--wipesignatures", "n")
        lvm("lvcreate", "-y", *raid, "-n", "pool", "-L", "24m", GROUP, *disks[:2])
        lvm("lvcreate", "-y", *raid, "-n", "meta", "-L", "4m", GROUP, *disks[:2])
        lvm("lvconvert", "-y", "--type", "thin-pool", "--poolmetadata", "meta", f"{GROUP}/pool")
        lvm("lvcreate", "-y", "--type", "cache-pool", "-n", "fast", "-L", "8m", GROUP, disks[2])
        lvm("lvconvert", "-y", "--type", "cache", "--cachepool", "fast", f"{GROUP}/pool")
        for name in ("one", "two"):
            lvm("lvcreate", "-y", "-V", "16m", "-T", f"{GROUP}/pool", "-n", name)
        lvm("lvcreate", "-y", "-n", "plain", "-L", "4m", GROUP, disks[2])
        yield lvm
    finally:
        lvm("vgremove", "-y", "-ff", GROUP)


def test_an_lvm_stack_is_shown_as_lsblk_and_dmsetup_show_it(
    lvm: Lvm, dm: DeviceMapper, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node = f"/dev/dm-{dm.info(f'{GROUP}-one').number.minor}"
    swap = f"/dev/dm-{dm.info(f'{GROUP}-plain').number.minor}"
    where = tmp_path / "a mount"
    where.mkdir()
    tool("mkfs.ext4", "-q", node)
    tool("mkswap", swap)
    tool("mount", node, str(where))
    tool("swapon", swap)
    try:
        stack = read_stack(dm)
        shown = tree(capsys)
        assert edges(stack) == {(n["number"], b) for n in shown.values() for b in n["below"]}
        of_lsblk = lsblk()
        seen = {pair for pair in edges(stack) if set(pair) <= numbers(of_lsblk)}
        assert seen == of_lsblk
        assert {pair for pair in edges(stack) if pair[0] in mapped(stack)} == dmsetup_tree()
        assert edges(read_stack(None)) == edges(stack)

        one = shown[f"{GROUP}-one"]
        assert (one["label"], one["targets"]) == (f"{GROUP}/one", ["thin"])
        assert one["mounts"] == [{"point": str(where), "file_system": "ext4"}]
        assert shown[f"{GROUP}-plain"]["mounts"] == [{"point": "[swap]", "file_system": "swap"}]
        kinds = {t for n in shown.values() for t in n["targets"] or [n["kind"]]}
        assert kinds >= {"thin", "thin-pool", "cache", "raid", "linear", "loop"}
        with pytest.raises(DeviceBusyError, match=f"mounted on {re.escape(str(where))}"):
            stack.removal(f"{GROUP}-pool_tdata")
        with pytest.raises(DeviceBusyError, match="swapoff"):
            stack.removal(f"{GROUP}-plain")
    finally:
        tool("umount", str(where))
        tool("swapoff", swap)


def test_an_lvm_stack_is_taken_down_top_first_and_made_again_by_lvm(
    lvm: Lvm, dm: DeviceMapper
) -> None:
    before = read_stack(dm)
    steps = plan(before.teardown, dm, f"{GROUP}-two", beneath=True)
    assert [step.device for step in steps] == [f"{GROUP}-two"]  # the pool has another volume
    down = read_stack(dm).removal(f"{GROUP}-pool_tdata")
    order = [node.name for node in down]
    assert order[-1] == f"{GROUP}-pool_tdata"
    assert order.index(f"{GROUP}-one") < order.index(f"{GROUP}-pool-tpool")
    read_stack(dm).teardown(dm, f"{GROUP}-one")
    read_stack(dm).teardown(dm, f"{GROUP}-two")
    read_stack(dm).teardown(dm, f"{GROUP}-pool", beneath=True)
    assert [name for name, _ in by_name(read_stack(dm)) if "pool" in name] == []
    lvm("vgchange", "-ay", GROUP)
    assert by_name(read_stack(dm)) == by_name(before)


def test_a_stack_that_is_held_open_is_put_back(
    dm: DeviceMapper, device_name: Names, loop: Loop
) -> None:
    low = LinearDevice(dm, device_name("low"), loop(1)).create()
    top = LinearDevice(dm, device_name("top"), low, uuid="TEST-top").create()
    number = top.number
    with Path(low.node).open("rb"), pytest.raises(DeviceBusyError):
        read_stack(dm).teardown(dm, low.name, patience=0.2)
    assert (top.number, top.info().uuid, top.differs()) == (number, "TEST-top", [])
    read_stack(dm).teardown(dm, top.name, beneath=True)
    assert not top.exists()
    assert not low.exists()


# The witnesses


def edges(stack: Stack) -> Edges:
    return {(str(n), str(below)) for n, node in stack.nodes.items() for below in node.below}


def by_name(stack: Stack) -> Edges:
    names = {str(number): node.name for number, node in stack.nodes.items()}
    return {(names[above], names[below]) for above, below in edges(stack)}


def mapped(stack: Stack) -> set[str]:
    return {str(n) for n, node in stack.nodes.items() if node.kind == "dm"}


def numbers(pairs: Edges) -> set[str]:
    return {number for pair in pairs for number in pair}


def tree(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert run(["tree"]) == 0
    assert f"{GROUP}/pool" in capsys.readouterr().out
    assert run(["tree", "--json"]) == 0
    return {node["name"]: node for node in json.loads(capsys.readouterr().out)}


def lsblk() -> Edges:
    """What lies on what: it nests what lies on a device inside the device."""
    pairs: Edges = set()

    def walk(nodes: list[dict[str, Any]], below: str | None) -> None:
        for node in nodes:
            number = node["maj:min"].strip()
            if below is not None:
                pairs.add((number, below))
            walk(node.get("children", []), number)

    walk(json.loads(tool("lsblk", "--json", "--output", "NAME,MAJ:MIN"))["blockdevices"], None)
    return pairs


def dmsetup_tree() -> Edges:
    """What lies on what: it shows what a device lies on further right, on the lines below it."""
    pairs: Edges = set()
    above: list[tuple[int, str]] = []
    for line in tool("dmsetup", "ls", "--tree", "-o", "ascii,device,blkdevname").splitlines():
        found = re.match(r"([ |`-]*)\S.*?\((\d+):(\d+)\)", line)
        if not found:
            continue
        number = str(DeviceNumber(int(found[2]), int(found[3])))
        depth = len(found[1])
        above = [(d, n) for d, n in above if d < depth]
        if above:
            pairs.add((above[-1][1], number))
        above.append((depth, number))
    return pairs
