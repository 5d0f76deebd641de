"""Spans of time as people write them: `10s`, `500ms`, `5m`, `6h`, `90d`."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(ms|s|m|h|d)", re.ASCII)


def seconds(text: Any) -> Any:
    """Read a span of time: a number with its unit, `10s`, `500ms`, `5m`, `6h`, `90d`.

    Raises:
        ValueError: for a text that is none.
    """
    if not isinstance(text, str):
        return text
    match = _SPAN.fullmatch(text.strip())
    if not match:
        raise ValueError('a span of time is a number and ms, s, m, h or d, as in "10s"')
    return float(match[1]) * _UNITS[match[2]]


Span = Annotated[float, BeforeValidator(seconds), Field(ge=0, allow_inf_nan=False)]
LongSpan = Annotated[float, BeforeValidator(seconds), Field(ge=0.1, allow_inf_nan=False)]
