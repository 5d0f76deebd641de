"""clone: while it copies, when it is done, and when it fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dmwatch.severity import Severity
from dmwatch.targets.clone import (
    CloneTable,
    CloneWorking,
    DisableHydration,
    EnableHydration,
    HydrationBatchSize,
    HydrationThreshold,
)

Loop = Callable[[float], str]
MIB = 2048
SECTORS = 8 * MIB


@pytest.fixture(autouse=True)
def target(need_target: Callable[[str], None]) -> None:
    need_target("clone")


def clone_on(bench: Any, loop: Loop, words: str) -> Any:
    """A clone of 2048 regions of 4 KiB, and its metadata device, which can fail."""
    meta = bench.linear("meta", loop(4), 4 * MIB)
    clone = bench.make("clone", f"0 {SECTORS} clone {meta.path} {loop(8)} {loop(8)} {words}")
    return clone, meta


@pytest.mark.parametrize(
    "words",
    [
        "8 1 no_hydration",
        "64 2 no_hydration no_discard_passdown 4 hydration_batch_size 2 hydration_threshold 3",
        "8 1 no_hydration 0 and words that the kernel ignores",
    ],
)
def test_not_begun(bench: Any, loop: Loop, words: str) -> None:
    clone, _ = clone_on(bench, loop, words)
    seen = clone.look()
    assert isinstance(seen.table, CloneTable)
    assert isinstance(seen.status, CloneWorking)
    assert "no_hydration" in seen.status.features
    assert (int(seen.status.hydrated), seen.status.extra) == (0, ())
    assert clone.standing() == {}
    bench.again(clone)


def test_what_may_be_left_out(bench: Any, loop: Loop) -> None:
    clone, _ = clone_on(bench, loop, "8")
    assert clone.table().features == ()
    assert clone.table().format() == f"{clone.text('table')} 0"


def test_it_copies_and_is_done(bench: Any, loop: Loop) -> None:
    clone, _ = clone_on(bench, loop, "8 1 no_hydration")
    before = clone.seen()
    for message in (HydrationThreshold(4), HydrationBatchSize(2), EnableHydration()):
        clone.message(message)
    begun = clone.until(lambda seen: int(seen.status.hydrated) > 0)
    assert begun.status.settings == (("hydration_threshold", 4), ("hydration_batch_size", 2))
    clone.until(lambda seen: seen.status.complete, 60)
    assert clone.since(before) == ["clone.hydrated"]
    assert clone.standing() == {}
    clone.message(DisableHydration())
    assert clone.look().status.features == ("no_hydration",)


def test_a_clone_without_its_metadata(bench: Any, loop: Loop) -> None:
    clone, meta = clone_on(bench, loop, "8 1 no_hydration")
    clone.write(0)
    meta.fail()
    clone.write(3)
    with pytest.raises(OSError, match="Input/output"):
        clone.flush()
    clone.until(lambda _seen: clone.standing() != {})
    assert clone.standing() in (
        {"clone.read-only": Severity.ERROR},
        {"clone.failed": Severity.CRITICAL},
    )
