"""clone and vdo, which only newer kernels have. Part of the long tests."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from dmwatch.targets.vdo import IndexDisable, IndexEnable

Loop = Callable[[float], str]
Need = Callable[[str], None]
Watching = Any
MIB = 2048

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.environ.get("DMWATCH_LONG") != "1", reason="make test-long"),
]


class Clone:
    """A clone of 8 MiB that copies nothing by itself, and its metadata device, which can fail."""

    def __init__(self, bench: Any, loop: Loop) -> None:
        self.meta = bench.linear("meta", loop(4), 4 * MIB)
        words = f"{self.meta.path} {loop(8)} {loop(8)} 8 1 no_hydration"
        self.device = bench.make("clone", f"0 {8 * MIB} clone {words}")
        self.name: str = self.device.name
        self.device.write(0)

    def write_in_vain(self) -> None:
        self.device.write(3)
        with pytest.raises(OSError, match="Input/output"):
            self.device.flush()


@pytest.fixture
def clone(bench: Any, loop: Loop, need_target: Need) -> Clone:
    need_target("clone")
    return Clone(bench, loop)


def test_a_clone_whose_metadata_cannot_be_written(clone: Clone, watching: Watching) -> None:
    with watching() as watched:
        clone.meta.fail_writes()
        clone.write_in_vain()
        told = watched.raised("clone.read-only", clone.name)
        assert (told.severity, told.data["regions"]) == ("error", 2048)


def test_a_clone_whose_metadata_is_lost(clone: Clone, watching: Watching) -> None:
    usage = {"clone.metadata-usage": {"rungs": [{"at": 0.1, "severity": "notice"}]}}
    with watching(conditions=usage) as watched:
        assert watched.raised("clone.metadata-usage", clone.name).initial
        clone.meta.fail()
        clone.write_in_vain()
        assert watched.raised("clone.failed", clone.name).severity == "critical"
        watched.cleared("clone.metadata-usage", clone.name, reason="superseded")


class Vdo:
    """A vdo over a linear device, which can fail. This kernel formats it by itself."""

    def __init__(self, bench: Any, loop: Loop) -> None:
        self._bench = bench
        self._disk = loop(6144)
        self.below = bench.linear("below", self._disk, 6144 * MIB)
        words = f"V4 {self.below.path} 1572864 4096 32768 16380"
        self.line = f"0 {1024 * MIB} vdo {words}"
        self.device = bench.make("vdo", self.line)
        self.device.until(lambda seen: seen.status.index == "online", 120)
        self.name: str = self.device.name

    def again_without_its_index(self) -> None:
        """As after a reboot with a disk whose part for the index cannot be read."""
        self._bench.drop(self.device)
        size, lost = 6144 * MIB, 2 * MIB
        lines = (
            f"0 8 linear {self._disk} 0",
            f"8 {lost} error",
            f"{8 + lost} {size - 8 - lost} linear {self._disk} {8 + lost}",
        )
        self.below.witness("load", self.below.name, standard_input="\n".join(lines))
        self.below.witness("suspend", self.below.name)
        self.below.witness("resume", self.below.name)
        self.device = self._bench.make("vdo", self.line)
        self.name = self.device.name


@pytest.fixture
def vdo(bench: Any, loop: Loop, need_target: Need, dmsetup: Callable[..., str]) -> Vdo:
    need_target("vdo")
    lines = [line.split() for line in dmsetup("targets").splitlines()]
    version = next(words[1] for words in lines if words and words[0] == "vdo")
    if tuple(map(int, version.removeprefix("v").split("."))) < (9, 2):
        pytest.skip("this kernel formats no vdo, and Debian has no vdoformat")
    return Vdo(bench, loop)


def test_a_vdo_fills_up_and_its_index_goes_and_comes(vdo: Vdo, watching: Watching) -> None:
    status = vdo.device.look().status
    used, total = int(status.used), int(status.total)
    conditions = {
        "vdo.usage": {
            "rungs": [{"at": 100 * (used + 4.5) / total, "severity": "warning"}],
            "hysteresis": 0,
        },
        "vdo.index-offline": {"after": 0},
    }
    with watching(poll_interval=1.0, conditions=conditions) as watched:
        vdo.device.message(IndexDisable())
        told = watched.raised("vdo.index-offline", vdo.name)
        assert (told.severity, told.data["index"]) == ("warning", "offline")
        vdo.device.message(IndexEnable())
        watched.cleared("vdo.index-offline", vdo.name, reason="healthy")
        with Path(vdo.device.path).open("r+b", buffering=0) as disk:
            disk.write(os.urandom(64 * 1024))
        vdo.device.flush()
        full = watched.raised("vdo.usage", vdo.name)
        assert (full.data["total"], full.data["used"] > used) == (total, True)


def test_a_vdo_whose_disk_fails_is_read_only(vdo: Vdo, watching: Watching) -> None:
    with watching(poll_interval=1.0) as watched:
        vdo.below.fail()
        deadline = time.monotonic() + 60
        while not watched.all("vdo.read-only"):
            assert time.monotonic() < deadline
            with suppress(OSError):
                vdo.device.write_and_flush(0)
        assert watched.raised("vdo.read-only", vdo.name).severity == "critical"


def test_a_vdo_whose_index_cannot_be_read(vdo: Vdo, watching: Watching) -> None:
    vdo.again_without_its_index()
    with watching(poll_interval=1.0) as watched:
        assert watched.raised("vdo.index-failed", vdo.name).severity == "error"
