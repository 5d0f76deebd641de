from __future__ import annotations

import pytest

from dmwatch.errors import InvalidTableError, TableParseError
from dmwatch.names import DeviceNumber
from dmwatch.targets import find
from dmwatch.targets.flakey import (
    FlakeyCorrupt,
    FlakeyDirection,
    FlakeyFault,
    FlakeyFeature,
    FlakeyRandom,
    FlakeyTable,
)
from dmwatch.units import Sectors

FLAKEY = find("flakey")
READ, WRITE = FlakeyDirection.READ, FlakeyDirection.WRITE
ERROR_READS, DROP, ERROR_WRITES = (
    FlakeyFault.ERROR_READS,
    FlakeyFault.DROP_WRITES,
    FlakeyFault.ERROR_WRITES,
)


def table(*features: FlakeyFeature, up: int = 5, down: int = 7) -> FlakeyTable:
    return FlakeyTable(DeviceNumber(254, 0), Sectors(16), up, down, features)


TABLES = [
    ("0", table()),
    ("1 drop_writes", table(DROP)),
    ("1 error_writes", table(ERROR_WRITES)),
    ("6 corrupt_bio_byte 32 r 1 0 drop_writes", table(FlakeyCorrupt(32, READ, 1, 0), DROP)),
    ("6 drop_writes corrupt_bio_byte 32 r 1 0", table(DROP, FlakeyCorrupt(32, READ, 1, 0))),
    ("2 error_reads error_writes", table(ERROR_READS, ERROR_WRITES)),
    ("5 corrupt_bio_byte 32 r 1 0", table(FlakeyCorrupt(32, READ, 1, 0))),
    (
        "6 error_reads corrupt_bio_byte 224 w 0 32",
        table(ERROR_READS, FlakeyCorrupt(224, WRITE, 0, 32)),
    ),
    (
        "4 random_write_corrupt 7 random_read_corrupt 500000000",
        table(FlakeyRandom(WRITE, 7), FlakeyRandom(READ, 500_000_000)),
    ),
]


@pytest.mark.parity(48)
@pytest.mark.parity(51)
@pytest.mark.parity(52)
@pytest.mark.parity(45)
@pytest.mark.parity(47)
@pytest.mark.parity(49)
@pytest.mark.parity(50)
@pytest.mark.parity(53)
@pytest.mark.parity("B4")
@pytest.mark.parity("B21")
@pytest.mark.parametrize(("text", "parsed"), TABLES)
def test_table_reads_and_writes(text: str, parsed: FlakeyTable) -> None:
    full = f"254:0 16 5 7 {text}"
    assert FLAKEY.table(full) == parsed
    assert parsed.format() == full


@pytest.mark.parity("B22")
@pytest.mark.parity(46)
@pytest.mark.parity(47)
@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("254:0 16 5 7", table()),
        ("254:0 16 5 7 0 ", table()),
        ("254:0 16 5 7 1 drop_writes ", table(DROP)),
        ("254:0 16 5 7 1 Drop_Writes", table(DROP)),
        ("254:0 16 5 7 5 corrupt_bio_byte 1 W 2 3", table(FlakeyCorrupt(1, WRITE, 2, 3))),
    ],
)
def test_older_kernels_and_people_write_it_so(text: str, parsed: FlakeyTable) -> None:
    assert FLAKEY.table(text) == parsed


def test_both_ways_to_say_that_all_fails() -> None:
    assert table().fails_all
    assert table(ERROR_READS, ERROR_WRITES).fails_all
    assert not table(ERROR_WRITES).fails_all


@pytest.mark.parametrize(
    ("text", "field", "position"),
    [
        ("254:0 16 5", "down", 4),
        ("254:0 16 5 7 2 drop_writes", "#features", 5),
        ("254:0 16 5 7 1 sleep", "features", 6),
        ("254:0 16 5 7 2 corrupt_bio_byte 1 w 2 3", "features", 10),
        ("254:0 16 5 7 5 corrupt_bio_byte 1 x 2 3", "features.direction", 8),
        ("254:0 16 5 7 1 drop_writes more", "end", 7),
    ],
)
def test_wrong_table(text: str, field: str, position: int) -> None:
    with pytest.raises(TableParseError) as caught:
        FLAKEY.table(text)
    assert (caught.value.field, caught.value.position) == (field, position)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (table(up=0, down=0), "up and down together must be 1"),
        (table(up=1 << 31, down=1 << 31), "up and down together must be 1 to 4294967295"),
        (table(DROP, DROP), "cannot name one twice"),
        (table(DROP, ERROR_WRITES), "cannot have drop_writes and error_writes together"),
        (
            table(ERROR_WRITES, FlakeyRandom(WRITE, 1)),
            "cannot have error_writes and corrupted writes together",
        ),
        (
            table(ERROR_READS, FlakeyCorrupt(1, READ, 0, 0)),
            "cannot have error_reads and corrupted reads together",
        ),
        (table(FlakeyCorrupt(0, READ, 0, 0)), "features.byte must be 1 to"),
        (table(FlakeyCorrupt(1, READ, 256, 0)), "features.value must be 0 to 255"),
        (table(FlakeyRandom(READ, 1_000_000_001)), "features.probability must be 0 to 1000000000"),
    ],
)
def test_what_the_kernel_would_refuse(wrong: FlakeyTable, problem: str) -> None:
    with pytest.raises(InvalidTableError, match=problem):
        wrong.format()
