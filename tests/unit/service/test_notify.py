from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dmwatch.service.notify import Notifier


class Manager:
    """Stands where systemd would."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)
        self.environment = {"NOTIFY_SOCKET": address.replace("\0", "@")}

    def heard(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.socket.recv(65536).decode().split("\n"))


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = str(tmp_path / "notify") if request.param == "path" else f"\0dmwatch-{tmp_path}"
    made = Manager(address)
    yield made
    made.socket.close()


def test_each_word_is_what_sd_notify_says(manager: Manager) -> None:
    notifier = Notifier(manager.environment)
    assert notifier.present
    notifier.ready("watching 3 devices")
    assert manager.heard() == {"READY": "1", "STATUS": "watching 3 devices"}
    notifier.status("watching 4 devices")
    assert manager.heard() == {"STATUS": "watching 4 devices"}
    notifier.watchdog()
    assert manager.heard() == {"WATCHDOG": "1"}
    notifier.watchdog("all is well")
    assert manager.heard() == {"WATCHDOG": "1", "STATUS": "all is well"}
    notifier.extend_timeout(2.5)
    assert manager.heard() == {"EXTEND_TIMEOUT_USEC": "2500000"}
    notifier.stopping("draining")
    assert manager.heard() == {"STOPPING": "1", "STATUS": "draining"}


def test_reloading_tells_the_monotonic_time_in_microseconds(manager: Manager) -> None:
    before = time.monotonic_ns() // 1000
    Notifier(manager.environment).reloading()
    heard = manager.heard()
    assert heard["RELOADING"] == "1"
    assert before <= int(heard["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000


def test_a_status_stays_on_one_line_and_is_bounded(manager: Manager) -> None:
    Notifier(manager.environment).status("a\nREADY=1\tb" + "c" * 100_000)
    heard = manager.heard()
    assert list(heard) == ["STATUS"]
    assert heard["STATUS"].startswith("a READY=1 bccc")
    assert len(heard["STATUS"]) == 1000


def test_a_status_that_is_no_text_is_sent_escaped(manager: Manager) -> None:
    Notifier(manager.environment).status("vg/\udcff")
    assert manager.heard() == {"STATUS": "vg/\\udcff"}


def test_without_a_manager_nothing_happens() -> None:
    for environment in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}):
        notifier = Notifier(environment)
        assert not notifier.present
        notifier.ready("x")


def test_a_manager_that_is_gone_raises_nothing(tmp_path: Path) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready()


def test_what_must_not_be_lost_goes_out_with_the_next_word(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    notifier = Notifier({"NOTIFY_SOCKET": address})
    notifier.ready("watching")
    manager = Manager(address)
    notifier.watchdog()
    assert manager.heard() == {"READY": "1", "WATCHDOG": "1"}
    notifier.watchdog()
    assert manager.heard() == {"WATCHDOG": "1"}
    manager.socket.close()


def test_a_full_manager_makes_nobody_wait(manager: Manager) -> None:
    notifier = Notifier(manager.environment)
    for _ in range(10_000):
        notifier.watchdog("x" * 1000)
    notifier.stopping()
    assert manager.heard()["WATCHDOG"] == "1"


@pytest.mark.parametrize(
    ("environment", "interval"),
    [
        ({"WATCHDOG_USEC": "20000000"}, 20.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid())}, 20.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({}, None),
    ],
)
def test_the_watchdogs_interval(environment: dict[str, str], interval: float | None) -> None:
    assert Notifier(environment).watchdog_seconds == interval
