"""Stacks as values: what lies upon what, in which order they are taken down, and the teardown."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from dmwatch.devices import plan
from dmwatch.devices.mounts import Mount
from dmwatch.devices.stack import Node, Stack
from dmwatch.devices.survey import read_stack
from dmwatch.errors import DeviceBusyError, DeviceNotFoundError
from dmwatch.names import DeviceNumber
from dmwatch.table import TargetLine
from dmwatch.testing import FakeKernel

HOME = Mount("/home", "ext4", "/dev/mapper/home")
SWAP = Mount("[swap]", "swap", "/dev/dm-3")


def number(minor: int) -> DeviceNumber:
    return DeviceNumber(253, minor)


def node(minor: int, *below: int, kind: str = "dm", mounts: Iterable[Mount] = ()) -> Node:
    return Node(
        number(minor),
        f"d{minor}",
        kind,
        below=tuple(map(number, below)),
        mounts=tuple(mounts),
    )


def stack_of(*nodes: Node) -> Stack:
    above: dict[DeviceNumber, list[DeviceNumber]] = {n.number: [] for n in nodes}
    for one in nodes:
        for lower in one.below:
            above[lower].append(one.number)
    fields = ("number", "name", "kind", "below", "mounts")
    return Stack(
        Node(**{f: getattr(one, f) for f in fields}, above=tuple(above[one.number]))
        for one in nodes
    )


def names(nodes: Iterable[Node]) -> list[str]:
    return [one.name for one in nodes]


# A volume (1) and another (2) on a pool (3) on two devices (4, 5) on a disk (6)
POOL = (
    node(1, 3),
    node(2, 3),
    node(3, 4, 5),
    node(4, 6),
    node(5, 6),
    node(6, kind="disk"),
)


def test_each_stands_before_all_that_it_lies_on() -> None:
    for nodes in (POOL, POOL[::-1]):
        order = list(stack_of(*nodes).nodes)
        for one in nodes:
            assert all(order.index(one.number) < order.index(lower) for lower in one.below)


def test_what_lies_upon_and_beneath() -> None:
    stack = stack_of(*POOL)
    assert names(stack.upon(stack.find("d4"))) == ["d1", "d2", "d3"]
    assert names(stack.beneath(stack.find("d1"))) == ["d3", "d4", "d5", "d6"]
    assert names(stack.upon(stack.find("d1"))) == names(stack.beneath(stack.find("d6"))) == []


def test_a_part_is_what_some_devices_belong_to() -> None:
    stack = stack_of(*POOL)
    part = stack.part([stack.find("d1")])
    assert names(part.nodes.values()) == ["d1", "d3", "d4", "d5", "d6"]
    assert part.find("d3").above == (number(1),)


def test_a_circle_ends() -> None:
    stack = stack_of(node(1, 2), node(2, 1), node(3, 3), node(4))
    assert set(stack.nodes) == {number(n) for n in (1, 2, 3, 4)}
    assert names(stack.upon(stack.find("d1"))) == ["d2"]
    assert names(stack.removal("d3")) == ["d3"]


def test_a_deep_stack_ends() -> None:
    depth = 5000
    stack = stack_of(*(node(n, *([n + 1] if n < depth else [])) for n in range(depth + 1)))
    assert len(stack.upon(stack.find(number(depth)))) == depth


def test_what_is_not_there_is_not_found() -> None:
    with pytest.raises(DeviceNotFoundError, match="d9"):
        stack_of(*POOL).removal("d9")


def test_a_name_of_device_mapper_comes_before_what_others_are_called() -> None:
    nodes = [
        Node(number(1), "sda", "dm", kernel_name="dm-1"),
        Node(number(2), "dm-1", "dm", kernel_name="dm-2"),
        Node(number(3), "253:2", "dm", kernel_name="dm-3"),
        Node(DeviceNumber(8, 0), "sda", "disk", kernel_name="sda"),
        Node(DeviceNumber(8, 16), "sdb", "disk", kernel_name="sdb"),
    ]
    for order in (nodes, nodes[::-1]):
        found = Stack(order)
        assert found.find("sda").kind == "dm"
        assert found.find("dm-1").number == number(2)
        assert found.find("253:2").number == number(3)
        assert found.find(number(2)).name == "dm-1"
        assert found.find("dm-3").number == number(3)
        assert found.find("8:0").kind == found.find("sdb").kind == "disk"


# The order of a teardown


def test_what_lies_on_it_goes_first() -> None:
    assert names(stack_of(*POOL).removal("d3")) == ["d1", "d2", "d3"]


def test_beneath_goes_what_nothing_else_uses_down_to_the_disk() -> None:
    assert names(stack_of(*POOL).removal("d1")) == ["d1"]
    assert names(stack_of(*POOL).removal("d1", beneath=True)) == ["d1"]
    assert names(stack_of(*POOL[1:]).removal("d2", beneath=True)) == ["d2", "d3", "d4", "d5"]


def test_what_is_mounted_stays_and_so_does_what_it_lies_on() -> None:
    mounted = node(4, 6, mounts=[HOME])
    nodes = (node(2, 3), node(3, 4), mounted, node(6, 7), node(7, kind="disk"))
    assert names(stack_of(*nodes).removal("d2", beneath=True)) == ["d2", "d3"]


@pytest.mark.parametrize(
    ("mount", "sentence"),
    [(HOME, "it is mounted on /home; try this: umount /home"), (SWAP, "swapoff /dev/dm-3")],
)
def test_what_is_in_use_is_refused_with_the_way_out(mount: Mount, sentence: str) -> None:
    stack = stack_of(node(1, 2, mounts=[mount]), node(2, 3), node(3, kind="disk"))
    with pytest.raises(DeviceBusyError, match=sentence):
        stack.removal("d2")


def test_what_device_mapper_did_not_make_is_refused() -> None:
    with pytest.raises(DeviceBusyError, match=r"no device-mapper device \(md\)"):
        stack_of(node(1, 2, kind="md"), node(2)).removal("d2")


# The teardown


@pytest.fixture
def kernel() -> FakeKernel:
    made = FakeKernel()
    made.add("bottom", TargetLine(0, 8, "linear", "8:0 0"))
    made.add("middle", TargetLine(0, 8, "linear", "253:0 0"), uuid="U-1")
    made.add("top", TargetLine(0, 8, "linear", "253:1 0"))
    made.add("other", TargetLine(0, 8, "zero"))
    return made


def left(kernel: FakeKernel) -> list[str]:
    return [device.name for device in kernel.dm.list_devices()]


def read(kernel: FakeKernel, root: Path) -> Stack:
    return read_stack(kernel.dm, root)


def test_a_teardown_removes_top_first(kernel: FakeKernel, tmp_path: Path) -> None:
    read(kernel, tmp_path).teardown(kernel.dm, "bottom")
    assert left(kernel) == ["other"]


def test_a_dry_run_says_the_order_and_removes_nothing(kernel: FakeKernel, tmp_path: Path) -> None:
    steps = plan(read(kernel, tmp_path).teardown, kernel.dm, "top", beneath=True)
    assert [str(step) for step in steps] == [
        "DEV_REMOVE top",
        "DEV_REMOVE middle",
        "DEV_REMOVE bottom",
    ]
    assert left(kernel) == ["bottom", "middle", "other", "top"]


def test_a_teardown_that_cannot_be_finished_puts_back_what_it_took(
    kernel: FakeKernel, tmp_path: Path
) -> None:
    stack = read(kernel, tmp_path)
    before = {name: (kernel.dm.table(name), kernel.dm.info(name)) for name in left(kernel)}
    kernel.open_device("bottom")
    with pytest.raises(DeviceBusyError):
        stack.teardown(kernel.dm, "bottom", patience=0.0)
    kernel.close_device("bottom")
    after = {name: (kernel.dm.table(name), kernel.dm.info(name)) for name in left(kernel)}
    assert {n: (t, i.number, i.uuid) for n, (t, i) in after.items()} == {
        n: (t, i.number, i.uuid) for n, (t, i) in before.items()
    }
