"""A device's table as the kernel sees it: lines of start, length, type and text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dmwatch.errors import InvalidTableError
from dmwatch.names import TargetType

KEYED_TYPES = frozenset({"crypt", "inlinecrypt", "integrity", "default-key"})
"""Targets whose table text can hold a key (kernel: crypt_status, inlinecrypt_status,
dm_integrity_status); `repr` never shows it."""

U64_MAX = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class TargetLine:
    """One line of a table, or of its status.

    Attributes:
        start: where the line begins on the device, in sectors of 512 bytes.
        length: how long it is, in sectors.
        type: the target type, 1 to 15 bytes.
        text: the target's own part, as words; "" where it has none.

    Raises:
        InvalidTableError: for a number outside 64 bits or a NUL in the text.
        InvalidNameError: for an impossible type.
    """

    start: int
    length: int
    type: str
    text: str = ""

    def __post_init__(self) -> None:
        TargetType(self.type)
        for field, value in (("start", self.start), ("length", self.length)):
            if not 0 <= value <= U64_MAX:
                raise InvalidTableError(self.type, field, f"must fit in 64 bits, not {value}")
        if "\x00" in self.text:
            raise InvalidTableError(self.type, "text", "cannot contain NUL: the kernel stops there")

    def __repr__(self) -> str:
        shown = repr(self.text)
        if self.type in KEYED_TYPES and self.text:
            shown = f"<{len(self.text.split())} words, not shown>"
        return f"TargetLine({self.start}, {self.length}, {self.type!r}, {shown})"


Table = Sequence[TargetLine]
"""A whole table: lines in order, without gaps, the first at 0."""
