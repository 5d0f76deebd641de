"""The block devices of this machine, as sysfs shows them. Needs no privilege and asks no driver.

What sysfs says is text by whoever named the device: anything that cannot be read is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dmwatch.errors import InvalidNameError
from dmwatch.names import DeviceNumber
from dmwatch.units import Sectors

ROOT = Path("/")
_LARGEST = 4096
_U64_MAX = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Block:
    """A block device, as sysfs shows it.

    Attributes:
        number: of its node.
        kernel_name: `sda1`, `dm-0`.
        size: or None where sysfs does not say.
        kind: `disk`, `partition`, `dm`, `md` or `loop`.
        name: device-mapper's, or None.
        uuid: device-mapper's, or None.
        below: the kernel names of what it lies on: of a partition the disk; of others their
            slaves, those of a table that is loaded and not yet in place included.
        file: of a loop device, the file that it lies on, or None.
    """

    number: DeviceNumber
    kernel_name: str
    size: Sectors | None = None
    kind: str = "disk"
    name: str | None = None
    uuid: str | None = None
    below: tuple[str, ...] = ()
    file: str | None = None


def read_blocks(root: Path = ROOT) -> list[Block]:
    """Every block device, by kernel name; none where sysfs is not there.

    Args:
        root: the directory that holds `sys`, for tests.
    """
    return [block for entry in _entries(root / "sys/class/block") if (block := _block(entry))]


def file_system_members(root: Path = ROOT) -> list[frozenset[str]]:
    """The kernel names of the devices of each file system that has several (btrfs).

    Args:
        root: as above.
    """
    return [
        frozenset(member.name for member in _entries(one / "devices"))
        for one in _entries(root / "sys/fs/btrfs")
    ]


def _block(entry: Path) -> Block | None:
    try:
        number = DeviceNumber.parse(_text(entry / "dev") or "")
    except InvalidNameError:
        return None
    return Block(
        number=number,
        kernel_name=entry.name,
        size=_size(_text(entry / "size")),
        kind=_kind(entry),
        name=_text(entry / "dm/name"),
        uuid=_text(entry / "dm/uuid"),
        below=tuple(_below(entry)),
        file=_text(entry / "loop/backing_file"),
    )


def _kind(entry: Path) -> str:
    for attribute in ("dm", "md", "loop", "partition"):
        if (entry / attribute).exists():
            return attribute
    return "disk"


def _below(entry: Path) -> Iterator[str]:
    if (entry / "partition").exists():
        yield entry.resolve().parent.name
    for slave in _entries(entry / "slaves"):
        yield slave.name


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


def _text(path: Path) -> str | None:
    """What an attribute says, without its last line end; None where it says nothing."""
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST)
    except OSError:
        return None
    return raw.removesuffix(b"\n").decode("utf-8", "surrogateescape") or None


def _size(text: str | None) -> Sectors | None:
    if text is None or not re.fullmatch(r"[0-9]{1,20}", text, re.ASCII):
        return None
    return Sectors(int(text)) if int(text) <= _U64_MAX else None
