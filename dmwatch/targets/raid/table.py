"""The table of raid (drivers/md/dm-raid.c, raid_ctr, raid_status)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from dmwatch.errors import TableParseError
from dmwatch.table import TargetLine
from dmwatch.targets.base import TargetTable
from dmwatch.targets.raid import rules
from dmwatch.targets.raid.level import RaidType
from dmwatch.targets.raid.options import RaidOption, parse_option
from dmwatch.targets.words import Device, Words
from dmwatch.units import Sectors

__all__ = ["RaidMember", "RaidOption", "RaidTable"]

NEAR_SETS = "raid10_use_near_sets"


@dataclass(frozen=True, slots=True)
class RaidMember:
    """One of the members.

    Attributes:
        metadata: the device with its superblock and bitmap, or None.
        data: the device with its data, or None where it is missing; then metadata is None too.
    """

    metadata: Device | None
    data: Device | None

    def words(self) -> str:
        """Its two words in the table."""
        devices = (self.metadata, self.data)
        return " ".join("-" if device is None else str(device) for device in devices)


@dataclass(frozen=True, slots=True)
class RaidTable(TargetTable):
    """What a set was asked to be; the superblocks of its members can say otherwise.

    Attributes:
        raid_type: level and layout.
        chunk: a power of two of at least 8 sectors; raid1 has none and prints 0.
        members: 1 to 253, more than the parity takes.
        options: in order. The kernel prints them in an order of its own, max_write_behind halved,
            and never raid10_use_near_sets, which it counts all the same.
    """

    type: ClassVar[str] = "raid"
    raid_type: RaidType
    chunk: Sectors
    members: tuple[RaidMember, ...]
    options: tuple[RaidOption, ...] = ()

    @classmethod
    def parse(cls, text: str) -> RaidTable:
        """Read the table's text.

        Raises:
            TableParseError: where it does not follow the grammar.
        """
        words = Words(cls.type, text, TableParseError)
        raid_type = _raid_type(words)
        announced = words.count("#words")
        before = words.left
        chunk = Sectors(words.number("chunk"))
        options = (*_options(words), *_uncounted(words, raid_type, before - announced))
        members = tuple(_member(words) for _ in range(words.count("#members", 2)))
        words.end()
        return cls(raid_type, chunk, members, options, raw=text)

    @property
    def copies(self) -> int | None:
        """How many copies a raid10 keeps, or None where the table does not say so (2 then)."""
        value = self.option("raid10_copies")
        return value if isinstance(value, int) else None

    @property
    def journal(self) -> Device | None:
        """The journal's device, or None where there is none."""
        value = self.option("journal_dev")
        return None if isinstance(value, int) else value

    def option(self, name: str) -> int | Device | None:
        """The value of the first option of this name, or None."""
        return next((found.value for found in self.options if found.name == name), None)

    def check(self) -> None:
        """Hold raid_ctr's rules against the values. Raises InvalidTableError."""
        rules.check_table(self)

    def lasting(self) -> object:
        """Level and members: options such as rebuild are printed only while they hold."""
        return self.raid_type, self.members

    def format(self) -> str:
        """The text for the kernel. Raises InvalidTableError as `check`."""
        self.check()
        words = [word for option in self.options for word in option.words()]
        head = [self.raid_type.value, str(1 + len(words)), str(int(self.chunk)), *words]
        return " ".join([*head, str(len(self.members)), *(m.words() for m in self.members)])

    def line(self, start: Sectors | int, length: Sectors | int) -> TargetLine:
        """A line of a table with this text.

        Raises:
            InvalidTableError: as `check`, and where the length cannot be shared out evenly or the
                region size does not fit it.
        """
        line = TargetTable.line(self, start, length)
        rules.check_length(self, line.length)
        return line


def _raid_type(words: Words) -> RaidType:
    # as the kernel does, without telling capitals from small letters
    name = words.word("raid_type").lower()
    found = next((known for known in RaidType if known.value == name), None)
    return found or words.fail("raid_type", f"must be one of: {', '.join(RaidType)}")


def _options(words: Words) -> Iterator[RaidOption]:
    # the words' number can be one too high, so the options end where a number stands
    while (name := words.peek()) is not None and not name.isdecimal():
        yield parse_option(words)


def _uncounted(words: Words, raid_type: RaidType, end: int) -> Iterator[RaidOption]:
    """What the kernel counts and does not print: raid10_use_near_sets."""
    missing = words.left - end
    if missing == 1 and raid_type.level == 10:
        yield RaidOption(NEAR_SETS)
    elif missing:
        words.fail("#words", f"is {abs(missing)} too {'many' if missing > 0 else 'few'}")


def _member(words: Words) -> RaidMember:
    metadata = None if words.accept("-") else words.device("metadata")
    return RaidMember(metadata, None if words.accept("-") else words.device("data"))
