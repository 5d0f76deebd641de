from __future__ import annotations

import pytest

from dmwatch.errors import InvalidTableError, StatusParseError, TableParseError
from dmwatch.names import DeviceNumber
from dmwatch.severity import Severity
from dmwatch.targets import EmptyStatus, Finding, Moment, Observation, Secret, Seen, find
from dmwatch.targets.integrity import (
    Algorithm,
    IntegrityMode,
    IntegrityOption,
    IntegrityStatus,
    IntegrityTable,
    MismatchesData,
    RecalculatedData,
)
from dmwatch.targets.keyed import HexKey, Option
from dmwatch.units import Bytes, Sectors

INTEGRITY = find("integrity")
DIGITS = "ab" * 32
DEVICE = DeviceNumber(254, 0)
CRC = Algorithm("internal_hash", "crc32c")
HMAC = Algorithm("internal_hash", "hmac(sha256)", HexKey(Secret(DIGITS)))
ADJUSTED = (
    Option("interleave_sectors", "32768"),
    Option("buffer_sectors", "128"),
    Option("journal_sectors", "176"),
    Option("journal_watermark", "50"),
    Option("commit_time", "10000"),
)


def table(
    *options: IntegrityOption,
    mode: IntegrityMode = IntegrityMode.JOURNAL,
    tag_size: int | None = 4,
) -> IntegrityTable:
    size = None if tag_size is None else Bytes(tag_size)
    return IntegrityTable(DEVICE, Sectors(0), size, mode, options)


TABLES = [
    (  # Linux 7.3
        (
            "254:0 0 4 J 6 interleave_sectors:32768 buffer_sectors:128 journal_sectors:176 "
            "journal_watermark:50 commit_time:10000 internal_hash:crc32c"
        ),
        table(*ADJUSTED, CRC),
    ),
    (  # Linux 6.1
        (
            "254:0 0 4 B 7 recalculate journal_sectors:176 interleave_sectors:32768 "
            "buffer_sectors:128 sectors_per_bit:32768 bitmap_flush_interval:10000 "
            "internal_hash:crc32c"
        ),
        table(
            Option("recalculate"),
            Option("journal_sectors", "176"),
            Option("interleave_sectors", "32768"),
            Option("buffer_sectors", "128"),
            Option("sectors_per_bit", "32768"),
            Option("bitmap_flush_interval", "10000"),
            CRC,
            mode=IntegrityMode.BITMAP,
        ),
    ),
    ("254:0 0 4 D 0", table(mode=IntegrityMode.DIRECT)),
    (
        (
            f"254:0 0 - J 4 meta_device:254:1 block_size:4096 internal_hash:hmac(sha256):{DIGITS}"
            " journal_crypt:ctr(aes):00"
        ),
        table(
            Option("meta_device", "254:1"),
            Option("block_size", "4096"),
            HMAC,
            Algorithm("journal_crypt", "ctr(aes)", HexKey(Secret("00"))),
            tag_size=None,
        ),
    ),
    (
        f"254:0 0 32 J 2 allow_discards_keyed internal_hash:hmac(sha256):{DIGITS}",
        table(Option("allow_discards_keyed"), HMAC, tag_size=32),
    ),
    ("254:0 0 4 I 1 internal_hash:crc32c", table(CRC, mode=IntegrityMode.INLINE)),
    ("254:0 0 4 R 1 fix_padding", table(Option("fix_padding"), mode=IntegrityMode.RECOVERY)),
]


@pytest.mark.parametrize(("text", "value"), TABLES)
def test_table_reads_and_writes(text: str, value: IntegrityTable) -> None:
    assert INTEGRITY.table(text) == value
    assert value.format() == text


def test_algorithms_are_found() -> None:
    assert TABLES[3][1].algorithm("internal_hash") == HMAC
    assert TABLES[3][1].algorithm("journal_mac") is None


@pytest.mark.parametrize(
    ("text", "field", "position"),
    [
        ("254:0 0 4 J", "#options", 5),
        ("254:0 x 4 J 0", "start", 2),
        ("254:0 0 x J 0", "tag_size", 3),
        ("254:0 0 4 X 0", "mode", 4),
        ("254:0 0 4 J 2 recalculate", "#options", 5),
        ("254:0 0 4 J 0 recalculate", "end", 6),
        ("254:0 0 4 J 1 internal_hash", "internal_hash", 6),
        ("254:0 0 4 J 2 recalculate journal_mac:", "journal_mac", 7),
    ],
)
def test_parse_error_names_field_and_position(text: str, field: str, position: int) -> None:
    with pytest.raises(TableParseError) as caught:
        INTEGRITY.table(text)
    assert (caught.value.field, caught.value.position) == (field, position)
    assert caught.value.text is None


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (table(CRC, tag_size=0), "tag_size must be 1 to 255"),
        (table(CRC, tag_size=256), "tag_size must be 1 to 255"),
        (table(tag_size=None), "tag_size must be given without internal_hash"),
        (table(mode=IntegrityMode.BITMAP), "mode B needs internal_hash"),
        (table(Option("recalculate")), "options need a hash: recalculate"),
        (table(Option("allow_discards")), "options need a hash: allow_discards"),
        (table(Option("allow_discards_keyed"), CRC), "need a key of internal_hash"),
        (table(Option("block_size", "256")), r"\(number 1\) must be 512 to 4096"),
        (table(Option("block_size", "1000")), "must be a power of two"),
        (table(Option("journal_watermark", "101")), "must be 0 to 100"),
        (table(Option("commit_time", "soon")), "needs a number"),
        (table(Option("recalculate", "1"), CRC), "takes no value"),
        (table(Option("meta_device")), "must name a device"),
        (table(Option("meta_device", "a b")), "must be one word"),
        (table(CRC, Option("faster")), r"\(number 2\) is not one that integrity knows"),
        (table(*[Option("fix_padding")] * 19), "can be 18 at most"),
        (table(Algorithm("other_hash", "crc32c")), "is no algorithm"),
        (table(Algorithm("internal_hash", "a:b")), "without a colon"),
        (table(mode=IntegrityMode.INLINE), "mode I needs internal_hash"),
        (
            table(CRC, Option("meta_device", "254:1"), mode=IntegrityMode.INLINE),
            "cannot have meta_device in mode I",
        ),
        (
            table(CRC, Algorithm("journal_mac", "crc32c"), mode=IntegrityMode.INLINE),
            "cannot have journal_mac in mode I",
        ),
    ],
)
def test_check_names_field_and_rule(value: IntegrityTable, rule: str) -> None:
    with pytest.raises(InvalidTableError, match=rule):
        value.format()


STATUSES = [
    ("0 32328 -", IntegrityStatus(0, Sectors(32328), None)),
    ("0 32328 0", IntegrityStatus(0, Sectors(32328), Sectors(0))),
    ("1 32328 32328", IntegrityStatus(1, Sectors(32328), Sectors(32328))),
    ("1 32328 - 7", IntegrityStatus(1, Sectors(32328), None, extra=("7",))),
]


@pytest.mark.parametrize(("text", "status"), STATUSES)
def test_status(text: str, status: IntegrityStatus) -> None:
    assert INTEGRITY.status(text) == status


def test_recalculating() -> None:
    assert [status.recalculating for _, status in STATUSES] == [False, True, False, False]


@pytest.mark.parametrize(
    ("text", "field", "position"),
    [("", "mismatches", 1), ("0 x -", "provided", 2), ("0 8", "recalculated", 3)],
)
def test_status_error_names_field_and_position(text: str, field: str, position: int) -> None:
    with pytest.raises(StatusParseError) as caught:
        INTEGRITY.status(text)
    assert (caught.value.field, caught.value.position) == (field, position)


def look(text: str | None) -> Seen:
    status = None if text is None else INTEGRITY.status(text)
    return Seen("integrity", Sectors(0), Sectors(8), status)


def test_mismatches_stand() -> None:
    assert INTEGRITY.observe(look("3 32328 -")) == Observation(
        (
            Finding(
                "integrity.mismatches",
                Severity.ERROR,
                "data did not match its checksum 3 times since the table was loaded",
                data=MismatchesData(3),
            ),
        )
    )


@pytest.mark.parametrize("text", ["0 32328 -", "0 32328 0", None])
def test_nothing_stands(text: str | None) -> None:
    assert INTEGRITY.observe(look(text)) == Observation()


@pytest.mark.parametrize(
    ("before", "after", "sectors"),
    [
        ("0 100 0", "0 100 100", 100),
        ("0 100 64", "2 100 100", 100),
        ("0 100 -", "0 100 100", 100),
        ("0 100 100", "0 200 200", 200),
        ("0 100 100", "0 100 100", None),
        ("0 100 0", "0 100 50", None),
        ("0 100 -", "0 100 -", None),
        ("0 100 100", "0 200 100", None),
        ("0 200 200", "0 100 100", None),
        ("0 100 50", "0 100 -", None),
        (None, "0 100 100", None),
        ("0 100 0", None, None),
    ],
)
def test_recalculated(before: str | None, after: str | None, sectors: int | None) -> None:
    moments = INTEGRITY.moments(look(before), look(after))
    if sectors is None:
        assert moments == ()
    else:
        assert moments == (
            Moment(
                "integrity.recalculated",
                Severity.NOTICE,
                "the checksums have been calculated anew: the whole device is checked now",
                RecalculatedData(Sectors(sectors)),
            ),
        )


def test_looks_at_another_variant_are_nothing() -> None:
    other = Seen("integrity", Sectors(0), Sectors(8), EmptyStatus())
    assert INTEGRITY.observe(other) == Observation()
    assert INTEGRITY.moments(other, other) == ()
