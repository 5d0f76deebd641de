"""The numbers of include/uapi/linux/dm-ioctl.h, written out by hand."""

from __future__ import annotations

import ast
import struct
import sys
from pathlib import Path

import pytest

import dmwatch.ioctl
from dmwatch.ioctl import abi
from dmwatch.ioctl.abi import Command, Flags, UdevFlags, aligned

REQUESTS = {
    "VERSION": (0xC138FD00, (4, 0, 0)),
    "REMOVE_ALL": (0xC138FD01, (4, 0, 0)),
    "LIST_DEVICES": (0xC138FD02, (4, 0, 0)),
    "DEV_CREATE": (0xC138FD03, (4, 0, 0)),
    "DEV_REMOVE": (0xC138FD04, (4, 0, 0)),
    "DEV_RENAME": (0xC138FD05, (4, 0, 0)),
    "DEV_SUSPEND": (0xC138FD06, (4, 0, 0)),
    "DEV_STATUS": (0xC138FD07, (4, 0, 0)),
    "DEV_WAIT": (0xC138FD08, (4, 0, 0)),
    "TABLE_LOAD": (0xC138FD09, (4, 0, 0)),
    "TABLE_CLEAR": (0xC138FD0A, (4, 0, 0)),
    "TABLE_DEPS": (0xC138FD0B, (4, 0, 0)),
    "TABLE_STATUS": (0xC138FD0C, (4, 0, 0)),
    "LIST_VERSIONS": (0xC138FD0D, (4, 1, 0)),
    "TARGET_MSG": (0xC138FD0E, (4, 2, 0)),
    "DEV_SET_GEOMETRY": (0xC138FD0F, (4, 6, 0)),
    "DEV_ARM_POLL": (0xC138FD10, (4, 37, 0)),
    "GET_TARGET_VERSION": (0xC138FD11, (4, 41, 0)),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_command_has_its_number_and_the_lowest_version_that_has_it(name: str) -> None:
    assert (Command[name].request, Command[name].value.version) == REQUESTS[name]


def test_there_are_eighteen_commands() -> None:
    assert [command.name for command in Command] == list(REQUESTS)


def test_only_a_message_is_never_sent_again() -> None:
    assert [c for c in Command if not c.value.repeatable] == [Command.TARGET_MSG]
    assert not Command.TARGET_MSG.value.grows


def test_the_flags_have_the_kernels_bits() -> None:
    assert {flag.name: flag.value.bit_length() - 1 for flag in Flags} == {
        "READONLY": 0,
        "SUSPEND": 1,
        "PERSISTENT_DEV": 3,
        "STATUS_TABLE": 4,
        "ACTIVE_PRESENT": 5,
        "INACTIVE_PRESENT": 6,
        "BUFFER_FULL": 8,
        "SKIP_BDGET": 9,
        "SKIP_LOCKFS": 10,
        "NOFLUSH": 11,
        "QUERY_INACTIVE_TABLE": 12,
        "UEVENT_GENERATED": 13,
        "UUID": 14,
        "SECURE_DATA": 15,
        "DATA_OUT": 16,
        "DEFERRED_REMOVE": 17,
        "INTERNAL_SUSPEND": 18,
        "IMA_MEASUREMENT": 19,
    }


def test_a_bit_of_a_later_kernel_is_kept() -> None:
    assert int(Flags(1 << 27 | 1)) == 1 << 27 | 1


def test_the_udev_flags_have_libdevmappers_bits() -> None:
    low = [1 << bit for bit in range(7)]
    assert [int(flag) for flag in UdevFlags] == [*low, *(1 << bit for bit in range(8, 16))]
    assert [flag.name for flag in UdevFlags][5:8] == [
        "DISABLE_LIBRARY_FALLBACK",
        "PRIMARY_SOURCE",
        "SUBSYSTEM_0",
    ]


@pytest.mark.parametrize(
    ("layout", "size"),
    [
        (abi.TARGET_SPEC, 40),
        (abi.NAME_LIST, 12),
        (abi.NAME_LIST_TAIL, 8),
        (abi.DEPS, 8),
        (abi.TARGET_VERSIONS, 16),
        (abi.TARGET_MSG, 8),
    ],
)
def test_the_records_have_the_kernels_sizes(layout: struct.Struct, size: int) -> None:
    assert layout.size == size


@pytest.mark.parametrize(("size", "rounded"), [(0, 0), (1, 8), (7, 8), (8, 8), (9, 16)])
def test_records_are_aligned_to_eight(size: int, rounded: int) -> None:
    assert aligned(size) == rounded


def test_the_bytes_layer_imports_the_standard_library_and_the_values_below_it_only() -> None:
    below = {"errors", "ioctl", "names", "table", "units"}
    sources = list(Path(dmwatch.ioctl.__file__).parent.glob("*.py"))
    assert sources
    for source in sources:
        for module in imported(ast.parse(source.read_text())):
            first, *rest = module.split(".")
            inside = first == "dmwatch" and rest[0] in below
            assert inside or first in sys.stdlib_module_names, f"{source.name}: {module}"


def imported(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
    return found
