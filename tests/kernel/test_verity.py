"""verity on a real kernel: valid, corrupted, corrected; the uevent of a corrupted block."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dmwatch.names import DeviceNumber
from dmwatch.severity import Severity
from dmwatch.targets import Seen, find
from dmwatch.targets.verity import (
    BlockCorruptedData,
    BlockKind,
    VerityCorrupted,
    VerityFec,
    VerityStatus,
    VerityTable,
    VerityValid,
)
from dmwatch.units import Bytes, DataBlocks, Sectors

pytestmark = pytest.mark.timeout(120)

Dmsetup = Callable[..., str]
Loop = Callable[[float], str]
Name = Callable[[str], str]
Live = Callable[[VerityTable], str]

VERITY = find("verity")
BLOCKS = 256
NETLINK_KOBJECT_UEVENT = 15


def number(path: str) -> DeviceNumber:
    node = Path(path).stat().st_rdev
    return DeviceNumber(os.major(node), os.minor(node))


def text_of(dmsetup: Dmsetup, what: str, name: str) -> str:
    return dmsetup(what, "--noflush", name).strip().split(maxsplit=3)[3]


@pytest.fixture
def paths(loop: Loop, need_target: Callable[[str], None]) -> tuple[str, str]:
    """The device with random data and the one for its hashes."""
    need_target("verity")
    data, hashes = loop(1), loop(1)
    overwrite(data, 0, BLOCKS)
    return data, hashes


@pytest.fixture
def live(dmsetup: Dmsetup, device_name: Name) -> Iterator[Live]:
    """live(table) -> the name of a read-only device with it."""
    names: list[str] = []

    def make(table: VerityTable) -> str:
        name = device_name("verity")
        line = f"0 {BLOCKS * 8} verity {table.format()}\n"
        dmsetup("create", name, "--readonly", standard_input=line)
        names.append(name)
        return name

    yield make
    for name in names:
        dmsetup("remove", name)


def formatted(data: str, hashes: str, *arguments: str) -> VerityTable:
    """What veritysetup made of the data: the kernel's table for it."""
    done = subprocess.run(
        ["veritysetup", "format", data, hashes, *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = dict(re.findall(r"^([A-Za-z ]+):\s+(\S+)$", done.stdout, re.MULTILINE))
    return VerityTable(
        1,
        number(data),
        number(hashes),
        Bytes(int(said["Data block size"])),
        Bytes(int(said["Hash block size"])),
        DataBlocks(int(said["Data blocks"])),
        1,
        said["Hash algorithm"],
        said["Root hash"],
        said["Salt"],
    )


def dd(*arguments: str) -> int:
    command = ["dd", "status=none", "bs=4k", *arguments]
    return subprocess.run(command, check=False, capture_output=True, timeout=60).returncode


def overwrite(path: str, block: int, count: int = 1) -> None:
    where = (f"of={path}", f"seek={block}", f"count={count}", "oflag=direct")
    assert dd("if=/dev/urandom", *where) == 0


def read(name: str, block: int) -> int:
    where = (f"skip={block}", "count=1", "iflag=direct")
    return dd(f"if=/dev/mapper/{name}", "of=/dev/null", *where)


def look(dmsetup: Dmsetup, name: str) -> VerityStatus:
    status = VERITY.status(text_of(dmsetup, "status", name))
    assert isinstance(status, VerityValid | VerityCorrupted)
    assert status.extra == ()
    return status


def seen(status: VerityStatus) -> Seen:
    return Seen("verity", Sectors(0), Sectors(BLOCKS * 8), status)


def found(status: VerityStatus) -> list[tuple[str, Severity]]:
    return [(finding.type, finding.severity) for finding in VERITY.observe(seen(status)).findings]


OPTIONS: list[tuple[str, ...]] = [
    (),
    ("ignore_zero_blocks", "check_at_most_once"),
    ("ignore_corruption",),
    ("restart_on_corruption",),
    ("panic_on_corruption", "ignore_zero_blocks"),
]


def test_the_kernel_prints_the_tables_that_we_wrote(
    dmsetup: Dmsetup, live: Live, paths: tuple[str, str]
) -> None:
    table = formatted(*paths)
    for options in OPTIONS:
        chosen = replace(table, options=options)
        name = live(chosen)
        assert VERITY.table(text_of(dmsetup, "table", name)) == chosen
        assert isinstance(look(dmsetup, name), VerityValid)
        assert found(look(dmsetup, name)) == []
        assert read(name, 3) == 0


@pytest.fixture
def uevents() -> Iterator[Callable[[], list[dict[str, str]]]]:
    """uevents() -> those since the fixture, waiting shortly for the first."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_KOBJECT_UEVENT) as listener:
        listener.bind((0, 1))
        listener.settimeout(0.5)
        yield lambda: list(_received(listener))


def _received(listener: socket.socket) -> Iterator[dict[str, str]]:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            message = listener.recv(16384).decode()
        except TimeoutError:
            return
        yield dict(word.partition("=")[::2] for word in message.split("\0") if "=" in word)


def test_a_corrupted_block_stands_and_is_told_by_its_uevent(
    dmsetup: Dmsetup,
    live: Live,
    paths: tuple[str, str],
    uevents: Callable[[], list[dict[str, str]]],
) -> None:
    table = formatted(*paths)
    name = live(table)
    assert read(name, 17) == 0
    before = look(dmsetup, name)
    overwrite(paths[0], 17)
    uevents()
    assert read(name, 17) == 1
    told = [moment for uevent in uevents() for moment in VERITY.uevent(uevent)]
    assert {(moment.type, moment.severity, moment.data) for moment in told} == {
        (
            "verity.block-corrupted",
            Severity.CRITICAL,
            BlockCorruptedData(BlockKind.DATA, 17),
        )
    }
    after = look(dmsetup, name)
    assert isinstance(after, VerityCorrupted)
    assert found(after) == [("verity.corrupted", Severity.CRITICAL)]
    assert VERITY.moments(seen(before), seen(after)) == ()
    assert isinstance(look(dmsetup, live(table)), VerityValid)


def test_ignored_corruption_stands_too(
    dmsetup: Dmsetup, live: Live, paths: tuple[str, str]
) -> None:
    name = live(replace(formatted(*paths), options=("ignore_corruption",)))
    overwrite(paths[0], 5)
    assert read(name, 5) == 0
    assert found(look(dmsetup, name)) == [("verity.corrupted", Severity.CRITICAL)]


def test_corrected_blocks_are_told_where_the_kernel_counts_them(
    dmsetup: Dmsetup, live: Live, loop: Loop, paths: tuple[str, str]
) -> None:
    parity = loop(1)
    table = formatted(*paths, f"--fec-device={parity}", "--fec-roots=2")
    # veritysetup covers the data and all of the hash device but its superblock
    fec = VerityFec(number(parity), 2, DataBlocks(2 * BLOCKS - 1))
    table = replace(table, options=fec.words())
    if OLD:  # Debian built it without CONFIG_DM_VERITY_FEC
        with pytest.raises(AssertionError, match="failed"):
            live(table)
        return
    name = live(table)
    printed = VERITY.table(text_of(dmsetup, "table", name))
    assert printed == table
    before = look(dmsetup, name)
    overwrite(paths[0], 9)
    assert read(name, 9) == 0
    after = look(dmsetup, name)
    assert isinstance(after, VerityValid)
    assert (before.corrected is None) == (after.corrected is None)
    moments = VERITY.moments(seen(before), seen(after))
    counted = [("verity.corrected", Severity.WARNING)]
    assert [(m.type, m.severity) for m in moments] == ([] if before.corrected is None else counted)


OLD = os.uname().release.startswith("5.10.")
REFUSED = [
    ("data_block_size", "4096", "1536"),
    ("version", "1 ", "2 "),
    ("salt", " {salt}", " xyz"),
    ("root_digest", "{root} ", "00 "),
    ("options", "{salt}", "{salt} 1 faster"),
    ("options", "{salt}", "{salt} 2 ignore_corruption restart_on_corruption"),
    ("options", "{salt}", "{salt} 2 use_fec_from_device {device}"),
]


def test_what_check_refuses_the_kernel_refuses(
    dmsetup: Dmsetup, device_name: Name, paths: tuple[str, str]
) -> None:
    table = formatted(*paths)
    words = {"root": table.root_digest, "salt": table.salt, "device": table.data}
    for field, old, new in REFUSED:
        if OLD and "restart_on_corruption" in new:
            continue  # it takes the last of two modes
        text = table.format().replace(old.format(**words), new.format(**words), 1)
        with pytest.raises(ValueError, match=f"^verity: {field}"):
            VERITY.table(text).format()
        line = f"0 {BLOCKS * 8} verity {text}\n"
        with pytest.raises(AssertionError):
            dmsetup("create", device_name("no"), "--readonly", standard_input=line)
