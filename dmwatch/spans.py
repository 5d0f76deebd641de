"""Spans of time as people write them: `10s`, `500ms`, `5m`, `6h`, `90d`."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
LONGEST = 36525 * 86400.0
"""Seconds; with more no time can be told, and a journal cannot look for it."""
_SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(ms|s|m|h|d)", re.ASCII)


def seconds(text: Any) -> Any:
    """Read a span of time: a number with its unit, `10s`, `500ms`, `5m`, `6h`, `90d`.

    Raises:
        ValueError: for a text that is none.
    """
    if not isinstance(text, str | bool):
        return text
    match = isinstance(text, str) and _SPAN.fullmatch(text.strip())
    if not match:
        raise ValueError('a span of time is a number and ms, s, m, h or d, as in "10s"')
    return float(match[1]) * _UNITS[match[2]]


def _bounded(span: float) -> float:
    if span > LONGEST:
        raise ValueError("a span of time is 100 years at most")
    return span


Span = Annotated[
    float, BeforeValidator(seconds), Field(ge=0, allow_inf_nan=False), AfterValidator(_bounded)
]
LongSpan = Annotated[
    float, BeforeValidator(seconds), Field(ge=0.1, allow_inf_nan=False), AfterValidator(_bounded)
]
