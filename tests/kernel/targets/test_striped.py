"""striped: a leg fails, and stays marked until the table is loaded anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dmwatch.severity import Severity
from dmwatch.targets import find
from dmwatch.targets.striped import StripedHealth, StripedStatus

Loop = Callable[[float], str]
SECTORS = 2048


def build(bench: Any, loop: Loop) -> tuple[Any, list[Any]]:
    legs = [bench.linear(f"leg{index}", loop(1), SECTORS) for index in range(2)]
    places = " ".join(f"{leg.path} 0" for leg in legs)
    return bench.make("striped", f"0 {2 * SECTORS} striped 2 128 {places}"), legs


def test_a_leg_fails(bench: Any, loop: Loop) -> None:
    striped, legs = build(bench, loop)
    striped = bench.again(striped)
    striped.write(0, 4)
    assert striped.standing() == {}
    below = legs[1].text("table")
    legs[1].fail()
    striped.write(0)
    with pytest.raises(OSError, match="Input/output"):
        striped.write(1)
    seen = striped.look()
    assert isinstance(seen.status, StripedStatus)
    health = [leg.health for leg in seen.status.legs]
    assert health == [StripedHealth.ALIVE, StripedHealth.DEAD]
    (found,) = find("striped").observe(seen).findings
    assert (found.key, found.severity) == ("1", Severity.CRITICAL)
    assert found.data.device == str(seen.status.legs[1].device)

    legs[1].replace(f"0 {SECTORS} linear {below}", "--noflush", "--nolockfs")
    striped.write(1)
    assert striped.standing() == {"striped.leg-failed": Severity.CRITICAL}
    striped.replace(striped.table().line(0, 2 * SECTORS).text.join(["0 4096 striped ", ""]))
    assert striped.standing() == {}
