"""The options of a raid's table: which there are, and what each takes (parse_raid_params)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from dmwatch.targets.words import Device, Words

INT_MAX = (1 << 31) - 1
JOURNAL_MODES = ("writethrough", "writeback")
FORMATS = ("near", "far", "offset")


class Takes(Enum):
    """What follows an option's name."""

    NOTHING = auto()
    NUMBER = auto()
    SIGNED = auto()
    WORD = auto()
    DEVICE = auto()


@dataclass(frozen=True, slots=True)
class Spec:
    """An option.

    Attributes:
        takes: what follows its name.
        levels: where it is allowed.
        maximum: of its value.
        often: it may come more than once.
    """

    takes: Takes
    levels: frozenset[int]
    maximum: int = INT_MAX
    often: bool = False


_SYNCED = frozenset({1, 4, 5, 6, 10})
_PARITY = frozenset({4, 5, 6})
_RAID1 = frozenset({1})
_RAID10 = frozenset({10})
# (COUNTER_MAX of md-bitmap.h, in KiB) as sectors, rounded up to the last that is halved to it
_WRITE_BEHIND_MAX = 2 * ((1 << 14) - 1) + 1

SPECS = {
    "sync": Spec(Takes.NOTHING, _SYNCED),
    "nosync": Spec(Takes.NOTHING, _SYNCED - {6}),
    "rebuild": Spec(Takes.NUMBER, _SYNCED, often=True),
    "daemon_sleep": Spec(Takes.NUMBER, _SYNCED),
    "min_recovery_rate": Spec(Takes.NUMBER, _SYNCED),
    "max_recovery_rate": Spec(Takes.NUMBER, _SYNCED),
    "write_mostly": Spec(Takes.NUMBER, _RAID1, often=True),
    "max_write_behind": Spec(Takes.NUMBER, _RAID1, _WRITE_BEHIND_MAX),
    "stripe_cache": Spec(Takes.NUMBER, _PARITY),
    "region_size": Spec(Takes.NUMBER, _SYNCED),
    "raid10_copies": Spec(Takes.NUMBER, _RAID10),
    "raid10_format": Spec(Takes.WORD, _RAID10),
    "raid10_use_near_sets": Spec(Takes.NOTHING, _RAID10),
    "delta_disks": Spec(Takes.SIGNED, _SYNCED),
    "data_offset": Spec(Takes.NUMBER, _SYNCED | {0}),
    "journal_dev": Spec(Takes.DEVICE, _PARITY),
    "journal_mode": Spec(Takes.WORD, _PARITY),
}
"""Every option, in the order in which the kernel prints them."""


@dataclass(frozen=True, slots=True)
class RaidOption:
    """An option of the table.

    Attributes:
        name: one of sync, nosync, rebuild, daemon_sleep, min_recovery_rate, max_recovery_rate,
            write_mostly, max_write_behind, stripe_cache, region_size, raid10_copies,
            raid10_format, raid10_use_near_sets, delta_disks, data_offset, journal_dev,
            journal_mode. What each means: Documentation/admin-guide/device-mapper/dm-raid.rst
            of the kernel.
        value: a number (members are counted from 0, sizes are in sectors, rates in KiB a second,
            times in milliseconds), a word for raid10_format and journal_mode, a device for
            journal_dev; None for those that take nothing.
    """

    name: str
    value: int | Device | None = None

    def words(self) -> list[str]:
        """Its words in the table."""
        return [self.name] if self.value is None else [self.name, str(self.value)]


def parse_option(words: Words) -> RaidOption:
    """Read one option. The kernel does not tell capitals from small letters in names and words."""
    name = words.word("option").lower()
    spec = SPECS.get(name)
    if spec is None:
        words.fail("option", "is not known")
    return RaidOption(name, _value(words, name, spec.takes))


def _value(words: Words, name: str, takes: Takes) -> int | Device | None:
    match takes:
        case Takes.NUMBER:
            return words.number(name)
        case Takes.SIGNED:
            return words.signed(name)
        case Takes.WORD:
            return words.word(name).lower()
        case Takes.DEVICE:
            return words.device(name)
    return None
