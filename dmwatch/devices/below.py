"""What a device lies on: one of ours, a number, or a path."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Protocol

from dmwatch.errors import DmwatchError
from dmwatch.names import DeviceNumber
from dmwatch.targets.words import Device as Word
from dmwatch.targets.words import parse_device
from dmwatch.units import Bytes, Sectors

SYSFS = Path("/sys/dev/block")


class Made(Protocol):
    """One of our devices, as those on top of it see it."""

    @property
    def size(self) -> Sectors:
        """How large it is."""

    def word(self) -> Word:
        """What it is called in a table."""


Below = Made | DeviceNumber | str
"""A lower device: one of ours, a number, `major:minor` or a path."""


def word_of(below: Below) -> Word:
    """What a lower device is called in a table: its number where that can be told, else its path.

    One of ours that is only planned yet is called by its path.
    """
    if isinstance(below, DeviceNumber):
        return below
    if isinstance(below, str):
        found = parse_device(below)
        return (number_of(found) or found) if isinstance(found, str) else found
    return below.word()


def node_of(below: Below) -> str:
    """A path by which a lower device can be opened: its node in devtmpfs, which needs no udev."""
    word = word_of(below)
    if isinstance(word, str):
        return word
    try:
        told = (SYSFS / str(word) / "uevent").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return f"/dev/block/{word}"
    names = (line.removeprefix("DEVNAME=") for line in told.splitlines() if "DEVNAME=" in line)
    return f"/dev/{next(names, f'block/{word}')}"


def number_of(path: str) -> DeviceNumber | None:
    """The number of the block device behind a path, or None where there is none."""
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return None
    if not stat.S_ISBLK(found.st_mode):
        return None
    return DeviceNumber(os.major(found.st_rdev), os.minor(found.st_rdev))


def size_of(below: Below) -> Sectors:
    """How large a lower device is (what BLKGETSIZE64 says, read from sysfs).

    Raises:
        DmwatchError: it cannot be told.
    """
    # not by whether it is Made: that asks for its size, and so for all sizes below, twice
    if isinstance(below, DeviceNumber | str):
        return Sectors(_attribute(below, "size"))
    return below.size


def block_size_of(below: Below) -> Bytes:
    """The smallest block that a lower device reads and writes (BLKSSZGET), 512 bytes or more.

    Raises:
        DmwatchError: it cannot be told.
    """
    word = word_of(below)
    return Bytes(_attribute(word, "queue/logical_block_size"))


def _attribute(below: DeviceNumber | str, name: str) -> int:
    word = word_of(below)
    try:
        directory = (SYSFS / str(word)).resolve()
        if not (directory / name).exists() and (directory / "partition").exists():
            directory = directory.parent  # a partition has its disk's queue
        return int((directory / name).read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise DmwatchError(
            f"the {name.rpartition('/')[2].replace('_', ' ')} of {below} cannot be told: {error}",
            because="there is no such block device, or sysfs is not mounted",
            hint="look at lsblk",
        ) from error
