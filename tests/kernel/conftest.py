"""Kernel tests run in the lab only, on devices whose names end in `-dmwatch-test`.

Outside the lab each is skipped with the reason; where the lab is required (CI=true or
DMWATCH_REQUIRE_LAB=1) that is a failure. `dmsetup`, or the library that it is made of, is the
second witness: it shares no code with us.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import itertools
import os
import subprocess
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import witness

SUFFIX = "-dmwatch-test"
ABSENT = Path(__file__).with_name("absent.toml")
# Targets that live in a module of another name, with the modules that they load on first use.
MODULES = {
    "cache": ("dm-cache", "dm-cache-smq"),
    "multipath": ("dm-multipath", "dm-round-robin", "dm-queue-length", "dm-service-time"),
    "thin": ("dm-thin-pool",),
    "unstriped": ("dm-unstripe",),
}
LOOP_SET_FD, LOOP_CLR_FD, LOOP_CTL_GET_FREE = 0x4C00, 0x4C01, 0x4C82
BUILT_IN = frozenset({"error", "linear", "striped"})

library = witness.Library()

Dmsetup = Callable[..., str]


# Only in the lab


def why_not_the_lab() -> str | None:
    """None in a guest of the lab, else what is missing."""
    if os.environ.get("DMWATCH_LAB") != "1":
        return "kernel tests run in the lab only: make test"
    if "virtme" not in Path("/proc/cmdline").read_text():
        return "DMWATCH_LAB=1 is set but this is no virtme guest: make test"
    if not Path("/dev/mapper/control").is_char_device():
        return "the lab has no /dev/mapper/control"
    return None


def lab_is_required() -> bool:
    return os.environ.get("DMWATCH_REQUIRE_LAB") == "1" or os.environ.get("CI") == "true"


def pytest_runtest_setup() -> None:
    reason = why_not_the_lab()
    if reason is None:
        return
    if lab_is_required():
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


# The second witness


def run_dmsetup(*arguments: str, check: bool = True, standard_input: str = "") -> str:
    """dmsetup's standard output; its standard error stands in the exception."""
    printed, refused = library.run(arguments, standard_input)
    if printed is None and refused is None:
        printed, refused = witness.program(arguments, standard_input)
    if check and refused is not None:
        raise AssertionError(f"dmsetup {' '.join(arguments)}: {refused}")
    return printed or ""


@pytest.fixture(scope="session", autouse=True)
def library_ends() -> Iterator[None]:
    yield
    library.end()


@pytest.fixture
def dmsetup() -> Dmsetup:
    """dmsetup(*arguments, check=True, standard_input="") -> its standard output."""
    return run_dmsetup


# Nothing is left behind


def marked_devices() -> list[str]:
    lines = run_dmsetup("info", "-c", "--noheadings", "-o", "name").splitlines()
    return [name for name in map(str.strip, lines) if name.endswith(SUFFIX)]


def sweep() -> list[str]:
    """Remove every marked device, the ones on top first; give those that were found."""
    found = left = marked_devices()
    while left:
        for name in left:
            run_dmsetup("remove", name, check=False)
        before, left = left, marked_devices()
        if left == before:
            _break(left)
            left = marked_devices()
            break
    assert not left, f"devices that cannot be removed: {left}"
    return found


def _break(names: list[str]) -> None:
    """Let hanging I/O fail: an error table in place of what they have, then remove."""
    for name in names:
        run_dmsetup("wipe_table", name, check=False)
    for name in names:
        run_dmsetup("remove", "--force", name, check=False)


@pytest.fixture(name="sweep")
def the_sweep() -> Callable[[], list[str]]:
    """sweep() -> the marked devices that were there, removed now."""
    return sweep


@pytest.fixture(scope="session")
def clean_lab() -> None:
    sweep()


@pytest.fixture(autouse=True)
def nothing_left(clean_lab: None) -> Iterator[None]:
    """A test that leaves a marked device behind fails; the next one finds a clean lab."""
    yield
    left = sweep()
    if left:
        subprocess.run(["losetup", "-D"], check=False)
        pytest.fail(f"left behind: {' '.join(left)}", pytrace=False)


# What a test builds on


@pytest.fixture
def device_name() -> Callable[[str], str]:
    """device_name(stem) -> a name of this run alone, marked for the sweep."""
    numbers = itertools.count(1)
    return lambda stem: f"{stem}-{next(numbers)}{SUFFIX}"


@pytest.fixture
def loop() -> Iterator[Callable[[float], str]]:
    """loop(size_mib) -> /dev/loopN over a sparse file in memory."""
    with contextlib.ExitStack() as made:

        def make(size_mib: float) -> str:
            image = made.enter_context(tempfile.TemporaryFile(dir="/dev/shm"))
            image.truncate(int(size_mib * 2**20))
            return made.enter_context(_attached(image.fileno()))

        yield make


@contextlib.contextmanager
def _attached(image: int) -> Iterator[str]:
    """A loop device over a file: losetup's work, without the time to start it."""
    with Path("/dev/loop-control").open() as control:
        device = Path(f"/dev/loop{fcntl.ioctl(control, LOOP_CTL_GET_FREE)}")
    with device.open("r+b", buffering=0) as opened:  # not for writing, it would be read-only
        fcntl.ioctl(opened, LOOP_SET_FD, image)
    yield str(device)
    with device.open("rb", buffering=0) as opened:
        fcntl.ioctl(opened, LOOP_CLR_FD)


# Targets that a kernel lacks


def absent_targets(release: str) -> list[str]:
    """What absent.toml lists for this kernel: the table whose name is the start of its release."""
    tables: dict[str, list[str]] = tomllib.loads(ABSENT.read_text())
    return [
        target
        for series, targets in tables.items()
        if release == series or release.startswith((f"{series}.", f"{series}-"))
        for target in targets
    ]


@functools.cache
def load_target(name: str) -> bool:
    """Load the target's modules; whether the kernel then knows it."""
    if name not in BUILT_IN:
        for module in MODULES.get(name, (f"dm-{name}",)):
            subprocess.run(["modprobe", "-q", module], check=False, timeout=60)
    known = run_dmsetup("targets").splitlines()
    return any(line.split()[0] == name for line in known if line)


@pytest.fixture
def present_but_listed() -> list[str]:
    """What absent.toml calls absent and this kernel has."""
    return [target for target in absent_targets(os.uname().release) if load_target(target)]


@pytest.fixture(scope="session")
def need_target() -> Callable[[str], None]:
    """need_target(name): have it, or skip where absent.toml lists it, or fail."""

    def need(name: str) -> None:
        if load_target(name):
            return
        release = os.uname().release
        if name in absent_targets(release):
            pytest.skip(f"absent.toml: Linux {release} has no target {name}")
        pytest.fail(f"Linux {release} has no target {name}, absent.toml says it has", pytrace=False)

    return need
