"""Messages to a raid (drivers/md/dm-raid.c, raid_message).

raid0 answers all of them with EINVAL, as it has nothing to sync. A sync that runs already is
answered with EBUSY, except to Idle and Frozen.
"""

from __future__ import annotations

from dataclasses import dataclass

from dmwatch.targets.base import TargetMessage


@dataclass(frozen=True, slots=True)
class Idle(TargetMessage):
    """Stop the sync that runs. A sync that is needed starts again by itself.

    Kernels since 6.9 stop it and answer EINVAL (EBUSY where it has started again).
    """

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "idle"


@dataclass(frozen=True, slots=True)
class Frozen(TargetMessage):
    """Stop the sync that runs and let none start until another message comes.

    Kernels since 6.9 stop it, answer EINVAL and do not stay frozen.
    """

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "frozen"


@dataclass(frozen=True, slots=True)
class Resync(TargetMessage):
    """Start or go on with a resync, where one is due."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "resync"


@dataclass(frozen=True, slots=True)
class Recover(TargetMessage):
    """Start or go on with the rebuild of a member, where one is due."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "recover"


@dataclass(frozen=True, slots=True)
class Check(TargetMessage):
    """Compare the copies, or the parity with the data, and count what differs."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "check"


@dataclass(frozen=True, slots=True)
class Repair(TargetMessage):
    """As Check, and write anew what differs."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "repair"


MESSAGES = (Idle, Frozen, Resync, Recover, Check, Repair)
