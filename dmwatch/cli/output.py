"""Printing: JSON for programs, columns for people, colour only on a terminal."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

from dmwatch.names import printable
from dmwatch.severity import Severity

COLOURS = {
    Severity.DEBUG: "bright_black",
    Severity.INFO: "white",
    Severity.NOTICE: "cyan",
    Severity.WARNING: "yellow",
    Severity.ERROR: "red",
    Severity.CRITICAL: "bright_red",
}
_LONE = re.compile("[\ud800-\udfff]")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB")


def print_json(value: Any) -> None:
    r"""Print a value as indented JSON; bytes that are not UTF-8 are escaped, as `\xNN`."""
    print_line(json.dumps(_sound(value), indent=2))


def _sound(value: Any) -> Any:
    # json would write half a surrogate pair, which strict readers refuse
    if isinstance(value, str):
        return _LONE.sub(lambda match: printable(match[0]), value)
    if isinstance(value, dict):
        return {name: _sound(item) for name, item in value.items()}
    return [_sound(item) for item in value] if isinstance(value, list | tuple) else value


def print_line(text: str) -> None:
    """Print a line at once: also a pipe gets it now."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def coloured(text: str, colour: str | None = None, *, bold: bool = False) -> str:
    """Colour a text where stdout is a terminal and NO_COLOR is not set."""
    return click.style(text, fg=colour, bold=bold) if _wants_colour() else text


def _wants_colour() -> bool:
    import os  # noqa: PLC0415

    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def print_columns(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under heads, each column as wide as it needs; control characters are escaped."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    print_line(coloured(_padded(heads, widths), bold=True))
    for row in cells:
        print_line(_padded(row, widths))


def _padded(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
    return "  ".join(cells).rstrip()


def size_text(sectors: int) -> str:
    """A size in sectors for people: `512.0 MiB`."""
    value = float(sectors * 512)
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("the last unit takes everything")
