"""integrity: a checksum for every block, kept beside the data (drivers/md/dm-integrity.c).

Table   `<device> <start> <tag size|-> <J|B|D|R|I> <#options> <option>...`; `internal_hash`,
        `journal_crypt` and `journal_mac` are `<name>:<algorithm>[:<key in hex>]`
Status  `<mismatches> <provided sectors> <recalculated up to|->`

It raises no events. The mismatches are counted in memory: they begin at 0 with each table. After
a recalculation the third field stays at the second. A failure of its own metadata (all I/O fails
then) shows nowhere in the status.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from dmwatch.errors import InvalidTableError, StatusParseError, TableParseError
from dmwatch.severity import Severity
from dmwatch.targets.base import (
    Finding,
    Moment,
    Observation,
    Seen,
    Target,
    TargetStatus,
    TargetTable,
)
from dmwatch.targets.catalogue import ConditionType, MomentType
from dmwatch.targets.keyed import (
    HexKey,
    Option,
    check_flag,
    check_option_number,
    check_words,
    find_option,
    hide_keys,
    looks_like_key,
    option_error,
    plain_word,
    read_option,
)
from dmwatch.targets.secret import Secret
from dmwatch.targets.words import (
    U32_MAX,
    U64_MAX,
    Device,
    Words,
    check_range,
    check_word,
    parse_device,
    power_of_two,
    require,
)
from dmwatch.units import Bytes, Sectors

TAG_MAX = 255
OPTIONS_MAX = 18
BLOCK_MIN, BLOCK_MAX = 512, 4096
FLAGS = frozenset(
    {
        "recalculate",
        "reset_recalculate",
        "allow_discards",
        "allow_discards_keyed",
        "fix_padding",
        "fix_hmac",
        "legacy_recalculate",
    }
)
ALGORITHMS = frozenset({"internal_hash", "journal_crypt", "journal_mac"})
NUMBERS = {
    "journal_sectors": U32_MAX,
    "interleave_sectors": U32_MAX,
    "buffer_sectors": U32_MAX,
    "journal_watermark": 100,
    "commit_time": U32_MAX,
    "sectors_per_bit": U64_MAX,
    "bitmap_flush_interval": U32_MAX,
}
KNOWN = FLAGS | set(NUMBERS) | {"meta_device", "block_size"}


class IntegrityMode(StrEnum):
    """How data and checksums are kept in step."""

    JOURNAL = "J"
    BITMAP = "B"
    DIRECT = "D"
    RECOVERY = "R"
    INLINE = "I"
    """The checksums lie in the drive's own metadata (since 6.12)."""


@dataclass(frozen=True, slots=True)
class Algorithm:
    """An option that names an algorithm and may hold its key.

    Attributes:
        name: internal_hash, journal_crypt or journal_mac.
        algorithm: as the crypto API names it: `crc32c`, `hmac(sha256)`, `ctr(aes)`.
        key: its key, or None.
    """

    name: str
    algorithm: str
    key: HexKey | None = None

    def __post_init__(self) -> None:
        if self.key is not None and not isinstance(self.key, HexKey):
            raise InvalidTableError("integrity", "options", "must have a HexKey as key")

    def word(self) -> str:
        """The option as it stands in a table, with the key in clear: for the kernel only."""
        key = "" if self.key is None else f":{self.key.word()}"
        return f"{self.name}:{self.algorithm}{key}"


IntegrityOption = Option | Algorithm


@dataclass(frozen=True, slots=True)
class IntegrityTable(TargetTable):
    """How a device is checked.

    Attributes:
        device: the device that holds data and checksums.
        start: where they begin on it.
        tag_size: bytes of checksum a block, 1 to 255; None for that of the internal hash.
        mode: how data and checksums are kept in step.
        options: in order. Flags: recalculate, reset_recalculate, allow_discards,
            allow_discards_keyed, fix_padding, fix_hmac, legacy_recalculate. With a number:
            journal_sectors, interleave_sectors, buffer_sectors, journal_watermark (percent),
            commit_time (ms), sectors_per_bit, bitmap_flush_interval (ms), block_size (bytes).
            With a device: meta_device. Algorithms: internal_hash, journal_crypt, journal_mac.
    """

    type: ClassVar[str] = "integrity"
    device: Device
    start: Sectors
    tag_size: Bytes | None
    mode: IntegrityMode
    options: tuple[IntegrityOption, ...] = ()

    @classmethod
    def parse(cls, text: str) -> IntegrityTable:
        """Read the table's text.

        Raises:
            TableParseError: where it does not follow the grammar; without its text.
        """
        words = Words(cls.type, text, TableParseError, secret=True)
        device = parse_device(plain_word(words, "device"))
        start = Sectors(words.number("start"))
        tag_size = None if words.accept("-") else Bytes(words.number("tag_size"))
        mode = words.choice("mode", IntegrityMode)
        count = words.count("#options")
        options = tuple(_read_option(words) for _ in range(count))
        words.end()
        return cls(device, start, tag_size, mode, options)

    def algorithm(self, name: str) -> Algorithm | None:
        """The last option of a name in internal_hash, journal_crypt, journal_mac, or None."""
        for option in reversed(self.options):
            if isinstance(option, Algorithm) and option.name == name:
                return option
        return None

    def check(self) -> None:
        """Hold dm_integrity_ctr's rules against the values. Raises InvalidTableError."""
        check_word(self.type, "device", self.device)
        check_range(self.type, "start", self.start)
        if self.tag_size is not None:
            check_range(self.type, "tag_size", self.tag_size, 1, TAG_MAX)
        at_most = len(self.options) <= OPTIONS_MAX
        require(at_most, self.type, "options", f"can be {OPTIONS_MAX} at most")
        check_words(self.type, self.options)
        for index, option in enumerate(self.options):
            _check_option(index, option)
        self._check_hash()
        if self.mode is IntegrityMode.INLINE:
            self._check_inline()

    def _check_hash(self) -> None:
        found = self.algorithm("internal_hash")
        if found is None:
            sized = self.tag_size is not None
            require(sized, self.type, "tag_size", "must be given without internal_hash")
            bitmap = self.mode is IntegrityMode.BITMAP
            require(not bitmap, self.type, "mode", "B needs internal_hash")
        for name in ("recalculate", "reset_recalculate", "allow_discards", "allow_discards_keyed"):
            asked = find_option(self.options, name) is not None
            require(not asked or found is not None, self.type, "options", f"need a hash: {name}")
        keyed = found is not None and found.key is not None
        discards = find_option(self.options, "allow_discards_keyed") is not None
        rule = "need a key of internal_hash: allow_discards_keyed"
        require(keyed or not discards, self.type, "options", rule)

    def _check_inline(self) -> None:
        hashed = self.algorithm("internal_hash") is not None
        require(hashed, self.type, "mode", "I needs internal_hash")
        names = {option.name for option in self.options}
        for name in (
            "meta_device",
            "journal_crypt",
            "journal_mac",
            "allow_discards",
            "allow_discards_keyed",
        ):
            require(name not in names, self.type, "options", f"cannot have {name} in mode I")

    def format(self) -> str:
        """The text for the kernel, with keys in clear. Raises InvalidTableError as `check`."""
        self.check()
        tag_size = "-" if self.tag_size is None else str(int(self.tag_size))
        words = [str(self.device), str(int(self.start)), tag_size, self.mode.value]
        words.append(str(len(self.options)))
        words.extend(option.word() for option in self.options)
        return " ".join(words)


def _read_option(words: Words) -> IntegrityOption:
    word = words.word("options")
    name, _, value = word.partition(":")
    if name not in ALGORITHMS:
        return read_option(word, KNOWN)
    algorithm, colon, key = value.partition(":")
    if not algorithm or looks_like_key(algorithm):
        words.fail(name, "must name an algorithm")
    return Algorithm(name, algorithm, HexKey(Secret(key)) if colon else None)


def _check_option(index: int, option: IntegrityOption) -> None:
    if isinstance(option, Algorithm):
        _check_algorithm(index, option)
    elif option.name in FLAGS:
        check_flag("integrity", index, option)
    elif option.name in NUMBERS:
        check_option_number("integrity", index, option, 0, NUMBERS[option.name])
    elif option.name in _VALUES:
        _VALUES[option.name](index, option)
    else:
        raise option_error("integrity", index, "is not one that integrity knows")


def _check_algorithm(index: int, option: Algorithm) -> None:
    if option.name not in ALGORITHMS:
        raise option_error("integrity", index, "is no algorithm that integrity knows")
    named = option.algorithm and ":" not in option.algorithm
    if not named or looks_like_key(option.algorithm):
        raise option_error("integrity", index, "must name an algorithm, without a colon")
    if option.key is not None:
        option.key.check("integrity", option.name)


def _check_block_size(index: int, option: Option) -> None:
    size = check_option_number("integrity", index, option, BLOCK_MIN, BLOCK_MAX)
    if not power_of_two(size):
        raise option_error("integrity", index, "must be a power of two")


def _check_meta_device(index: int, option: Option) -> None:
    if not isinstance(option.value, str) or not option.value:
        raise option_error("integrity", index, "must name a device")


_VALUES: dict[str, Callable[[int, Option], None]] = {
    "block_size": _check_block_size,
    "meta_device": _check_meta_device,
}


@dataclass(frozen=True, slots=True)
class IntegrityStatus(TargetStatus):
    """What the checksums said.

    Attributes:
        mismatches: blocks read whose checksum was wrong, since this table was loaded.
        provided: the size that the device offers for data.
        recalculated: up to where the checksums have been calculated anew; equal to `provided` when
            that is done, for ever; None where it was never asked for.
    """

    mismatches: int
    provided: Sectors
    recalculated: Sectors | None

    @property
    def recalculating(self) -> bool:
        """Checksums are being calculated anew."""
        return self.recalculated is not None and self.recalculated < self.provided


def parse_status(text: str) -> IntegrityStatus:
    """Read the status.

    Raises:
        StatusParseError: where it does not follow the grammar.
    """
    words = Words("integrity", text, StatusParseError, secret=True)
    return IntegrityStatus(
        mismatches=words.number("mismatches"),
        provided=Sectors(words.number("provided")),
        recalculated=None if words.accept("-") else Sectors(words.number("recalculated")),
        extra=hide_keys(words.rest()),
    )


@dataclass(frozen=True, slots=True)
class MismatchesData:
    """For mismatches: how many since the table was loaded."""

    count: int


@dataclass(frozen=True, slots=True)
class RecalculatedData:
    """For recalculated: how much has valid checksums now."""

    sectors: Sectors


def observe(seen: Seen) -> Observation:
    """Say what stands on an integrity device as seen now."""
    status = seen.status
    if not isinstance(status, IntegrityStatus) or not status.mismatches:
        return Observation()
    times = "once" if status.mismatches == 1 else f"{status.mismatches} times"
    summary = f"data did not match its checksum {times} since the table was loaded"
    data = MismatchesData(status.mismatches)
    return Observation(
        (Finding("integrity.mismatches", Severity.ERROR, summary, data=data),),
    )


def moments(before: Seen, after: Seen) -> tuple[Moment, ...]:
    """Say what happened to an integrity device between two looks."""
    old, new = before.status, after.status
    if not isinstance(old, IntegrityStatus) or not isinstance(new, IntegrityStatus):
        return ()
    if new.recalculated is None or new.recalculating:
        return ()
    if old.recalculated is not None and old.recalculated >= new.recalculated:
        return ()
    summary = "the checksums have been calculated anew: the whole device is checked now"
    data = RecalculatedData(new.recalculated)
    return (Moment("integrity.recalculated", Severity.NOTICE, summary, data),)


CONDITIONS = (
    ConditionType(
        "integrity.mismatches",
        (Severity.ERROR,),
        MismatchesData,
        advice="Find the blocks in the kernel log; let a RAID above repair them or restore the "
        "data from a backup, and test the drive.",
    ),
)

MOMENTS = (MomentType("integrity.recalculated", Severity.NOTICE, RecalculatedData),)

TARGET = Target(
    type="integrity",
    module="dm-integrity",
    since="5.10",
    summary="a checksum for every block, kept beside the data",
    table=IntegrityTable.parse,
    status=parse_status,
    tables=(IntegrityTable,),
    statuses=(IntegrityStatus,),
    observe=observe,
    moments=moments,
    conditions=CONDITIONS,
    moment_types=MOMENTS,
    keyed=True,
)
