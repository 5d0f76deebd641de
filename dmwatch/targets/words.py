"""Reading a target's text word by word, with the field's name and position in every error."""

from __future__ import annotations

import re
from enum import Enum
from operator import index
from typing import NoReturn, SupportsIndex, TypeVar

from dmwatch.errors import InvalidMessageError, InvalidNameError, InvalidTableError, ParseError
from dmwatch.names import DeviceNumber, to_bytes
from dmwatch.table import KEYED_TYPES

U32_MAX = (1 << 32) - 1
U64_MAX = (1 << 64) - 1

E = TypeVar("E", bound=Enum)
Device = DeviceNumber | str
"""A device in a table: its number, as the kernel prints it, or a path, as it also takes it."""

_DIGITS = re.compile(r"[0-9]{1,20}")
_SIGNED = re.compile(r"[-+]?[0-9]{1,20}")
_HEX = re.compile(r"[0-9a-fA-F]{1,16}")
_BLANK = re.compile(rb"[\s\\\xa0]")


class Words:
    """The words of one line, read from left to right.

    Args:
        target: the target type, for errors.
        text: the line's text; words are separated by blanks.
        error: StatusParseError or TableParseError.
        secret: the text may hold a key: errors carry positions only. So it is for the status of
            a target with keys, too: it may be a table that somebody took for a status.

    Every method that reads a word raises `error` where the word is missing or wrong.
    """

    def __init__(
        self, target: str, text: str, error: type[ParseError], *, secret: bool = False
    ) -> None:
        self._target = target
        self._text = None if secret or target in KEYED_TYPES else text
        self._error = error
        self._words = text.split()
        self._next = 0

    @property
    def left(self) -> int:
        """How many words are still unread."""
        return len(self._words) - self._next

    def peek(self, ahead: int = 0) -> str | None:
        """The word that comes next (or `ahead` words later), or None. Nothing is consumed."""
        index = self._next + ahead
        return self._words[index] if index < len(self._words) else None

    def word(self, field: str) -> str:
        """The next word."""
        if self._next >= len(self._words):
            self.fail(field, "is missing", ahead=True)
        self._next += 1
        return self._words[self._next - 1]

    def accept(self, *words: str) -> str | None:
        """Consume the next word where it is one of these; else None and nothing is consumed."""
        found = self.peek()
        if found is None or found not in words:
            return None
        self._next += 1
        return found

    def expect(self, field: str, *words: str) -> str:
        """The next word, which must be one of these."""
        found = self.word(field)
        if found not in words:
            self.fail(field, f"must be {' or '.join(words)}")
        return found

    def number(self, field: str, maximum: int = U64_MAX) -> int:
        """An unsigned decimal number."""
        return self._checked(field, self.word(field), _DIGITS, 10, maximum)

    def signed(self, field: str) -> int:
        """A decimal number, perhaps negative; a plus is taken as the kernel takes it."""
        return self._checked(field, self.word(field), _SIGNED, 10, U64_MAX)

    def hex(self, field: str) -> int:
        """A hexadecimal number without 0x."""
        return self._checked(field, self.word(field), _HEX, 16, U64_MAX)

    def ratio(self, field: str, separator: str = "/") -> tuple[int, int]:
        """Two unsigned numbers as `a/b`."""
        left, found, right = self.word(field).partition(separator)
        if not found:
            self.fail(field, f"must be two numbers with {separator!r} between them")
        return (
            self._checked(field, left, _DIGITS, 10, U64_MAX),
            self._checked(field, right, _DIGITS, 10, U64_MAX),
        )

    def choice(self, field: str, words: type[E]) -> E:
        """One of an enum's words."""
        text = self.word(field)
        found = next((member for member in words if member.value == text), None)
        if found is None:
            # no error is chained here: the enum's own would show a word that can be a key
            self.fail(field, f"must be one of: {', '.join(str(w.value) for w in words)}")
        return found

    def letters(self, field: str, number: int | None, words: type[E]) -> tuple[E, ...]:
        """A word with `number` letters (None: any number), each one of an enum's."""
        known = {member.value: member for member in words}
        text = self.word(field)
        if number not in {None, len(text)}:
            self.fail(field, f"must have {number} letters")
        if not known.keys() >= set(text):
            self.fail(field, f"has only letters of: {', '.join(known)}")
        return tuple(known[letter] for letter in text)

    def device(self, field: str) -> Device:
        """A device: `major:minor` becomes a DeviceNumber, anything else stays text."""
        return parse_device(self.word(field))

    def count(self, field: str, each: int = 1) -> int:
        """A number of items of at least `each` words, all of which must still follow."""
        value = self.number(field)
        if value * each > self.left:
            self.fail(field, f"announces {value} items where {self.left} words are left")
        return value

    def pairs(self, field: str) -> tuple[tuple[str, str], ...]:
        """A number of words, then so many words: a key and a value in turn."""
        number = self.count(field)
        if number % 2:
            self.fail(field, f"announces {number} words where keys and values come in pairs")
        found = iter(self.take(field, number))
        return tuple(zip(found, found, strict=True))

    def take(self, field: str, number: int) -> tuple[str, ...]:
        """The next `number` words."""
        if number > self.left:
            self.fail(field, f"needs {number} words where {self.left} are left", ahead=True)
        self._next += number
        return tuple(self._words[self._next - number : self._next])

    def rest(self) -> tuple[str, ...]:
        """All words that are left: what newer kernels added."""
        return self.take("extra", self.left)

    def end(self) -> None:
        """Nothing may be left."""
        if self.left:
            self.fail("end", "was expected here", ahead=True)

    def fail(self, field: str, problem: str, *, ahead: bool = False) -> NoReturn:
        """Raise for the word read last (`ahead`: for the one that comes next)."""
        position = self._next + 1 if ahead else max(self._next, 1)
        raise self._error(self._target, field, position, problem, self._text)

    def _checked(
        self, field: str, text: str, pattern: re.Pattern[str], base: int, maximum: int
    ) -> int:
        if not pattern.fullmatch(text):
            self.fail(field, "must be a number")
        value = int(text, base)
        if value > maximum:
            self.fail(field, f"must be at most {maximum}")
        return value


def decimal(text: str) -> int | None:
    """The number that a word of digits stands for, or None for any other word.

    The kernel knows no digits but those of ASCII, and 20 of them hold every number that it takes.
    """
    return int(text) if _DIGITS.fullmatch(text) else None


def parse_device(text: str) -> Device:
    """Read a device of a table: `major:minor` becomes a DeviceNumber, anything else stays text."""
    if ":" not in text:  # an exception for each path would make a long table slow
        return text
    try:
        return DeviceNumber.parse(text)
    except InvalidNameError:
        return text


def check_word(target: str, field: str, value: object) -> str:
    """Give a value as one word of a table.

    Raises:
        InvalidTableError: where it is empty, has blanks or NULs, or a backslash, which the
            kernel takes as a quote (drivers/md/dm-table.c, dm_split_args).
    """
    text = str(value)
    if len(text.split()) != 1 or text != text.strip() or "\\" in text or "\x00" in text:
        raise InvalidTableError(target, field, "must be one word without blanks or backslashes")
    raw = to_bytes(text)
    if raw is None:
        raise InvalidTableError(target, field, "must be text: it has half a character")
    if b"\xa0" in raw:
        raise InvalidTableError(target, field, "has the byte A0, where the kernel splits")
    return text


def quoted(text: str) -> str:
    """Give a text as one word of a message: blanks and backslashes with a backslash before them.

    The kernel splits messages byte by byte and takes A0 for a blank (dm_split_args in
    drivers/md/dm-table.c, lib/ctype.c), so that byte is quoted within its character too; the halves
    of the character stay surrogate escapes, which the ioctl layer encodes back.

    Raises:
        InvalidMessageError: where it is no text.
    """
    raw = to_bytes(text)
    if raw is None:
        raise InvalidMessageError("a message must be text: this one has half a character")
    return _BLANK.sub(rb"\\\g<0>", raw).decode("utf-8", "surrogateescape")


def check_range(
    target: str, field: str, value: object, minimum: int = 0, maximum: int = U64_MAX
) -> int:
    """Give a whole number (or a Quantity) that lies in a range, both ends included.

    Raises:
        InvalidTableError: where it does not, or is text or no whole number: `format` would write
            it as it is.
    """
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise InvalidTableError(target, field, "must be a whole number")
    number = index(value)
    if not minimum <= number <= maximum:
        raise InvalidTableError(target, field, f"must be {minimum} to {maximum}, not {number}")
    return number


def require(condition: bool, target: str, field: str, rule: str) -> None:
    """Refuse a table whose field breaks a rule.

    Raises:
        InvalidTableError: where the condition does not hold.
    """
    if not condition:
        raise InvalidTableError(target, field, rule)


def power_of_two(number: int) -> bool:
    """Say whether a number is 1, 2, 4, 8, ..."""
    return number > 0 and number & (number - 1) == 0
