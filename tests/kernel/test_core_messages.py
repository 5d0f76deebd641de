"""@stats_* and @cancel_deferred_remove in a real kernel."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dmwatch.dm import DeviceMapper
from dmwatch.errors import CommandError
from dmwatch.ioctl.abi import Flags
from dmwatch.table import TargetLine
from dmwatch.targets import TargetMessage
from dmwatch.targets.core_messages import (
    CancelDeferredRemove,
    StatsClear,
    StatsCreate,
    StatsDelete,
    StatsList,
    StatsPrint,
    StatsPrintClear,
    StatsRange,
    StatsSetAux,
)
from dmwatch.targets.stats_replies import (
    StatsArea,
    StatsCounters,
    StatsRegion,
    parse_areas,
    parse_region_id,
    parse_regions,
)
from dmwatch.units import Sectors

pytestmark = pytest.mark.timeout(120)
Dmsetup = Callable[..., str]
Send = Callable[[TargetMessage], str | None]
LENGTH = 2048
NOTHING = StatsCounters(0, 0, Sectors(0), 0, 0)


@pytest.fixture
def dm() -> Iterator[DeviceMapper]:
    with DeviceMapper() as control:
        yield control


@pytest.fixture
def device(
    dm: DeviceMapper, device_name: Callable[[str], str], loop: Callable[[float], str]
) -> Iterator[str]:
    name = device_name("counted")
    dm.create(name)
    dm.load(name, [TargetLine(0, LENGTH, "linear", f"{loop(1)} 0")])
    dm.resume(name)
    yield name
    dm.remove(name)


@pytest.fixture
def path(dm: DeviceMapper, device: str) -> Path:
    return Path(f"/dev/dm-{dm.info(device).number.minor}")


@pytest.fixture
def send(dm: DeviceMapper, device: str) -> Send:
    return lambda message: dm.message(device, message.format()).text


def create(send: Send, message: StatsCreate) -> int:
    return parse_region_id(send(message) or "")


def regions(send: Send, program_id: str | None = None) -> tuple[StatsRegion, ...]:
    return parse_regions(send(StatsList(program_id)) or "")


def areas(send: Send, message: StatsPrint | StatsPrintClear) -> tuple[StatsArea, ...]:
    return parse_areas(send(message) or "")


def read_sectors(path: Path, sector: int, sectors: int) -> None:
    with path.open("rb", buffering=0) as disk:
        os.posix_fadvise(disk.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        os.posix_fadvise(disk.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        os.pread(disk.fileno(), sectors * 512, sector * 512)


def test_regions(device: str, send: Send, dmsetup: Dmsetup) -> None:
    assert regions(send) == ()
    whole = create(send, StatsCreate(areas=4))
    part = StatsCreate(
        StatsRange(Sectors(16), Sectors(1000)),
        area_size=Sectors(300),
        precise_timestamps=True,
        histogram=(1000, 2_000_000),
        program_id="7",
        aux_data="a  b à\\",
    )
    assert (whole, create(send, part)) == (0, 1)
    first = StatsRegion(0, Sectors(0), Sectors(LENGTH), Sectors(512), "-", "-")
    second = StatsRegion(
        1,
        Sectors(16),
        Sectors(1000),
        Sectors(300),
        "7",
        "a  b à\\",
        precise_timestamps=True,
        histogram=(1000, 2_000_000),
    )
    assert regions(send) == (first, second)
    assert regions(send, "7") == (second,)
    assert regions(send, "other") == ()
    assert parse_regions(dmsetup("message", device, "0", "@stats_list")) == (first, second)
    send(StatsSetAux(0, "à"))
    assert [region.aux_data for region in regions(send)] == ["à", "a  b à\\"]
    send(StatsDelete(0))
    assert regions(send) == (second,)


def test_counters(path: Path, send: Send) -> None:
    region = create(send, StatsCreate(area_size=Sectors(600), histogram=(1, 1000)))
    read_sectors(path, 640, 8)
    found = areas(send, StatsPrint(region))
    assert [area.start for area in found] == [Sectors(at) for at in (0, 600, 1200, 1800)]
    # the last is 248 sectors long, and printed as the others
    assert {area.length for area in found} == {Sectors(600)}
    used = found[1]
    assert used.reads.completed >= 1
    assert used.reads.sectors >= Sectors(8)
    assert sum(used.histogram) == used.reads.completed
    assert len(used.histogram) == 3
    assert used.writes == NOTHING
    assert (found[3].reads, found[3].histogram) == (NOTHING, (0, 0, 0))
    assert areas(send, StatsPrint(region, first=1, count=1)) == (used,)
    assert len(areas(send, StatsPrint(region, first=2))) == 2
    assert len(areas(send, StatsPrint(region, count=3))) == 3
    assert areas(send, StatsPrintClear(region, first=1, count=1))[0] == used
    assert areas(send, StatsPrint(region))[1].reads == NOTHING


def test_clear(path: Path, send: Send) -> None:
    region = create(send, StatsCreate(areas=1, precise_timestamps=True))
    read_sectors(path, 0, 8)
    (before,) = areas(send, StatsPrint(region))
    assert before.reads.time > 1000, "nanoseconds"
    assert before.histogram == ()
    send(StatsClear(region))
    assert areas(send, StatsPrint(region))[0].reads == NOTHING


@pytest.mark.parametrize(
    "message",
    [StatsDelete(9), StatsClear(9), StatsPrint(9), StatsPrintClear(9), StatsSetAux(9, "x")],
)
def test_a_region_that_is_not_there(send: Send, message: TargetMessage) -> None:
    with pytest.raises(CommandError) as caught:
        send(message)
    assert caught.value.errno == errno.ENOENT


def test_why_the_byte_a0_is_quoted(dm: DeviceMapper, device: str, send: Send) -> None:
    create(send, StatsCreate(areas=1))
    dm.message(device, "@stats_set_aux 0 à")
    assert regions(send)[0].aux_data == "\udcc3", "the kernel took the rest for a blank"


def test_cancel_deferred_remove(dm: DeviceMapper, device: str, path: Path, send: Send) -> None:
    with path.open("rb"):
        dm.remove(device, flags=Flags.DEFERRED_REMOVE)
        assert dm.info(device).deferred_remove
        send(CancelDeferredRemove())
        assert not dm.info(device).deferred_remove
    assert dm.info(device).open_count == 0
