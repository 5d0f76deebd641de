"""From where on: an id, a time, a span."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from dmwatch.service.ledger.since import EventId, SinceError, parse

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0123456789ab-12", EventId("0123456789ab", 12)),
        ("2026-11-22T10:00:00Z", datetime(2026, 11, 22, 10, tzinfo=UTC)),
        ("2026-11-22t10:00:00z", datetime(2026, 11, 22, 10, tzinfo=UTC)),
        ("2026-11-22T10:00:00.000001Z", datetime(2026, 11, 22, 10, 0, 0, 1, tzinfo=UTC)),
        ("2026-11-22T11:00:00+01:00", datetime(2026, 11, 22, 10, tzinfo=UTC)),
        ("2h", datetime(2026, 11, 22, 10, tzinfo=UTC)),
        ("1.5 h", datetime(2026, 11, 22, 10, 30, tzinfo=UTC)),
        ("90d", datetime(2026, 8, 24, 12, tzinfo=UTC)),
    ],
)
def test_what_can_be_said(text: str, expected: object) -> None:
    assert parse(text, NOW) == expected


def test_a_time_without_a_zone_is_local() -> None:
    assert parse("2026-11-22 10:00") == datetime(2026, 11, 22, 10).astimezone()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2x",
        "-2h",
        "0123456789ab-",
        "0123456789AB-1",
        "99999999d",
        "\u0661h",
        "x" * 999,
    ],
)
def test_anything_else_is_a_sentence(text: str) -> None:
    with pytest.raises(SinceError, match=r"is no id of an event.*try this") as caught:
        parse(text, NOW)
    assert len(str(caught.value)) < 300
