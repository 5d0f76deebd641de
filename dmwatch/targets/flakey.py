"""flakey: works for a while, fails for a while, over and over (drivers/md/dm-flakey.c).

Table   `<device> <start> <up> <down> [<#words> [error_reads] [drop_writes | error_writes]
        [corrupt_bio_byte <N> (r|w) <value> <flags>] [random_read_corrupt <n>]
        [random_write_corrupt <n>]]`
Status  empty: whether it works or fails at this moment cannot be read; it raises no events

Linux 6.1 has neither error_reads nor random_*, and prints `0` where no feature was given; 6.12
prints what that means, `2 error_reads error_writes`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final

from dmwatch.errors import TableParseError
from dmwatch.targets.base import EmptyStatus, Notice, Target, TargetTable, no_status
from dmwatch.targets.words import U32_MAX, Device, Words, check_range, check_word, require
from dmwatch.units import Sectors

PROBABILITY_BASE: Final = 1_000_000_000


class FlakeyFault(StrEnum):
    """What becomes of I/O while it fails."""

    ERROR_READS = "error_reads"
    DROP_WRITES = "drop_writes"
    ERROR_WRITES = "error_writes"


class FlakeyDirection(StrEnum):
    """Which I/O is corrupted."""

    READ = "r"
    WRITE = "w"


@dataclass(frozen=True, slots=True)
class FlakeyCorrupt:
    """One byte of each bio is overwritten.

    Attributes:
        byte: which one, from 1.
        direction: of reads or of writes.
        value: the byte written there, 0 to 255.
        flags: only of bios with all these flags (the kernel's bi_opf); 0 for all.
    """

    byte: int
    direction: FlakeyDirection
    value: int
    flags: int


@dataclass(frozen=True, slots=True)
class FlakeyRandom:
    """A random byte of some bios is overwritten.

    Attributes:
        direction: of reads or of writes.
        probability: of how many in 1,000,000,000 bios.
    """

    direction: FlakeyDirection
    probability: int


FlakeyFeature = FlakeyFault | FlakeyCorrupt | FlakeyRandom

_RANDOM: Final = {
    "random_read_corrupt": FlakeyDirection.READ,
    "random_write_corrupt": FlakeyDirection.WRITE,
}
_RANDOM_WORDS: Final = {direction: word for word, direction in _RANDOM.items()}
_NAMES: Final = (*FlakeyFault, "corrupt_bio_byte", *_RANDOM)


@dataclass(frozen=True, slots=True)
class FlakeyTable(TargetTable):
    """When it fails, and how.

    Attributes:
        device: the device below.
        start: the first sector there.
        up: seconds that it works.
        down: seconds that it fails; the two add up to 1 to 4,294,967,295.
        features: what failing means, in order; none means that all I/O fails.
    """

    type: ClassVar[str] = "flakey"
    device: Device
    start: Sectors
    up: int
    down: int
    features: tuple[FlakeyFeature, ...] = ()

    @property
    def fails_all(self) -> bool:
        """All I/O fails while it is down, in either way of saying so."""
        both = {FlakeyFault.ERROR_READS, FlakeyFault.ERROR_WRITES}
        return not self.features or set(self.features) == both

    @classmethod
    def parse(cls, text: str) -> FlakeyTable:
        """Read the table's text. The number of feature words may be left out.

        Raises:
            TableParseError: where it does not follow the grammar.
        """
        words = Words(cls.type, text, TableParseError)
        table = cls(
            device=words.device("device"),
            start=Sectors(words.number("start")),
            up=words.number("up"),
            down=words.number("down"),
            features=_features(words) if words.left else (),
            raw=text,
        )
        words.end()
        return table

    def check(self) -> None:
        """Hold the rules of flakey_ctr and parse_features. Raises InvalidTableError."""
        check_word(self.type, "device", self.device)
        check_range(self.type, "start", self.start)
        check_range(self.type, "up", self.up, 0, U32_MAX)
        check_range(self.type, "down", self.down, 0, U32_MAX)
        check_range(self.type, "up and down together", self.up + self.down, 1, U32_MAX)
        for feature in self.features:
            _check_values(feature)
        _check_features(self.features)

    def format(self) -> str:
        """The text for the kernel. Raises InvalidTableError as `check`."""
        self.check()
        words = [word for feature in self.features for word in _feature_words(feature)]
        head = f"{self.device} {int(self.start)} {self.up} {self.down} {len(words)}"
        return " ".join([head, *words])


def _features(words: Words) -> tuple[FlakeyFeature, ...]:
    left_after = words.left - 1 - words.count("#features")
    found = []
    while words.left > left_after:
        found.append(_feature(words))
    if words.left < left_after:
        words.fail("features", "has more words than #features says")
    return tuple(found)


def _feature(words: Words) -> FlakeyFeature:
    # the kernel compares these words without regard to case
    name = words.word("features").lower()
    if name == "corrupt_bio_byte":
        return _corrupt(words)
    if name in _RANDOM:
        return FlakeyRandom(_RANDOM[name], words.number(f"features.{name}"))
    if name not in _NAMES:
        words.fail("features", f"must be one of: {', '.join(_NAMES)}")
    return FlakeyFault(name)


def _corrupt(words: Words) -> FlakeyCorrupt:
    byte = words.number("features.byte")
    if words.accept("R"):
        direction = FlakeyDirection.READ
    elif words.accept("W"):
        direction = FlakeyDirection.WRITE
    else:
        direction = words.choice("features.direction", FlakeyDirection)
    value = words.number("features.value")
    return FlakeyCorrupt(byte, direction, value, words.number("features.flags"))


def _feature_words(feature: FlakeyFeature) -> Iterator[str]:
    match feature:
        case FlakeyCorrupt(byte, direction, value, flags):
            yield from ("corrupt_bio_byte", str(byte), direction, str(value), str(flags))
        case FlakeyRandom(direction, probability):
            yield from (_RANDOM_WORDS[direction], str(probability))
        case _:
            yield feature


def _check_values(feature: FlakeyFeature) -> None:
    match feature:
        case FlakeyCorrupt():
            check_range("flakey", "features.byte", feature.byte, 1, U32_MAX)
            check_range("flakey", "features.value", feature.value, 0, 255)
            check_range("flakey", "features.flags", feature.flags, 0, U32_MAX)
        case FlakeyRandom():
            probability = feature.probability
            check_range("flakey", "features.probability", probability, 0, PROBABILITY_BASE)


def _check_features(features: tuple[FlakeyFeature, ...]) -> None:
    names = [next(_feature_words(feature)) for feature in features]
    require(len(set(names)) == len(names), "flakey", "features", "cannot name one twice")
    writes = [n for n in names if n in (FlakeyFault.DROP_WRITES, FlakeyFault.ERROR_WRITES)]
    corrupted = {f.direction for f in features if not isinstance(f, FlakeyFault)}
    if FlakeyDirection.WRITE in corrupted:
        writes.append("corrupted writes")
    rule = f"cannot have {' and '.join(writes)} together"
    require(len(writes) < 2, "flakey", "features", rule)
    clash = FlakeyFault.ERROR_READS in names and FlakeyDirection.READ in corrupted
    require(not clash, "flakey", "features", "cannot have error_reads and corrupted reads together")


TARGET = Target(
    type="flakey",
    module="dm-flakey",
    since="5.10",
    summary="works for a while, fails for a while, over and over",
    table=FlakeyTable.parse,
    status=no_status,
    tables=(FlakeyTable,),
    statuses=(EmptyStatus,),
    notice=Notice.NOTHING,
    poll=None,
)
