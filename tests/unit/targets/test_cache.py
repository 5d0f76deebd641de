from __future__ import annotations

from dataclasses import replace

import pytest

from dmwatch.errors import InvalidMessageError, InvalidTableError, StatusParseError, TableParseError
from dmwatch.monitor.conditions import essence
from dmwatch.names import DeviceNumber
from dmwatch.severity import Severity
from dmwatch.targets import Gauge, Seen, TargetMessage, find
from dmwatch.targets.cache import (
    CacheError,
    CacheFail,
    CacheMetadataMode,
    CacheMode,
    CacheTable,
    CacheWorking,
    InvalidateCblocks,
    MigrationThreshold,
    PolicySetting,
)
from dmwatch.targets.cache.watch import DirtyData, ModeData
from dmwatch.units import DataBlocks, MetadataBlocks, Sectors

CACHE = find("cache")
DEVICES = (DeviceNumber(254, 0), DeviceNumber(254, 1), DeviceNumber(254, 2))
BLOCK = Sectors(128)
BACK = ("writeback",)


@pytest.mark.parity("B5")
@pytest.mark.parity("B21")
@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("254:0 254:1 254:2 128 1 writeback smq 0", CacheTable(*DEVICES, BLOCK, BACK, "smq")),
        (
            "254:0 254:1 254:2 128 1 writeback default 2 migration_threshold 4096",
            CacheTable(*DEVICES, BLOCK, BACK, "default", (("migration_threshold", "4096"),)),
        ),
        (
            "254:0 254:1 254:2 128 3 metadata2 writethrough no_discard_passdown smq 0",
            CacheTable(
                *DEVICES, BLOCK, ("metadata2", "writethrough", "no_discard_passdown"), "smq"
            ),
        ),
        (
            "/dev/m /dev/c /dev/o 64 0 mq 4 sequential_threshold 1 migration_threshold 2 junk",
            CacheTable(
                "/dev/m",
                "/dev/c",
                "/dev/o",
                Sectors(64),
                (),
                "mq",
                (("sequential_threshold", "1"), ("migration_threshold", "2")),
                ("junk",),
            ),
        ),
        (
            "254:0 254:1 254:2 2097152 1 WriteThrough other 2 knob on",
            CacheTable(*DEVICES, Sectors(2097152), ("WriteThrough",), "other", (("knob", "on"),)),
        ),
    ],
)
def test_table_reads_and_writes(text: str, table: CacheTable) -> None:
    assert CACHE.table(text) == table
    assert table.format() == text


@pytest.mark.parametrize(
    ("features", "mode"),
    [
        ((), CacheMode.WRITEBACK),
        (("metadata2", "PassThrough"), CacheMode.PASSTHROUGH),
        (("writethrough",), CacheMode.WRITETHROUGH),
    ],
)
def test_mode_of_a_table(features: tuple[str, ...], mode: CacheMode) -> None:
    assert CacheTable(*DEVICES, BLOCK, features, "smq").mode is mode


@pytest.mark.parity("B5")
@pytest.mark.parametrize(
    ("text", "field", "position"),
    [
        ("254:0 254:1 254:2 128", "#features", 5),
        ("254:0 254:1 254:2 128 0", "policy", 6),
        ("254:0 254:1 254:2 128 0 smq", "settings", 7),
        ("254:0 254:1 254:2 128 9 writeback smq 0", "#features", 5),
        ("254:0 254:1 254:2 128 0 smq 1 migration_threshold", "settings", 7),
    ],
)
def test_table_errors(text: str, field: str, position: int) -> None:
    with pytest.raises(TableParseError) as caught:
        CACHE.table(text)
    assert (caught.value.field, caught.value.position) == (field, position)


GOOD = CacheTable(*DEVICES, BLOCK, BACK, "smq")


@pytest.mark.parametrize(
    ("table", "field"),
    [
        (replace(GOOD, block_size=Sectors(32)), "block_size"),
        (replace(GOOD, block_size=Sectors(96)), "block_size"),
        (replace(GOOD, block_size=Sectors(4194304)), "block_size"),
        (replace(GOOD, cache="/dev/a b"), "cache"),
        (replace(GOOD, policy=""), "policy"),
        (replace(GOOD, features=("writearound",)), "features"),
        (replace(GOOD, features=("writeback", "writethrough")), "features"),
        (replace(GOOD, features=("metadata2",) * 4), "features"),
        (replace(GOOD, settings=(("sequential_threshold", "1"),)), "settings"),
        (
            replace(GOOD, settings=(("migration_threshold", "-1"),)),
            "settings[migration_threshold]",
        ),
        (
            replace(GOOD, settings=(("migration_threshold", "9" * 5000),)),
            "settings[migration_threshold]",
        ),
        (replace(GOOD, settings=(("migration_threshold", "1"),) * 513), "settings"),
        (replace(GOOD, settings=(("a b", "1"),)), "settings"),
        (replace(GOOD, policy="other", settings=(("a", ""),)), "settings[a]"),
        (replace(GOOD, ignored=(" ",)), "ignored"),
    ],
)
def test_rules(table: CacheTable, field: str) -> None:
    with pytest.raises(InvalidTableError) as caught:
        table.format()
    assert caught.value.field == field


WORKING = CacheWorking(
    metadata_block=Sectors(8),
    metadata_used=MetadataBlocks(9),
    metadata_total=MetadataBlocks(1024),
    block_size=Sectors(128),
    cache_used=DataBlocks(64),
    cache_total=DataBlocks(256),
    read_hits=1,
    read_misses=2,
    write_hits=128,
    write_misses=3,
    demotions=4,
    promotions=64,
    dirty=DataBlocks(60),
    features=("writeback", "no_discard_passdown"),
    core_settings=(("migration_threshold", "2048"),),
    policy="smq",
    policy_settings=(),
    metadata_mode=CacheMetadataMode.READ_WRITE,
    needs_check=False,
)
TEXT = (
    "8 9/1024 128 64/256 1 2 128 3 4 64 60 2 writeback no_discard_passdown "
    "2 migration_threshold 2048 smq 0 rw - "
)
MQ = (
    "mq 10 random_threshold 0 sequential_threshold 0 discard_promote_adjustment 0 "
    "read_promote_adjustment 0 write_promote_adjustment 0"
)
MQ_SETTINGS = tuple(
    (name, "0")
    for name in (
        "random_threshold",
        "sequential_threshold",
        "discard_promote_adjustment",
        "read_promote_adjustment",
        "write_promote_adjustment",
    )
)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (TEXT, WORKING),
        (TEXT.replace("smq 0", MQ), replace(WORKING, policy="mq", policy_settings=MQ_SETTINGS)),
        (
            TEXT.replace("rw -", "ro needs_check"),
            replace(WORKING, metadata_mode=CacheMetadataMode.READ_ONLY, needs_check=True),
        ),
        (TEXT + "new", replace(WORKING, extra=("new",))),
        ("Fail", CacheFail()),
        ("Error", CacheError()),
    ],
)
def test_status(text: str, status: object) -> None:
    assert CACHE.status(text) == status


@pytest.mark.parity("B5")
@pytest.mark.parametrize(
    ("text", "field", "position"),
    [
        ("8 9/1024 128 64 0", "cache", 4),
        (TEXT.replace("rw", "wr"), "metadata_mode", 20),
        (TEXT.replace("2 migration", "3 migration"), "core_settings", 15),
    ],
)
def test_status_errors(text: str, field: str, position: int) -> None:
    with pytest.raises(StatusParseError) as caught:
        CACHE.status(text)
    assert (caught.value.field, caught.value.position) == (field, position)


@pytest.mark.parametrize(
    ("word", "mode"),
    [("writeback", CacheMode.WRITEBACK), ("passthrough", CacheMode.PASSTHROUGH), ("unknown", None)],
)
def test_mode_of_a_status(word: str, mode: CacheMode | None) -> None:
    status = CACHE.status(TEXT.replace("writeback", word))
    assert isinstance(status, CacheWorking)
    assert status.mode is mode


def look(text: str | None) -> Seen:
    status = None if text is None else CACHE.status(text)
    return Seen("cache", Sectors(0), Sectors(65536), status)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TEXT, {}),
        (TEXT.replace("rw -", "ro -"), {"cache.read-only": Severity.ERROR}),
        (TEXT.replace("rw -", "rw needs_check"), {"cache.needs-check": Severity.ERROR}),
        (
            TEXT.replace("rw -", "ro needs_check"),
            {"cache.read-only": Severity.ERROR, "cache.needs-check": Severity.ERROR},
        ),
        ("Fail", {"cache.failed": Severity.CRITICAL}),
        ("Error", {"cache.unreadable": Severity.ERROR}),
        (None, {}),
    ],
)
def test_what_stands(text: str | None, expected: dict[str, Severity]) -> None:
    found = CACHE.observe(look(text)).findings
    assert {f.type: f.severity for f in found} == expected


def test_read_only_says_what_is_dirty() -> None:
    (finding,) = CACHE.observe(look(TEXT.replace("rw -", "ro -"))).findings
    assert finding.data == DirtyData(CacheMode.WRITEBACK, DataBlocks(60))


def test_read_only_does_not_change_with_every_write() -> None:
    text = TEXT.replace("rw -", "ro needs_check")
    fewer = text.replace(" 60 2 ", " 59 2 ")
    assert fewer != text
    old, new = (CACHE.observe(look(status)).findings for status in (text, fewer))
    assert [found.data for found in old] != [found.data for found in new]
    assert [essence(found.data) for found in old] == [essence(found.data) for found in new]


def test_gauges() -> None:
    assert CACHE.observe(look(TEXT)).gauges == (
        Gauge("cache.metadata-usage", 9, 1024, "metadata blocks"),
        Gauge("cache.dirty", 60, 256, "cache blocks"),
    )
    assert [row.rungs for row in CACHE.conditions if row.type == "cache.dirty"] == [()]  # type: ignore[union-attr]


CLEAN = TEXT.replace("64 60 2", "64 0 2")
THROUGH = CLEAN.replace("writeback", "writethrough")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (TEXT, CLEAN, ["cache.clean"]),
        (CLEAN, CLEAN, []),
        (CLEAN, TEXT, []),
        (CLEAN, THROUGH, ["cache.mode-changed"]),
        (TEXT, THROUGH, ["cache.clean", "cache.mode-changed"]),
        (CLEAN, CLEAN.replace("writeback", "unknown"), []),
        (TEXT, TEXT.replace("rw", "ro"), []),
        (TEXT, "Fail", []),
        ("Error", CLEAN, []),
        (None, CLEAN, []),
        (TEXT, None, []),
    ],
)
def test_moments(before: str | None, after: str | None, expected: object) -> None:
    assert [moment.type for moment in CACHE.moments(look(before), look(after))] == expected


def test_moments_have_severity_and_data() -> None:
    clean, changed = CACHE.moments(look(TEXT), look(THROUGH))
    assert (clean.severity, changed.severity) == (Severity.INFO, Severity.NOTICE)
    assert changed.data == ModeData(CacheMode.WRITEBACK, CacheMode.WRITETHROUGH)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (MigrationThreshold(Sectors(4096)), "migration_threshold 4096"),
        (PolicySetting("sequential_threshold", 0), "sequential_threshold 0"),
        (PolicySetting("a b", 1), "a\\ b 1"),
        (InvalidateCblocks(()), "invalidate_cblocks"),
        (
            InvalidateCblocks(((DataBlocks(0), DataBlocks(1)), (DataBlocks(7), DataBlocks(9)))),
            "invalidate_cblocks 0-1 7-9",
        ),
    ],
)
def test_messages(message: TargetMessage, text: str) -> None:
    assert message.format() == text


@pytest.mark.parametrize(
    "message",
    [
        MigrationThreshold(Sectors(1 << 64)),
        PolicySetting("", 1),
        PolicySetting("Invalidate_cblocks", 1),
        PolicySetting("@stats_list", 1),
        PolicySetting("a", -1),
        InvalidateCblocks(((DataBlocks(3), DataBlocks(3)),)),
        InvalidateCblocks(((DataBlocks(3), DataBlocks(1 << 32)),)),
    ],
)
def test_message_rules(message: TargetMessage) -> None:
    with pytest.raises(InvalidMessageError):
        message.format()
