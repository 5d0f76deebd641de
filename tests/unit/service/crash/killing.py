"""Run by test_killed.py: kills daemons, one after the other, while their kernel goes on.

    killing.py FOLDER KILLS SEED

The kernel of each is fake and lives in its process; what is true of the machine lives here, as a
kernel outlives its daemons: each new daemon begins with what is true by then. Daemons are forked
from here, so that a life costs a moment and not the time of all imports.

Prints, in the end, what is true, as JSON: the devices, and of each whether its leg has failed.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from dmwatch.monitor import Watcher
from dmwatch.service import logs
from dmwatch.service.config.reading import parse
from dmwatch.service.daemon import Daemon
from dmwatch.service.delivery.plugins import load
from dmwatch.service.notify import Notifier
from dmwatch.service.settings import Configuration
from dmwatch.table import TargetLine
from dmwatch.targets import load_all
from dmwatch.testing import FakeKernel

FOLDER, KILLS, SEED = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
DEVICES = 40
LONGEST = 0.6
"""A daemon that is killed has lived for so many seconds at most."""
RAID = TargetLine(0, 65536, "raid", "raid1 1 0 2 254:0 254:1 254:2 254:3")
TOML = f"""
[monitor]
poll_interval = "1h"
heartbeat = "1h"
cpu_share = 1
[handlers.all]
use = "file"
path = "{FOLDER}/all"
max_size = "1GiB"
match = {{ severity = "debug" }}
[handlers.some]
use = "file"
path = "{FOLDER}/some"
max_size = "1GiB"
match = {{ types = ["raid.*"] }}
delivery = {{ every = "3ms" }}
[journal]
path = "{FOLDER}/events.db"
[stream]
socket = "{FOLDER}/sock"
"""


class Machine:
    """What is true: the devices, and whether a leg of each has failed."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.devices: dict[str, bool] = {}
        for _ in range(DEVICES):
            self.step()

    def step(self) -> str:
        """Something happens; gives it as a command for a kernel."""
        name = f"d{self._chance.randrange(DEVICES)}"
        if name not in self.devices:
            self.devices[name] = False
            return f"add {name}"
        if self._chance.random() < 0.1:
            del self.devices[name]
            return f"remove {name}"
        self.devices[name] = not self.devices[name]
        return f"{'fail' if self.devices[name] else 'mend'} {name}"


def carry_out(kernel: FakeKernel, command: str) -> None:
    word, name = command.split()
    if word == "add":
        kernel.add(name, RAID, uuid=f"TEST-{name}", status=[status(failed=False)])
    elif word == "remove":
        kernel.dm.remove(name)
    else:
        kernel.set_status(name, 0, status(failed=word == "fail"))
        kernel.raise_event(name)


def status(*, failed: bool) -> str:
    return f"raid1 2 {'AD' if failed else 'AA'} 65536/65536 idle 0 0 -"


def live(configuration: Configuration, devices: dict[str, bool], pipe: int) -> None:
    """One daemon, until it is killed or told to stop."""
    logs.configure(None, os.open(FOLDER / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND))
    kernel = FakeKernel()
    # the incarnations of this machine's own devices are none of its business
    (Watcher.__init__.__kwdefaults__ or {})["diskseq"] = kernel.diskseq
    for name, failed in devices.items():
        carry_out(kernel, f"add {name}")
        kernel.set_status(name, 0, status(failed=failed))
    asyncio.run(serve(configuration, kernel, pipe))


async def serve(configuration: Configuration, kernel: FakeKernel, pipe: int) -> None:
    loop = asyncio.get_running_loop()
    daemon = Daemon(
        configuration,
        lambda: configuration,
        Notifier({}),
        control=kernel.open(),
        uevents=False,
    )
    loop.add_signal_handler(signal.SIGTERM, daemon.stop, "it was told to")
    buffer = bytearray()

    def hear() -> None:
        buffer.extend(os.read(pipe, 65536))
        *lines, rest = buffer.split(b"\n")
        buffer[:] = rest
        for line in lines:
            carry_out(kernel, line.decode())

    loop.add_reader(pipe, hear)
    await daemon.run()


def fork(configuration: Configuration, machine: Machine) -> tuple[int, int]:
    """A new daemon: its process, and the pipe to its kernel."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(reading)
        return child, writing
    os.close(writing)
    try:
        live(configuration, machine.devices, reading)
    except BaseException as error:  # noqa: BLE001 - it must not go on as if it were the parent
        print(f"a daemon failed: {error!r}", file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def disturb(machine: Machine, pipe: int, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        os.write(pipe, f"{machine.step()}\n".encode())
        time.sleep(0.002)


def main() -> None:
    load_all()
    chance = random.Random(SEED)
    configuration = parse(TOML, "test")
    for name, table in configuration.handlers.items():
        load(name, table)
    machine = Machine(chance)
    for _ in range(KILLS):
        child, pipe = fork(configuration, machine)
        disturb(machine, pipe, chance.uniform(0.0, LONGEST))
        os.kill(child, signal.SIGKILL)
        _, code = os.waitpid(child, 0)
        os.close(pipe)
        if code != signal.SIGKILL:
            raise SystemExit(f"a daemon ended by itself with {code}")
    end(*fork(configuration, machine), machine)
    print(json.dumps(machine.devices))


def end(child: int, pipe: int, machine: Machine) -> None:
    """The last one lives until it has nothing more to tell."""
    disturb(machine, pipe, 0.3)
    wait_until_quiet()
    os.kill(child, signal.SIGTERM)
    _, code = os.waitpid(child, 0)
    os.close(pipe)
    if code:
        raise SystemExit(f"the last daemon ended with {code}")


def wait_until_quiet() -> None:
    before, since = -1, time.monotonic()
    while time.monotonic() < since + 1.5:
        size = sum((FOLDER / name).stat().st_size for name in ("all", "some"))
        if size != before:
            before, since = size, time.monotonic()
        time.sleep(0.05)


main()
