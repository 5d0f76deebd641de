"""zoned: a plain block device on drives with zones (drivers/md/dm-zoned-target.c).

Table   `[<regular device>] <zoned device>...`
Status  `<zones> zones <free>/<total> cache (<free>/<total> random <free>/<total> sequential)...`

Random writes go to zones that take them, and are moved to sequential zones later: when the first
kind runs out, writes wait for that. With a regular device its zones ("cache") take that part. It
raises no events, and a dying drive does not show in its status.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dmwatch.errors import StatusParseError, TableParseError
from dmwatch.targets.base import (
    Gauge,
    Observation,
    Seen,
    Target,
    TargetMessage,
    TargetStatus,
    TargetTable,
)
from dmwatch.targets.catalogue import GaugeType
from dmwatch.targets.words import Device, Words, check_word, parse_device, require


@dataclass(frozen=True, slots=True)
class ZonedTable(TargetTable):
    """The drives.

    Attributes:
        devices: one zoned device; or a regular device first and one or more zoned ones after it.
    """

    type: ClassVar[str] = "zoned"
    devices: tuple[Device, ...]

    @classmethod
    def parse(cls, text: str) -> ZonedTable:
        """Read the table's text.

        Raises:
            TableParseError: where no device stands in it, or it is a piece of a status, which
                would pass for a list of devices else.
        """
        words = Words(cls.type, text, TableParseError)
        first = words.device("devices")
        if words.peek() == "zones":
            words.fail("devices", "is a number of zones, as in a status")
        return cls((first, *map(parse_device, words.rest())), raw=text)

    def check(self) -> None:
        """Hold dmz_ctr's rules against the values. Raises InvalidTableError."""
        require(bool(self.devices), self.type, "devices", "must be one at least")
        for device in self.devices:
            check_word(self.type, "devices", device)
        require(self.devices[1:2] != ("zones",), self.type, "devices", "cannot be called zones")

    def format(self) -> str:
        """The text for the kernel. Raises InvalidTableError as `check`."""
        self.check()
        return " ".join(map(str, self.devices))


@dataclass(frozen=True, slots=True)
class ZoneCount:
    """Zones of one kind.

    Attributes:
        free: how many hold nothing.
        total: how many there are.
    """

    free: int
    total: int

    @property
    def used(self) -> int:
        """How many hold something."""
        return max(self.total - self.free, 0)


@dataclass(frozen=True, slots=True)
class ZonedDevice:
    """The zones of one drive.

    Attributes:
        random: those that take writes anywhere.
        sequential: those that must be written from front to back.
    """

    random: ZoneCount
    sequential: ZoneCount


@dataclass(frozen=True, slots=True)
class ZonedStatus(TargetStatus):
    """The zones.

    Attributes:
        zones: how many there are in all.
        cache: those of the regular device; 0 of 0 where there is none.
        devices: of each zoned drive; the regular device is not among them.
    """

    zones: int
    cache: ZoneCount
    devices: tuple[ZonedDevice, ...]


def parse_status(text: str) -> ZonedStatus:
    """Read the status.

    Raises:
        StatusParseError: where it does not follow the grammar.
    """
    words = Words("zoned", text, StatusParseError)
    zones = words.number("zones")
    words.expect("zones", "zones")
    cache = _count(words, "cache")
    devices = []
    while words.peek(1) == "random":
        devices.append(ZonedDevice(_count(words, "random"), _count(words, "sequential")))
    return ZonedStatus(zones, cache, tuple(devices), extra=words.rest())


def _count(words: Words, kind: str) -> ZoneCount:
    count = ZoneCount(*words.ratio(kind))
    words.expect(kind, kind)
    return count


def observe(seen: Seen) -> Observation:
    """Say what stands on a zoned device as seen now.

    The gauge shows the zones that random writes are taken from: those of the regular device where
    there is one, else the random zones (dm-zoned-metadata.c, dmz_get_chunk_mapping).
    """
    status = seen.status
    if not isinstance(status, ZonedStatus):
        return Observation()
    counts = [status.cache] if status.cache.total else [d.random for d in status.devices]
    used, total = sum(count.used for count in counts), sum(count.total for count in counts)
    return Observation(gauges=(Gauge("zoned.random-zones-usage", used, total, "zones"),))


@dataclass(frozen=True, slots=True)
class Reclaim(TargetMessage):
    """Move data from random zones to sequential ones now."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "reclaim"


CONDITIONS = (
    GaugeType(
        "zoned.random-zones-usage",
        advice="Write less for a while or send the message reclaim: writes wait until zones that "
        "take random writes are free again.",
    ),
)

TARGET = Target(
    type="zoned",
    module="dm-zoned",
    since="5.10",
    summary="a plain block device on drives with zones",
    table=ZonedTable.parse,
    status=parse_status,
    tables=(ZonedTable,),
    statuses=(ZonedStatus,),
    messages=(Reclaim,),
    observe=observe,
    conditions=CONDITIONS,
)
