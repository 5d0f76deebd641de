"""Every row of the catalogue was told in this run: raised and cleared, or the moment.

What was not is listed in not_shown.toml with the reason, so that nothing can be forgotten. It says
something after a run of the whole folder only, with the long tests.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from dmwatch.events import State
from dmwatch.monitor.catalogue import EventType, event_types
from dmwatch.targets import TYPES

HERE = Path(__file__).parent
NOT_SHOWN = HERE / "not_shown.toml"
ABSENT = HERE.parents[1] / "absent.toml"
Shown = set[tuple[str, State | None]]


def tables(path: Path) -> dict[str, str]:
    """The entries that hold for this kernel, each with its reason where it has one."""
    release = os.uname().release
    series: dict[str, dict[str, str] | list[str]] = tomllib.loads(path.read_text())
    found: dict[str, str] = {}
    for name, entries in series.items():
        if name in {release, "everywhere"} or release.startswith((f"{name}.", f"{name}-")):
            found |= entries if isinstance(entries, dict) else dict.fromkeys(entries, "absent")
    return found


def states(row: EventType) -> set[State | None]:
    return {State.RAISED, State.CLEARED} if row.stands else {None}


def names(row: EventType) -> set[str]:
    """How a list can name what is missing of a type: `type`, or `type state`."""
    return {f"{row.type} {state}" if state else row.type for state in states(row)}


@pytest.fixture
def whole_folder(request: pytest.FixtureRequest) -> None:
    """Skip where only a part of the tests was asked for: it cannot tell everything."""
    if os.environ.get("DMWATCH_LONG") != "1":
        pytest.skip("needs the long tests too: make test-long")
    files = {item.path for item in request.session.items}
    folder = set(HERE.parent.rglob("test_*.py"))
    chosen = request.config.getoption("keyword") or request.config.getoption("lf", default=False)
    if chosen or not folder <= files or request.session.testsfailed:
        pytest.skip("a part of the tests ran, or some failed")


def test_every_row_was_told(whole_folder: None, shown: Shown) -> None:
    absent, excused = tables(ABSENT), tables(NOT_SHOWN)
    missing = {
        f"{row.type} {state}" if state else row.type
        for row in event_types().values()
        if row.type.partition(".")[0] not in absent
        for state in states(row)
        if (row.type, state) not in shown
    }
    left = {name for name in missing if not {name, name.partition(" ")[0]} & set(excused)}
    assert left == set()
    told = {name for type_, state in shown for name in (type_, f"{type_} {state}")}
    assert told & set(excused) == set()


def test_what_is_listed_is_in_the_catalogue_and_has_a_reason() -> None:
    series: dict[str, dict[str, str]] = tomllib.loads(NOT_SHOWN.read_text())
    known = {name for row in event_types().values() for name in {row.type, *names(row)}}
    for entries in series.values():
        assert set(entries) <= known
        assert all(len(reason) > 10 for reason in entries.values())
    targets = {row.partition(".")[0] for row in event_types()}
    assert targets <= {*TYPES, "device", "dmwatch"}
