from __future__ import annotations

import pytest

from dmwatch.errors import DmwatchError
from dmwatch.monitor.interpreting import LineSeen
from dmwatch.monitor.tables import changes, kinds, plain_status, plain_table, texts
from dmwatch.targets import Seen, find
from dmwatch.units import Sectors

KEY = "00112233445566778899aabbccddeeff"


def line(kind: str, start: int = 0, length: int = 8, table: str | None = None) -> LineSeen:
    target = find(kind)
    typed = None if table is None else target.table(table)
    return LineSeen(Seen(kind, Sectors(start), Sectors(length), table=typed), f"status of {kind}")


def told(before: list[LineSeen], after: list[LineSeen]) -> list[str]:
    return [moment.type for moment, _ in changes(tuple(before), tuple(after))]


def test_the_same_table_is_no_change() -> None:
    one = [line("linear", table="8:1 0")]
    assert told(one, [line("linear", table="8:1 0")]) == []


@pytest.mark.parametrize(
    "after",
    [
        [line("striped")],
        [line("linear", length=4), line("linear", start=4, length=4)],
        [line("linear", table="8:2 0")],
        [line("linear", table="8:1 8")],
    ],
)
def test_another_type_shape_or_place_is_a_change_but_no_resize(after: list[LineSeen]) -> None:
    assert told([line("linear", table="8:1 0")], after) == ["device.table-changed"]


def test_another_size_is_both() -> None:
    (changed, shapes), (resized, sizes) = changes(
        (line("linear"),), (line("linear"), line("zero", 8, 8))
    )
    assert changed.type == "device.table-changed"
    assert changed.summary == "the table was changed: linear -> linear, zero"
    assert shapes["before"] == [{"start": 0, "length": 8, "type": "linear"}]
    assert resized.type == "device.resized"
    assert sizes == {"before": 8, "after": 16}


def test_the_first_table_is_no_resize() -> None:
    assert told([], [line("linear")]) == ["device.table-changed"]


def test_what_was_not_read_on_both_sides_is_not_compared() -> None:
    assert told([line("linear")], [line("linear", table="8:1 0")]) == []
    assert told([line("linear", table="8:1 0")], [line("linear")]) == []


def test_text_that_moves_with_messages_is_no_change() -> None:
    groups = "0 1 1 round-robin 0 1 1 254:0 1 "
    before = line("multipath", table=f"2 queue_mode bio {groups}")
    after = line("multipath", table=f"3 queue_if_no_path queue_mode bio {groups}")
    assert told([before], [after]) == []


def test_no_text_of_a_table_is_shown() -> None:
    try:
        typed = line("crypt", table=f"aes-xts-plain64 {KEY} 0 8:1 0")
    except DmwatchError:
        pytest.fail("the table is a valid one")
    for moment, data in changes((line("linear", length=4),), (typed,)):
        assert KEY not in f"{moment} {data}"


def test_types_are_shown_once_and_none_as_none() -> None:
    assert kinds((line("linear"), line("striped", 8), line("linear", 16))) == "linear, striped"
    assert kinds(()) == kinds(None) == "none"


def test_what_lines_report_as_data_and_for_people() -> None:
    lines = (line("thin"), line("linear", 8))
    assert plain_status(lines) == [
        {"start": 0, "length": 8, "type": "thin", "status": "status of thin"},
        {"start": 8, "length": 8, "type": "linear", "status": "status of linear"},
    ]
    assert plain_status(None) is None
    assert texts(lines) == "thin status of thin | linear status of linear"
    assert plain_table(None) == []


def test_bytes_that_are_no_text_are_shown_escaped() -> None:
    strange = LineSeen(Seen("a\udcff", Sectors(0), Sectors(8)), "\udcfe")
    (shown,) = plain_status((strange,)) or []
    assert "\udcff" not in str(shown)
    assert "\udcfe" not in str(shown)
