"""What an answer to a webhook means: done, not now, not this one, or look elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from dmwatch.handlers.base import Drop, Retry

MOVED = frozenset({301, 302, 307, 308})
"""Redirects that are followed with the same method and body. 303 says that the event was taken."""
_NOT_NOW = frozenset({408, 423, 425, 429})
_WORDS = 200


def judge(status: int, headers: Mapping[str, str], said: str, who: str) -> None:
    """Return where the event was taken.

    Args:
        status: of the answer.
        headers: of the answer, keys in lower case.
        said: the begin of its body.
        who: the receiver, for people.

    Raises:
        Retry: 5xx, 429 and the like; with Retry-After where the answer has one.
        Drop: 4xx, and everything else that asking again would not change.
    """
    if 200 <= status < 300 or status == 303:
        return
    first = " ".join(said.split())[:_WORDS]
    sentence = f"{who} answers {status}" + (f": {first}" if first else "")
    if status >= 500 or status in _NOT_NOW:
        raise Retry(retry_after(headers.get("retry-after", "")), sentence)
    raise Drop(sentence)


def retry_after(text: str, now: datetime | None = None) -> float | None:
    """Read Retry-After: seconds, or a date. None where it is neither.

    Args:
        text: of the header.
        now: the time, for dates.
    """
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())
