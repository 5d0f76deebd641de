"""Faults of a configuration: which line, which key, what was expected. Values are not shown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from dmwatch.errors import DmwatchError
from dmwatch.names import printable

Path = tuple[str | int, ...]
"""Where something stands: keys, and places in arrays counted from 0."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        path: where; () for the file as a whole.
        expected: what belongs there, as a sentence.
        line: from 1, or None where it is not known.
    """

    path: Path
    expected: str
    line: int | None = None

    @property
    def key(self) -> str:
        """The path as TOML writes it: `handlers.pager.url`, `rules[2].until` (counted from 1)."""
        text = ""
        for part in self.path:
            if isinstance(part, int):
                text += f"[{part + 1}]"
            else:
                shown = part if _BARE.fullmatch(part) else f'"{printable(part)}"'
                text += f".{shown}" if text else shown
        return text

    def at(self, line: int | None) -> Fault:
        """Give the same fault with its line."""
        return replace(self, line=line)

    def plain(self) -> dict[str, str | int | None]:
        """The fault for JSON."""
        return {"line": self.line, "key": self.key, "expected": self.expected}

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line is not None else ""
        key = f"{self.key}: " if self.path else ""
        return f"{where}{key}{self.expected}"


class ConfigError(DmwatchError):
    """A configuration that cannot be used.

    Attributes:
        faults: all of them, in the order of the file.
        source: which configuration.
    """

    def __init__(self, source: str, faults: Iterable[Fault], hint: str = "") -> None:
        self.source = source
        self.faults = sorted(faults, key=_place)
        count = len(self.faults)
        head = f"{source} has {'a fault' if count == 1 else f'{count} faults'}"
        super().__init__("\n  ".join([head, *map(str, self.faults)]), hint=hint)

    def __str__(self) -> str:
        head = self.what.partition("\n")[0]
        return f"{head}: {'; '.join(map(str, self.faults))}"


def _place(fault: Fault) -> tuple[bool, int]:
    # those without a line last; the sort keeps the order of the others
    return fault.line is None, fault.line or 0
