"""A device's table as the kernel sees it: lines of start, length, type and text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dmwatch.errors import InvalidTableError
from dmwatch.names import TargetType, printable, to_bytes

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
        InvalidTableError: for a number outside 64 bits, a NUL in the text, or what is no text.
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
        if not self.text.isascii() and to_bytes(self.text) is None:
            raise InvalidTableError(self.type, "text", "must be text: it has half a character")

    def __repr__(self) -> str:
        shown = self._hidden() or repr(self.text)
        return f"TargetLine({self.start}, {self.length}, {self.type!r}, {shown})"

    def _hidden(self) -> str | None:
        """What is shown in the place of a text that may hold a key; None where it may not."""
        if self.type not in KEYED_TYPES or not self.text:
            return None
        return f"<{len(self.text.split())} words, not shown>"

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: object, handler: Callable[[object], dict[str, Any]]
    ) -> dict[str, Any]:
        """Let pydantic read it as any dataclass, and write JSON that hides what `repr` hides."""
        shown = {"type": "function-plain", "function": cls._plain, "when_used": "json"}
        return {**handler(source), "serialization": shown}

    def _plain(self) -> dict[str, Any]:
        text = self._hidden() or printable(self.text)
        return {"start": self.start, "length": self.length, "type": self.type, "text": text}


Table = Sequence[TargetLine]
"""A whole table: lines in order, without gaps, the first at 0."""
