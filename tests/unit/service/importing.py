"""Run by test_imports.py: the daemon on the fake kernel; prints what was imported once it ran."""

import asyncio
import sys
from pathlib import Path

from dmwatch.service.config.reading import parse
from dmwatch.service.daemon import Daemon
from dmwatch.service.notify import Notifier
from dmwatch.table import TargetLine
from dmwatch.targets import load_all
from dmwatch.testing import FakeKernel

FOLDER = Path(sys.argv[1])
TOML = f"""
[monitor]
poll_interval = "1h"
heartbeat = "0.1s"
cpu_share = 1
[handlers.log]
use = "log"
match = {{ severity = "debug" }}
[handlers.file]
use = "file"
path = "{FOLDER}/out"
match = {{ severity = "debug" }}
[handlers.exec]
use = "exec"
command = ["/bin/true"]
[journal]
path = "{FOLDER}/events.db"
[stream]
socket = "{FOLDER}/sock"
"""


async def main() -> None:
    kernel = FakeKernel()
    kernel.targets["strange"] = (1, 0, 0)
    kernel.add("zero", TargetLine(0, 2048, "zero"))
    load_all()
    daemon = Daemon(
        parse(TOML, "probe"),
        lambda: parse(TOML, "probe"),
        Notifier({}),
        control=kernel.open(),
        uevents=True,
    )
    task = asyncio.create_task(daemon.run())
    while not daemon.serving or daemon.ledger.sequence < 1:  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)
    before = set(sys.modules)
    pool = TargetLine(0, 65536, "thin-pool", "254:0 254:1 128 0 0")
    kernel.add(
        "pool",
        pool,
        status=["0 1/1024 512/512 - out_of_data_space discard_passdown queue_if_no_space - 1024"],
    )
    kernel.add(
        "raid",
        TargetLine(0, 65536, "raid", "raid1 1 0 2 254:0 254:1 254:2 254:3"),
        status=["raid1 2 AD 100/100 idle 0 0 -"],
    )
    kernel.add("bad", TargetLine(0, 8, "error"))
    kernel.add("strange", TargetLine(0, 8, "strange"), status=["\x00"])
    await asyncio.sleep(1.0)
    kernel.dm.remove("bad")
    sequence = daemon.ledger.sequence
    await asyncio.sleep(0.5)
    after = set(sys.modules)
    print("events", sequence, "imported", *sorted(after - before))
    daemon.stop("done")
    await task


asyncio.run(main())
