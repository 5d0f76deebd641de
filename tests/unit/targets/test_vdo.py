from __future__ import annotations

import pytest

from dmwatch.errors import InvalidMessageError, InvalidTableError, StatusParseError, TableParseError
from dmwatch.names import DeviceNumber
from dmwatch.severity import Severity
from dmwatch.targets import EmptyStatus, Observation, Seen, TargetMessage, find
from dmwatch.targets.vdo import (
    Compression,
    Config,
    Dump,
    DumpOnShutdown,
    IndexClose,
    IndexCreate,
    IndexData,
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

VDO = find("vdo")
RAM = DeviceNumber(1, 0)


def table(
    *options: tuple[str, str],
    physical: int | None = 1_572_864,
    block: int = 4096,
    cache: int = 32_768,
    era: int = 16_380,
) -> VdoTable:
    size = None if physical is None else DataBlocks(physical)
    return VdoTable(RAM, size, Bytes(block), DataBlocks(cache), era, options)


TABLES = [
    # Linux 7.3
    ("V4 1:0 1572864 4096 32768 16380 compression on", table(("compression", "on"))),
    ("V4 1:0 1572864 4096 32768 16380", table()),
    (
        "V4 /dev/dm-1 262144 512 65550 5000 hash 1 logical 3 physical 2 maxDiscard 8 newKey 7",
        VdoTable(
            "/dev/dm-1",
            DataBlocks(262_144),
            Bytes(512),
            DataBlocks(65_550),
            5000,
            (
                ("hash", "1"),
                ("logical", "3"),
                ("physical", "2"),
                ("maxDiscard", "8"),
                ("newKey", "7"),
            ),
        ),
    ),
    (
        "V4 1:0 1572864 4096 32768 16380 indexMemory 0.25 indexSparse off slabSize 8192",
        table(("indexMemory", "0.25"), ("indexSparse", "off"), ("slabSize", "8192")),
    ),
]
OLDER = [
    ("V3 1:0 1572864 4096 32768 16380 auto compression on", 3, table(("compression", "on"))),
    ("V2 1:0 1572864 4096 32768 16380 on auto pool0 ack 2", 2, table(("ack", "2"))),
    (
        "V1 1:0 1572864 4096 disabled 0 32768 16380 on auto pool0 ack=2,cpu=3",
        1,
        table(("ack", "2"), ("cpu", "3")),
    ),
    ("1:0 4096 disabled 0 32768 16380 on auto pool0 .", 0, table(physical=None)),
]


@pytest.mark.parametrize(("text", "value"), TABLES)
def test_table_reads_and_writes(text: str, value: VdoTable) -> None:
    assert VDO.table(text) == value
    assert value.format() == text


@pytest.mark.parametrize(("text", "version", "value"), OLDER)
def test_older_layouts_are_read(text: str, version: int, value: VdoTable) -> None:
    read = VDO.table(text)
    assert isinstance(read, VdoTable)
    assert (read, read.version, read.raw) == (value, version, text)
    if version:
        assert VDO.table(read.format()) == value


def test_what_options_mean() -> None:
    assert table(("ack", "1"), ("ack", "2")).option("ack") == "2"
    assert (table().deduplication, table(("deduplication", "off")).deduplication) == (True, False)


@pytest.mark.parametrize(
    ("text", "field", "position"),
    [
        ("V4", "device", 2),
        ("V4 1:0 many", "physical_blocks", 3),
        ("V4 1:0 8 4096 32768", "era_length", 6),
        ("V4 1:0 8 4096 32768 16380 ack", "ack", 8),
        ("V1 1:0 8 4096 a b 32768 16380 on auto pool ack", "threads", 12),
        ("V1 1:0 8 4096 a b 32768 16380 on auto pool . x", "end", 13),
    ],
)
def test_parse_error_names_field_and_position(text: str, field: str, position: int) -> None:
    with pytest.raises(TableParseError) as caught:
        VDO.table(text)
    assert (caught.value.field, caught.value.position) == (field, position)


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (table(physical=None), "physical_blocks must be given"),
        (table(block=1024), "logical_block_size must be 512 or 4096"),
        (table(era=0), "era_length must be 1 to 16380"),
        (table(("compression", "yes")), "compression must be on or off"),
        (table(("cpu", "0")), "cpu must be 1 to 100"),
        (table(("bio", "101")), "bio must be 1 to 100"),
        (table(("maxDiscard", "1048576")), "maxDiscard must be 1 to 1048575"),
        (table(("bioRotationInterval", "0")), "bioRotationInterval must be 1 to 1024"),
        (table(("logical", "61")), "logical must be 0 to 60"),
        (table(("newKey", "on")), "need a number: newKey"),
        (table(("logical", "1")), "all zero or none of them"),
        (
            table(("logical", "9"), ("physical", "1"), ("hash", "1")),
            "cache_blocks must be 36864 to",
        ),
        (table(("indexMemory", "0.3")), "indexMemory must be 0.25"),
        (table(("indexMemory", "1025")), "indexMemory must be 0.25"),
        (table(("slabSize", "9000")), "slabSize must be a power of two"),
        (table(("slabSize", "4096")), "slabSize must be 8192 to 8388608"),
        (table(("a b", "1")), "options must be one word"),
    ],
)
def test_check_names_field_and_rule(value: VdoTable, rule: str) -> None:
    with pytest.raises(InvalidTableError, match=rule):
        value.format()


def status(
    mode: VdoMode = VdoMode.NORMAL, index: VdoIndex = VdoIndex.ONLINE, *, recovering: bool = False
) -> VdoStatus:
    return VdoStatus(
        "/dev/ram0",
        mode,
        recovering,
        index,
        VdoCompression.ONLINE,
        DataBlocks(1_048_998),
        DataBlocks(1_572_864),
    )


STATUSES = [
    # Linux 7.3
    ("/dev/ram0 normal - online online 1048998 1572864", status()),
    ("/dev/ram0 normal - opening online 1048998 1572864", status(index=VdoIndex.OPENING)),
    ("/dev/ram0 normal - offline online 1048998 1572864", status(index=VdoIndex.OFFLINE)),
    ("/dev/ram0 normal - suspended online 1048998 1572864", status(index=VdoIndex.SUSPENDED)),
    (
        "/dev/ram0 read-only - error online 1048998 1572864",
        status(VdoMode.READ_ONLY, VdoIndex.ERROR),
    ),
    (
        "/dev/ram0 recovering recovering closed online 1048998 1572864",
        status(VdoMode.RECOVERING, VdoIndex.CLOSED, recovering=True),
    ),
]


@pytest.mark.parametrize(("text", "value"), STATUSES)
def test_status(text: str, value: VdoStatus) -> None:
    assert VDO.status(text) == value


def test_words_of_later_kernels_are_kept() -> None:
    assert VDO.status(STATUSES[0][0] + " 1 2").extra == ("1", "2")


@pytest.mark.parametrize(
    ("text", "field", "position"),
    [
        ("/dev/ram0 odd", "mode", 2),
        ("/dev/ram0 normal x", "recovering", 3),
        ("/dev/ram0 normal - away", "index", 4),
        ("/dev/ram0 normal - online online 1", "total", 7),
    ],
)
def test_status_error_names_field_and_position(text: str, field: str, position: int) -> None:
    with pytest.raises(StatusParseError) as caught:
        VDO.status(text)
    assert (caught.value.field, caught.value.position) == (field, position)


def look(value: VdoStatus | None, asked: VdoTable | None = None) -> Seen:
    return Seen("vdo", Sectors(0), Sectors(8), value, asked)


READ_ONLY = ("vdo.read-only", Severity.CRITICAL)
RECOVERING = ("vdo.recovering", Severity.WARNING)
FAILED = ("vdo.index-failed", Severity.ERROR)
OFFLINE = ("vdo.index-offline", Severity.WARNING)


@pytest.mark.parametrize(
    ("value", "asked", "expected"),
    [
        (status(), None, []),
        (status(VdoMode.READ_ONLY), None, [READ_ONLY]),
        (status(VdoMode.RECOVERING), None, [RECOVERING]),
        (status(recovering=True), None, [RECOVERING]),
        (status(VdoMode.READ_ONLY, VdoIndex.ERROR), None, [READ_ONLY, FAILED]),
        (status(index=VdoIndex.OFFLINE), None, [OFFLINE]),
        (status(index=VdoIndex.OFFLINE), table(), [OFFLINE]),
        (status(index=VdoIndex.CLOSED), None, [OFFLINE]),
        (status(index=VdoIndex.CLOSING), None, [OFFLINE]),
        (status(index=VdoIndex.CLOSED), table(("deduplication", "off")), []),
        (status(index=VdoIndex.ERROR), table(("deduplication", "off")), [FAILED]),
        (status(index=VdoIndex.OPENING), None, []),
        (status(index=VdoIndex.SUSPENDED), None, []),
        (status(index=VdoIndex.UNKNOWN), None, []),
        (None, table(), []),
    ],
)
def test_what_stands(
    value: VdoStatus | None, asked: VdoTable | None, expected: list[tuple[str, Severity]]
) -> None:
    found = VDO.observe(look(value, asked)).findings
    assert [(finding.type, finding.severity) for finding in found] == expected


def test_data_and_after_of_index_offline() -> None:
    found = VDO.observe(look(status(index=VdoIndex.CLOSED))).findings[0]
    assert found.data == IndexData(VdoIndex.CLOSED)
    rows = {row.type: row for row in VDO.conditions}
    assert getattr(rows["vdo.index-offline"], "after", None) == 30


def test_gauge() -> None:
    gauges = VDO.observe(look(status())).gauges
    assert [(g.type, g.used, g.total) for g in gauges] == [("vdo.usage", 1_048_998, 1_572_864)]


def test_looks_at_another_variant_are_nothing() -> None:
    other = Seen("vdo", Sectors(0), Sectors(8), EmptyStatus())
    assert VDO.observe(other) == Observation()


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (Stats(), "stats"),
        (Config(), "config"),
        (Compression(on=True), "compression on"),
        (Compression(on=False), "compression off"),
        (Dump(), "dump"),
        (Dump(("vdo", "queues")), "dump vdo queues"),
        (DumpOnShutdown(), "dump-on-shutdown"),
        (IndexClose(), "index-close"),
        (IndexCreate(), "index-create"),
        (IndexDisable(), "index-disable"),
        (IndexEnable(), "index-enable"),
    ],
)
def test_messages(message: TargetMessage, text: str) -> None:
    assert message.format() == text


def test_a_dump_names_what_there_is() -> None:
    with pytest.raises(InvalidMessageError, match="no part 'memory'"):
        Dump(("memory",)).format()
