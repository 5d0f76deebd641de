"""One process of the daemon: what signals do, and what ends its loop."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from typing import Any

import pytest

from dmwatch.service.run import _Signals, complete


class FakeDaemon:
    """Reloads when it is let."""

    def __init__(self) -> None:
        self.started, self.let = asyncio.Event(), asyncio.Event()
        self.asked_to_stop = False
        self.reloads: list[str] = []
        self.file = "first"

    async def reload(self) -> None:
        self.reloads.append(self.file)
        await self.let.wait()


async def test_a_reload_asked_for_while_one_is_under_way_comes_after_it() -> None:
    daemon: Any = FakeDaemon()
    signals = _Signals(daemon, asyncio.create_task(asyncio.sleep(0)))
    daemon.started.set()
    signals._reload()
    await asyncio.sleep(0.01)
    # the file is changed after it was read; any number of requests is one more reload
    daemon.file = "second"
    signals._reload()
    signals._reload()
    daemon.let.set()
    await asyncio.sleep(0.01)
    assert daemon.reloads == ["first", "second"]
    signals._reload()
    await asyncio.sleep(0.01)
    assert daemon.reloads == ["first", "second", "second"]


async def test_a_reload_asked_for_during_the_start_comes_once_it_has_started() -> None:
    daemon: Any = FakeDaemon()
    signals = _Signals(daemon, asyncio.create_task(asyncio.sleep(0)))
    daemon.let.set()
    signals._reload()
    await asyncio.sleep(0.01)
    assert daemon.reloads == []
    daemon.started.set()
    await asyncio.sleep(0.01)
    assert daemon.reloads == ["first"]
    daemon.asked_to_stop = True
    signals._reload()
    await asyncio.sleep(0.01)
    assert daemon.reloads == ["first"]


def test_a_reload_asked_for_before_it_listens_waits_and_does_not_end_it() -> None:
    code = """if True:
        import asyncio, os, signal, sys
        from dmwatch.service import signals
        signals.hold()
        os.kill(os.getpid(), signal.SIGHUP)
        from dmwatch.service.run import _Signals
        async def main():
            made = _Signals(None, None)
            made._reloads = lambda: asyncio.sleep(0, print("reloads"))
            made.listen()
            await asyncio.sleep(0.01)
        asyncio.run(main())
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "reloads\n", "")


def test_a_callback_that_leaves_does_not_end_the_loop() -> None:
    seen: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(sys.exit, 3)
        loop.call_soon(signal.default_int_handler, signal.SIGINT, None)
        loop.call_soon(seen.append, "what comes after it")
        await asyncio.sleep(0.01)
        seen.append("the end")

    loop = asyncio.new_event_loop()
    complete(loop, loop.create_task(main()))
    loop.close()
    assert seen == ["what comes after it", "the end"]


def test_the_end_that_the_daemon_itself_chooses_is_one() -> None:
    async def main() -> None:
        sys.exit(3)

    loop = asyncio.new_event_loop()
    with pytest.raises(SystemExit):
        complete(loop, loop.create_task(main()))
    loop.close()


def test_a_full_disk_under_its_output_does_not_keep_it_from_ending() -> None:
    program = """if True:
        import sys
        from dmwatch.service.run import leave
        sys.stdout = sys.stderr = open("/dev/full", "w")
        sys.stdout.write("x")
        leave(7)
    """
    ended = subprocess.run([sys.executable, "-c", program], timeout=30, check=False)
    assert ended.returncode == 7
