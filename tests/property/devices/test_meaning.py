"""Real tables of every target: equal to themselves in any spelling, and a difference is named."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmwatch.devices import differences
from dmwatch.errors import TableParseError
from dmwatch.table import TargetLine
from dmwatch.targets import find

DATA = Path(__file__).parents[2] / "data" / "status-lines"


def real_tables() -> list[tuple[str, str]]:
    found = set()
    for name in ("lines.tsv", "constructed.tsv"):
        with (DATA / name).open(newline="") as lines:
            for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
                found.add((row["type"], row["table"]))
    return sorted(pair for pair in found if pair[1] != "?" and readable(*pair))


def readable(kind: str, text: str) -> bool:
    try:
        find(kind).table(text)
    except TableParseError:
        return False
    return True


TABLES = real_tables()
tables = st.sampled_from(TABLES)
blanks = st.sampled_from(["", " ", "  "])


def test_there_are_real_tables_of_many_targets() -> None:
    assert len({kind for kind, _ in TABLES}) > 20


@pytest.mark.parity("B22")
@given(tables, blanks, blanks)
def test_a_table_equals_itself_however_it_is_spaced(
    table: tuple[str, str], before: str, after: str
) -> None:
    kind, text = table
    if not find(kind).since:  # of an unknown target every byte counts
        before = after = ""
    ours = [TargetLine(0, 8, kind, text)]
    theirs = [TargetLine(0, 8, kind, f"{before}{text}{after}")]
    assert differences(ours, theirs) == []


@given(tables, tables)
def test_differences_are_found_from_both_sides_alike(
    first: tuple[str, str], second: tuple[str, str]
) -> None:
    ours, theirs = ([TargetLine(0, 8, *table)] for table in (first, second))
    there, back = differences(ours, theirs), differences(theirs, ours)
    assert [d.field for d in there] == [d.field for d in back]
    assert [(d.wanted, d.found) for d in there] == [(d.found, d.wanted) for d in back]
    if first[0] != second[0]:
        assert "type" in [d.field for d in there]


@given(tables, st.integers(1, 1 << 40), st.integers(1, 1 << 40))
def test_a_length_that_differs_is_always_named(
    table: tuple[str, str], first: int, second: int
) -> None:
    ours, theirs = ([TargetLine(0, length, *table)] for length in (first, second))
    named = [d.field for d in differences(ours, theirs)]
    assert named == ([] if first == second else ["length"])


@given(tables, tables)
def test_no_key_is_told(first: tuple[str, str], second: tuple[str, str]) -> None:
    found = differences([TargetLine(0, 8, *first)], [TargetLine(0, 8, *second)])
    if find(second[0]).keyed:
        told = [(d.wanted, d.found) for d in found if d.field not in {"start", "length", "type"}]
        assert all(pair == ("", "") for pair in told)
