"""What lies on what, found in a directory that looks like /."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmwatch.devices.blocks import Block, read_blocks
from dmwatch.devices.mounts import Mount, parse_mounts, parse_swaps
from dmwatch.devices.stack import Stack
from dmwatch.devices.survey import read_stack
from dmwatch.names import DeviceNumber
from dmwatch.table import TargetLine
from dmwatch.testing import FakeKernel
from dmwatch.units import Sectors

MOUNT = "30 1 {number} / {point} rw,relatime shared:1 - {type} {source} rw\n"


class Root:
    """A directory with the sys, proc and dev of a machine."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mounts: list[str] = []
        self.swaps = ["Filename Type Size Used Priority\n"]

    def block(self, name: str, number: str, size: int = 2048, below: tuple[str, ...] = ()) -> Path:
        """A disk, or with a name like `sda/sda1` a partition."""
        directory = self.path / "sys/devices" / name
        (directory / "slaves").mkdir(parents=True)
        for attribute, text in (("dev", number), ("size", str(size))):
            (directory / attribute).write_text(f"{text}\n")
        for slave in below:
            (directory / "slaves" / slave).symlink_to("/nowhere")
        if "/" in name:
            (directory / "partition").write_text("1\n")
        listed = self.path / "sys/class/block" / directory.name
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.symlink_to(directory)
        return directory

    def mapped(
        self, minor: int, name: str, uuid: str = "", below: tuple[str, ...] = (), size: int = 2048
    ) -> Path:
        directory = self.block(f"dm-{minor}", f"253:{minor}", size, below)
        (directory / "dm").mkdir()
        (directory / "dm/name").write_bytes(name.encode("utf-8", "surrogateescape") + b"\n")
        (directory / "dm/uuid").write_text(f"{uuid}\n")
        link = self.path / "dev/mapper" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"../dm-{minor}")
        return directory

    def mount(self, number: str, point: str, source: str, kind: str = "ext4") -> None:
        self.mounts.append(MOUNT.format(number=number, point=point, type=kind, source=source))

    def stack(self, kernel: FakeKernel | None = None) -> Stack:
        (self.path / "proc/self").mkdir(parents=True, exist_ok=True)
        (self.path / "proc/self/mountinfo").write_text("".join(self.mounts))
        (self.path / "proc/swaps").write_text("".join(self.swaps))
        return read_stack(kernel.dm if kernel else None, self.path)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


def edges(stack: Stack) -> dict[str, list[str]]:
    return {
        node.name: [stack.nodes[number].name for number in node.below]
        for node in stack.nodes.values()
    }


# sysfs


def test_a_partition_lies_on_its_disk_and_a_device_on_its_slaves(root: Root) -> None:
    root.block("sda", "8:0", 4096)
    root.block("sda/sda1", "8:1")
    root.block("sdb", "8:16")
    root.mapped(0, "vg-home", "LVM-x", below=("sda1", "sdb"))
    stack = root.stack()
    assert edges(stack) == {"vg-home": ["sda1", "sdb"], "sda1": ["sda"], "sda": [], "sdb": []}
    home = stack.find("vg/home")
    assert (home.kind, home.uuid, home.targets, home.size) == ("dm", "LVM-x", None, Sectors(2048))
    assert stack.find("sda1").kind == "partition"
    assert stack.find("8:0").above == (DeviceNumber(8, 1),)


def test_loop_and_md_devices_are_told_as_such(root: Root) -> None:
    (root.block("loop0", "7:0") / "loop").mkdir()
    (root.path / "sys/devices/loop0/loop/backing_file").write_text("/srv/a file\n")
    (root.block("md0", "9:0", below=("loop0",)) / "md").mkdir()
    found = {block.kernel_name: block for block in read_blocks(root.path)}
    assert (found["loop0"].kind, found["loop0"].file) == ("loop", "/srv/a file")
    assert (found["md0"].kind, found["md0"].below) == ("md", ("loop0",))


def test_without_sysfs_there_is_nothing(root: Root) -> None:
    assert read_blocks(root.path) == []
    assert dict(root.stack().nodes) == {}


@pytest.mark.parametrize("text", ["", "8", "8:x", "8:1:2", "99999:0", "\x00"])
def test_a_block_device_without_a_number_is_left_out(root: Root, text: str) -> None:
    (root.block("sda", "8:0") / "dev").write_text(text)
    root.block("sdb", "8:16")
    assert [block.kernel_name for block in read_blocks(root.path)] == ["sdb"]


@pytest.mark.parametrize("text", ["", "-1", "many", "9" * 30, str(1 << 64), "²"])
def test_a_size_that_is_none_is_not_known(root: Root, text: str) -> None:
    (root.block("sda", "8:0") / "size").write_text(text)
    assert read_blocks(root.path) == [Block(DeviceNumber(8, 0), "sda")]


def test_a_name_that_is_not_unicode_is_kept(root: Root) -> None:
    root.mapped(0, "a\udcff\nb")
    assert root.stack().find("253:0").name == "a\udcff\nb"


# Device-mapper


def test_what_device_mapper_says_counts_where_sysfs_says_otherwise(
    root: Root, kernel: FakeKernel
) -> None:
    # slaves are those of the staged table, too
    root.block("sda", "8:0")
    root.block("sdb", "8:16")
    root.mapped(0, "old", below=("sda", "sdb"), size=1)
    kernel.add("new", TargetLine(0, 2048, "linear", "8:0 0"), TargetLine(2048, 8, "error"))
    stack = root.stack(kernel)
    assert edges(stack) == {"new": ["sda"], "sda": [], "sdb": []}
    assert stack.find("new").targets == ("linear", "error")
    assert stack.find("new").size == Sectors(2056)
    assert stack.find("new").kernel_name == "dm-0"


def test_what_nobody_shows_stands_as_unknown(root: Root, kernel: FakeKernel) -> None:
    kernel.add("a", TargetLine(0, 8, "linear", "8:0 0"))
    stack = root.stack(kernel)
    assert edges(stack) == {"a": ["8:0"], "8:0": []}
    assert stack.find("8:0").kind == "unknown"


# Mounts


def test_a_mount_stands_on_its_device_by_number(root: Root) -> None:
    root.block("sda", "8:0")
    root.mount("8:0", "/srv/a\\040b\\134", "/dev/root")
    (mount,) = root.stack().find("sda").mounts
    assert (mount.point, mount.file_system, mount.swap) == ("/srv/a b\\", "ext4", False)


def test_a_file_system_of_several_devices_stands_on_all_of_them(root: Root) -> None:
    for minor, name in enumerate(("sda", "sdb", "sdc")):
        root.block(name, f"8:{16 * minor}")
    members = root.path / "sys/fs/btrfs/4a-b/devices"
    members.mkdir(parents=True)
    (root.path / "sys/fs/btrfs/features").mkdir()
    for name in ("sda", "sdc", "gone"):
        (members / name).symlink_to("/nowhere")
    root.mount("0:33", "/data", "/dev/sdc", "btrfs")
    stack = root.stack()
    assert {n.name: len(n.mounts) for n in stack.nodes.values()} == {"sda": 1, "sdb": 0, "sdc": 1}


def test_swap_stands_on_its_device_through_links(root: Root) -> None:
    root.mapped(3, "vg-swap")
    root.swaps += ["/dev/mapper/vg-swap partition 100 0 -2\n", "/swap\\040file file 100 0 -3\n"]
    (mount,) = root.stack().find("vg-swap").mounts
    assert (mount.swap, mount.point) == (True, "[swap]")


def test_a_node_without_a_link_is_found_by_the_name_of_the_device(root: Root) -> None:
    root.mapped(3, "vg-swap")
    (root.path / "dev/mapper/vg-swap").unlink()
    root.mount("0:40", "/x", "/dev/mapper/vg-swap", "btrfs")
    assert len(root.stack().find("vg-swap").mounts) == 1


@pytest.mark.parametrize(
    "source", ["tmpfs", "server:/dev/sda", "/dev/", "/dev/../sda", "/dev/a\\0"]
)
def test_what_is_no_device_here_is_not_mounted_from_one(root: Root, source: str) -> None:
    root.block("sda", "8:0")
    root.mount("0:40", "/x", source)
    assert not root.stack().find("sda").mounts


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"30 1 8:0 / /x rw",
        b"30 1 8:0 / /x rw -",
        b"30 1 8:0 / /x rw - ext4",
        b"30 1 8 / /x rw - ext4 /dev/sda",
        b"30 1 \xff:0 / /x rw - ext4 /dev/sda",
        b" - ext4 /dev/sda",
    ],
)
def test_a_line_that_is_no_mount_is_left_out(line: bytes) -> None:
    good = b"30 1 8:0 / /x rw - ext4 /dev/sda rw"
    expected = [Mount("/x", "ext4", "/dev/sda", DeviceNumber(8, 0))]
    assert list(parse_mounts(line + b"\n" + good + b"\n")) == expected


def test_a_mount_has_any_number_of_optional_fields() -> None:
    raw = b"30 1 8:0 / /x rw shared:1 master:2 - ext4 /dev/sda rw\n"
    assert [mount.point for mount in parse_mounts(raw)] == ["/x"]


def test_swaps_without_lines_are_none() -> None:
    assert list(parse_swaps(b"")) == []
    assert list(parse_swaps(b"Filename\n\nx\n")) == []


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel()
