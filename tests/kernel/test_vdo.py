"""vdo on a real kernel: table, states of its index, usage, messages.

Since 7.2 the kernel formats a zeroed device by itself; before, it takes only what vdoformat made,
which Debian does not have: there the test shows that our table reaches the kernel's own reader.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dmwatch.names import DeviceNumber
from dmwatch.severity import Severity
from dmwatch.targets import Seen, TargetMessage, find
from dmwatch.targets.vdo import (
    Compression,
    Config,
    Dump,
    IndexDisable,
    IndexEnable,
    Stats,
    VdoCompression,
    VdoIndex,
    VdoMode,
    VdoStatus,
    VdoTable,
)
from dmwatch.units import Bytes, DataBlocks, Sectors

pytestmark = pytest.mark.timeout(240)

Dmsetup = Callable[..., str]
Loop = Callable[[float], str]
Name = Callable[[str], str]

VDO = find("vdo")
SIZE_MIB = 6144
LENGTH = 2_097_152
OPTIONS = (("compression", "on"), ("ack", "1"))
FORMATS = (9, 2)


def number(path: str) -> DeviceNumber:
    node = Path(path).stat().st_rdev
    return DeviceNumber(os.major(node), os.minor(node))


def text_of(dmsetup: Dmsetup, what: str, name: str) -> str:
    return dmsetup(what, "--noflush", name).strip().split(maxsplit=3)[3]


def version(dmsetup: Dmsetup) -> tuple[int, ...]:
    lines = [line.split() for line in dmsetup("targets").splitlines()]
    text = next(words[1] for words in lines if words and words[0] == "vdo")
    return tuple(map(int, text.removeprefix("v").split(".")))


@pytest.fixture
def table(loop: Loop, need_target: Callable[[str], None]) -> VdoTable:
    need_target("vdo")
    path = loop(SIZE_MIB)
    blocks = DataBlocks(SIZE_MIB * 256)
    return VdoTable(number(path), blocks, Bytes(4096), DataBlocks(32_768), 16_380, OPTIONS)


@pytest.fixture
def created(dmsetup: Dmsetup, device_name: Name) -> Iterator[Callable[[str], str]]:
    """created(text) -> the name of a device with this table."""
    names: list[str] = []

    def make(text: str) -> str:
        name = device_name("vdo")
        dmsetup("create", name, standard_input=f"0 {LENGTH} vdo {text}\n")
        names.append(name)
        return name

    yield make
    for name in names:
        dmsetup("remove", name)


def look(dmsetup: Dmsetup, name: str) -> Seen:
    status = VDO.status(text_of(dmsetup, "status", name))
    assert isinstance(status, VdoStatus)
    assert status.extra == ()
    asked = VDO.table(text_of(dmsetup, "table", name))
    return Seen("vdo", Sectors(0), Sectors(LENGTH), status, asked)


def status_of(seen: Seen) -> VdoStatus:
    assert isinstance(seen.status, VdoStatus)
    return seen.status


def until(dmsetup: Dmsetup, name: str, index: VdoIndex) -> Seen:
    deadline = time.monotonic() + 120
    while status_of(seen := look(dmsetup, name)).index is not index:
        assert time.monotonic() < deadline, seen.status
        time.sleep(0.5)
    return seen


def found(seen: Seen) -> list[tuple[str, Severity]]:
    return [(finding.type, finding.severity) for finding in VDO.observe(seen).findings]


def test_a_life_of_a_vdo(dmsetup: Dmsetup, created: Callable[[str], str], table: VdoTable) -> None:
    if version(dmsetup) < FORMATS:
        with pytest.raises(AssertionError):
            created(table.format())
        return
    name = created(table.format())
    assert look(dmsetup, name).table == table
    seen = until(dmsetup, name, VdoIndex.ONLINE)
    status = status_of(seen)
    assert (status.mode, status.recovering) == (VdoMode.NORMAL, False)
    assert status.compression is VdoCompression.ONLINE
    assert status.total == table.physical_blocks
    assert found(seen) == []
    gauge = VDO.observe(seen).gauges[0]
    assert 0 < gauge.used < gauge.total
    _answers(dmsetup, name)
    _index(dmsetup, name)
    _suspended(dmsetup, name)


def send(dmsetup: Dmsetup, name: str, message: TargetMessage) -> str:
    return dmsetup("message", name, "0", message.format())


def _answers(dmsetup: Dmsetup, name: str) -> None:
    assert "dataBlocksUsed" in send(dmsetup, name, Stats())
    assert "logical" in send(dmsetup, name, Config()).lower()
    send(dmsetup, name, Dump(("vdo",)))
    send(dmsetup, name, Compression(on=False))
    assert status_of(look(dmsetup, name)).compression is VdoCompression.OFFLINE


def _index(dmsetup: Dmsetup, name: str) -> None:
    send(dmsetup, name, IndexDisable())
    seen = until(dmsetup, name, VdoIndex.OFFLINE)
    assert found(seen) == [("vdo.index-offline", Severity.WARNING)]
    send(dmsetup, name, IndexEnable())
    assert found(until(dmsetup, name, VdoIndex.ONLINE)) == []


def _suspended(dmsetup: Dmsetup, name: str) -> None:
    dmsetup("suspend", name)
    seen = look(dmsetup, name)
    assert status_of(seen).index is VdoIndex.SUSPENDED
    assert found(seen) == []
    dmsetup("resume", name)


REFUSED = [
    " cpu 0",
    " bio 101",
    " logical 61 physical 1 hash 1",
    " logical 1",
    " logical 9 physical 1 hash 1",
    " maxDiscard 0",
    " compression yes",
    " newKey on",
    " bioRotationInterval 1025",
    " indexSparse yes",
    " indexMemory 1025",
    " slabSize 4096",
    " slabSize 9000",
]


def test_what_check_refuses_the_kernel_refuses(
    dmsetup: Dmsetup, device_name: Name, table: VdoTable
) -> None:
    for more in REFUSED:
        text = table.format() + more
        with pytest.raises(ValueError, match=r"^vdo: "):
            VDO.table(text).format()
        with pytest.raises(AssertionError):
            dmsetup("create", device_name("no"), standard_input=f"0 {LENGTH} vdo {text}\n")
