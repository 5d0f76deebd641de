"""The lab keeps what the other kernel tests build on."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import witness

Dmsetup = Callable[..., str]
Loop = Callable[[float], str]
Name = Callable[[str], str]


def test_the_control_node_is_device_mappers() -> None:
    node = Path("/dev/mapper/control").stat()
    assert stat.S_ISCHR(node.st_mode)
    major_minor = Path("/sys/class/misc/device-mapper/dev").read_text().strip()
    assert f"{os.major(node.st_rdev)}:{os.minor(node.st_rdev)}" == major_minor


def test_no_udev_runs() -> None:
    assert subprocess.run(["pidof", "systemd-udevd"], check=False, stdout=-3).returncode == 1


def test_the_kernel_is_the_one_asked_for() -> None:
    assert os.environ["DMWATCH_KERNEL"] == os.uname().release


def test_the_scratch_directory_can_be_written() -> None:
    witness = Path(os.environ["DMWATCH_SCRATCH"]) / "witness"
    witness.write_text("here")
    assert witness.read_text() == "here"
    witness.unlink()


@pytest.mark.parametrize("target", ["linear", "snapshot", "thin-pool", "raid", "multipath"])
def test_targets_load(need_target: Callable[[str], None], target: str) -> None:
    need_target(target)


def test_absent_targets_are_absent(present_but_listed: list[str]) -> None:
    assert present_but_listed == []


def test_a_loop_device_has_the_size_asked_for(loop: Loop) -> None:
    size = subprocess.check_output(["blockdev", "--getsz", loop(4)], text=True)
    assert int(size) == 4 * 2048


def test_the_sweep_removes_stacked_devices_and_nothing_else(
    dmsetup: Dmsetup, device_name: Name, loop: Loop, sweep: Callable[[], list[str]]
) -> None:
    lower, upper = device_name("a-lower"), device_name("a-upper")
    dmsetup("create", "unmarked", "--table", "0 8 zero")
    dmsetup("create", lower, "--table", f"0 2048 linear {loop(1)} 0")
    dmsetup("create", upper, "--table", f"0 2048 linear /dev/mapper/{lower} 0")
    assert sorted(sweep()) == [lower, upper]
    assert sweep() == []
    assert [line.split()[0] for line in dmsetup("ls").splitlines()] == ["unmarked"]
    dmsetup("remove", "unmarked")


@pytest.fixture
def library() -> Iterator[witness.Library]:
    made = witness.Library()
    yield made
    made.end()


def test_the_library_prints_what_dmsetup_prints(
    dmsetup: Dmsetup, device_name: Name, library: witness.Library
) -> None:
    name, empty = device_name("two lines"), device_name("empty")
    dmsetup("create", name, standard_input="0 8 zero\n8 8 error\n")
    dmsetup("create", empty, "--notable")
    for command in (
        ("info", "-c", "--noheadings", "-o", "name"),
        ("table", name),
        ("status", name),
        ("status", "--noflush", name),
        ("message", name, "0", "@stats_list"),
    ):
        assert library.run(command, "") == witness.program(command), command
    assert library.run(("table", empty), "") == (None, None)  # dmsetup itself is needed
    dmsetup("remove", name)
    dmsetup("remove", empty)


def test_the_library_refuses_what_dmsetup_refuses(
    device_name: Name, library: witness.Library
) -> None:
    nobody = device_name("nobody")
    for command in (
        ("remove", nobody),
        ("create", nobody, "--table", "0 8 nosuch"),
        ("table", nobody),
        ("message", nobody, "0", "hello"),
        ("suspend", nobody),
    ):
        printed, refused = library.run(command, "")
        assert (printed, refused is None) == (None, False), command
        assert witness.program(command)[1] is not None, command
    assert library.run(("info", "-c", "--noheadings", "-o", "name"), "") == ("", None)
