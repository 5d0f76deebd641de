"""What crypt, inlinecrypt and integrity share: keys, and options whose values can be keys.

A key in hex digits is a Secret; a key of the kernel's keyring is named, not shown, by the kernel
too, so its description is plain text. Errors say which option is wrong by its position, never by
its text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from dmwatch.errors import InvalidTableError
from dmwatch.targets.base import EmptyStatus
from dmwatch.targets.secret import MASK, Secret
from dmwatch.targets.words import U32_MAX, Words, check_range, check_word, require

I32_MAX = (1 << 31) - 1
_KEY_LIKE = 16
_KEY_INSIDE = re.compile(r"[0-9a-fA-F]{16}")
_HEX = re.compile(r"[0-9a-f]*")
_KEYRING = re.compile(r":([0-9]{1,10}):([^:]+):(.+)", re.DOTALL)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_NUMBER = re.compile(r"[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class HexKey:
    """A key that stands in the table itself.

    Attributes:
        secret: its hex digits, two a byte; capitals become small letters, as the kernel prints
            them. A str is taken too and hidden at once.
    """

    secret: Secret

    def __post_init__(self) -> None:
        given: Secret | str = self.secret
        text = given.reveal() if isinstance(given, Secret) else given
        object.__setattr__(self, "secret", Secret(text.lower()))

    @property
    def size(self) -> int:
        """The key's length in bytes."""
        return len(self.secret.reveal()) // 2

    def check(self, target: str, field: str) -> None:
        """Hold the kernel's rules (hex2bin). Raises InvalidTableError, which never shows the key.

        An odd number of digits is refused here, where crypt would drop the last one.
        """
        text = self.secret.reveal()
        require(len(text) % 2 == 0, target, field, "must have two hex digits for each byte")
        require(bool(_HEX.fullmatch(text)), target, field, "must be hex digits")

    def word(self) -> str:
        """The key in clear, for the kernel only."""
        return self.secret.reveal()


class KeyType(StrEnum):
    """Key types of the kernel's keyring that hold such a key."""

    LOGON = "logon"
    USER = "user"
    ENCRYPTED = "encrypted"
    TRUSTED = "trusted"


@dataclass(frozen=True, slots=True)
class KeyringKey:
    """A key of the kernel's keyring, looked up once, when the table is loaded.

    Attributes:
        size: the key's length in bytes, which must be that of the keyring's payload.
        key_type: logon, user, encrypted or trusted.
        description: its name in the keyring, without blanks; it may hold colons.
    """

    size: int
    key_type: KeyType
    description: str

    def check(self, target: str, field: str) -> None:
        """Hold the kernel's rules (crypt_set_keyring_key). Raises InvalidTableError."""
        check_range(target, field, self.size, 1, I32_MAX)
        check_word(target, field, self.description)

    def word(self) -> str:
        """The reference as it stands in a table."""
        return f":{self.size}:{self.key_type}:{self.description}"


@dataclass(frozen=True, slots=True)
class NoKey:
    """`-`: no key, for ciphers that take none (cipher_null)."""

    size: ClassVar[int] = 0

    def check(self, target: str, field: str) -> None:
        """Nothing can be wrong with it."""

    def word(self) -> str:
        """The dash."""
        return "-"


Key = HexKey | KeyringKey | NoKey


def parse_key(words: Words, field: str) -> Key:
    """Read a key: hex digits, `:<bytes>:<type>:<description>` or `-`.

    Raises:
        TableParseError: where it is none of them; without its text.
    """
    text = words.word(field)
    if text == "-":
        return NoKey()
    if text.startswith(":"):
        return _keyring_key(words, field, text)
    if not _HEX.fullmatch(text.lower()):
        words.fail(field, "must be hex digits, a reference to the keyring, or -")
    return HexKey(Secret(text))


def _keyring_key(words: Words, field: str, text: str) -> KeyringKey:
    match = _KEYRING.fullmatch(text)
    if match is None:
        words.fail(field, "must be :<bytes>:<type>:<description>")
    size, kind, description = match.groups()
    if kind not in list(KeyType):
        words.fail(field, f"has a key type other than {', '.join(KeyType)}")
    if int(size) > U32_MAX:
        words.fail(field, "has an impossible size")
    return KeyringKey(int(size), KeyType(kind), description)


def looks_like_key(text: str) -> bool:
    """Say whether a word is a long row of hex digits, which nothing else in these tables is."""
    return len(text) >= _KEY_LIKE and bool(_HEX.fullmatch(text.lower()))


def plain_word(words: Words, field: str) -> str:
    """The next word, which is shown later: refused where it looks like a key out of its place.

    Raises:
        TableParseError: where it is missing or looks like a key; without its text.
    """
    text = words.word(field)
    if looks_like_key(text):
        words.fail(field, "looks like a key")
    return text


def check_key(target: str, field: str, key: object) -> Key:
    """Give a key that is one, and that keeps the kernel's rules.

    Raises:
        InvalidTableError: where it is not; without its text.
    """
    if not isinstance(key, HexKey | KeyringKey | NoKey):
        raise InvalidTableError(target, field, "must be a HexKey, a KeyringKey or NoKey")
    key.check(target, field)
    return key


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a target that carries keys: `name` or `name:value`.

    Attributes:
        name: what stands before the first colon; "" where that could itself be a key.
        value: what stands after it, or None. Of an option that dmwatch does not know it is a
            Secret: it may be a key.
    """

    name: str
    value: str | Secret | None = None

    def word(self) -> str:
        """The option as it stands in a table, hidden values in clear: for the kernel only."""
        value = self.value.reveal() if isinstance(self.value, Secret) else self.value
        if value is None:
            return self.name
        return f"{self.name}:{value}" if self.name else value


def read_option(word: str, known: Collection[str]) -> Option:
    """Read an option; all is hidden that could be a key, as where it is not `known`."""
    name, colon, value = word.partition(":")
    if name in known and not _may_hold_key(value):
        return Option(name, value if colon else None)
    if _HEX.fullmatch(name) or not _NAME.fullmatch(name):
        return Option("", Secret(word))
    return Option(name, Secret(value) if colon else None)


def empty_status(text: str) -> EmptyStatus:
    """Read the status of crypt and inlinecrypt, which is empty.

    Words of a later kernel are counted, not kept: a table with a key can be taken for a status.
    """
    return EmptyStatus(extra=(MASK,) * len(text.split()))


def hide_keys(words: Sequence[str]) -> tuple[str, ...]:
    """The words, with a mask for each that could hold a key."""
    return tuple(MASK if _may_hold_key(word) else word for word in words)


def _may_hold_key(value: str) -> bool:
    if value.startswith("/") or _NUMBER.fullmatch(value):
        return False
    return bool(_KEY_INSIDE.search(value))


def option_error(target: str, index: int, rule: str) -> InvalidTableError:
    """An error about the option at an index, which is named by its position alone."""
    return InvalidTableError(target, "options", f"(number {index + 1}) {rule}")


def check_option_number(
    target: str, index: int, option: Option, minimum: int, maximum: int = U32_MAX
) -> int:
    """Give an option's value as a number in a range, both ends included.

    Raises:
        InvalidTableError: where it is not; without its text.
    """
    value = option.value
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        raise option_error(target, index, "needs a number")
    if not minimum <= int(value) <= maximum:
        raise option_error(target, index, f"must be {minimum} to {maximum}")
    return int(value)


def check_flag(target: str, index: int, option: Option) -> None:
    """Refuse a flag that has a value. Raises InvalidTableError."""
    if option.value is not None:
        raise option_error(target, index, "takes no value")


def check_words(target: str, options: Sequence[object]) -> None:
    """Refuse options that would not stay one word each.

    Raises:
        InvalidTableError: naming the option by its position.
    """
    for index, option in enumerate(options):
        word = option.word() if hasattr(option, "word") else ""
        try:
            check_word(target, "options", word)
        except InvalidTableError:
            raise option_error(target, index, "must be one word") from None


def find_option(options: Sequence[object], name: str) -> Option | None:
    """The last option of a name, as the kernel lets the last one win, or None."""
    for option in reversed(options):
        if isinstance(option, Option) and option.name == name:
            return option
    return None
