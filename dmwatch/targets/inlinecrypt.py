"""inlinecrypt: encryption by the storage hardware's own engine (drivers/md/dm-inlinecrypt.c, 7.2).

Table   to load: `<cipher> <key> <iv offset> <device> <start> [<#options> <option>...]`
        printed: `<cipher> <key> <key type> <iv offset> <device> <start> [<#options> ...]`
Status  always empty

The kernel does not print what it takes: it adds a number for the key type in the middle, and the
key in clear hex even where it came from the keyring. Both forms are read, the first is written.
It prints 64 bytes of a key at most (lib/vsprintf.c, hex_string): a longer hardware-wrapped key
cannot be read back.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from dmwatch.errors import InvalidTableError, TableParseError
from dmwatch.targets.base import EmptyStatus, Notice, Target, TargetTable
from dmwatch.targets.keyed import (
    HexKey,
    Key,
    KeyringKey,
    KeyType,
    Option,
    check_flag,
    check_key,
    check_option_number,
    check_words,
    empty_status,
    find_option,
    option_error,
    parse_key,
    plain_word,
    read_option,
)
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
from dmwatch.units import Bytes, Sectors

__all__ = ["TARGET", "HexKey", "InlineKeyType", "InlinecryptTable", "KeyringKey", "Option"]

CIPHERS = frozenset({"aes-xts-plain64"})
KNOWN = frozenset({"allow_discards", "iv_large_sectors", "sector_size", "keytype"})
RAW_KEY_SIZE = 64
WRAPPED_KEY_MIN, WRAPPED_KEY_MAX = 32, 128
SECTOR_MIN, SECTOR_MAX = 512, 4096
OPTIONS_MAX = 4


class InlineKeyType(StrEnum):
    """What the key is: the key itself, or one that only the hardware can unwrap."""

    RAW = "raw"
    HW_WRAPPED = "hw-wrapped"


_BY_NUMBER = {"1": InlineKeyType.RAW, "2": InlineKeyType.HW_WRAPPED}


@dataclass(frozen=True, slots=True)
class InlinecryptTable(TargetTable):
    """How a device is encrypted.

    Attributes:
        cipher: aes-xts-plain64 (the only one in 7.2).
        key: 64 bytes where raw, 32 to 128 where wrapped; in hex, or of type logon in the keyring.
        iv_offset: added to the sector number for the IV; a multiple of the encryption sector.
        device: the device that holds the encrypted data.
        start: where the data begins on it.
        options: in order; of allow_discards, sector_size, iv_large_sectors.
        key_type: raw, or wrapped by the hardware; the option `keytype:` of the table.
    """

    type: ClassVar[str] = "inlinecrypt"
    cipher: str
    key: Key
    iv_offset: Sectors
    device: Device
    start: Sectors
    options: tuple[Option, ...] = ()
    key_type: InlineKeyType = InlineKeyType.RAW

    def __post_init__(self) -> None:
        if not isinstance(self.key, HexKey | KeyringKey):
            raise InvalidTableError(self.type, "key", "must be a HexKey or a KeyringKey")

    @classmethod
    def parse(cls, text: str) -> InlinecryptTable:
        """Read the table's text in either form. The number of options may be left out.

        Raises:
            TableParseError: where it does not follow the grammar; without its text.
        """
        words = Words(cls.type, text, TableParseError, secret=True)
        cipher = plain_word(words, "cipher")
        key = parse_key(words, "key")
        if not isinstance(key, HexKey | KeyringKey):
            words.fail("key", "cannot be left out")
        printed = _printed_key_type(words)
        iv_offset = Sectors(words.number("iv_offset"))
        device = parse_device(plain_word(words, "device"))
        start = Sectors(words.number("start"))
        options, asked = _options(words)
        return cls(cipher, key, iv_offset, device, start, options, printed or asked)

    @property
    def sector_size(self) -> Bytes:
        """The size of an encryption sector; 512 bytes where no option says otherwise."""
        option = find_option(self.options, "sector_size")
        value = option.value if option else None
        number = decimal(value) if isinstance(value, str) else None
        return Bytes(512 if number is None else number)

    def check(self) -> None:
        """Hold inlinecrypt_ctr's rules against the values. Raises InvalidTableError."""
        require(self.cipher in CIPHERS, self.type, "cipher", "must be aes-xts-plain64")
        self._check_key()
        check_word(self.type, "device", self.device)
        check_range(self.type, "start", self.start)
        self._check_options()
        step = int(self.sector_size) // 512
        aligned = check_range(self.type, "iv_offset", self.iv_offset) % step == 0
        require(aligned, self.type, "iv_offset", "must be a multiple of the encryption sector")

    def _check_key(self) -> None:
        key = check_key(self.type, "key", self.key)
        if isinstance(key, KeyringKey):
            logon = key.key_type is KeyType.LOGON
            require(logon, self.type, "key", "must be of type logon in the keyring")
        if self.key_type is InlineKeyType.RAW:
            require(key.size == RAW_KEY_SIZE, self.type, "key", "must have 64 bytes")
        fits = WRAPPED_KEY_MIN <= key.size <= WRAPPED_KEY_MAX
        require(fits, self.type, "key", "must have 32 to 128 bytes")

    def _check_options(self) -> None:
        options = self._all_options()
        at_most = len(options) <= OPTIONS_MAX
        require(at_most, self.type, "options", f"can be {OPTIONS_MAX} at most")
        check_words(self.type, options)
        for index, option in enumerate(self.options):
            _check_option(index, option)
        large = find_option(self.options, "iv_large_sectors")
        enough = int(self.sector_size) == SECTOR_MIN or large is not None
        require(enough, self.type, "options", "must have iv_large_sectors beside sector_size")

    def _all_options(self) -> tuple[Option, ...]:
        wrapped = self.key_type is not InlineKeyType.RAW
        return ((Option("keytype", self.key_type.value),) if wrapped else ()) + self.options

    def format(self) -> str:
        """The text to load, with the key in clear. Raises InvalidTableError as `check`."""
        self.check()
        words = [self.cipher, self.key.word(), str(int(self.iv_offset)), str(self.device)]
        words.append(str(int(self.start)))
        options = self._all_options()
        if options:
            words.append(str(len(options)))
            words.extend(option.word() for option in options)
        return " ".join(words)


def _printed_key_type(words: Words) -> InlineKeyType | None:
    # only in the printed form is the fourth word a number: in the other it is the device
    follows = words.peek(1) or ""
    if words.peek() not in _BY_NUMBER or not follows.isdecimal():
        return None
    return _BY_NUMBER[words.word("key_type")]


def _options(words: Words) -> tuple[tuple[Option, ...], InlineKeyType]:
    texts = words.take("options", words.count("#options") if words.left else 0)
    words.end()
    options = tuple(read_option(text, KNOWN) for text in texts)
    asked = find_option(options, "keytype")
    if asked is None:
        return options, InlineKeyType.RAW
    kind = next((kind for kind in InlineKeyType if kind == asked.value), None)
    if kind is None:
        words.fail("keytype", "must be raw or hw-wrapped")
    return tuple(option for option in options if option.name != "keytype"), kind


def _check_option(index: int, option: Option) -> None:
    match option.name:
        case "allow_discards" | "iv_large_sectors":
            check_flag("inlinecrypt", index, option)
        case "sector_size":
            size = check_option_number("inlinecrypt", index, option, SECTOR_MIN, SECTOR_MAX)
            if not power_of_two(size):
                raise option_error("inlinecrypt", index, "must be a power of two")
        case "keytype":
            raise option_error("inlinecrypt", index, "stands in the field key_type")
        case _:
            raise option_error("inlinecrypt", index, "is not one that inlinecrypt knows")


TARGET = Target(
    type="inlinecrypt",
    module="dm-inlinecrypt",
    since="7.2",
    summary="encryption by the storage hardware's own engine",
    table=InlinecryptTable.parse,
    status=empty_status,
    tables=(InlinecryptTable,),
    statuses=(EmptyStatus,),
    notice=Notice.NOTHING,
    poll=None,
    keyed=True,
)
