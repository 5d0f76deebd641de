"""integrity on a real kernel: its modes, mismatches, recalculation, keyed hashes."""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dmwatch.names import DeviceNumber
from dmwatch.severity import Severity
from dmwatch.targets import Secret, Seen, find
from dmwatch.targets.integrity import (
    Algorithm,
    IntegrityMode,
    IntegrityOption,
    IntegrityStatus,
    IntegrityTable,
    MismatchesData,
)
from dmwatch.targets.keyed import HexKey, Option
from dmwatch.units import Bytes, Sectors

pytestmark = pytest.mark.timeout(120)

Dmsetup = Callable[..., str]
Loop = Callable[[float], str]
Name = Callable[[str], str]
Live = Callable[[IntegrityTable], str]

INTEGRITY = find("integrity")
SIZE_MIB = 4
CRC = Algorithm("internal_hash", "crc32c")
MODES = [IntegrityMode.JOURNAL, IntegrityMode.BITMAP, IntegrityMode.DIRECT]


def number(path: str) -> DeviceNumber:
    node = Path(path).stat().st_rdev
    return DeviceNumber(os.major(node), os.minor(node))


def text_of(dmsetup: Dmsetup, what: str, name: str) -> str:
    options = ["--showkeys"] if what == "table" else ["--noflush"]
    return dmsetup(what, *options, name).strip().split(maxsplit=3)[3]


def load(dmsetup: Dmsetup, name: str, table: IntegrityTable, length: int = 8) -> None:
    line = f"0 {length} integrity {table.format()}\n"
    dmsetup("reload", name, standard_input=line)
    dmsetup("suspend", name)
    dmsetup("resume", name)


@pytest.fixture
def path(loop: Loop, need_target: Callable[[str], None]) -> str:
    need_target("integrity")
    return loop(SIZE_MIB)


@pytest.fixture
def live(dmsetup: Dmsetup, device_name: Name) -> Iterator[Live]:
    """live(table) -> the name of a device with it, as large as the target offers.

    A target of 8 sectors makes the kernel format the zeroed device and say how much it offers.
    """
    names: list[str] = []

    def make(table: IntegrityTable) -> str:
        name = device_name("integrity")
        line = f"0 8 integrity {table.format()}\n"
        dmsetup("create", name, standard_input=line)
        names.append(name)
        provided = look(dmsetup, name).provided
        load(dmsetup, name, table, int(provided))
        return name

    yield make
    for name in names:
        dmsetup("remove", name)


def look(dmsetup: Dmsetup, name: str) -> IntegrityStatus:
    status = INTEGRITY.status(text_of(dmsetup, "status", name))
    assert isinstance(status, IntegrityStatus)
    return status


def seen(status: IntegrityStatus) -> Seen:
    return Seen("integrity", Sectors(0), status.provided, status)


def printed(dmsetup: Dmsetup, name: str) -> IntegrityTable:
    table = INTEGRITY.table(text_of(dmsetup, "table", name))
    assert isinstance(table, IntegrityTable)
    return table


def table_of(
    path: str, *options: IntegrityOption, mode: IntegrityMode = IntegrityMode.JOURNAL
) -> IntegrityTable:
    return IntegrityTable(number(path), Sectors(0), None, mode, options)


def settled(dmsetup: Dmsetup, name: str) -> IntegrityStatus:
    """The status once nothing is recalculated any more."""
    deadline = time.monotonic() + 60
    while (status := look(dmsetup, name)).recalculating:
        assert time.monotonic() < deadline, status
        time.sleep(0.2)
    return status


@pytest.mark.parametrize("mode", MODES)
def test_a_table_read_back_loads_again(
    dmsetup: Dmsetup, live: Live, path: str, mode: IntegrityMode
) -> None:
    table = table_of(path, Option("recalculate"), CRC, mode=mode)
    name = live(table)
    first = printed(dmsetup, name)
    assert (first.device, first.mode, first.tag_size) == (number(path), mode, Bytes(4))
    assert set(table.options) <= set(first.options)
    load(dmsetup, name, first, int(look(dmsetup, name).provided))
    assert printed(dmsetup, name) == first


def test_keys_are_read_and_written(dmsetup: Dmsetup, live: Live, path: str) -> None:
    digits = secrets.token_hex(32)
    options = (
        Algorithm("internal_hash", "hmac(sha256)", HexKey(Secret(digits))),
        Algorithm("journal_crypt", "ctr(aes)", HexKey(Secret(digits))),
        Algorithm("journal_mac", "hmac(sha256)", HexKey(Secret(digits))),
    )
    name = live(table_of(path, Option("block_size", "4096"), *options))
    table = printed(dmsetup, name)
    assert table.options[-3:] == options
    assert Option("block_size", "4096") in table.options
    assert table.tag_size == Bytes(32)
    assert digits not in repr(table)
    load(dmsetup, name, table)
    assert printed(dmsetup, name) == table


def test_a_recalculation_begins_and_ends(dmsetup: Dmsetup, live: Live, path: str) -> None:
    name = live(table_of(path, CRC))
    before = look(dmsetup, name)
    assert (before.mismatches, before.recalculated) == (0, None)
    load(dmsetup, name, table_of(path, Option("recalculate"), CRC), int(before.provided))
    after = settled(dmsetup, name)
    assert after.recalculated == after.provided == before.provided
    moments = INTEGRITY.moments(seen(before), seen(after))
    assert [(moment.type, moment.severity) for moment in moments] == [
        ("integrity.recalculated", Severity.NOTICE)
    ]
    assert INTEGRITY.moments(seen(after), seen(look(dmsetup, name))) == ()


def dd(*arguments: str) -> int:
    done = subprocess.run(
        ["dd", "status=none", "bs=4k", *arguments], check=False, capture_output=True, timeout=60
    )
    return done.returncode


@pytest.mark.parametrize("mode", [IntegrityMode.DIRECT, IntegrityMode.BITMAP])
def test_mismatches_are_counted_and_forgotten(
    dmsetup: Dmsetup, live: Live, path: str, mode: IntegrityMode
) -> None:
    table = table_of(path, Option("recalculate"), CRC, mode=mode)
    name = live(table)
    status = settled(dmsetup, name)
    assert INTEGRITY.observe(seen(status)).findings == ()
    # the last data lies at the end of the device below
    end = SIZE_MIB * 256
    assert dd("if=/dev/urandom", f"of={path}", f"seek={end - 8}", "count=8", "oflag=direct") == 0
    last = int(status.provided) // 8
    assert dd(f"if=/dev/mapper/{name}", "of=/dev/null", f"skip={last - 1}", "iflag=direct") == 1
    corrupted = look(dmsetup, name)
    assert corrupted.mismatches > 0
    findings = INTEGRITY.observe(seen(corrupted)).findings
    assert [(f.type, f.severity, f.data) for f in findings] == [
        ("integrity.mismatches", Severity.ERROR, MismatchesData(corrupted.mismatches))
    ]
    load(dmsetup, name, table, int(status.provided))
    assert look(dmsetup, name).mismatches == 0


REFUSED = [
    "{device} 0 0 J 0",
    "{device} 0 256 J 1 internal_hash:crc32c",
    "{device} 0 - J 0",
    "{device} 0 4 B 0",
    "{device} 0 4 J 2 internal_hash:crc32c block_size:1000",
    "{device} 0 4 J 2 internal_hash:crc32c block_size:8192",
    "{device} 0 4 J 2 internal_hash:crc32c journal_watermark:101",
    "{device} 0 4 J 2 internal_hash:crc32c faster",
    "{device} 0 4 J 1 internal_hash:hmac(sha256):abc",
    "{device} 0 4 J 1 allow_discards",
    "{device} 0 4 J 1 recalculate",
]


def test_what_check_refuses_the_kernel_refuses(
    dmsetup: Dmsetup, device_name: Name, path: str
) -> None:
    for text in REFUSED:
        written = text.format(device=number(path))
        with pytest.raises(ValueError, match=r"^integrity: "):
            INTEGRITY.table(written).format()
        with pytest.raises(AssertionError):
            dmsetup("create", device_name("no"), standard_input=f"0 8 integrity {written}\n")
