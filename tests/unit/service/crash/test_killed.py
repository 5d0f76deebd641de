"""The daemon is killed at random points while events flow, again and again; nothing is lost.

Some twenty times in an ordinary run, 200 times with DMWATCH_LONG=1.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from journals import kept

LONG = os.environ.get("DMWATCH_LONG") == "1"
KILLS = 200 if LONG else 20
LEG = "raid.leg-failed"
Told = dict[str, Any]


@dataclass(frozen=True)
class Aftermath:
    """What is found after the last daemon has ended in good order.

    Attributes:
        folder: where everything was written.
        truth: the devices, and whether a leg of each has failed.
    """

    folder: Path
    truth: dict[str, bool]

    @cached_property
    def journal(self) -> list[Told]:
        return [
            json.loads(text) for (text,) in self.ask("select event from events order by position")
        ]

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        return kept(self.folder / "events.db", query)

    def handler(self, name: str) -> list[Told]:
        return [json.loads(line) for line in (self.folder / name).read_text().splitlines()]


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> Aftermath:
    folder = tmp_path_factory.mktemp("killed")
    seed = os.environ.get("DMWATCH_SEED", str(int.from_bytes(os.urandom(3), "big")))
    script = Path(__file__).with_name("killing.py")
    done = subprocess.run(
        [sys.executable, str(script), str(folder), str(KILLS), seed],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, f"seed {seed}: {done.stderr}\n{done.stdout}"
    found = Aftermath(folder, json.loads(done.stdout))
    print(f"seed {seed}: {KILLS} kills, {len(found.journal)} events")
    return found


pytestmark = pytest.mark.timeout(960)


def test_the_journal_is_whole_and_its_numbers_have_no_gap(after: Aftermath) -> None:
    assert after.ask("pragma integrity_check") == [("ok",)]
    rows = after.ask("select position, epoch, sequence from events order by position")
    assert len({epoch for _, epoch, _ in rows}) == 1
    assert [sequence for _, _, sequence in rows] == list(range(1, len(rows) + 1))
    assert [position for position, _, _ in rows] == list(range(1, len(rows) + 1))
    assert after.ask("select sequence from numbers") == [(len(rows),)]
    assert [e["id"] for e in after.journal] == [f"{epoch}-{number}" for _, epoch, number in rows]
    starts = [e for e in after.journal if e["type"] == "dmwatch.started"]
    assert len(starts) >= 2
    assert not [e for e in after.journal if e["type"] == "dmwatch.journal-failing"]


@pytest.mark.parametrize(("name", "types"), [("all", ""), ("some", "raid.")])
def test_every_handler_got_every_event_at_least_once_and_in_order(
    after: Aftermath, name: str, types: str
) -> None:
    owed = [e for e in after.journal if e["type"].startswith(types)]
    got = after.handler(name)
    first = list({e["id"]: e for e in reversed(got)}.values())[::-1]
    by_first_time = list({e["id"]: None for e in got})
    assert by_first_time == [e["id"] for e in owed]
    assert sorted(first, key=lambda e: int(e["sequence"])) == owed
    print(f"{name}: {len(owed)} events, {len(got) - len(owed)} of them once more")


def test_what_comes_once_more_comes_in_order_too(after: Aftermath) -> None:
    got = [int(e["sequence"]) for e in after.handler("all")]
    back = sum(later <= earlier for earlier, later in pairwise(got))
    assert back <= KILLS


def test_no_alarm_is_repeated_and_none_forgotten(after: Aftermath) -> None:
    steps: dict[tuple[str, str, str | None], list[str]] = defaultdict(list)
    for event in after.journal:
        if event["state"] and event["device"]:
            steps[event["device"]["uuid"], event["type"], event["key"]].append(event["state"])
    assert steps
    for condition, told in steps.items():
        states = [state for state in told if state != "changed"]
        expected = ["raised", "cleared"] * len(states)
        assert states == expected[: len(states)], condition


def test_in_the_end_what_stands_is_what_is_true(after: Aftermath) -> None:
    truth = {f"TEST-{name}" for name, failed in after.truth.items() if failed}
    stands: set[str] = set()
    for event in after.journal:
        if event["type"] == LEG:
            change = stands.discard if event["state"] == "cleared" else stands.add
            change(event["device"]["uuid"])
    assert stands == truth
    kept = after.ask(f"select identity from standing where type = '{LEG}'")
    assert {identity.removeprefix("uuid ") for (identity,) in kept} == truth
