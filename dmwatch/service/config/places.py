"""On which line of a TOML text a key stands. tomllib does not say; only faults need it.

The text is taken apart into statements (a table's head, a key with its value) by the same tomllib
that read it: lines are put together until they parse by themselves. So nothing about TOML's grammar
is known here but that a statement begins on a line of its own.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

from dmwatch.service.config.faults import Path

_DEEPEST = 12
"""No key of the configuration lies deeper."""
_MANY = 500
"""So many lines of an array are looked at."""
_WORK = 1 << 20
"""So many characters are parsed again at most: statements that need more are no honest ones."""
_CLOSERS = ("]", "}", '"""', "'''")
"""A statement of several lines ends on a line that has one of them."""


class Places:
    """Finds the lines of keys.

    Args:
        text: valid TOML.
    """

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {}
        self._counts: dict[Path, int] = {}
        self._implied: set[Path] = set()
        table: Path = ()
        for line, chunk, parsed in _statements(text):
            if chunk.lstrip().startswith("["):
                table = self._head(parsed)
                self._note_table(table, line)
                continue
            for path, after in _elements(chunk):
                self._lines.setdefault(table + path, line + after)
            for path in _paths(parsed):
                self._lines.setdefault(table + path, line)

    def line(self, path: Path) -> int | None:
        """Give the line of a key, or of the nearest table around it; None where there is none."""
        for end in range(len(path), 0, -1):
            if path[:end] in self._lines:
                return self._lines[path[:end]]
        return None

    def _note_table(self, table: Path, line: int) -> None:
        for end in range(1, len(table)):
            if table[:end] not in self._lines:
                self._lines[table[:end]] = line
                self._implied.add(table[:end])
        if table not in self._lines or table in self._implied:
            self._lines[table] = line
            self._implied.discard(table)

    def _head(self, parsed: dict[str, Any]) -> Path:
        """The path of `[a.b]` or `[[a.b]]`, with the places of the arrays it lies in."""
        path: Path = ()
        value: Any = parsed
        while isinstance(value, dict) and value:
            ((key, value),) = value.items()
            path += (key,)
            if isinstance(value, list):
                self._counts[path] = self._counts.get(path, -1) + 1
                value = None
            if path in self._counts:
                path += (self._counts[path],)
        return path


def _statements(text: str) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Each statement: its first line, its text, what it says by itself."""
    chunk, first, work = "", 0, 0
    for number, line in enumerate(text.split("\n"), 1):
        begun = bool(chunk)
        chunk += line + "\n"
        first = first if begun else number
        if begun and not any(closer in line for closer in _CLOSERS):
            continue
        work += len(chunk) if begun else 0
        parsed = _parsed(chunk) if work < _WORK else None
        if parsed:
            yield first, chunk, parsed
        if parsed is not None:
            chunk = ""


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return None


def _elements(chunk: str) -> Iterator[tuple[Path, int]]:
    """What stands within an array of several lines, each with how many lines below its key."""
    lines = chunk.splitlines(keepends=True)
    seen: set[Path] = set()
    for number in range(min(len(lines), _MANY) if len(lines) > 1 else 0):
        start = "".join(lines[: number + 1])
        parsed = _parsed(start + "]") or _parsed(start)
        new = [path for path in _paths(parsed) if path not in seen]
        seen.update(new)
        yield from ((path, number) for path in new if any(isinstance(part, int) for part in path))


def _paths(value: Any, depth: int = 0) -> Iterator[Path]:
    items: Any = ()
    if depth < _DEEPEST and isinstance(value, dict):
        items = value.items()
    elif depth < _DEEPEST and isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        yield (key,)
        for path in _paths(inner, depth + 1):
            yield (key, *path)
