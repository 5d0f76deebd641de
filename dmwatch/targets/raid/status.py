"""The status of raid (drivers/md/dm-raid.c, raid_status)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from dmwatch.errors import StatusParseError
from dmwatch.targets.base import TargetStatus
from dmwatch.targets.raid.level import RaidType
from dmwatch.targets.words import Words
from dmwatch.units import Sectors


class RaidLeg(StrEnum):
    """How a member stands (__raid_dev_status)."""

    IN_SYNC = "A"
    OUT_OF_SYNC = "a"
    """It works and is not in sync; while the whole set is resynced all members show it."""
    FAILED = "D"
    MISSING = "-"
    """The table names no device for it."""


class RaidJournal(StrEnum):
    """How the journal of a raid4/5/6 stands; without one it is None."""

    WRITE_THROUGH = "A"
    WRITE_BACK = "a"
    FAILED = "D"


class SyncAction(StrEnum):
    """What md is doing to keep the members alike (decipher_sync_action)."""

    IDLE = "idle"
    FROZEN = "frozen"
    RESYNC = "resync"
    RECOVER = "recover"
    CHECK = "check"
    REPAIR = "repair"
    RESHAPE = "reshape"
    UNDEFINED = "undef"

    @property
    def runs(self) -> bool:
        """Something is read and written: not idle, frozen or undef."""
        return self not in {SyncAction.IDLE, SyncAction.FROZEN, SyncAction.UNDEFINED}


@dataclass(frozen=True, slots=True)
class RaidWorking(TargetStatus):
    """A set that answers.

    Attributes:
        raid_type: its type now; what the table asked for can differ.
        disks: how many members md counts; another number than `legs` has while a reshape adds or
            removes some.
        legs: the members, in order.
        done: how far the action has come, or what is in sync, on each member.
        total: of how much.
        action: what is being done; None before target version 1.5.0.
        mismatches: sectors that differ, found by a check; 0 unless a check was the last action.
            None before target version 1.5.0.
        data_offset: where the data begins on each member; None before target version 1.9.0.
        journal: the journal, or None where there is none.
    """

    raid_type: RaidType
    disks: int
    legs: tuple[RaidLeg, ...]
    done: Sectors
    total: Sectors
    action: SyncAction | None = None
    mismatches: int | None = None
    data_offset: Sectors | None = None
    journal: RaidJournal | None = None

    @property
    def synced(self) -> bool:
        """Nothing is left of the action that `done` counts."""
        return self.done >= self.total


@dataclass(frozen=True, slots=True)
class RaidBlank(TargetStatus):
    """An empty status: the kernel has no name for the layout that the set has now."""

    state: ClassVar[str] = "blank"


RaidStatus = RaidWorking | RaidBlank


def parse_status(text: str) -> RaidStatus:
    """Read the status.

    Raises:
        StatusParseError: where it does not follow the grammar.
    """
    words = Words("raid", text, StatusParseError)
    if not words.left:
        return RaidBlank()
    raid_type = words.choice("raid_type", RaidType)
    disks = words.number("disks")
    legs = words.letters("health", None, RaidLeg)
    done, total = words.ratio("sync ratio")
    return RaidWorking(
        raid_type=raid_type,
        disks=disks,
        legs=legs,
        done=Sectors(done),
        total=Sectors(total),
        action=words.choice("action", SyncAction) if words.left else None,
        mismatches=words.number("mismatches") if words.left else None,
        data_offset=Sectors(words.number("data_offset")) if words.left else None,
        journal=_journal(words) if words.left else None,
        extra=words.rest(),
    )


def _journal(words: Words) -> RaidJournal | None:
    return None if words.accept("-") else words.choice("journal", RaidJournal)
