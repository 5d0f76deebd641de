"""What sysfs and /proc say is text by anybody: it gives a stack, whatever it is."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from dmwatch.devices.mounts import parse_mounts, parse_swaps
from dmwatch.devices.stack import Node, Stack
from dmwatch.devices.survey import read_stack
from dmwatch.names import DeviceNumber

PIECES = st.sampled_from(
    [b"30 1 8:0 / /x rw - ext4 /dev/sda rw", b"\\040", b"\\999", b"\\", b" - ", b" ", b"\n", b"8:0"]
)
TEXT = st.lists(PIECES | st.binary(max_size=12), max_size=12).map(b"".join)
NAMES = st.sampled_from(["sda", "sdb", "dm-0", "dm-1", "dm-2"])
NUMBERS = st.sampled_from([b"8:0\n", b"8:16\n", b"253:0\n", b"253:1\n", b"253:1\n"]) | TEXT


@given(TEXT)
def test_any_mountinfo_and_swaps_are_read(raw: bytes) -> None:
    for mount in (*parse_mounts(raw), *parse_swaps(raw)):
        mount.point.encode("utf-8", "surrogateescape")


@given(
    st.dictionaries(NAMES, st.tuples(NUMBERS, TEXT, TEXT, st.lists(NAMES, max_size=3)), max_size=5),
    TEXT,
    TEXT,
)
def test_any_sysfs_is_a_stack(
    found: dict[str, tuple[bytes, bytes, bytes, list[str]]], mounts: bytes, swaps: bytes
) -> None:
    root = Path(tempfile.mkdtemp())
    try:
        for name, (number, size, called, slaves) in found.items():
            directory = root / "sys/class/block" / name
            for part in ("slaves", "dm"):
                (directory / part).mkdir(parents=True)
            for file, raw in (("dev", number), ("size", size), ("dm/name", called)):
                (directory / file).write_bytes(raw)
            for slave in set(slaves):
                (directory / "slaves" / slave).touch()
        (root / "proc/self").mkdir(parents=True)
        (root / "proc/self/mountinfo").write_bytes(mounts)
        (root / "proc/swaps").write_bytes(swaps)
        holds_together(read_stack(None, root))
    finally:
        shutil.rmtree(root)


def holds_together(stack: Stack) -> None:
    for node in stack.nodes.values():
        assert all(node.number in stack.nodes[below].above for below in node.below)
        assert all(node.number in stack.nodes[above].below for above in node.above)
        assert node not in stack.upon(node) + stack.beneath(node)
        assert stack.part([node]).find(node.number).below == node.below


NODES = st.integers(0, 7)


@given(st.dictionaries(NODES, st.sets(NODES)))
def test_the_order_is_top_first_unless_there_is_a_circle(edges: dict[int, set[int]]) -> None:
    # an edge goes down: a smaller number lies on a larger one
    down = {a: {b for b in below if b > a} for a, below in edges.items()}
    numbers = {*down, *(b for below in down.values() for b in below)}
    nodes = [
        Node(
            DeviceNumber(253, n),
            str(n),
            below=tuple(DeviceNumber(253, b) for b in sorted(down.get(n, ()))),
            above=tuple(DeviceNumber(253, a) for a in sorted(down) if n in down[a]),
        )
        for n in sorted(numbers, reverse=True)
    ]
    order = list(Stack(nodes).nodes)
    assert sorted(order) == sorted(node.number for node in nodes)
    for node in nodes:
        assert all(order.index(node.number) < order.index(below) for below in node.below)
