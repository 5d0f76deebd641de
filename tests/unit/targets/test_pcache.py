from __future__ import annotations

import pytest

from dmwatch.errors import InvalidMessageError, InvalidTableError, StatusParseError, TableParseError
from dmwatch.names import DeviceNumber
from dmwatch.severity import Severity
from dmwatch.targets import EmptyStatus, Observation, Seen, find
from dmwatch.targets.pcache import GcPercent, PcachePosition, PcacheStatus, PcacheTable
from dmwatch.units import Bytes, Sectors

PCACHE = find("pcache")
CACHE, BACKING = DeviceNumber(259, 0), DeviceNumber(8, 0)
PLAIN, CHECKED = PcacheTable(CACHE, BACKING), PcacheTable(CACHE, BACKING, data_crc=True)


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("259:0 8:0 4 cache_mode writeback data_crc false", PLAIN),
        ("259:0 8:0 4 cache_mode writeback data_crc true", CHECKED),
    ],
)
def test_table_reads_and_writes(text: str, table: PcacheTable) -> None:
    assert PCACHE.table(text) == table
    assert table.format() == text


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("259:0 8:0", PLAIN),
        ("259:0 8:0 0", PLAIN),
        ("259:0 8:0 2 cache_mode writeback", PLAIN),
        ("259:0 8:0 2 data_crc true", CHECKED),
        ("259:0 8:0 4 data_crc true cache_mode writeback", CHECKED),
        ("259:0 8:0 4 cache_mode writeback crc true", CHECKED),  # what the kernel prints
    ],
)
def test_more_that_users_and_the_kernel_write(text: str, table: PcacheTable) -> None:
    assert PCACHE.table(text) == table
    assert PCACHE.table(table.format()) == table


@pytest.mark.parametrize(
    ("text", "field", "position"),
    [
        ("259:0", "backing", 2),
        ("259:0 8:0 4 crc true", "#options", 3),
        ("259:0 8:0 2 cache_mode writethrough", "cache_mode", 5),
        ("259:0 8:0 2 data_crc yes", "data_crc", 5),
        ("259:0 8:0 2 speed high", "options", 4),
        ("259:0 8:0 1 cache_mode", "cache_mode", 5),
        ("259:0 8:0 2 data_crc true more", "end", 6),
    ],
)
def test_parse_error_names_field_and_position(text: str, field: str, position: int) -> None:
    with pytest.raises(TableParseError) as caught:
        PCACHE.table(text)
    assert (caught.value.field, caught.value.position) == (field, position)


def test_check() -> None:
    with pytest.raises(InvalidTableError, match="backing must be one word"):
        PcacheTable(CACHE, "/dev/a b").format()


# constructed from dm_pcache_status: initialised, gc_percent 70 in bits 6 to 12
LINE = "0 1024 1024 38 70 1182 41:65536 40:4096 37:0"
STATUS = PcacheStatus(
    0,
    1024,
    1024,
    38,
    70,
    0x1182,
    PcachePosition(41, Bytes(65536)),
    PcachePosition(40, Bytes(4096)),
    PcachePosition(37, Bytes(0)),
)


def test_status() -> None:
    assert PCACHE.status(LINE) == STATUS
    assert PCACHE.status(LINE + " x").extra == ("x",)
    assert (STATUS.initialised, STATUS.data_crc) == (True, False)


@pytest.mark.parametrize(
    ("text", "field", "position"),
    [
        ("0x0", "superblock_flags", 1),
        ("0 1 1 1 70 2 41", "key_head", 7),
        ("0 1", "cache_segments", 3),
    ],
)
def test_status_error_names_field_and_position(text: str, field: str, position: int) -> None:
    with pytest.raises(StatusParseError) as caught:
        PCACHE.status(text)
    assert (caught.value.field, caught.value.position) == (field, position)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("1182", []), ("3", []), ("1181", [("pcache.not-initialised", Severity.ERROR)])],
)
def test_what_stands(flags: str, expected: list[tuple[str, Severity]]) -> None:
    status = PCACHE.status(LINE.replace("1182", flags))
    observed = PCACHE.observe(Seen("pcache", Sectors(0), Sectors(8), status))
    assert [(finding.type, finding.severity) for finding in observed.findings] == expected
    assert [(g.type, g.used, g.total) for g in observed.gauges] == [("pcache.usage", 38, 1024)]


def test_looks_at_another_variant_are_nothing() -> None:
    for status in (None, EmptyStatus()):
        assert PCACHE.observe(Seen("pcache", Sectors(0), Sectors(8), status)) == Observation()


def test_messages() -> None:
    assert GcPercent(70).format() == "gc_percent 70"
    with pytest.raises(InvalidMessageError, match="0 to 90"):
        GcPercent(91).format()
