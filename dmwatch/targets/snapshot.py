"""snapshot: a device as it was, its differences kept on a COW device (drivers/md/dm-snap.c).

Table   `<origin> <cow> P|PO|N <chunk>[ <#features>[ discard_zeroes_cow][ discard_passdown_origin]]`
Status  `Invalid` | `Merge failed` | `Overflow` | `<allocated>/<total> <metadata>` | `Unknown`

Only `Invalid` comes with an event. A COW device that a write to the snapshot fills makes it
`Overflow` without one (PO), and usage is silent: so it is polled. snapshot-merge shares the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Self

from dmwatch.errors import StatusParseError, TableParseError
from dmwatch.severity import Severity
from dmwatch.targets.base import (
    Finding,
    Gauge,
    Notice,
    Observation,
    Seen,
    Target,
    TargetStatus,
    TargetTable,
)
from dmwatch.targets.catalogue import CatalogueRow, ConditionType, GaugeType
from dmwatch.targets.words import (
    Device,
    Words,
    check_range,
    check_word,
    power_of_two,
    require,
)
from dmwatch.units import Sectors

CHUNK_MAX = 2_097_152  # the largest power of two whose bytes an int of the kernel holds
FEATURES_MAX = 2
_ZEROES, _PASSDOWN = "discard_zeroes_cow", "discard_passdown_origin"


class SnapshotStore(StrEnum):
    """How the differences are kept."""

    PERSISTENT = "P"
    """On the COW device, with their index."""
    PERSISTENT_OVERFLOW = "PO"
    """As P; the owner knows the status `Overflow`."""
    TRANSIENT = "N"
    """The index is in memory: it is gone with the device."""


@dataclass(frozen=True, slots=True)
class SnapshotTable(TargetTable):
    """What is kept, and where.

    Attributes:
        origin: the device whose state is kept.
        cow: the device that takes the differences.
        store: how they are kept.
        chunk: the size of what is copied at once, a power of two up to 2,097,152 sectors; 0 for
            what the COW device's header says, which a transient store has none of.
        features: in order; of discard_zeroes_cow, discard_passdown_origin (only with the other).
            With either and chunks of less than 512 sectors Linux 7.3.4 divides by zero when such
            a table is loaded (`blk_stack_limits`), and the process that loads it is killed.
    """

    type: ClassVar[str] = "snapshot"
    origin: Device
    cow: Device
    store: SnapshotStore
    chunk: Sectors
    features: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the table's text. The number of features may be left out.

        Raises:
            TableParseError: where it does not follow the grammar.
        """
        words = Words(cls.type, text, TableParseError)
        table = cls(
            origin=words.device("origin"),
            cow=words.device("cow"),
            store=_store(words),
            chunk=Sectors(words.number("chunk")),
            features=words.take("features", words.count("#features") if words.left else 0),
            raw=text,
        )
        words.end()
        return table

    def check(self) -> None:
        """Hold snapshot_ctr's rules against the values. Raises InvalidTableError."""
        check_word(self.type, "origin", self.origin)
        check_word(self.type, "cow", self.cow)
        rule = "cannot be the origin"
        require(str(self.cow) != str(self.origin), self.type, "cow", rule)
        self._check_chunk()
        self._check_features()

    def _check_chunk(self) -> None:
        size = check_range(self.type, "chunk", self.chunk, 0, CHUNK_MAX)
        require(not size or power_of_two(size), self.type, "chunk", "must be a power of two or 0")
        told = size > 0 or self.store is not SnapshotStore.TRANSIENT
        require(told, self.type, "chunk", "cannot be 0 with a transient store")

    def _check_features(self) -> None:
        asked = [feature.lower() for feature in self.features]
        for feature in asked:
            known = feature in {_ZEROES, _PASSDOWN}
            require(known, self.type, "features", f"cannot be {feature!r}")
        require(len(asked) <= FEATURES_MAX, self.type, "features", "can be two at most")
        alone = _PASSDOWN in asked and _ZEROES not in asked
        require(not alone, self.type, "features", f"can be {_PASSDOWN} only with {_ZEROES}")

    def format(self) -> str:
        """The text for the kernel. Raises InvalidTableError as `check`."""
        self.check()
        words = [str(self.origin), str(self.cow), self.store.value, str(int(self.chunk))]
        counted = [str(len(self.features)), *self.features] if self.features else []
        return " ".join([*words, *counted])


def _store(words: Words) -> SnapshotStore:
    found = words.word("store")
    try:
        return SnapshotStore(found.upper())
    except ValueError:
        words.fail("store", "must be P, PO or N")


@dataclass(frozen=True, slots=True)
class SnapshotWorking(TargetStatus):
    """A snapshot that can be used.

    Attributes:
        allocated: sectors of the COW device in use, its index among them.
        total: sectors on the COW device.
        metadata: sectors of its index; 0 with a transient store.
    """

    allocated: Sectors
    total: Sectors
    metadata: Sectors

    @property
    def empty(self) -> bool:
        """Nothing but the index is left: where it is being merged, that is done."""
        return self.allocated == self.metadata


@dataclass(frozen=True, slots=True)
class SnapshotInvalid(TargetStatus):
    """`Invalid`: the differences are not complete; all I/O of the snapshot fails for ever."""

    state: ClassVar[str] = "invalid"


@dataclass(frozen=True, slots=True)
class SnapshotOverflow(TargetStatus):
    """`Overflow`: the COW device is full; it can be read until the origin is written again."""

    state: ClassVar[str] = "overflow"


@dataclass(frozen=True, slots=True)
class SnapshotMergeFailed(TargetStatus):
    """`Merge failed`: merging has stopped half-way."""

    state: ClassVar[str] = "merge-failed"


@dataclass(frozen=True, slots=True)
class SnapshotUnknown(TargetStatus):
    """`Unknown`: the store does not tell its usage (none in the kernel is so)."""

    state: ClassVar[str] = "unknown"


SnapshotStatus = (
    SnapshotWorking | SnapshotInvalid | SnapshotOverflow | SnapshotMergeFailed | SnapshotUnknown
)
STATUSES: tuple[type[TargetStatus], ...] = (
    SnapshotWorking,
    SnapshotInvalid,
    SnapshotOverflow,
    SnapshotMergeFailed,
    SnapshotUnknown,
)


def parse_status(text: str) -> SnapshotStatus:
    """Read the status of a snapshot.

    Raises:
        StatusParseError: where it does not follow the grammar.
    """
    return read_status("snapshot", text)


def read_status(target: str, text: str) -> SnapshotStatus:
    """Read the status of a snapshot or of a snapshot-merge.

    Raises:
        StatusParseError: where it does not follow the grammar.
    """
    words = Words(target, text, StatusParseError)
    match words.accept("Invalid", "Merge", "Overflow", "Unknown"):
        case "Invalid":
            return SnapshotInvalid(extra=words.rest())
        case "Merge":
            words.expect("state", "failed")
            return SnapshotMergeFailed(extra=words.rest())
        case "Overflow":
            return SnapshotOverflow(extra=words.rest())
        case "Unknown":
            return SnapshotUnknown(extra=words.rest())
    return _working(words)


def _working(words: Words) -> SnapshotWorking:
    allocated, total = words.ratio("allocated")
    return SnapshotWorking(
        allocated=Sectors(allocated),
        total=Sectors(total),
        metadata=Sectors(words.number("metadata")),
        extra=words.rest(),
    )


def observe(seen: Seen) -> Observation:
    """Say what stands on a snapshot as seen now."""
    match seen.status:
        case SnapshotWorking(allocated=allocated, total=total):
            gauge = Gauge("snapshot.usage", int(allocated), int(total), "sectors")
            return Observation(gauges=(gauge,))
        case SnapshotOverflow():
            return Observation((_OVERFLOW,))
        case SnapshotInvalid():
            return Observation((_INVALID,))
    return Observation()


_OVERFLOW = Finding(
    "snapshot.overflow",
    Severity.ERROR,
    "the snapshot is full: writes to it fail, and the next write to its origin destroys it",
)
_INVALID = Finding("snapshot.invalid", Severity.CRITICAL, "the snapshot is lost: all its I/O fails")

CONDITIONS: tuple[CatalogueRow, ...] = (
    GaugeType(
        "snapshot.usage",
        advice="Extend the snapshot's COW device (lvextend) before it is full, or remove it.",
    ),
    ConditionType(
        "snapshot.overflow",
        (Severity.ERROR,),
        advice="Save what is needed from the snapshot before its origin is written again, then "
        "remove it.",
    ),
    ConditionType(
        "snapshot.invalid",
        (Severity.CRITICAL,),
        advice="Remove the snapshot: its content cannot be recovered. Look in the kernel log "
        "whether it was full or its COW device has failed.",
    ),
)

TARGET = Target(
    type="snapshot",
    module="dm-snapshot",
    since="5.10",
    summary="a device as it was, its differences kept on a COW device",
    table=SnapshotTable.parse,
    status=parse_status,
    tables=(SnapshotTable,),
    statuses=STATUSES,
    observe=observe,
    conditions=CONDITIONS,
    notice=Notice.EVENT,
)
