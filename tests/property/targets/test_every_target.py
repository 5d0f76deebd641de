"""What holds for every target: any text gives a value or a typed error, soon; nothing else is told.

The lines that the texts are made of stand in tests/data/status-lines.
"""

from __future__ import annotations

import csv
import json
import time
import traceback
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dmwatch.errors import InvalidTableError, ParseError, StatusParseError, TableParseError
from dmwatch.severity import Severity
from dmwatch.targets import (
    TYPES,
    Finding,
    Moment,
    Observation,
    Seen,
    Target,
    TargetMessage,
    TargetStatus,
    TargetTable,
    find,
    plain,
)
from dmwatch.targets.base import Counter, Gauge, Progress
from dmwatch.targets.catalogue import ConditionType, FlapType, GaugeType, StallType
from dmwatch.units import Sectors

DATA = Path(__file__).parents[2] / "data" / "status-lines"
HUGE = 1 << 20
SOON = 5.0  # seconds of this process for a text of 1 MiB, on a slow machine

every_target = pytest.mark.parametrize("target", [pytest.param(t, id=t) for t in TYPES])
often = settings(
    max_examples=60,
    deadline=5000,  # milliseconds, on a busy machine
    suppress_health_check=[HealthCheck.too_slow],
)


def lines_of(target: str) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    for name in ("lines.tsv", "constructed.tsv"):
        with (DATA / name).open(newline="") as lines:
            rows += csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    return [row for row in rows if row["type"] == target]


def statuses_of(target: str) -> list[str]:
    return sorted({row["status"] for row in lines_of(target)})


def tables_of(target: str) -> list[str]:
    return sorted({row["table"] for row in lines_of(target)} - {"?"})


# Texts


ODD_WORDS = (
    "",
    "-",
    "0",
    "-1",
    "1/0",
    "9" * 20,
    "9" * 25,
    "Fail",
    "Error",
    "é\xa0",
    "\u2003",
    "\x00",
)


@st.composite
def spoiled(draw: st.DrawFn, texts: list[str]) -> str:
    """A real text with words taken away, put in, changed, or cut off in the middle."""
    words = draw(st.sampled_from(texts)).split(" ")
    others = [word for text in texts for word in text.split(" ")]
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(words)))
        new = draw(st.sampled_from(ODD_WORDS) | st.sampled_from(others) | st.text(max_size=4))
        match draw(st.sampled_from(("insert", "replace", "delete", "cut"))):
            case "insert":
                words.insert(at, new)
            case "replace":
                words[at : at + 1] = [new]
            case "delete":
                del words[at : at + 1]
            case _:
                del words[at:]
    text = " ".join(words)
    return text[: draw(st.integers(0, len(text)))] if draw(st.booleans()) else text


def any_text(texts: list[str]) -> st.SearchStrategy[str]:
    return st.one_of(spoiled(texts), st.text(), st.text("0123456789 -/:ADaF", max_size=60))


Reader = Callable[[str], TargetStatus | TargetTable]


def attempt(reader: Reader, text: str) -> TargetStatus | TargetTable | ParseError:
    try:
        return reader(text)
    except ParseError as error:
        return error


def read(
    reader: Reader, text: str, target: Target, kind: type[ParseError]
) -> TargetStatus | TargetTable | None:
    """The value, or None where a typed error says what is wrong with the text."""
    found = attempt(reader, text)
    if not isinstance(found, ParseError):
        return found
    assert type(found) is kind
    assert found.target == target.type
    assert found.field
    assert found.position >= 1
    assert found.text == (None if target.keyed else text)
    return None


def as_json(value: Any) -> str:
    return json.dumps(plain(value), allow_nan=False)


@pytest.mark.parity("B9")
@every_target
@often
@given(data=st.data())
def test_any_status(target: str, data: st.DataObject) -> None:
    known = find(target)
    text = data.draw(any_text(statuses_of(target)))
    status = read(known.status, text, known, StatusParseError)
    if status is None:
        return
    assert type(status) in known.statuses
    as_json(status)
    for table in (None, known.table(tables_of(target)[0])):
        seen = Seen(target, Sectors(0), Sectors(65536), as_status(status), table)
        check_told(known, known.observe(seen), known.moments(seen, seen))


def as_status(value: TargetStatus | TargetTable) -> TargetStatus:
    assert isinstance(value, TargetStatus)
    return value


@pytest.mark.parity("B9")
@every_target
@often
@given(data=st.data())
def test_any_table(target: str, data: st.DataObject) -> None:
    known = find(target)
    text = data.draw(any_text(tables_of(target)))
    table = read(known.table, text, known, TableParseError)
    if table is None:
        return
    assert isinstance(table, TargetTable)
    assert type(table) in known.tables
    assert table.raw == ("" if known.keyed else text)
    as_json(table)
    writes_or_names_a_rule(known, table)


def writes_or_names_a_rule(known: Target, table: TargetTable) -> None:
    error, text = None, ""
    try:
        text = table.format()
    except InvalidTableError as broken:
        error = broken
    if error is None:
        assert known.table(text) == table
    else:
        assert error.target == known.type
        assert error.field


PLANTED = "5ec2e7" * 8


KEYED = ("crypt", "inlinecrypt", "integrity")


def test_which_targets_are_keyed() -> None:
    assert tuple(target for target in TYPES if find(target).keyed) == KEYED


@st.composite
def with_a_key(draw: st.DrawFn, target: str) -> str:
    words = draw(st.sampled_from(tables_of(target))).split(" ")
    words[draw(st.integers(0, len(words) - 1))] = PLANTED
    return draw(spoiled([" ".join(words)]))


def shows_key(found: TargetStatus | TargetTable | ParseError) -> bool:
    if isinstance(found, ParseError):
        return found.text is not None or PLANTED in "".join(traceback.format_exception(found))
    return PLANTED in repr(found) or PLANTED in as_json(found)


@pytest.mark.parametrize("target", KEYED)
@often
@given(data=st.data())
def test_an_error_shows_no_key(target: str, data: st.DataObject) -> None:
    text = data.draw(with_a_key(target))
    for reader in (find(target).table, find(target).status):
        found = attempt(reader, text)
        assert not isinstance(found, ParseError) or not shows_key(found)


@pytest.mark.parametrize("target", KEYED)
def test_a_table_that_is_taken_for_a_status_shows_no_key(target: str) -> None:
    """People paste what they have, and cannot say which it is."""
    for text in tables_of(target):
        for word in text.split(" "):
            assert not shows_key(attempt(find(target).status, text.replace(word, PLANTED, 1)))


# Huge texts


def huge_texts(texts: list[str]) -> Iterator[str]:
    words = HUGE // 2
    yield "1 " * words
    yield "x" * HUGE
    yield "9" * HUGE
    yield "1/" * words
    yield ":" * HUGE
    yield " " * HUGE
    for text in (max(texts, key=len), min(texts, key=len)):
        yield f"{text} " + "1 " * words
        yield f"{text} " + text.rsplit(" ", 1)[-1].ljust(HUGE, "a")
        yield " ".join(["1000000000" if word.isdigit() else word for word in text.split()])
        yield f"{text} " * (HUGE // (len(text) + 1))


@every_target
@pytest.mark.parametrize("kind", ["status", "table"])
def test_a_huge_text_is_read_or_refused_soon(target: str, kind: str) -> None:
    known = find(target)
    texts = statuses_of(target) if kind == "status" else tables_of(target)
    reader: Reader = known.status if kind == "status" else known.table
    error = StatusParseError if kind == "status" else TableParseError
    for text in huge_texts(texts):
        began = time.process_time()
        read(reader, text, known, error)
        assert time.process_time() - began < SOON, text[:60]


@every_target
def test_a_large_text_takes_a_small_multiple_of_its_size(target: str) -> None:
    known = find(target)
    text = f"{max(statuses_of(target), key=len)} " + "12 " * (HUGE // 24)
    tracemalloc.start()
    try:
        read(known.status, text, known, StatusParseError)
        read(known.table, text, known, TableParseError)
        assert tracemalloc.get_traced_memory()[1] < 48 * len(text)
    finally:
        tracemalloc.stop()


# What is told


def looks(target: str) -> list[Seen]:
    known = find(target)
    statuses = [None, *map(known.status, statuses_of(target))]
    tables = [None, *map(known.table, tables_of(target))]
    found = [
        Seen(target, Sectors(0), Sectors(32328), status, table)
        for status, table in product(statuses, tables)
    ]
    return found + [
        Seen(target, Sectors(8), Sectors(0), status, None, suspended=True, read_only=True)
        for status in statuses
    ]


def check_told(known: Target, observation: Observation, moments: Iterable[Moment]) -> None:
    """Only what the target's rows declare is told."""
    rows = {row.type: row for row in known.conditions}
    for finding in observation.findings:
        check_finding(rows[finding.type], finding)
    for gauge in observation.gauges:
        assert isinstance(rows[gauge.type], GaugeType)
        assert gauge.used >= 0
        assert gauge.total >= 0
        assert gauge.unit
        as_json(gauge.percent)
    for progress in observation.progress:
        assert isinstance(rows[progress.type], StallType)
        assert_clause(progress.summary)
    for counter in observation.counters:
        row = rows[counter.type]
        assert isinstance(row, FlapType)
        assert (counter.key is None) == (row.key is None)
    told: list[Finding | Gauge | Progress | Counter] = [*observation.findings, *observation.gauges]
    told += [*observation.progress, *observation.counters]
    unique([(one.type, one.key) for one in told])
    for moment in moments:
        check_moment(known, moment)


def check_finding(row: object, finding: Finding) -> None:
    assert isinstance(row, ConditionType)
    assert finding.severity in row.severities
    assert type(finding.data) is row.data
    assert (finding.key is None) == (row.key is None)
    assert_clause(finding.summary)
    as_json(finding.data)


def check_moment(known: Target, moment: Moment) -> None:
    (row,) = [row for row in known.moment_types if row.type == moment.type]
    assert moment.severity is row.severity
    assert type(moment.data) is row.data
    assert_clause(moment.summary)
    as_json(moment.data)


def assert_clause(summary: str) -> None:
    """A clause: one line, neither a sentence's capital nor its full stop."""
    assert summary == summary.strip()
    assert "\n" not in summary
    assert not summary.endswith(".")


def unique(names: list[tuple[str, str | None]]) -> None:
    assert len(names) == len(set(names)), names


@every_target
def test_any_look_tells_only_what_is_declared(target: str) -> None:
    known = find(target)
    for seen in looks(target):
        check_told(known, known.observe(seen), ())


@every_target
def test_any_two_looks_tell_only_what_is_declared(target: str) -> None:
    known = find(target)
    found = looks(target)
    some = found[:: max(1, len(found) // 40)]
    pairs = [*product(some, found), *product(found, some)]
    for before, after in pairs:
        check_told(known, Observation(), known.moments(before, after))
    for seen in found:
        assert known.moments(seen, seen) == ()


@every_target
@often
@given(
    properties=st.dictionaries(
        st.sampled_from(("ACTION", "DM_ACTION", "DM_VERITY_ERR_BLOCK_NR", "DM_PATH", "DM_NAME")),
        st.text(max_size=20) | st.sampled_from(("0,7", "1,", ",", "-1,2", "8:16", "PATH_FAILED")),
    )
)
def test_any_uevent_tells_only_what_is_declared(target: str, properties: dict[str, str]) -> None:
    known = find(target)
    check_told(known, Observation(), known.uevent(properties))


# What a target is


@every_target
def test_a_target_is_whole(target: str) -> None:
    known = find(target)
    assert known.type == target
    assert known.module.startswith("dm-")
    assert known.since in {"5.10", "6.1", "6.12", "7.2"}
    assert_clause(known.summary)
    assert {kind.type for kind in known.tables} == {target}
    states = [kind.state for kind in known.statuses]
    assert len(states) == len(set(states))
    if known.keyed:
        assert not known.wants_table


@every_target
def test_values_are_frozen_slotted_and_explained(target: str) -> None:
    known = find(target)
    data = [row.data for row in known.conditions if isinstance(row, ConditionType)]
    data += [row.data for row in known.moment_types]
    for kind in (*values_of(known), *data):
        assert vars(kind)["__dataclass_params__"].frozen
        assert "__slots__" in vars(kind)
        assert kind.__doc__
        assert not kind.__doc__.startswith(f"{kind.__name__}(")


def values_of(known: Target) -> tuple[type[TargetTable | TargetStatus | TargetMessage], ...]:
    return (*known.tables, *known.statuses, *known.messages)


@every_target
def test_attributes_are_explained(target: str) -> None:
    known = find(target)
    for kind in values_of(known):
        own = [spec.name for spec in fields(kind) if spec.name not in {"raw", "extra"}]
        documented = "".join(base.__doc__ or "" for base in kind.__mro__)
        assert [name for name in own if f"{name}:" not in documented] == []


def test_severities_are_known() -> None:
    assert {row.severity for t in TYPES for row in find(t).moment_types} <= set(Severity)
