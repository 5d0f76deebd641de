"""era: its eras, its metadata snapshot, and when its metadata fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dmwatch.severity import Severity
from dmwatch.targets.era import (
    Checkpoint,
    DropMetadataSnap,
    EraError,
    EraTable,
    EraWorking,
    TakeMetadataSnap,
)
from dmwatch.units import Sectors

Loop = Callable[[float], str]
MIB = 2048


@pytest.fixture(autouse=True)
def target(need_target: Callable[[str], None]) -> None:
    need_target("era")


def era_on(bench: Any, loop: Loop) -> Any:
    """An era device, and its metadata device, which can fail."""
    meta = bench.linear("meta", loop(4), 4 * MIB)
    return bench.make("era", f"0 {4 * MIB} era {meta.path} {loop(4)} 128"), meta


def test_working(bench: Any, loop: Loop) -> None:
    era, _ = era_on(bench, loop)
    seen = era.look()
    assert isinstance(seen.table, EraTable)
    assert isinstance(seen.status, EraWorking)
    assert (seen.status.metadata_block, seen.status.extra) == (Sectors(8), ())
    assert seen.status.metadata_snap is None
    assert era.standing() == {}
    bench.again(era)


def test_messages(bench: Any, loop: Loop) -> None:
    era, _ = era_on(bench, loop)
    before = era.seen()
    era.message(Checkpoint())
    assert era.since(before) == ["era.era-advanced"]
    era.message(TakeMetadataSnap())
    taken = era.look()
    assert taken.status.metadata_snap is not None
    era.message(DropMetadataSnap())
    assert era.look().status.metadata_snap is None
    assert era.since(taken) == []


def test_metadata_that_cannot_be_read(bench: Any, loop: Loop) -> None:
    era, meta = era_on(bench, loop)
    meta.fail()
    with pytest.raises(AssertionError, match="Input/output"):
        era.message(TakeMetadataSnap())
    era.until(lambda seen: isinstance(seen.status, EraError))
    assert era.standing() == {"era.unreadable": Severity.ERROR}
