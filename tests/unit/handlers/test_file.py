"""file: lines appended, rotation, full disks."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dmwatch.handlers.file import FileHandler, FileSettings, LogFile
from dmwatch.service.delivery.attempt import Came
from dmwatch.testing import make_event, run_handler

from .conftest import opened


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_each_event_is_a_line_of_json_and_the_file_is_nobody_elses(tmp_path: Path) -> None:
    path = tmp_path / "events"
    events = [make_event() for _ in range(3)]
    told = await run_handler(FileHandler, {"path": str(path), "sync": True}, *events)
    assert all(outcome.done for outcome in told.events)
    assert lines(path) == [event.model_dump(mode="json") for event in events]
    assert path.stat().st_mode & 0o777 == 0o640
    await run_handler(FileHandler, {"path": str(path)}, events[0])
    assert len(lines(path)) == 4


async def test_a_part_of_a_line_that_was_left_by_a_kill_spoils_no_other(tmp_path: Path) -> None:
    path, event = tmp_path / "events", make_event()
    path.write_text('{"id": "cut o')
    for _ in range(2):
        await run_handler(FileHandler, {"path": str(path)}, event)
    cut, *whole = path.read_text().splitlines()
    assert cut == '{"id": "cut o'
    assert [json.loads(line) for line in whole] == [event.model_dump(mode="json")] * 2


async def test_a_file_is_rotated_before_it_gets_too_large_and_so_many_are_kept(
    tmp_path: Path,
) -> None:
    path = tmp_path / "events"
    events = [make_event() for _ in range(60)]
    settings = {"path": str(path), "max_size": "4KiB", "keep": 3}
    await run_handler(FileHandler, settings, *events)
    with os.scandir(tmp_path) as entries:
        sizes = {entry.name: entry.stat().st_size for entry in entries}
    names = sorted(sizes)
    assert names == ["events", "events.1", "events.2", "events.3"]
    assert max(sizes.values()) <= 4096
    kept = [line["id"] for name in reversed(names) for line in lines(tmp_path / name)]
    assert kept == [event.id for event in events][-len(kept) :]


async def test_a_file_that_somebody_else_moved_or_removed_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "events"
    async with opened(FileHandler, {"path": str(path)}) as handler:
        await handler.tell(make_event())
        path.rename(tmp_path / "moved")
        await handler.tell(make_event())
        assert (len(lines(path)), len(lines(tmp_path / "moved"))) == (1, 1)
        path.unlink()
        await handler.tell(make_event())
        assert len(lines(path)) == 1


async def test_a_device_that_is_full_asks_to_be_tried_again() -> None:
    async with opened(FileHandler, {"path": "/dev/full"}) as handler:
        outcome = await handler.tell(make_event())
    assert outcome.came is Came.RETRY
    assert outcome.problem == "/dev/full: No space left on device"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False).returncode:
        pytest.skip("nothing may be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_full_disk_leaves_no_broken_line_and_what_failed_can_come_again(
    small_disk: Path,
) -> None:
    path = small_disk / "events"
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 8192)
    async with opened(FileHandler, {"path": str(path)}) as handler:
        outcomes = [await handler.tell(make_event(data={"x": "y" * 700})) for _ in range(20)]
        full = [outcome for outcome in outcomes if not outcome.done]
        assert full
        assert all(outcome.came is Came.RETRY for outcome in full)
        written = len(lines(path))
        assert written == 20 - len(full)
        filler.unlink()
        assert (await handler.tell(make_event())).done
        assert len(lines(path)) == written + 1


def test_a_limit_on_the_size_leaves_no_broken_line(tmp_path: Path) -> None:
    path = tmp_path / "events"
    file = LogFile(FileSettings(path=path))
    file.append(b"first\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            file.append(b"a second line\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"first\n"
    file.append(b"third\n")
    file.close()
    assert path.read_bytes() == b"first\nthird\n"


async def test_what_cannot_be_opened_is_a_sentence(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path, problem in (
        (tmp_path, "Is a directory"),
        (tmp_path / "missing" / "events", "No such file or directory"),
        (fifo, "No such device or address"),
    ):
        told = await run_handler(FileHandler, {"path": str(path)})
        assert told.opened.came is Came.RETRY
        assert told.opened.problem == f"{path}: {problem}"


async def test_a_disk_that_hangs_holds_up_nothing_but_its_own_handler(tmp_path: Path) -> None:
    hung = threading.Event()
    path = tmp_path / "events"
    async with opened(FileHandler, {"path": str(path)}) as handler:
        file = handler.handler._file  # type: ignore[attr-defined]
        append, file.append = file.append, lambda _line: hung.wait(30)
        assert (await handler.tell(make_event(), limit=0.1)).came is Came.LATE
        again = await handler.tell(make_event())
        assert again.came is Came.RETRY
        assert "still hangs" in again.problem
        file.append = append
        hung.set()
        while not (await handler.tell(make_event())).done:
            pass
    assert len(lines(path)) == 1


@pytest.mark.parametrize(
    "settings",
    [{}, {"path": "events"}, {"path": "/x", "max_size": "1KB"}, {"path": "/x", "keep": 0}],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FileSettings.model_validate(settings)
