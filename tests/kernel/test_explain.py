"""`dmwatch explain` on what dmsetup prints of a machine full of devices, without rights."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dmwatch.cli import run
from dmwatch.dm import DeviceMapper
from dmwatch.ioctl.abi import Flags
from dmwatch.table import KEYED_TYPES, TargetLine
from dmwatch.targets import TargetMessage, find, load_all, plain
from dmwatch.targets.thin_pool import CreateThin

Dmsetup = Callable[..., str]
Loop = Callable[[float], str]
Name = Callable[[str], str]
Capture = pytest.CaptureFixture[str]
Found = list[dict[str, Any]]

pytestmark = pytest.mark.timeout(300)
NOBODY = 65534
KEY = "c0ffee5eed" * 6 + "abcd"
# as many as a machine with a few hundred volumes has, of what costs nothing to make
CROWD = 150


class Machine:
    """Devices of many targets, each of one line unless said otherwise."""

    def __init__(self, dm: DeviceMapper, name: Name, loop: Loop) -> None:
        self._dm, self._name, self.disk = dm, name, loop(64)
        self.names: list[str] = []

    def add(self, stem: str, *lines: tuple[int, str, str]) -> str:
        """Give the path of a new device: length, type and text of each line."""
        name, start, table = self._name(stem), 0, []
        self.names.append(name)
        number = self._dm.create(name).number
        for length, kind, text in lines:
            table.append(TargetLine(start, length, kind, text))
            start += length
        if table:
            self._dm.load(name, table)
            self._dm.resume(name)
        return f"/dev/dm-{number.minor}"

    def send(self, message: TargetMessage) -> None:
        self._dm.message(self.names[-1], message.format())

    def texts(self, name: str) -> tuple[TargetLine, ...]:
        return self._dm.table_status(name, flags=Flags.NOFLUSH).lines


@pytest.fixture
def machine(
    loop: Loop, device_name: Name, need_target: Callable[[str], None], sweep: Callable[[], object]
) -> Iterator[Machine]:
    for kind in ("zero", "snapshot-origin", "delay", "crypt", "thin-pool", "raid"):
        need_target(kind)
    with DeviceMapper() as dm:
        made = Machine(dm, device_name, loop)
        fill(made)
        yield made
    sweep()


def fill(machine: Machine) -> None:
    disk = machine.disk
    machine.add("empty")
    machine.add("mixed", (8, "zero", ""), (8, "error", ""), (2048, "linear", f"{disk} 0"))
    machine.add("striped", (2048, "striped", f"2 8 {disk} 0 {disk} 2048"))
    machine.add("origin", (2048, "snapshot-origin", disk))
    machine.add("delay", (2048, "delay", f"{disk} 0 0"))
    machine.add("crypt", (2048, "crypt", f"aes-xts-plain64 {KEY} 0 {disk} 4096"))
    legs = [machine.add(f"leg{n}", (8192, "linear", f"{disk} {8192 * (n + 1)}")) for n in (0, 1)]
    machine.add("raid", (8192, "raid", f"raid1 2 0 nosync 2 - {legs[0]} - {legs[1]}"))
    metadata = machine.add("metadata", (8192, "linear", f"{disk} 32768"))
    data = machine.add("data", (16384, "linear", f"{disk} 49152"))
    pool = machine.add("pool", (16384, "thin-pool", f"{metadata} {data} 128 0"))
    machine.send(CreateThin(0))
    machine.add("thin", (65536, "thin", f"{pool} 0"))
    for number in range(CROWD):
        machine.add(f"crowd{number}", (8, "zero", ""))


@contextmanager
def as_nobody() -> Iterator[None]:
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def explain(text: str, capsys: Capture, *options: str) -> Found:
    """What a user without rights is told of a text."""
    load_all()  # imports what this user could not read in this lab
    run(["explain", os.devnull])
    capsys.readouterr()
    with tempfile.NamedTemporaryFile("w", dir="/dev/shm") as file:
        file.write(text)
        file.flush()
        os.fchmod(file.fileno(), 0o644)
        with as_nobody():
            assert run(["explain", file.name, "--json", *options]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found: Found = json.loads(out)
    return found


def test_every_line_of_a_full_machine_is_read_as_the_library_reads_it(
    machine: Machine, dmsetup: Dmsetup, capsys: Capture
) -> None:
    printed = dmsetup("status", "--noflush")
    found = explain(printed, capsys)
    assert len(found) == len([line for line in printed.splitlines() if line.strip()])
    assert [line for line in found if line["error"]] == []
    for name in machine.names:
        shown = [line for line in found if line["name"] == name]
        lines = machine.texts(name)
        assert [(s["start"], s["length"], s["type"], s["status"]) for s in shown] == [
            (at.start, at.length, at.type, plain(find(at.type).status(at.text))) for at in lines
        ] or (not lines and [s["type"] for s in shown] == [None])
    told = {(line["type"], c["type"]) for line in found for c in line["conditions"]}
    assert ("error", "device.error-target") in told


def test_every_table_is_read_and_no_key_shown(
    machine: Machine, dmsetup: Dmsetup, capsys: Capture
) -> None:
    printed = dmsetup("table", "--showkeys")
    assert KEY in printed
    for options in ((), ("--table",)):
        found = explain(printed, capsys, *options)
        assert KEY not in json.dumps(found)
        assert KEY[:16] not in json.dumps(found)
        assert [line for line in found if line["error"]] == []
        tables = {line["name"]: line["table"] for line in found if line.get("table")}
        assert {n for n in machine.names if n.startswith(("thin", "pool", "crypt"))} <= set(tables)
    keyed = [line for line in found if line["type"] in KEYED_TYPES]
    assert [line["table"]["key"] for line in keyed] == [{"secret": "**********"}]
