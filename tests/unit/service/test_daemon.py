"""The whole daemon in this process, on the fake kernel: started, told, asked, reloaded, stopped."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dmwatch.errors import DmwatchError
from dmwatch.service import logs
from dmwatch.service.config.reading import parse
from dmwatch.service.daemon import Daemon
from dmwatch.service.ledger.store import Kept, Store
from dmwatch.service.settings import Configuration
from dmwatch.table import TargetLine
from dmwatch.testing import FakeKernel

ZERO = TargetLine(0, 2048, "zero")
ERROR = TargetLine(0, 2048, "error")
POOL = TargetLine(0, 65536, "thin-pool", "254:0 254:1 128 0 0")
PATIENCE = 30.0


class FakeNotifier:
    present = False
    watchdog_seconds: float | None = None

    def __init__(self) -> None:
        self.said: list[str] = []

    def ready(self, _status: str = "") -> None:
        self.said.append("ready")

    def reloading(self) -> None:
        self.said.append("reloading")

    def stopping(self, _status: str = "") -> None:
        self.said.append("stopping")

    def watchdog(self, _status: str = "") -> None:
        self.said.append("watchdog")

    def status(self, status: str) -> None:
        self.said.append(f"status {status}")


class Running:
    """A daemon that runs, with what its `file` handler was told."""

    def __init__(self, folder: Path, kernel: FakeKernel) -> None:
        self.folder = folder
        self.notifier = FakeNotifier()
        self.toml = self.configuration()
        self.daemon = Daemon(
            self.read(),
            self.read,
            self.notifier,  # type: ignore[arg-type]
            control=kernel.open(),
            uevents=False,
        )

    def configuration(self, more: str = "", match: str = 'severity = "debug"') -> str:
        return f"""
            [monitor]
            poll_interval = "1h"
            heartbeat = "1h"
            cpu_share = 1
            [handlers.out]
            use = "file"
            path = "{self.folder}/out.ndjson"
            [handlers.out.match]
            {match}
            [journal]
            path = "{self.folder}/events.db"
            [stream]
            socket = "{self.folder}/sock"
            {more}
        """

    def read(self) -> Configuration:
        return parse(self.toml, "test")

    def told(self) -> list[dict[str, Any]]:
        path = self.folder / "out.ndjson"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text().splitlines()]

    def types(self) -> list[str]:
        return [event["type"] for event in self.told()]

    async def ask(self, question: str) -> dict[str, Any]:
        reader, writer = await asyncio.open_unix_connection(str(self.folder / "sock"))
        writer.write(json.dumps({"ask": question}).encode() + b"\n")
        answer = json.loads(await reader.read())
        writer.close()
        await writer.wait_closed()
        assert isinstance(answer, dict)
        return answer

    async def until(self, true: Callable[[], object]) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                while not true():  # noqa: ASYNC110 - a file is being looked at
                    await asyncio.sleep(0.01)
        except TimeoutError:
            pytest.fail(f"it did not become true; told was {self.types()}")


@asynccontextmanager
async def running(folder: Path, kernel: FakeKernel) -> AsyncIterator[Running]:
    here = Running(folder, kernel)
    task = asyncio.create_task(here.daemon.run())
    try:
        await here.until(lambda: "ready" in here.notifier.said or task.done())
        yield here
    finally:
        here.daemon.stop("the test is over")
        async with asyncio.timeout(PATIENCE):
            await task


@pytest.fixture
def kernel() -> Iterator[FakeKernel]:
    made = FakeKernel()
    yield made
    made.dm.close()


async def test_it_tells_what_stands_then_that_it_started_then_what_happens_then_that_it_stops(
    tmp_path: Path, kernel: FakeKernel
) -> None:
    kernel.add("bad", ERROR)
    async with running(tmp_path, kernel) as here:
        await here.until(lambda: "dmwatch.started" in here.types())
        kernel.add("new", ZERO)
        await here.until(lambda: "device.added" in here.types())
    events = here.told()
    assert sorted(event["type"] for event in events[:2]) == [
        "device.error-target",
        "dmwatch.started",
    ]
    assert [event["type"] for event in events[2:]] == ["device.added", "dmwatch.stopped"]
    assert [event["sequence"] for event in events] == [1, 2, 3, 4]
    assert len({event["id"].rpartition("-")[0] for event in events}) == 1
    assert here.notifier.said[0] == "ready"
    assert "stopping" in here.notifier.said


async def test_a_second_life_repeats_no_alarm_forgets_none_and_goes_on_counting(
    tmp_path: Path, kernel: FakeKernel
) -> None:
    kernel.add("bad", ERROR)
    kernel.add("worse", ERROR)
    async with running(tmp_path, kernel) as here:
        await here.until(lambda: here.types().count("device.error-target") == 2)
    first = here.told()
    kernel.dm.remove("worse")
    kernel.add("late", ERROR)
    async with running(tmp_path, kernel) as here:
        await here.until(lambda: here.types().count("device.error-target") == 4)
        standing = await here.ask("conditions")
    later = here.told()[len(first) :]
    alarms = [
        (event["device"]["name"], event["state"], event["reason"], event["initial"])
        for event in later
        if event["type"] == "device.error-target"
    ]
    assert sorted(alarms) == [
        ("late", "raised", None, True),
        ("worse", "cleared", "device-removed", True),
    ]
    assert [c["device"]["name"] for c in standing["conditions"]] == ["bad", "late"]
    sequences = [event["sequence"] for event in here.told()]
    assert sequences == list(range(1, len(sequences) + 1))


async def test_it_answers_what_it_is_asked(tmp_path: Path, kernel: FakeKernel) -> None:
    kernel.add(
        "pool",
        POOL,
        status=["0 1/1024 512/512 - out_of_data_space discard_passdown queue_if_no_space - 1024"],
    )
    async with running(tmp_path, kernel) as here:
        conditions = (await here.ask("conditions"))["conditions"]
        assert [condition["type"] for condition in conditions] == [
            "thin-pool.data-usage",
            "thin-pool.out-of-data-space",
            "thin-pool.low-water",
        ]
        (handler,) = (await here.ask("handlers"))["handlers"]
        assert (handler["name"], handler["use"]) == ("out", "file")
        (coverage,) = (await here.ask("coverage"))["coverage"]
        assert (coverage["device"], coverage["handlers"]) == ("pool", ["out"])
        health = await here.ask("health")
        assert health["devices"] == 1
        assert health["sequence"] >= 1
        assert "error" in await here.ask("the way")


async def test_a_reload_takes_a_good_file_and_refuses_one_with_faults(
    tmp_path: Path, kernel: FakeKernel
) -> None:
    kernel.add("bad", ERROR)
    async with running(tmp_path, kernel) as here:
        await here.until(lambda: "dmwatch.started" in here.types())
        here.toml = here.configuration('[[rules]]\ndevice = "bad"\naction = "ignore"')
        await here.daemon.reload()
        await here.until(lambda: here.told()[-1]["reason"] == "rule")
        assert (await here.ask("conditions"))["conditions"] == []
        here.toml = here.configuration("[monitor2]\nx = 1")
        await here.daemon.reload()
        assert here.notifier.said[-3:-1] == [
            "reloading",
            "status reload refused, the old configuration is in force: see the log",
        ]
        assert here.notifier.said[-1] == "ready"
        assert (await here.ask("conditions"))["conditions"] == []
        here.toml = here.configuration()
        await here.daemon.reload()
        await here.until(lambda: here.told()[-1]["state"] == "raised")


async def test_a_refused_reload_is_told_until_one_is_taken(
    tmp_path: Path, kernel: FakeKernel
) -> None:
    async with running(tmp_path, kernel) as here:
        figures = here.daemon._watchdog._status
        assert figures().startswith("watching 0 devices")
        here.toml = here.configuration("[monitor2]\nx = 1")
        await here.daemon.reload()
        # the next figures must not hide it
        assert figures().startswith(
            "reload refused, the old configuration is in force: see the log"
        )
        here.toml = here.configuration()
        await here.daemon.reload()
        assert figures().startswith("watching 0 devices")


async def test_a_reload_that_breaks_is_refused_and_over(
    tmp_path: Path, kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Configuration:
        raise ZeroDivisionError

    async with running(tmp_path, kernel) as here:
        monkeypatch.setattr(here.daemon, "_read", broken)
        await here.daemon.reload()
        assert here.notifier.said[-1] == "ready"
        assert here.daemon.refused
        assert [lane.state for lane in here.daemon.dispatcher.health()] == ["ok"]


async def test_a_reload_changes_the_log_and_tells_where_there_is_no_file(
    tmp_path: Path, kernel: FakeKernel, capsys: pytest.CaptureFixture[str]
) -> None:
    changed: list[logs.LogSettings] = []
    async with running(tmp_path, kernel) as here:
        assert "there is no configuration: the defaults hold" in capsys.readouterr().out
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(logs, "change", changed.append)
            await here.daemon.reload()
            assert changed == []
            here.toml = here.configuration('[log]\nlevel = "error"')
            await here.daemon.reload()
        assert [settings.level for settings in changed] == ["error"]


async def test_a_reload_changes_what_a_handler_hears(tmp_path: Path, kernel: FakeKernel) -> None:
    async with running(tmp_path, kernel) as here:
        await here.until(lambda: "dmwatch.started" in here.types())
        here.toml = here.configuration(match='types = ["nothing"]')
        await here.daemon.reload()
        kernel.add("quiet", ERROR)
        await here.until(lambda: here.daemon.ledger.sequence >= 3)
        here.toml = here.configuration()
        await here.daemon.reload()
        kernel.add("loud", ERROR)
        await here.until(lambda: here.types().count("device.error-target") == 1)
    names = {event["device"]["name"] for event in here.told() if event["device"]}
    assert names == {"loud"}


async def test_a_second_daemon_on_the_same_journal_is_refused(
    tmp_path: Path, kernel: FakeKernel
) -> None:
    async with running(tmp_path, kernel):
        second = Running(tmp_path, kernel)
        with pytest.raises(DmwatchError, match=r"already|another"):
            await second.daemon.run()


async def test_it_does_not_start_without_device_mapper(tmp_path: Path, kernel: FakeKernel) -> None:
    here = Running(tmp_path, kernel)
    here.daemon._control = None
    with pytest.raises(DmwatchError):
        await here.daemon.run()
    assert "ready" not in here.notifier.said


async def test_what_ends_the_watcher_ends_the_daemon(
    tmp_path: Path, kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Running(tmp_path, kernel)
    task = asyncio.create_task(here.daemon.run())
    await here.until(lambda: "ready" in here.notifier.said)

    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    # white-box: nothing that a kernel says gets there
    monkeypatch.setattr(here.daemon._watcher, "_wait", broken)
    kernel.tell()
    with pytest.raises(ZeroDivisionError):
        async with asyncio.timeout(PATIENCE):
            await task


@pytest.mark.parametrize("lives", [0, 1])
async def test_a_journal_that_can_only_be_read_from_the_start_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lives: int
) -> None:
    kernel = FakeKernel()
    for _ in range(lives):
        async with running(tmp_path, kernel):
            pass

    def refuse(_store: Store) -> Kept:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Store, "open", refuse)
    async with running(tmp_path, kernel) as here:
        await here.until(lambda: "dmwatch.journal-failing" in here.types())
        kernel.add("vol", ZERO)
        await here.until(lambda: "device.added" in here.types())
        standing = (await here.ask("conditions"))["conditions"]
        assert [condition["type"] for condition in standing] == ["dmwatch.journal-failing"]


async def test_what_is_over_is_told_also_where_the_journal_cannot_be_opened_until_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = FakeKernel()
    for name in ("stays", "goes"):
        kernel.add(name, ERROR)
    async with running(tmp_path, kernel) as here:
        await here.until(lambda: here.types().count("device.error-target") == 2)
    kernel.dm.remove("goes")
    opens, broken = Store.open, [True]

    def opened(store: Store) -> Kept:
        if broken[0]:
            raise OSError(errno.EIO, "Input/output error")
        return opens(store)

    monkeypatch.setattr(Store, "open", opened)
    monkeypatch.setattr("dmwatch.service.ledger.disk.read_only", opened)
    (tmp_path / "out.ndjson").unlink()
    async with running(tmp_path, kernel) as here:
        await here.until(lambda: "dmwatch.started" in here.types())
        broken[0] = False
        await here.until(lambda: [e for e in here.told() if e["state"] == "cleared"])
        steps = [
            (event["device"]["name"], event["state"], event["reason"])
            for event in here.told()
            if event["type"] == "device.error-target"
        ]
    # nobody could know that it had been told; but that the other is over is told
    assert steps == [("stays", "raised", None), ("goes", "cleared", "device-removed")]
