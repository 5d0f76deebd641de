"""What only sysfs knows of a device."""

from __future__ import annotations

from pathlib import Path

from dmwatch.names import DeviceNumber

_ROOT = Path("/sys/dev/block")


def diskseq(number: DeviceNumber, root: Path = _ROOT) -> int | None:
    """The incarnation of a device number: another one whenever it was made anew.

    None before Linux 5.15, for a device that never had a table, and where sysfs is not mounted.
    """
    try:
        return int((root / str(number) / "diskseq").read_text("ascii"))
    except (OSError, ValueError):
        return None
