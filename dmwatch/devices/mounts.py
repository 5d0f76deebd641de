"""What is mounted and what is swapped to, as /proc shows it.

Paths and sources are text by whoever mounted: a line that cannot be read is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dmwatch.devices.blocks import ROOT
from dmwatch.errors import InvalidNameError
from dmwatch.names import DeviceNumber

_ESCAPED = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A file system that is mounted, or a device that is swapped to.

    Attributes:
        point: where, or `[swap]`.
        file_system: its type, or `swap`.
        source: the device, as whoever mounted it wrote it.
        number: the device's, or None: a file system of several devices has one of its own.
    """

    point: str
    file_system: str
    source: str
    number: DeviceNumber | None = None

    @property
    def swap(self) -> bool:
        """It is swap space."""
        return self.file_system == "swap"


def read_mounts(root: Path = ROOT) -> list[Mount]:
    """What is mounted in this mount namespace, then what is swapped to.

    Args:
        root: the directory that holds `proc`, for tests.
    """
    return [
        *parse_mounts(_read(root / "proc/self/mountinfo")),
        *parse_swaps(_read(root / "proc/swaps")),
    ]


def parse_mounts(raw: bytes) -> Iterator[Mount]:
    """Read `/proc/self/mountinfo`."""
    for line in raw.split(b"\n"):
        before, dash, after = line.partition(b" - ")
        words, last = before.split(b" "), after.split(b" ")
        if not dash or len(words) < 6 or len(last) < 2:
            continue
        with suppress(InvalidNameError):
            # major 0: nothing of a block device, or one of several devices
            number = DeviceNumber.parse(words[2].decode("ascii", "replace"))
            known = number if number.major else None
            yield Mount(_plain(words[4]), _plain(last[0]), _plain(last[1]), known)


def parse_swaps(raw: bytes) -> Iterator[Mount]:
    """Read `/proc/swaps`; swap files are left out: their file system is mounted."""
    for line in raw.split(b"\n")[1:]:
        words = line.split()
        if len(words) >= 2 and words[1] == b"partition":
            yield Mount("[swap]", "swap", _plain(words[0]))


def _plain(word: bytes) -> str:
    raw = _ESCAPED.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), word)
    return raw.decode("utf-8", "surrogateescape")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
