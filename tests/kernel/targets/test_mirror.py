"""mirror in each state that its legs and its log can be brought into."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from dmwatch.severity import Severity
from dmwatch.targets import Finding, Seen, find
from dmwatch.targets.mirror import MirrorHealth, MirrorLogHealth, MirrorStatus

pytestmark = pytest.mark.timeout(300)

Loop = Callable[[float], str]
SECTORS = 4096
KEEP = "2 handle_errors keep_log"


@pytest.fixture(autouse=True)
def target(need_target: Callable[[str], None]) -> None:
    need_target("mirror")


def legs_of(bench: Any, loop: Loop, number: int = 2) -> list[Any]:
    return [bench.linear(f"leg{index}", loop(2), SECTORS) for index in range(number)]


def mirror(bench: Any, log: str, legs: list[Any], features: str = KEEP) -> Any:
    places = " ".join(f"{leg.path} 0" for leg in legs)
    return bench.make("mirror", f"0 {SECTORS} mirror {log} {len(legs)} {places} {features}")


def status_of(seen: Seen) -> MirrorStatus:
    assert isinstance(seen.status, MirrorStatus)
    return seen.status


def synced(seen: Seen) -> bool:
    status = status_of(seen)
    return status.in_sync == status.regions


def health(device: Any) -> str:
    return "".join(leg.health for leg in status_of(device.look()).legs)


def findings(seen: Seen) -> tuple[Finding, ...]:
    return find("mirror").observe(seen).findings


def read(device: Any) -> None:
    command = ["dd", f"if={device.path}", "of=/dev/null", "bs=64K", "count=1", "iflag=direct"]
    subprocess.run(command, check=False, capture_output=True, timeout=60)


def test_it_syncs(bench: Any, loop: Loop) -> None:
    legs = legs_of(bench, loop, 3)
    legs[2].witness("suspend", legs[2].name)
    device = mirror(bench, "core 2 64 sync", legs, "1 handle_errors")
    before = device.look()
    assert not synced(before)
    assert device.standing() == {"mirror.out-of-sync": Severity.WARNING}
    legs[2].witness("resume", legs[2].name)
    device.until(synced)
    assert device.standing() == {}
    assert device.since(before) == ["mirror.sync-finished"]


def test_tables_are_written_again(bench: Any, loop: Loop) -> None:
    legs = legs_of(bench, loop)
    log = bench.linear("log", loop(1), 2048)
    for words, features in [
        ("core 1 64", "0"),
        ("core 2 64 sync", "1 handle_errors"),
        (f"disk 2 {log.path} 64", "1 handle_errors"),
        (f"disk 3 {log.path} 64 nosync", KEEP),
    ]:
        device = bench.again(mirror(bench, words, legs, features))
        device.until(synced)
        bench.drop(device)


def test_a_leg_cannot_be_written(bench: Any, loop: Loop) -> None:
    legs = legs_of(bench, loop)
    device = mirror(bench, "core 2 64 nosync", legs)
    device.write(0)
    legs[1].fail_writes()
    device.write(0)
    assert health(device) == "AD"
    assert device.standing() == {
        "mirror.leg-failed": Severity.ERROR,
        "mirror.out-of-sync": Severity.WARNING,
    }


def test_a_leg_cannot_be_read_then_none(bench: Any, loop: Loop) -> None:
    legs = legs_of(bench, loop)
    device = mirror(bench, "core 2 64 nosync", legs)
    legs[0].fail()
    read(device)
    assert health(device) == "RA"
    assert device.standing() == {"mirror.leg-failed": Severity.WARNING}
    legs[1].fail()
    read(device)
    assert health(device) == "RR"
    assert device.standing()["mirror.all-legs-failed"] is Severity.CRITICAL


def test_a_leg_cannot_be_synced(bench: Any, loop: Loop) -> None:
    legs = legs_of(bench, loop)
    legs[1].fail()
    device = mirror(bench, "core 2 64 sync", legs)
    device.until(lambda seen: status_of(seen).legs[1].health is not MirrorHealth.ALIVE)
    assert health(device) == "AS"
    assert device.standing() == {
        "mirror.leg-failed": Severity.WARNING,
        "mirror.out-of-sync": Severity.WARNING,
    }


def test_the_log_fails(bench: Any, loop: Loop) -> None:
    log = bench.linear("log", loop(1), 2048)
    device = mirror(bench, f"disk 3 {log.path} 64 nosync", legs_of(bench, loop))
    device.write(0)
    assert device.standing() == {}
    log.fail()
    # with keep_log writes fail then, with handle_errors alone they wait for a repair
    with pytest.raises(OSError, match="Input/output"):
        device.write(2)
    seen = device.until(lambda seen: bool(findings(seen)))
    (found,) = [f for f in findings(seen) if f.type == "mirror.log-failed"]
    assert found.data.health in {MirrorLogHealth.FAILED, MirrorLogHealth.FLUSH_FAILED}
    assert found.data.device
    assert device.standing()["mirror.log-failed"] is Severity.ERROR
