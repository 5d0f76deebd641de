from __future__ import annotations

import json
from typing import Any

import pytest

from dmwatch import TargetLine
from dmwatch.monitor.coverage import Coverage
from dmwatch.testing import FakeKernel

Fixture = Any
LINEAR = TargetLine(0, 2048, "linear", "8:1 0")
POOL = TargetLine(0, 65536, "thin-pool", "254:0 254:1 128 0 0 ")
CRYPT = TargetLine(0, 2048, "crypt", "aes-xts-plain64 00112233445566778899aabbccddeeff 0 8:1 0")
USED = "0 1/1024 1/512 - rw discard_passdown queue_if_no_space - 256 "


async def covered(kernel: FakeKernel, watch: Fixture, **more: Any) -> dict[str, Coverage]:
    async with watch(kernel, **more) as watched:
        return {found.device: found for found in watched.watcher.coverage()}


@pytest.mark.usefixtures("uevents")
async def test_how_each_device_is_watched(kernel: FakeKernel, watch: Fixture) -> None:
    kernel.add("vg--x-pool", POOL, status=[USED], uuid="LVM-x")
    kernel.add("plain", LINEAR)
    found = await covered(kernel, watch, uevents=True)
    pool = found["vg--x-pool"]
    assert (pool.label, pool.targets) == ("vg-x/pool", ("thin-pool",))
    assert pool.how == ("event", "uevent", "poll")
    assert pool.poll == 3600.0
    assert "thin-pool.out-of-data-space" in pool.conditions
    assert pool.unprotected == ()
    assert (found["plain"].how, found["plain"].poll) == (("uevent",), None)


async def test_without_uevents_it_says_so(kernel: FakeKernel, watch: Fixture) -> None:
    kernel.add("pool", POOL, status=[USED])
    found = await covered(kernel, watch)
    assert found["pool"].how == ("event", "poll")
    assert found["pool"].unprotected == (
        "no uevents are heard: a swapped table is found by polling",
    )


@pytest.mark.usefixtures("uevents")
@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        (LINEAR, "", "linear reports no failures: what lies below it must be watched"),
        (CRYPT, "", "crypt reports no failures"),
        (POOL, "gibberish", "the status of thin-pool is not understood"),
        (TargetLine(0, 8, "of-tomorrow", "x"), "", "target of-tomorrow is not known"),
    ],
)
async def test_what_is_not_seen_is_said(
    kernel: FakeKernel, watch: Fixture, line: TargetLine, status: str, said: str
) -> None:
    kernel.targets["of-tomorrow"] = (1, 0, 0)
    kernel.add("vol", line, status=[status])
    found = await covered(kernel, watch, uevents=True)
    assert any(sentence.startswith(said) for sentence in found["vol"].unprotected)


@pytest.mark.usefixtures("uevents")
async def test_what_was_never_read_is_said(kernel: FakeKernel, watch: Fixture) -> None:
    kernel.add("vol", LINEAR)
    kernel.dm.suspend("vol")
    found = await covered(kernel, watch, uevents=True)
    assert found["vol"].unprotected == ("its status was never read",)


async def test_only_wanted_devices_and_as_json(kernel: FakeKernel, watch: Fixture) -> None:
    kernel.add("vol", LINEAR)
    kernel.add("other", LINEAR)
    async with watch(kernel, "vol") as watched:
        (found,) = watched.watcher.coverage()
    assert json.loads(json.dumps(found.plain()))["device"] == "vol"
    assert set(found.plain()) == set(Coverage.__dataclass_fields__)
