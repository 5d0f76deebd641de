"""linear, error, zero, delay, flakey, dust, ebs, log-writes, switch, unstriped in a real kernel."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dmwatch.dm import DeviceMapper
from dmwatch.errors import CommandError, InvalidTableError
from dmwatch.ioctl.abi import Flags
from dmwatch.names import DeviceNumber
from dmwatch.severity import Severity
from dmwatch.table import TargetLine
from dmwatch.targets import EmptyStatus, Seen, TargetMessage, TargetStatus, TargetTable, find
from dmwatch.targets.delay import DelayPath, DelayStatus, DelayTable
from dmwatch.targets.dust import (
    AddBadBlock,
    ClearBadBlocks,
    CountBadBlocks,
    Disable,
    DustLog,
    DustReads,
    DustStatus,
    DustTable,
    Enable,
    ListBadBlocks,
    QueryBlock,
    Quiet,
    RemoveBadBlock,
)
from dmwatch.targets.ebs import EbsTable
from dmwatch.targets.error import ErrorTable
from dmwatch.targets.flakey import (
    FlakeyCorrupt,
    FlakeyDirection,
    FlakeyFault,
    FlakeyFeature,
    FlakeyRandom,
    FlakeyTable,
)
from dmwatch.targets.linear import LinearTable
from dmwatch.targets.log_writes import LogWritesStatus, LogWritesTable, Mark
from dmwatch.targets.switch import (
    RegionMapping,
    RepeatMappings,
    SetRegionMappings,
    SwitchPath,
    SwitchTable,
)
from dmwatch.targets.unstriped import UnstripedTable
from dmwatch.targets.zero import ZeroTable
from dmwatch.units import Bytes, Sectors

Dmsetup = Callable[..., str]
Loop = Callable[[float], str]
Name = Callable[[str], str]

pytestmark = pytest.mark.timeout(120)
LENGTH = 2048
NEW_FLAKEY = tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 12)


def number(path: str) -> DeviceNumber:
    device = Path(path).stat().st_rdev
    return DeviceNumber(os.major(device), os.minor(device))


class Device:
    """A device of one line. It is quick under emulation: dmsetup is asked once, at the end."""

    def __init__(self, dm: DeviceMapper, name: str, table: TargetTable, length: int) -> None:
        self._dm, self.name, self._length = dm, name, length
        self.type = table.type
        self.path = f"/dev/dm-{dm.create(name).number.minor}"
        self.load(table)

    def load(self, table: TargetTable) -> None:
        self._dm.load(self.name, [table.line(0, self._length)])
        self._dm.resume(self.name)

    def texts(self) -> list[str]:
        (table,) = self._dm.table(self.name)
        flags = Flags.NOFLUSH
        (status,) = self._dm.table_status(self.name, flags=flags).lines
        return [table.text, status.text]

    def table(self) -> TargetTable:
        return find(self.type).table(self.texts()[0])

    def status(self) -> TargetStatus:
        return find(self.type).status(self.texts()[1])

    def send(self, message: TargetMessage) -> str:
        return self._dm.message(self.name, message.format()).text or ""

    def found(self) -> dict[str, Severity]:
        length = Sectors(self._length)
        seen = Seen(self.type, Sectors(0), length, self.status(), self.table())
        findings = find(self.type).observe(seen).findings
        return {finding.type: finding.severity for finding in findings}

    def check_witness(self, dmsetup: Dmsetup) -> None:
        head = f"0 {self._length} {self.type} "
        table, status = self.texts()
        assert dmsetup("table", self.name) == f"{head}{table}\n"
        if status:
            assert dmsetup("status", "--noflush", self.name) == f"{head}{status}\n"

    def remove(self) -> None:
        self._dm.remove(self.name)


Make = Callable[..., Device]


@pytest.fixture
def dm() -> Iterator[DeviceMapper]:
    with DeviceMapper() as control:
        yield control


@pytest.fixture
def make(
    dm: DeviceMapper,
    dmsetup: Dmsetup,
    device_name: Name,
    need_target: Callable[[str], None],
) -> Iterator[Make]:
    """make(table, length=2048) -> a Device."""
    made: list[Device] = []

    def build(table: TargetTable, length: int = LENGTH) -> Device:
        need_target(table.type)
        made.append(Device(dm, device_name(table.type), table, length))
        return made[-1]

    yield build
    for device in reversed(made):
        device.check_witness(dmsetup)
        device.remove()


def survives_a_reload(device: Device, printed: TargetTable) -> bool:
    """The kernel prints what we expect, and the same again when it is given that back."""
    assert device.table() == printed
    device.load(device.table())
    return device.table() == printed


def write(path: str, byte: int, length: int = LENGTH) -> None:
    with Path(path).open("wb", buffering=0) as disk:
        disk.write(bytes([byte]) * (length * 512))
        os.fsync(disk.fileno())


def read(path: str, sector: int, sectors: int = 8) -> bytes:
    file = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        return os.pread(file, sectors * 512, sector * 512)
    finally:
        os.close(file)


def test_linear(make: Make, loop: Loop) -> None:
    table = LinearTable(number(loop(2)), Sectors(1024))
    device = make(table)
    assert device.status() == EmptyStatus()
    assert survives_a_reload(device, table)


def test_zero(make: Make) -> None:
    device = make(ZeroTable())
    assert device.status() == EmptyStatus()
    assert read(device.path, 0) == bytes(4096)
    assert survives_a_reload(device, ZeroTable())


def test_error_prints_nothing_whatever_it_was_given(make: Make, loop: Loop) -> None:
    device = make(ErrorTable(number(loop(2)), Sectors(0)))
    assert device.status() == EmptyStatus()
    with pytest.raises(OSError, match="Input/output error"):
        read(device.path, 0)
    assert survives_a_reload(device, ErrorTable())


def test_delay_holds_back(make: Make, loop: Loop) -> None:
    below = number(loop(2))
    reads = DelayPath(below, Sectors(0), 3000)
    other = DelayPath(below, Sectors(8), 1)
    tables = (DelayTable(reads, other), DelayTable(reads, other, other), DelayTable(reads))
    device = make(tables[-1])
    for table in tables:
        device.load(table)
        assert survives_a_reload(device, table)
    assert device.status() == DelayStatus(0, 0, 0)
    reader = subprocess.Popen(
        ["dd", f"if={device.path}", "of=/dev/null", "bs=4096", "count=1", "iflag=direct"],
        stderr=subprocess.DEVNULL,
    )
    held = [device.status()]
    while reader.poll() is None:
        held.append(device.status())
        time.sleep(0.05)
    assert DelayStatus(1, 0, 0) in held
    assert device.status() == DelayStatus(0, 0, 0)


READ, WRITE = FlakeyDirection.READ, FlakeyDirection.WRITE
OLD_FEATURES: list[tuple[FlakeyFeature, ...]] = [
    (FlakeyFault.DROP_WRITES,),
    (FlakeyFault.ERROR_WRITES,),
    (FlakeyCorrupt(32, READ, 1, 0),),
    (FlakeyFault.DROP_WRITES, FlakeyCorrupt(32, READ, 255, 32)),
    (FlakeyCorrupt(1, WRITE, 0, 0),),
]
NEW_FEATURES: list[tuple[FlakeyFeature, ...]] = [
    (FlakeyFault.ERROR_READS,),
    (FlakeyFault.ERROR_READS, FlakeyFault.DROP_WRITES),
    (FlakeyFault.ERROR_READS, FlakeyCorrupt(1, WRITE, 0, 0), FlakeyRandom(WRITE, 7)),
    (FlakeyCorrupt(1, READ, 0, 0), FlakeyRandom(READ, 500_000_000), FlakeyRandom(WRITE, 1)),
]


@pytest.mark.parity("B4")
@pytest.mark.parity(48)
def test_flakey(make: Make, loop: Loop) -> None:
    below = number(loop(2))
    device = make(FlakeyTable(below, Sectors(0), 5, 0))
    for features in OLD_FEATURES + (NEW_FEATURES if NEW_FLAKEY else []):
        table = FlakeyTable(below, Sectors(16), 5, 7, features)
        device.load(table)
        assert survives_a_reload(device, table)
    assert device.status() == EmptyStatus()


def test_flakey_without_features_fails_everything(make: Make, loop: Loop) -> None:
    asked = FlakeyTable(number(loop(2)), Sectors(0), 0, 60)
    device = make(asked)
    with pytest.raises(OSError, match="Input/output error"):
        read(device.path, 0)
    all_named = (FlakeyFault.ERROR_READS, FlakeyFault.ERROR_WRITES)
    printed = FlakeyTable(asked.device, Sectors(0), 0, 60, all_named if NEW_FLAKEY else ())
    assert printed.fails_all
    assert survives_a_reload(device, printed)


def test_dust(make: Make, loop: Loop) -> None:
    below = loop(2)
    table = DustTable(number(below), Sectors(0), Bytes(512))
    device = make(table)
    verbose = DustStatus(number(below), DustReads.BYPASS, DustLog.VERBOSE)
    assert device.status() == verbose
    assert device.found() == {}
    device.send(AddBadBlock(60))
    device.send(AddBadBlock(67, 3))
    device.send(AddBadBlock(72))
    device.send(RemoveBadBlock(72))
    assert device.send(ListBadBlocks()).split() == ["60", "67"]
    assert device.send(CountBadBlocks()).strip() == "countbadblocks: 2 badblock(s) found"
    assert "block 60 found" in device.send(QueryBlock(60))
    assert len(read(device.path, 56)) == 4096
    device.send(Enable())
    device.send(Quiet())
    assert device.status() == DustStatus(number(below), DustReads.FAIL, DustLog.QUIET)
    assert device.found() == {"dust.failing-reads": Severity.NOTICE}
    with pytest.raises(OSError, match="Input/output error"):
        read(device.path, 56)
    device.send(Disable())
    assert "cleared" in device.send(ClearBadBlocks())
    assert survives_a_reload(device, table)


def test_ebs(make: Make, loop: Loop) -> None:
    below = number(loop(2))
    device = make(EbsTable(below, Sectors(0), Sectors(1)))
    assert device.status() == EmptyStatus()
    assert survives_a_reload(device, EbsTable(below, Sectors(0), Sectors(1)))
    table = EbsTable(below, Sectors(16), Sectors(1), Sectors(8))
    device.load(table)
    assert survives_a_reload(device, table)


def last_status(device: Device, done: Callable[[LogWritesStatus], bool]) -> LogWritesStatus:
    until = time.monotonic() + 30
    status = device.status()
    while isinstance(status, LogWritesStatus) and not done(status):
        assert time.monotonic() < until, status
        time.sleep(0.1)
        status = device.status()
    assert isinstance(status, LogWritesStatus)
    return status


def test_log_writes_until_the_log_is_full(make: Make, loop: Loop) -> None:
    log = loop(1)
    table = LogWritesTable(number(loop(2)), number(log))
    device = make(table)
    assert device.status() == LogWritesStatus(0, Sectors(0), logging_disabled=False)
    device.send(Mark("after mkfs à"))
    last_status(device, lambda status: status.logged_entries == 1)
    assert device.found() == {}
    assert "after mkfs à".encode() in Path(log).read_bytes()
    write(device.path, 0x55)
    full = last_status(device, lambda status: status.logging_disabled)
    assert full.logged_entries > 1
    assert full.last_sector > Sectors(1)
    assert device.found() == {"log-writes.logging-disabled": Severity.ERROR}
    device.load(device.table())
    assert device.found() == {}
    assert device.table() == table


def test_switch_sends_regions_where_it_is_told(make: Make, loop: Loop) -> None:
    lower, upper = loop(1), loop(1)
    write(lower, 0xAA)
    write(upper, 0xBB)
    paths = tuple(SwitchPath(number(path), Sectors(0)) for path in (lower, upper))
    table = SwitchTable(Sectors(8), paths)
    device = make(table)
    assert device.status() == EmptyStatus()
    assert survives_a_reload(device, table)
    mappings = (RegionMapping(1, region=0), RegionMapping(1), RepeatMappings(2, 10))
    device.send(SetRegionMappings((*mappings, RegionMapping(0, region=0x20))))
    regions = [read(device.path, 8 * region)[0] for region in (0, 1, 2, 11, 12, 13, 0x20)]
    assert regions == [0xBB, 0xBB, 0xBB, 0xBB, 0xAA, 0xBB, 0xAA]


def test_unstriped_leaves_no_status(make: Make, loop: Loop) -> None:
    below = number(loop(2))
    for stripe in (0, 1):
        table = UnstripedTable(2, Sectors(128), stripe, below, Sectors(0))
        device = make(table)
        assert device.status() == EmptyStatus()
        assert survives_a_reload(device, table)


@pytest.fixture
def loaded(
    dm: DeviceMapper,
    device_name: Name,
    need_target: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[TargetTable], str]]:
    """loaded(table) -> what the kernel prints of a table that we refuse."""
    name = device_name("refused")
    dm.create(name)

    def load(table: TargetTable) -> str:
        need_target(table.type)
        with pytest.raises(InvalidTableError, match=table.type):
            table.format()
        with monkeypatch.context() as patched:
            patched.setattr(type(table), "check", lambda _self: None)
            dm.load(name, [TargetLine(0, LENGTH, table.type, table.format())])
        (line,) = dm.table_status(name, flags=Flags.STATUS_TABLE | Flags.QUERY_INACTIVE_TABLE).lines
        return line.text

    yield load
    dm.remove(name)


KERNEL = tuple(int(part) for part in os.uname().release.split(".")[:2])


def faulty(path: str, *features: FlakeyFeature, up: int = 1, down: int = 1) -> FlakeyTable:
    return FlakeyTable(path, Sectors(0), up, down, features)


def test_the_kernel_refuses_what_we_refuse(
    loaded: Callable[[TargetTable], str], loop: Loop
) -> None:
    disk = loop(2)
    for table in (
        UnstripedTable(2, Sectors(100), 0, disk, Sectors(0)),
        faulty(disk, up=0, down=0),
        faulty(disk, up=1 << 31, down=1 << 31),
        faulty(disk, FlakeyFault.DROP_WRITES, FlakeyFault.ERROR_WRITES),
        faulty(disk, FlakeyCorrupt(1, READ, 256, 0)),
        SwitchTable(Sectors(0), (SwitchPath(disk, Sectors(0)),)),
        SwitchTable(Sectors(8), ()),
    ):
        with pytest.raises(CommandError) as caught:
            loaded(table)
        assert caught.value.errno == errno.EINVAL, table


def test_the_kernel_misreads_what_else_we_refuse(
    loaded: Callable[[TargetTable], str], loop: Loop
) -> None:
    """It takes numbers that do not fit modulo 2^32 and 2^64 (7: at most), and a stripe too many."""
    disk = loop(2)
    below = number(disk)
    delayed = DelayPath(disk, Sectors(0), (1 << 32) + 5)
    assert loaded(DelayTable(delayed)) == f"{below} 0 5"
    misread = (1 << 64) - 1 if KERNEL >= (7, 0) else 5
    assert loaded(LinearTable(disk, Sectors((1 << 64) + 5))) == f"{below} {misread}"
    too_many = UnstripedTable(2, Sectors(8), 2, disk, Sectors(0))
    assert loaded(too_many) == f"2 8 2 {below} 0"
