"""Messages to a multipath (drivers/md/dm-mpath.c, multipath_message).

All are answered with EBUSY while the device is suspended.
"""

from __future__ import annotations

from dataclasses import dataclass

from dmwatch.errors import InvalidMessageError
from dmwatch.targets.base import TargetMessage
from dmwatch.targets.words import Device, quoted

GROUPS_MAX = 1024


def _device(value: Device) -> str:
    text = str(value)
    if not text or "\x00" in text:
        raise InvalidMessageError("multipath: a path is named by its number or its device node")
    return quoted(text)


def _group(value: int) -> str:
    if not 1 <= value <= GROUPS_MAX:
        raise InvalidMessageError(f"multipath: a group is 1 to {GROUPS_MAX}, not {value}")
    return str(value)


@dataclass(frozen=True, slots=True)
class FailPath(TargetMessage):
    """Use a path no more, in every group that has it.

    Attributes:
        device: the path, as major:minor or as a device node; EINVAL where the table has it not.
    """

    device: Device

    def format(self) -> str:
        """The text for TARGET_MSG. Raises InvalidMessageError."""
        return f"fail_path {_device(self.device)}"


@dataclass(frozen=True, slots=True)
class ReinstatePath(TargetMessage):
    """Use a failed path again, in every group that has it.

    Attributes:
        device: as in FailPath.
    """

    device: Device

    def format(self) -> str:
        """The text for TARGET_MSG. Raises InvalidMessageError."""
        return f"reinstate_path {_device(self.device)}"


@dataclass(frozen=True, slots=True)
class SwitchGroup(TargetMessage):
    """Use another group from the next I/O on, and enable those before it.

    Attributes:
        group: which, counted from 1; EINVAL where there is none.
    """

    group: int

    def format(self) -> str:
        """The text for TARGET_MSG. Raises InvalidMessageError."""
        return f"switch_group {_group(self.group)}"


@dataclass(frozen=True, slots=True)
class DisableGroup(TargetMessage):
    """Pass a group over while another one has a path.

    Attributes:
        group: as in SwitchGroup.
    """

    group: int

    def format(self) -> str:
        """The text for TARGET_MSG. Raises InvalidMessageError."""
        return f"disable_group {_group(self.group)}"


@dataclass(frozen=True, slots=True)
class EnableGroup(TargetMessage):
    """Pass a group over no more.

    Attributes:
        group: as in SwitchGroup.
    """

    group: int

    def format(self) -> str:
        """The text for TARGET_MSG. Raises InvalidMessageError."""
        return f"enable_group {_group(self.group)}"


@dataclass(frozen=True, slots=True)
class QueueIfNoPath(TargetMessage):
    """Let I/O wait while no path is left."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "queue_if_no_path"


@dataclass(frozen=True, slots=True)
class FailIfNoPath(TargetMessage):
    """Let I/O fail while no path is left, that which waits too."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "fail_if_no_path"


MESSAGES = (
    FailPath,
    ReinstatePath,
    SwitchGroup,
    DisableGroup,
    EnableGroup,
    QueueIfNoPath,
    FailIfNoPath,
)
