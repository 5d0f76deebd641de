"""Clients of every kind: slow, silent, garbling, many; and the socket that they come through."""

from __future__ import annotations

import asyncio
import grp
import os
import socket
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import structlog

from dmwatch.errors import AlreadyRunningError, DmwatchError
from dmwatch.service.stream import connection, listening


@pytest.mark.parametrize(
    ("line", "word"),
    [
        (b"hello\n", "no JSON"),
        (b"\xff\xfe\x00\n", "no JSON"),
        (b"[]\n", "no JSON object"),
        (b"[" * 60_000 + b"\n", "no JSON"),
        (b"GET / HTTP/1.1\r\n", "no JSON"),
        (b'{"what": 1}\n', "what: Extra inputs are not permitted"),
        (b'{"since": 5}\n', "since: Input should be a valid string"),
        (b'{"since": "yesterday"}\n', "no id of an event, no time and no span"),
        (b'{"since": ""}\n', "no id of an event"),
        (b'{"severity": "bad"}\n', "severity: Input should be 'debug'"),
        (b'{"ask": "weather"}\n', "there is no question 'weather'"),
        (b'{"ask": "health", "since": null}\n', "since: Extra inputs"),
        (b"x" * 65_537, "more than 65536 bytes"),
        (b"x" * 200_000 + b"\n", "more than 65536 bytes"),
        (b"half a line", "the line has no end"),
    ],
)
async def test_what_is_no_request_gets_a_sentence_and_the_end(
    serve: Any, line: bytes, word: str
) -> None:
    async with serve() as service:
        client = await service.client()
        try:
            await client.send(line)
        except (BrokenPipeError, ConnectionResetError):
            assert len(line) > 65_536
        (said,) = await client.rest()
        assert word in said["error"]
        assert list(said) == ["error"]
        await service.until(lambda: service.stream.clients == 0)


async def test_a_question_gets_one_object_and_the_end(serve: Any) -> None:
    async with serve() as service:
        client = await service.subscribed(ask="health")
        assert await client.rest() == [{"pid": 1}]


async def test_a_question_may_end_with_the_end_of_what_is_said(serve: Any) -> None:
    async with serve() as service:
        client = await service.client()
        await client.send(b'{"ask": "health"}')
        client.half_close()
        assert await client.rest() == [{"pid": 1}]


async def test_an_answer_that_fails_or_takes_too_long_is_a_sentence(serve: Any, quick: Any) -> None:
    async def ask(question: str) -> dict[str, Any]:
        if question == "slow":
            await asyncio.sleep(60)
        raise ZeroDivisionError("a secret of ours")

    async with serve(quick(answer=0.05), ask=ask) as service:
        slow = await service.subscribed(ask="slow")
        assert await slow.rest() == [{"error": "'slow' could not be answered in time"}]
        failing = await service.subscribed(ask="fail")
        assert await failing.rest() == [{"error": "the daemon failed: see its log"}]


async def test_what_a_client_says_after_its_line_is_not_kept(serve: Any) -> None:
    async with serve() as service:
        client = await service.live(since=None)
        for _ in range(100):
            await client.send(b"y" * 65536)
        await service.tell("a")
        assert await client.summaries(1) == ["a"]
        (one,) = service.stream._clients
        assert len(one._buffer) == 0


async def test_a_client_that_does_not_keep_up_is_told_where_to_go_on_and_can(
    serve: Any, quick: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "QUEUE", 50)
    async with serve(quick(last_words=30.0)) as service:
        client = await service.live(since=None)
        await service.tell_many(3000)
        await service.until(lambda: service.count_live() == 0)
        lines = await client.rest()
        assert lines[-1]["error"] == "overflow"
        assert lines[-1]["resume_from"] == lines[-2]["id"]
        found = [line["summary"] for line in lines[:-1]]
        client = await service.subscribed(since=lines[-1]["resume_from"], follow=False)
        found += [line["summary"] for line in await client.rest()]
        assert found == [str(number) for number in range(3000)]


async def test_a_client_that_reads_nothing_of_its_history_is_let_go(serve: Any, quick: Any) -> None:
    async with serve(quick(stalled=0.1)) as service:
        await service.tell_many(3000)
        client = await service.subscribed(since="1h")
        await service.until(lambda: service.stream.clients == 1)
        await service.until(lambda: service.stream.clients == 0)
        lines = await client.rest_of_a_broken_line()
        assert [line["summary"] for line in lines] == [str(n) for n in range(len(lines))]


async def test_two_hundred_clients_of_which_half_never_read_do_not_slow_the_daemon(
    serve: Any, quick: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "QUEUE", 100)
    async with serve(quick(first_line=5.0)) as service:
        clients = [await service.subscribed(since=None) for _ in range(200)]
        await service.until(lambda: service.count_live() == 200)
        reading = [asyncio.create_task(client.summaries(1000)) for client in clients[::2]]
        slowest = 0.0
        for first in range(0, 1000, 20):
            start = time.monotonic()
            await service.tell_many(20, first=first)
            slowest = max(slowest, time.monotonic() - start)
            await asyncio.sleep(0.02)
        expected = [str(number) for number in range(1000)]
        for task in reading:
            assert await task == expected
        await service.until(lambda: service.stream.clients == 100)
        print(f"slowest 20 events: {slowest:.3f} s")


async def test_more_clients_than_allowed_are_turned_away(serve: Any) -> None:
    async with serve(max_clients=2) as service:
        first, second = await service.live(), await service.live()
        third = await service.client()
        assert await third.rest() == [{"error": "the daemon has too many clients"}]
        first.close()
        await service.until(lambda: service.stream.clients == 1)
        fourth = await service.subscribed(ask="health")
        assert await fourth.rest() == [{"pid": 1}]
        await service.tell("a")
        assert await second.summaries(1) == ["a"]


async def test_clients_that_leave_at_any_moment_leave_nothing_behind(
    serve: Any, quick: Any
) -> None:
    async with serve(quick(first_line=0.5)) as service:
        await service.tell_many(300)
        for request in (b"", b'{"si', b"{}\n", b'{"since": "1h"}\n', b'{"ask": "health"}\n'):
            for half in (False, True):
                client = await service.client()
                await client.send(request)
                if half:
                    client.half_close()
                    await asyncio.sleep(0.01)
                client.close()
        await service.until(lambda: service.stream.clients == 0)


async def test_a_client_that_leaves_while_its_history_is_read_takes_nobody_elses(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve() as service:
        await service.tell_many(3)
        reader = service.ledger._disk._reader
        page, entered, go_on = reader.page, threading.Event(), threading.Event()

        def slowly(*arguments: Any) -> Any:
            entered.set()
            go_on.wait(30)
            return page(*arguments)

        monkeypatch.setattr(reader, "page", slowly)
        leaving = await service.subscribed(since="1h")
        await service.until(entered.is_set)
        leaving.close()
        await service.until(lambda: service.stream.clients == 0)
        client = await service.subscribed(since="1h", follow=False)
        await asyncio.sleep(0.1)
        go_on.set()
        assert [line.get("summary") for line in await client.rest()] == ["0", "1", "2"]


async def test_a_client_that_says_no_more_goes_on_listening(serve: Any) -> None:
    async with serve() as service:
        client = await service.client()
        client.half_close()
        await service.until(service.count_live)
        await asyncio.sleep(0.2)
        await service.tell("a")
        assert await client.summaries(1) == ["a"]


async def test_the_end_gives_clients_what_was_told(serve: Any) -> None:
    async with serve() as service:
        client = await service.live()
        await service.tell_many(20)
        reading = asyncio.create_task(client.rest())
        await service.stream.close()
        assert len(await reading) == 20


async def test_the_peer_is_logged_as_the_kernel_knows_it(serve: Any) -> None:
    with structlog.testing.capture_logs() as logged:
        async with serve() as service:
            await service.live()
    (come,) = [line for line in logged if line["event"] == "a client has come"]
    assert (come["pid"], come["uid"], come["gid"]) == (os.getpid(), os.getuid(), os.getgid())


# the socket


async def test_the_socket_is_for_owner_and_group_whatever_the_umask(serve: Any) -> None:
    for mask in (0o000, 0o077):
        before = os.umask(mask)
        try:
            async with serve() as service:
                mode = os.lstat(service.path).st_mode
        finally:
            os.umask(before)
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o660
        with pytest.raises(FileNotFoundError):
            os.lstat(service.path)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a socket to a group")
async def test_the_socket_belongs_to_the_group_that_is_configured(serve: Any) -> None:
    group = grp.getgrall()[-1]
    async with serve(group=group.gr_name) as service:
        assert os.lstat(service.path).st_gid == group.gr_gid


async def test_a_group_that_does_not_exist_is_a_sentence(serve: Any) -> None:
    with pytest.raises(DmwatchError, match=r"cannot be made; most likely because .*nobody-here"):
        async with serve(group="nobody-here"):
            pass


def test_the_socket_of_a_dead_daemon_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listening.listen(path, None).close()
    assert path.is_socket()
    made = listening.listen(path, None)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    made.close()


def test_the_socket_of_a_living_daemon_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    made = listening.listen(path, None)
    with pytest.raises(AlreadyRunningError, match="another daemon listens"):
        listening.listen(path, None)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    made.close()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(DmwatchError, match="no socket"):
        listening.listen(path, None)
    assert path.read_text() == "precious"


def test_a_socket_that_another_one_has_replaced_is_not_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "s"
    first = listening.listen(path, None)
    inode = path.lstat().st_ino
    first.close()
    path.rename(tmp_path / "old")
    second = listening.listen(path, None)
    listening.remove(path, inode)
    assert path.is_socket()
    listening.remove(path, path.lstat().st_ino)
    assert not path.exists()
    second.close()


def test_a_path_that_is_too_long_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DmwatchError, match="too long"):
        listening.listen(tmp_path / ("x" * 120), None)
