"""The story of `make run`: what happens to storage, and which event of `dmwatch watch` showed it.

Runs in the lab, as root. dmsetup makes things happen, so nothing here rests on our own library. One
`dmwatch watch` prints for people, lines marked `|`; a second, with --json, is the witness of the
steps. Every step of STEPS is an action and a predicate: it was seen when an event that came after
the action began satisfies the predicate. Exit 0 only if every step was seen.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from watching import Event, Watch, say

BREATH = 0.5  # lets the lines for people come before the next step
PATIENCE = 120.0  # software emulation: seconds where a machine needs milliseconds
MIB = 2048  # sectors


# The hands: dmsetup, losetup, dd


def dmsetup(*arguments: str) -> str:
    done = subprocess.run(
        ["dmsetup", *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    if done.returncode:
        raise StoryError(f"dmsetup {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def create(name: str, table: str) -> str:
    dmsetup("create", name, "--table", table)
    return f"/dev/mapper/{name}"


def replace(name: str, table: str) -> None:
    """Another table, live, without waiting for I/O that cannot end."""
    dmsetup("load", name, "--table", table)
    dmsetup("suspend", "--noflush", "--nolockfs", name)
    dmsetup("resume", name)


def loop(name: str, mib: int) -> str:
    image = Path("/dev/shm") / name
    image.touch()
    os.truncate(image, mib * 2**20)
    return subprocess.check_output(["losetup", "--find", "--show", str(image)], text=True).strip()


def number(device: str) -> str:
    status = Path(device).stat()
    return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"


def write(device: str, mib: int) -> subprocess.Popen[bytes]:
    """Write, past every cache; ends by itself, may hang while a pool is full."""
    arguments = ["if=/dev/zero", f"of={device}", "bs=64k", f"count={mib * 16}", "oflag=direct"]
    return subprocess.Popen(["dd", *arguments], stderr=subprocess.DEVNULL)


class StoryError(Exception):
    """The story cannot be played; the message is for people."""


# The actions


def make_linear() -> None:
    create("story-disk", f"0 {MIB} linear {loop('disk', 1)} 0")


def rename_linear() -> None:
    dmsetup("rename", "story-disk", "story-renamed")


def remove_linear() -> None:
    dmsetup("remove", "story-renamed")


def pool_table(mib: int) -> str:
    meta, data = "/dev/mapper/story-pool-meta", "/dev/mapper/story-pool-data"
    return f"0 {mib * MIB} thin-pool {meta} {data} 128 0 1 skip_block_zeroing"


def data_table(mib: int) -> str:
    return f"0 {mib * MIB} linear {Path('/run/story-data').read_text()} 0"


def make_pool() -> None:
    create("story-pool-meta", f"0 {4 * MIB} linear {loop('meta', 4)} 0")
    Path("/run/story-data").write_text(loop("data", 32))
    create("story-pool-data", data_table(4))
    pool = create("story-pool", pool_table(4))
    dmsetup("message", "story-pool", "0", "create_thin 0")
    create("story-thin", f"0 {16 * MIB} thin {pool} 0")


def fill_pool() -> None:
    write("/dev/mapper/story-thin", 6)


def grow_pool() -> None:
    replace("story-pool-data", data_table(32))
    replace("story-pool", pool_table(32))


def make_raid() -> None:
    legs = [create(f"story-leg{n}", f"0 {8 * MIB} linear {loop(f'leg{n}', 8)} 0") for n in (0, 1)]
    parts = " ".join(f"{loop(f'superblock{n}', 4)} {leg}" for n, leg in enumerate(legs))
    create("story-raid", f"0 {8 * MIB} raid raid1 2 0 nosync 2 {parts}")


def lose_leg() -> None:
    replace("story-leg1", f"0 {8 * MIB} error")
    write("/dev/mapper/story-raid", 1).wait(PATIENCE)


def make_multipath() -> None:
    paths = f"{loop('path0', 4)} 1000 {loop('path1', 4)} 1000"
    Path("/run/story-paths").write_text(paths)
    create("story-paths", f"0 {4 * MIB} multipath 0 0 1 1 round-robin 0 2 1 {paths}")


def tell_paths(message: str) -> None:
    for path in Path("/run/story-paths").read_text().split()[::2]:
        dmsetup("message", "story-paths", "0", f"{message} {number(path)}")


def make_snapshot() -> None:
    base = create("story-base", f"0 {8 * MIB} linear {loop('base', 8)} 0")
    create("story-origin", f"0 {8 * MIB} snapshot-origin {base}")
    dmsetup("suspend", "story-origin")  # it learns the snapshot's chunk size when it is resumed
    create("story-snapshot", f"0 {8 * MIB} snapshot {base} {loop('cow', 1)} P 8")
    dmsetup("resume", "story-origin")


def overfill_snapshot() -> None:
    write("/dev/mapper/story-origin", 2).wait(PATIENCE)


# What shows it


def happened(kind: str, name: str) -> Callable[[Event], bool]:
    """A moment of a device."""
    return lambda event: event["type"] == kind and device_of(event) == name


def raised(kind: str, name: str, key: str | None = None) -> Callable[[Event], bool]:
    """A condition that begins to stand on a device."""
    return lambda event: told(event, kind, name, key) and event["state"] == "raised"


def healed(kind: str, name: str) -> Callable[[Event], bool]:
    """A condition that is over because all is well again."""
    return lambda event: told(event, kind, name, None) and event["reason"] == "healthy"


def told(event: Event, kind: str, name: str, key: str | None) -> bool:
    return (event["type"], device_of(event), event["key"]) == (kind, name, key)


def device_of(event: Event) -> str | None:
    device = event["device"]
    return device["name"] if device else None


# The story


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happens, and the event that shows it."""

    says: str
    act: Callable[[], None]
    seen: Callable[[Event], bool]


STEPS = (
    Step("create a linear device", make_linear, happened("device.added", "story-disk")),
    Step("rename it", rename_linear, happened("device.renamed", "story-renamed")),
    Step("remove it", remove_linear, happened("device.removed", "story-renamed")),
    Step("make a thin pool of 4 MiB", make_pool, happened("device.added", "story-pool")),
    Step(
        "write 6 MiB into it: it is out of data space, the writer hangs",
        fill_pool,
        raised("thin-pool.out-of-data-space", "story-pool"),
    ),
    Step(
        "grow it to 32 MiB: it is writable again",
        grow_pool,
        healed("thin-pool.out-of-data-space", "story-pool"),
    ),
    Step("make a raid1 of two legs", make_raid, happened("device.added", "story-raid")),
    Step(
        "lose its second leg",
        lose_leg,
        raised("raid.leg-failed", "story-raid", "1"),
    ),
    Step("make a multipath of two paths", make_multipath, happened("device.added", "story-paths")),
    Step(
        "both its paths fail",
        lambda: tell_paths("fail_path"),
        raised("multipath.no-paths", "story-paths"),
    ),
    Step(
        "both paths come back",
        lambda: tell_paths("reinstate_path"),
        healed("multipath.no-paths", "story-paths"),
    ),
    Step("take a snapshot", make_snapshot, happened("device.added", "story-snapshot")),
    Step(
        "write more to its origin than it can keep: it is invalidated",
        overfill_snapshot,
        raised("snapshot.invalid", "story-snapshot"),
    ),
)


def play(step: Step, title: str, witness: Watch) -> bool:
    """Act, wait for the event, tell both."""
    say(f"{title} {step.says}")
    start, mark = time.monotonic(), witness.mark()
    try:
        step.act()
        event = witness.wait(step.seen, mark, PATIENCE)
    except (StoryError, subprocess.TimeoutExpired) as error:
        say(f"        FAILED: {error}")
        return False
    if event is None:
        say(f"        MISSED: no event showed it within {PATIENCE:.0f} s")
        return False
    took = time.monotonic() - start
    time.sleep(BREATH)
    say(f"        seen: {event['type']} {device_of(event)}, {took:.1f} s")
    return True


def tell(witness: Watch) -> int:
    """The whole story; how many steps were seen."""
    count = len(STEPS)
    return sum(play(step, f"[{n:2}/{count}]", witness) for n, step in enumerate(STEPS, 1))


def main() -> int:
    if os.environ.get("DMWATCH_LAB") != "1":
        say("story: this breaks devices on purpose and runs in the lab only: make run")
        return 2
    if shutil.which("dmwatch") is None:
        say("story: there is no dmwatch on PATH: run make setup")
        return 1
    with ExitStack() as watches:
        say(f"story: Linux {os.uname().release}, starting dmwatch watch (up to 30 s)")
        people = watches.enter_context(Watch(["dmwatch", "watch"], show="      | "))
        witness = watches.enter_context(Watch(["dmwatch", "watch", "--json"]))
        if not (people.ready(PATIENCE) and witness.ready(PATIENCE)):
            say("story: dmwatch watch did not start")
            return 1
        seen = tell(witness)
        ended = [watch.end(PATIENCE) for watch in (people, witness)]
    say(f"story: {seen} of {len(STEPS)} steps were seen, {witness.mark()} events in all")
    if ended != [0, 0]:
        say(f"story: dmwatch watch ended with {ended[0]} and {ended[1]} on SIGTERM, not 0")
    return 0 if seen == len(STEPS) and ended == [0, 0] else 1


if __name__ == "__main__":
    sys.exit(main())
