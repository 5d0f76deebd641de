"""crypt: transparent encryption of a device (drivers/md/dm-crypt.c).

Table   `<cipher> <key> <iv offset> <device> <start> [<#options> <option>...]`; the key is hex
        digits, `:<bytes>:<type>:<description>` of the kernel's keyring, or `-`
Status  always empty

The kernel prints a key in clear unless it came from the keyring. It raises no events; failures of
authenticated encryption go to the kernel log and to the audit log alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from dmwatch.errors import InvalidMessageError, InvalidTableError, TableParseError
from dmwatch.targets.base import (
    EmptyStatus,
    Notice,
    Target,
    TargetMessage,
    TargetTable,
)
from dmwatch.targets.keyed import (
    HexKey,
    Key,
    KeyringKey,
    KeyType,
    NoKey,
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

__all__ = [
    "TARGET",
    "CryptIntegrity",
    "CryptTable",
    "HexKey",
    "KeySet",
    "KeyType",
    "KeyWipe",
    "KeyringKey",
    "NoKey",
    "Option",
]

FLAGS = frozenset(
    {
        "allow_discards",
        "same_cpu_crypt",
        "high_priority",
        "submit_from_crypt_cpus",
        "no_read_workqueue",
        "no_write_workqueue",
        "iv_large_sectors",
    }
)
KNOWN = FLAGS | {"integrity", "sector_size", "integrity_key_size"}
SECTOR_MIN, SECTOR_MAX = 512, 4096
TAG_MAX = 480
OPTIONS_MAX = 9


@dataclass(frozen=True, slots=True)
class CryptIntegrity:
    """The option `integrity:<tag size>:<profile>`.

    Attributes:
        tag_size: bytes of metadata a sector, 1 to 480.
        profile: `aead` or `none`.
    """

    tag_size: Bytes
    profile: str


@dataclass(frozen=True, slots=True)
class CryptTable(TargetTable):
    """How a device is encrypted.

    Attributes:
        cipher: `cipher[:keycount]-mode-iv[:options]`, or `capi:<crypto API name>-iv[:options]`.
        key: the key, where it is, or NoKey.
        iv_offset: added to the sector number for the IV; a multiple of the encryption sector.
        device: the device that holds the encrypted data.
        start: where the data begins on it.
        options: in order; of allow_discards, same_cpu_crypt, high_priority (since 6.12),
            submit_from_crypt_cpus, no_read_workqueue, no_write_workqueue, iv_large_sectors,
            integrity, sector_size, integrity_key_size (since 6.12).
    """

    type: ClassVar[str] = "crypt"
    cipher: str
    key: Key
    iv_offset: Sectors
    device: Device
    start: Sectors
    options: tuple[Option, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.key, HexKey | KeyringKey | NoKey):
            raise InvalidTableError(self.type, "key", "must be a HexKey, a KeyringKey or NoKey")

    @classmethod
    def parse(cls, text: str) -> CryptTable:
        """Read the table's text. The number of options may be left out.

        Raises:
            TableParseError: where it does not follow the grammar; without its text.
        """
        words = Words(cls.type, text, TableParseError, secret=True)
        cipher = plain_word(words, "cipher")
        key = parse_key(words, "key")
        iv_offset = Sectors(words.number("iv_offset"))
        device = parse_device(plain_word(words, "device"))
        start = Sectors(words.number("start"))
        options = words.take("options", words.count("#options") if words.left else 0)
        words.end()
        read = tuple(read_option(word, KNOWN) for word in options)
        return cls(cipher, key, iv_offset, device, start, read)

    @property
    def sector_size(self) -> Bytes:
        """The size of an encryption sector; 512 bytes where no option says otherwise."""
        option = find_option(self.options, "sector_size")
        value = option.value if option else None
        number = decimal(value) if isinstance(value, str) else None
        return Bytes(512 if number is None else number)

    @property
    def integrity(self) -> CryptIntegrity | None:
        """What `integrity:<n>:<profile>` asks for, or None where it is absent or malformed."""
        option = find_option(self.options, "integrity")
        if option is None or not isinstance(option.value, str):
            return None
        size, colon, profile = option.value.partition(":")
        number = decimal(size)
        if not colon or number is None:
            return None
        return CryptIntegrity(Bytes(number), profile)

    def check(self) -> None:
        """Hold crypt_ctr's rules against the values. Raises InvalidTableError."""
        check_key(self.type, "key", self.key)
        check_word(self.type, "cipher", self.cipher)
        check_word(self.type, "device", self.device)
        check_range(self.type, "start", self.start)
        _check_options(self.options)
        aead = self.integrity is not None and self.integrity.profile == "aead"
        _check_cipher(self.cipher, aead=aead)
        step = int(self.sector_size) // 512
        aligned = check_range(self.type, "iv_offset", self.iv_offset) % step == 0
        require(aligned, self.type, "iv_offset", "must be a multiple of the encryption sector")

    def format(self) -> str:
        """The text for the kernel, with the key in clear. Raises InvalidTableError as `check`."""
        self.check()
        words = [self.cipher, self.key.word(), str(int(self.iv_offset)), str(self.device)]
        words.append(str(int(self.start)))
        if self.options:
            words.append(str(len(self.options)))
            words.extend(option.word() for option in self.options)
        return " ".join(words)


def _check_options(options: tuple[Option, ...]) -> None:
    require(len(options) <= OPTIONS_MAX, "crypt", "options", f"can be {OPTIONS_MAX} at most")
    check_words("crypt", options)
    for index, option in enumerate(options):
        if option.name in FLAGS:
            check_flag("crypt", index, option)
        elif option.name in _VALUES:
            _VALUES[option.name](index, option)
        else:
            raise option_error("crypt", index, "is not one that crypt knows")


def _check_integrity(index: int, option: Option) -> None:
    # without the second colon crypt_ctr_optional would read from address 1: never send that
    size, colon, profile = str(option.value or "").partition(":")
    if not colon or profile not in {"aead", "none"}:
        raise option_error("crypt", index, "must be integrity:<bytes>:aead or ...:none")
    check_option_number("crypt", index, Option("integrity", size), 1, TAG_MAX)


def _check_sector_size(index: int, option: Option) -> None:
    size = check_option_number("crypt", index, option, SECTOR_MIN, SECTOR_MAX)
    if not power_of_two(size):
        raise option_error("crypt", index, "must be a power of two")


def _check_key_size(index: int, option: Option) -> None:
    check_option_number("crypt", index, option, 1)


_VALUES: dict[str, Callable[[int, Option], None]] = {
    "integrity": _check_integrity,
    "sector_size": _check_sector_size,
    "integrity_key_size": _check_key_size,
}


def _check_cipher(cipher: str, *, aead: bool) -> None:
    if cipher.startswith("capi:"):
        return
    plain = "(" not in cipher and not aead
    require(plain, "crypt", "cipher", "must begin with capi: for parentheses or integrity aead")
    name, *rest = cipher.split("-", 2)
    _, colon, count = name.partition(":")
    counted = not colon or power_of_two(decimal(count) or 0)
    require(counted, "crypt", "cipher", "has a key count that is not a power of two")
    if rest and rest != ["plain"]:
        _check_iv(rest)


def _check_iv(rest: list[str]) -> None:
    mode, iv = rest[0], rest[1] if len(rest) > 1 else ""
    require(bool(iv) or mode == "ecb", "crypt", "cipher", "needs an IV after the mode")
    complete = iv not in {"essiv", "essiv:"}
    require(complete, "crypt", "cipher", "needs a hash after essiv:")


@dataclass(frozen=True, slots=True)
class KeySet(TargetMessage):
    """Give the key again after `key wipe`, or another of the same size. Needs a suspended device.

    Attributes:
        key: hex digits or a reference to the keyring; NoKey only where the table has none.
    """

    keyed: ClassVar[bool] = True
    key: Key

    def __post_init__(self) -> None:
        if not isinstance(self.key, HexKey | KeyringKey | NoKey):
            raise InvalidMessageError("crypt: key must be a HexKey, a KeyringKey or NoKey")

    def format(self) -> str:
        """The text for TARGET_MSG, with the key in clear. Raises InvalidMessageError."""
        try:
            check_key("crypt", "key", self.key)
        except InvalidTableError as broken:
            raise InvalidMessageError(str(broken)) from None
        return f"key set {self.key.word()}"


@dataclass(frozen=True, slots=True)
class KeyWipe(TargetMessage):
    """Overwrite the key in the kernel. Needs a suspended device; only KeySet lets it resume."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "key wipe"


TARGET = Target(
    type="crypt",
    module="dm-crypt",
    since="5.10",
    summary="transparent encryption of a device",
    table=CryptTable.parse,
    status=empty_status,
    tables=(CryptTable,),
    statuses=(EmptyStatus,),
    messages=(KeySet, KeyWipe),
    notice=Notice.NOTHING,
    poll=None,
    keyed=True,
)
