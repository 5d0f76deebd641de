"""verity: a read-only device checked against a tree of hashes (drivers/md/dm-verity-target.c).

Table   `<version> <data> <hash> <data block> <hash block> <#blocks> <hash start> <algorithm>
        <root digest> <salt|-> [<#options> <option>...]`
Status  `V|C`, since 6.19 `V|C <corrected|->`

It raises no events. A corrupted block sends a `change` uevent with
DM_VERITY_ERR_BLOCK_NR=<0 data, 1 hash>,<block>, for the first 100 only. `C` stays until the table
is loaded anew; so does the count of corrected blocks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from dmwatch.errors import StatusParseError, TableParseError
from dmwatch.severity import Severity
from dmwatch.targets.base import (
    Finding,
    Moment,
    Notice,
    Observation,
    Seen,
    Target,
    TargetStatus,
    TargetTable,
)
from dmwatch.targets.catalogue import ConditionType, MomentType
from dmwatch.targets.words import (
    Device,
    Words,
    check_range,
    check_word,
    decimal,
    parse_device,
    power_of_two,
    require,
)
from dmwatch.units import Bytes, DataBlocks

BLOCK_MIN, DATA_BLOCK_MAX, HASH_BLOCK_MAX = 512, 65_536, 1 << 30
FEC_ROOTS_MIN, FEC_ROOTS_MAX = 2, 24
OPTIONS_MAX = 15
ON_CORRUPTION = frozenset({"ignore_corruption", "restart_on_corruption", "panic_on_corruption"})
ON_ERROR = frozenset({"restart_on_error", "panic_on_error"})
FLAGS = frozenset({"ignore_zero_blocks", "check_at_most_once", "try_verify_in_tasklet"})
FEC = frozenset({"use_fec_from_device", "fec_blocks", "fec_start", "fec_roots"})
SIGNATURE = "root_hash_sig_key_desc"
UEVENT_KEY = "DM_VERITY_ERR_BLOCK_NR"
_DIGEST = re.compile(r"(?:[0-9a-fA-F]{2})+")
_UEVENT = re.compile(r"([01]),([0-9]{1,20})")
_DIGEST_SIZES = {"sha1": 20, "sha224": 28, "sha256": 32, "sha384": 48, "sha512": 64}


@dataclass(frozen=True, slots=True)
class VerityFec:
    """How corrupted blocks are corrected (Reed-Solomon).

    Attributes:
        device: the device that holds the parity.
        roots: parity bytes for 255 bytes, 2 to 24.
        blocks: how many blocks of data and hashes it covers.
        start: the parity's first block on its device.
    """

    device: Device
    roots: int
    blocks: DataBlocks
    start: DataBlocks = DataBlocks(0)  # noqa: RUF009  # a Quantity is immutable

    def words(self) -> tuple[str, ...]:
        """Its words among a table's options, in the kernel's order."""
        return (
            *("use_fec_from_device", str(self.device), "fec_blocks", str(int(self.blocks))),
            *("fec_start", str(int(self.start)), "fec_roots", str(self.roots)),
        )


@dataclass(frozen=True, slots=True)
class VerityTable(TargetTable):
    """What is checked against what.

    Attributes:
        version: 1; 0 is the layout of Chrome OS.
        data: the device with the data.
        hash: the device with the tree of hashes; it can be the same.
        data_block_size: 512 bytes to a page, a power of two.
        hash_block_size: 512 bytes to 1 GiB, a power of two.
        data_blocks: how many blocks of data there are.
        hash_start: where the tree begins, in blocks of hash_block_size.
        algorithm: as the crypto API names it: `sha256`.
        root_digest: the hash of the tree's root, in hex digits.
        salt: in hex digits, or None.
        options: their words, in order: a name, for those that have one followed by its value.
    """

    type: ClassVar[str] = "verity"
    version: int
    data: Device
    hash: Device
    data_block_size: Bytes
    hash_block_size: Bytes
    data_blocks: DataBlocks
    hash_start: int
    algorithm: str
    root_digest: str
    salt: str | None = None
    options: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> VerityTable:
        """Read the table's text. The number of options may be left out.

        Raises:
            TableParseError: where it does not follow the grammar.
        """
        words = Words(cls.type, text, TableParseError)
        table = cls(
            version=words.number("version"),
            data=words.device("data"),
            hash=words.device("hash"),
            data_block_size=Bytes(words.number("data_block_size")),
            hash_block_size=Bytes(words.number("hash_block_size")),
            data_blocks=DataBlocks(words.number("data_blocks")),
            hash_start=words.number("hash_start"),
            algorithm=words.word("algorithm"),
            root_digest=words.word("root_digest"),
            salt=None if words.accept("-") else words.word("salt"),
            options=words.take("options", words.count("#options") if words.left else 0),
            raw=text,
        )
        words.end()
        return table

    @property
    def fec(self) -> VerityFec | None:
        """How corrupted blocks are corrected, or None where they are not."""
        values = _values(self.options)
        device, roots = values.get("use_fec_from_device"), decimal(values.get("fec_roots", ""))
        blocks, start = decimal(values.get("fec_blocks", "")), decimal(values.get("fec_start", "0"))
        if device is None or roots is None or blocks is None or start is None:
            return None
        return VerityFec(parse_device(device), roots, DataBlocks(blocks), DataBlocks(start))

    @property
    def signature_key(self) -> str | None:
        """The keyring's description of the signature that root_digest must have, or None."""
        return _values(self.options).get(SIGNATURE)

    def check(self) -> None:
        """Hold verity_ctr's rules against the values. Raises InvalidTableError."""
        check_range(self.type, "version", self.version, 0, 1)
        self._check_block_size("data_block_size", DATA_BLOCK_MAX)
        self._check_block_size("hash_block_size", HASH_BLOCK_MAX)
        most = (1 << 64) // (int(self.data_block_size) // 512) - 1
        check_range(self.type, "data_blocks", self.data_blocks, 0, most)
        check_range(self.type, "hash_start", self.hash_start, 0, most)
        self._check_words()
        self._check_digests()
        self._check_options()

    def _check_block_size(self, field: str, maximum: int) -> None:
        size = check_range(self.type, field, getattr(self, field), BLOCK_MIN, maximum)
        require(power_of_two(size), self.type, field, "must be a power of two")

    def _check_words(self) -> None:
        for field in ("data", "hash", "algorithm"):
            check_word(self.type, field, getattr(self, field))
        for word in self.options:
            check_word(self.type, "options", word)

    def _check_digests(self) -> None:
        hexadecimal = bool(_DIGEST.fullmatch(self.root_digest))
        require(hexadecimal, self.type, "root_digest", "must have two hex digits for each byte")
        size = _DIGEST_SIZES.get(self.algorithm)
        fits = size is None or len(self.root_digest) == 2 * size
        require(fits, self.type, "root_digest", f"must have {size} bytes for {self.algorithm}")
        salted = self.salt is None or bool(_DIGEST.fullmatch(self.salt))
        require(salted, self.type, "salt", "must have two hex digits for each byte")

    def _check_options(self) -> None:
        most = len(self.options) <= OPTIONS_MAX
        require(most, self.type, "options", f"can have {OPTIONS_MAX} words at most")
        names = _check_names(self.options)
        for group, what in ((ON_CORRUPTION, "corruption"), (ON_ERROR, "errors")):
            once = sum(name in group for name in names) <= 1
            require(once, self.type, "options", f"can say only once what happens on {what}")
        if FEC & set(names):
            self._check_fec()

    def _check_fec(self) -> None:
        values = _values(self.options)
        for name, check in _FEC_VALUES.items():
            if name in values:
                check(name, values[name])
        for name in ("use_fec_from_device", "fec_roots", "fec_blocks"):
            require(name in values, self.type, "options", f"need {name} beside the other fec words")
        covered = int(values["fec_blocks"]) >= int(self.data_blocks)
        require(covered, self.type, "options", "need fec_blocks to cover all data and hashes")
        alike = self.data_block_size == self.hash_block_size
        require(alike, self.type, "hash_block_size", "must equal data_block_size with fec")

    def format(self) -> str:
        """The text for the kernel. Raises InvalidTableError as `check`."""
        self.check()
        sizes = (self.data_block_size, self.hash_block_size, self.data_blocks, self.hash_start)
        words = [str(self.version), str(self.data), str(self.hash)]
        words += [str(int(size)) for size in sizes]
        words += [self.algorithm, self.root_digest, self.salt or "-"]
        if self.options:
            words += [str(len(self.options)), *self.options]
        return " ".join(words)


def _values(options: tuple[str, ...]) -> dict[str, str]:
    """The options that have a value."""
    found: dict[str, str] = {}
    words = iter(options)
    for name in words:
        if name in FEC or name == SIGNATURE:
            found[name] = next(words, "")
    return found


def _check_names(options: tuple[str, ...]) -> list[str]:
    """The options' names, all of which the kernel knows and which have their value."""
    names: list[str] = []
    words = iter(options)
    for name in words:
        names.append(name)
        if name in FEC or name == SIGNATURE:
            valued = next(words, None) is not None
            require(valued, "verity", "options", f"need a value: {name}")
        else:
            known = name in ON_CORRUPTION or name in ON_ERROR or name in FLAGS
            require(known, "verity", "options", f"cannot be {name!r}")
    return names


def _check_number(name: str, value: str) -> int:
    number = decimal(value)
    require(number is not None, "verity", "options", f"need a number: {name}")
    return check_range("verity", name, number)


def _check_covered(name: str, value: str) -> None:
    check_range("verity", name, _check_number(name, value), 1)


def _check_roots(name: str, value: str) -> None:
    check_range("verity", name, _check_number(name, value), FEC_ROOTS_MIN, FEC_ROOTS_MAX)


_FEC_VALUES: dict[str, Callable[[str, str], object]] = {
    "fec_blocks": _check_covered,
    "fec_start": _check_number,
    "fec_roots": _check_roots,
}


@dataclass(frozen=True, slots=True)
class VerityValid(TargetStatus):
    """`V`: every block that was read matched its hash.

    Attributes:
        corrected: blocks put right by error correction since the table was loaded; None where
            nothing is corrected, or before 6.19.
    """

    state: ClassVar[str] = "valid"
    corrected: int | None = None


@dataclass(frozen=True, slots=True)
class VerityCorrupted(TargetStatus):
    """`C`: at least one block did not match its hash since the table was loaded.

    Attributes:
        corrected: as in VerityValid.
    """

    state: ClassVar[str] = "corrupted"
    corrected: int | None = None


VerityStatus = VerityValid | VerityCorrupted


def parse_status(text: str) -> VerityStatus:
    """Read the status.

    Raises:
        StatusParseError: where it does not follow the grammar.
    """
    words = Words("verity", text, StatusParseError)
    variant = VerityValid if words.expect("state", "V", "C") == "V" else VerityCorrupted
    counted = words.left and not words.accept("-")
    corrected = words.number("corrected") if counted else None
    return variant(corrected=corrected, extra=words.rest())


class BlockKind(StrEnum):
    """What a corrupted block holds."""

    DATA = "data"
    HASH = "hash"


@dataclass(frozen=True, slots=True)
class BlockCorruptedData:
    """For block-corrupted: which block, counted in blocks of its device's block size."""

    kind: BlockKind
    block: int


@dataclass(frozen=True, slots=True)
class CorrectedData:
    """For corrected: how many more blocks, and how many since the table was loaded."""

    blocks: int
    total: int


_CORRUPTED = Finding(
    "verity.corrupted", Severity.CRITICAL, "data was read that does not match its hash"
)


def observe(seen: Seen) -> Observation:
    """Say what stands on a verity device as seen now."""
    if isinstance(seen.status, VerityCorrupted):
        return Observation((_CORRUPTED,))
    return Observation()


def moments(before: Seen, after: Seen) -> tuple[Moment, ...]:
    """Say what happened to a verity device between two looks."""
    old, new = _corrected(before.status), _corrected(after.status)
    if old is None or new is None or old == new:
        return ()
    # a smaller count than before is that of a new table, which began at 0
    blocks = new - old if new > old else new
    if not blocks:
        return ()
    summary = (
        f"{blocks} blocks had to be corrected" if blocks > 1 else "a block had to be corrected"
    )
    data = CorrectedData(blocks, new)
    return (Moment("verity.corrected", Severity.WARNING, summary, data),)


def _corrected(status: TargetStatus | None) -> int | None:
    return status.corrected if isinstance(status, VerityValid | VerityCorrupted) else None


def uevent(properties: Mapping[str, str]) -> tuple[Moment, ...]:
    """Say what a `change` uevent tells of a verity device (verity_handle_err)."""
    match = _UEVENT.fullmatch(properties.get(UEVENT_KEY, ""))
    if match is None:
        return ()
    kind = BlockKind.HASH if match[1] == "1" else BlockKind.DATA
    data = BlockCorruptedData(kind, int(match[2]))
    summary = f"{kind} block {data.block} does not match its hash"
    return (Moment("verity.block-corrupted", Severity.CRITICAL, summary, data),)


CONDITIONS = (
    ConditionType(
        "verity.corrupted",
        (Severity.CRITICAL,),
        advice="Do not trust what was read: restore the image from a good copy, test the drive, "
        "and ask who could have changed it.",
    ),
)

MOMENTS = (
    MomentType(
        "verity.block-corrupted",
        Severity.CRITICAL,
        BlockCorruptedData,
        advice="Restore the image from a good copy; further blocks are told up to the hundredth.",
        uevent=True,
    ),
    MomentType("verity.corrected", Severity.WARNING, CorrectedData),
)

TARGET = Target(
    type="verity",
    module="dm-verity",
    since="5.10",
    summary="a read-only device checked against a tree of hashes",
    table=VerityTable.parse,
    status=parse_status,
    tables=(VerityTable,),
    statuses=(VerityValid, VerityCorrupted),
    observe=observe,
    moments=moments,
    uevent=uevent,
    conditions=CONDITIONS,
    moment_types=MOMENTS,
    notice=Notice.UEVENT,
)
