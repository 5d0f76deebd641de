"""webhook against a real HTTP server on loopback, by TLS, too."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dmwatch.errors import DmwatchError
from dmwatch.handlers.webhook import LARGEST, WebhookHandler, WebhookSettings
from dmwatch.service.delivery.attempt import Came, Outcome
from dmwatch.testing import make_event

from .conftest import opened

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def answer(status: str, body: str = "", **headers: str) -> bytes:
    lines = [f"{name.replace('_', '-')}: {text}\r\n" for name, text in headers.items()]
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{''.join(lines)}\r\n"
    return (head + body).encode()


class Request:
    """What arrived."""

    def __init__(self, head: str, body: bytes) -> None:
        first, *lines = head.split("\r\n")
        self.method, self.path, _ = first.split()
        split = (line.partition(": ") for line in lines if line)
        self.pairs = [(name.lower(), text) for name, _, text in split]
        self.headers = dict(self.pairs)
        self.body = body


class Server:
    """Answers each request with the next of its answers, or 200."""

    def __init__(self) -> None:
        self.answers: list[bytes | Callable[[asyncio.StreamWriter], Any]] = []
        self.requests: list[Request] = []
        self.port = 0
        self.scheme = "http"

    def url(self, path: str = "/hook") -> str:
        return f"{self.scheme}://localhost:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(head.lower().partition("content-length: ")[2].split("\r\n")[0] or 0)
                self.requests.append(Request(head, await reader.readexactly(length)))
                reply = self.answers.pop(0) if self.answers else OK
                if callable(reply):
                    await reply(writer)
                    break
                writer.write(reply)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield made


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    command += " -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout key -out cert"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
async def tls(certificate: Path) -> AsyncIterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert", certificate / "key")
    made = Server()
    made.scheme = "https"
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
    made.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield made


async def post(url: str, limit: float = 20.0, **settings: Any) -> Outcome:
    async with opened(WebhookHandler, {"url": url} | settings) as handler:
        return await handler.tell(make_event(), limit)


async def test_an_event_is_posted_as_json_with_its_id_as_the_key(server: Server) -> None:
    event = make_event()
    settings = {"url": server.url("/hook?team=a"), "headers": {"X-Team": "storage"}}
    async with opened(WebhookHandler, settings) as handler:
        assert (await handler.tell(event)).done
        assert (await handler.tell(event)).done
    first, second = server.requests
    assert (first.method, first.path) == ("POST", "/hook?team=a")
    assert json.loads(first.body) == event.model_dump(mode="json")
    assert first.headers["content-type"] == "application/json"
    assert first.headers["x-team"] == "storage"
    assert first.headers["user-agent"].startswith("dmwatch/")
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"] == event.id


async def test_a_template_is_filled_in_and_escaped_for_json(server: Server) -> None:
    event = make_event(summary='a "quoted"\nname', data={"percent": 91.5})
    template = '{"text": "$summary", "at": "${data_percent}", "none": "$reason", "cost": "$$"}'
    async with opened(WebhookHandler, {"url": server.url(), "template": template}) as handler:
        assert (await handler.tell(event)).done
    assert json.loads(server.requests[0].body) == {
        "text": 'a "quoted"\nname',
        "at": "91.5",
        "none": "",
        "cost": "$",
    }
    plain = {"url": server.url(), "template": "$summary", "content_type": "text/plain"}
    async with opened(WebhookHandler, plain) as handler:
        await handler.tell(event)
    assert server.requests[1].body.decode() == 'a "quoted"\nname'


@pytest.mark.parametrize(
    ("status", "came"),
    [
        ("204 No Content", Came.DONE),
        ("303 See Other", Came.DONE),
        ("500 Internal Server Error", Came.RETRY),
        ("503 Service Unavailable", Came.RETRY),
        ("429 Too Many Requests", Came.RETRY),
        ("408 Request Timeout", Came.RETRY),
        ("400 Bad Request", Came.DROP),
        ("404 Not Found", Came.DROP),
        ("304 Not Modified", Came.DROP),
    ],
)
async def test_what_an_answer_means(server: Server, status: str, came: Came) -> None:
    server.answers = [answer(status, "" if status[0] in "23" else "says why")]
    outcome = await post(server.url())
    assert outcome.came is came
    if came is not Came.DONE:
        assert outcome.problem.startswith(f"http://localhost:{server.port} answers {status[:3]}")
        assert "hook" not in outcome.problem


async def test_retry_after_is_handed_on(server: Server) -> None:
    server.answers = [answer("503 Busy", Retry_After="7"), answer("429 Slow", Retry_After="soon")]
    assert (await post(server.url())).after == 7
    assert (await post(server.url())).after is None


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
async def test_a_redirect_is_followed_with_the_same_body(server: Server, status: str) -> None:
    server.answers = [answer(status, Location="/other")]
    assert (await post(server.url())).done
    assert [(r.method, r.path) for r in server.requests] == [("POST", "/hook"), ("POST", "/other")]
    assert server.requests[0].body == server.requests[1].body


async def test_redirects_without_end_are_given_up(server: Server) -> None:
    server.answers = [answer("307 Again", Location="/hook") for _ in range(9)]
    outcome = await post(server.url(), redirects=2)
    assert (outcome.came, len(server.requests)) == (Came.DROP, 3)
    assert "redirects more than 2 times" in outcome.problem


@pytest.mark.parametrize("location", ["", "ftp://localhost/", "file:///x", "mailto:a@b"])
async def test_a_redirect_to_what_is_no_address_is_dropped(server: Server, location: str) -> None:
    server.answers = [answer("307 Go", Location=location)]
    outcome = await post(server.url())
    assert outcome.came is Came.DROP
    assert "to what is no address" in outcome.problem


async def test_secrets_go_to_the_receiver_and_to_nobody_else(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("s3cr3t\n")
    secret = {"file": str(tmp_path / "token")}
    settings = {"url": server.url(), "token": secret, "headers": {"X-Key": secret}}
    # another host, though it is the same machine
    server.answers = [answer("307 Go", Location=f"http://127.0.0.1:{server.port}/elsewhere")]
    async with opened(WebhookHandler, settings) as handler:
        assert (await handler.tell(make_event())).done
        assert "s3cr3t" not in repr(handler.handler.settings)
    first, second = server.requests
    assert first.headers["authorization"] == "Bearer s3cr3t"
    assert first.headers["x-key"] == "s3cr3t"
    assert not {"authorization", "x-key"} & second.headers.keys()


async def test_a_secret_that_the_server_repeats_is_masked(server: Server, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cr3t\n")
    server.answers = [answer("401 Unauthorized", "unknown token s3cr3t")]
    outcome = await post(server.url(), token={"file": str(tmp_path / "token")})
    assert outcome.problem.endswith("answers 401: unknown token ***")


async def test_an_address_can_be_a_secret(server: Server, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(server.url("/hook/xyzzy"))
    async with opened(WebhookHandler, {"url": {"file": str(tmp_path / "url")}}) as handler:
        assert (await handler.tell(make_event())).done
    assert server.requests[0].path == "/hook/xyzzy"


async def test_an_answer_that_repeats_the_address_does_not_show_it(
    server: Server, tmp_path: Path
) -> None:
    address = server.url("/hook/T0%2F1hunter2?key=hunter22").replace("//", "//me:pass4hunter@")
    (tmp_path / "url").write_text(address)
    said = "Cannot POST /hook/T0%2F1hunter2?key=hunter22 or T0/1hunter2, hunter22, pass4hunter"
    for url in ({"file": str(tmp_path / "url")}, address):
        server.answers = [answer("404 Not Found", said)]
        outcome = await post(url)  # type: ignore[arg-type]
        assert outcome.problem.endswith("answers 404: Cannot POST *** or ***, ***, ***")


async def test_a_header_that_is_chosen_is_sent_once(server: Server) -> None:
    chosen = {"content-type": "a/b", "user-agent": "me"}
    async with opened(WebhookHandler, {"url": server.url(), "headers": chosen}) as handler:
        assert (await handler.tell(make_event())).done
    (request,) = server.requests
    assert [name for name, _ in request.pairs if name in chosen] == list(chosen)
    assert request.headers["content-type"] == "a/b"


async def test_the_http_library_shows_no_address_in_the_log(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    (tmp_path / "token").write_text("hunter2")
    assert (await post(server.url("/hook/hunter2"), token={"file": str(tmp_path / "token")})).done
    assert "hunter2" not in caplog.text


async def test_an_endless_answer_is_read_only_so_far(server: Server) -> None:
    sent = 0

    async def endless(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
            sent += 1024
            await writer.drain()

    server.answers = [endless]
    outcome = await post(server.url())
    assert outcome.came is Came.RETRY
    assert len(outcome.problem) < 400
    # what the kernel's buffers take, and no more
    assert sent < 2000 * LARGEST


async def test_no_connection_no_answer_and_nonsense_are_tried_again(server: Server) -> None:
    async def hang(_writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(5)

    async def hang_up(_writer: asyncio.StreamWriter) -> None:
        pass

    server.answers = [hang_up, b"nonsense\r\n\r\n", hang]
    assert (await post(server.url())).came is Came.RETRY
    assert (await post(server.url())).came is Came.RETRY
    assert (await post(server.url(), 0.3)).came is Came.LATE
    refused = await post("http://127.0.0.1:9/hook")
    assert refused.came is Came.RETRY
    assert "refused" in refused.problem.lower() or "Connect call failed" in refused.problem


async def test_tls_is_verified_against_the_authorities_that_are_configured(
    tls: Server, certificate: Path
) -> None:
    assert (await post(tls.url(), ca_file=str(certificate / "cert"))).done
    outcome = await post(tls.url())
    assert outcome.came is Came.RETRY
    assert "certificate verify failed" in outcome.problem
    wrong_name = tls.url().replace("localhost", "127.0.0.1")
    outcome = await post(wrong_name, ca_file=str(certificate / "cert"))
    assert "certificate" in outcome.problem
    assert len(tls.requests) == 1


async def test_a_redirect_away_from_tls_is_not_followed(
    tls: Server, server: Server, certificate: Path
) -> None:
    tls.answers = [answer("307 Go", Location=server.url())]
    outcome = await post(tls.url(), ca_file=str(certificate / "cert"))
    assert outcome.came is Came.DROP
    assert "away from TLS" in outcome.problem
    assert server.requests == []


async def test_the_environment_chooses_no_proxy_but_the_configuration_can(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await post(server.url())).done
    outcome = await post("http://alerts.invalid/hook", proxy=f"http://127.0.0.1:{server.port}")
    assert outcome.done
    assert server.requests[-1].path == "http://alerts.invalid/hook"


def test_nothing_is_imported_for_an_event() -> None:
    code = """
import asyncio, sys
from dmwatch.handlers.webhook import WebhookHandler
from dmwatch.testing import make_event
async def serve(reader, writer):
    await reader.readuntil(b"}")
    writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
    await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://localhost:{server.sockets[0].getsockname()[1]}/"
    event = make_event()
    handler = WebhookHandler("x", WebhookHandler.Settings(url=url), None)
    await handler.open()
    before = set(sys.modules)
    await handler.handle(event)
    print(sorted(set(sys.modules) - before))
    await handler.close()
    server.close()
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50
    )
    assert done.stdout.strip() == "[]"


async def test_what_cannot_be_read_at_open_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("no certificates\n")
    (tmp_path / "lines").write_text("two\nlines\n")
    for settings, problem in (
        ({"ca_file": str(tmp_path / "empty")}, "cannot be used as ca_file"),
        ({"ca_file": str(tmp_path / "missing")}, "cannot be used as ca_file"),
        ({"token": {"file": str(tmp_path / "lines")}}, "cannot be sent as a header"),
        ({"url": {"file": str(tmp_path / "lines")}}, "address cannot be used"),
    ):
        with pytest.raises(DmwatchError, match=problem):
            async with opened(WebhookHandler, {"url": "https://alerts.example/"} | settings):
                pass


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"url": "alerts.example"},
        {"url": "ftp://alerts.example"},
        {"url": "https://"},
        {"url": "https://a.example", "template": "$no_such_field"},
        {"url": "https://a.example", "template": "costs 3 $"},
        {"url": "https://a.example", "headers": {"a b": "c"}},
        {"url": "https://a.example", "headers": {"A": "b\nC: d"}},
        {"url": "https://a.example", "token": {}},
        {"url": "https://a.example", "token": {"file": "/x", "credential": "y"}},
        {"url": "https://a.example", "token": {"file": "/x"}, "headers": {"Authorization": "b"}},
        {"url": "https://a.example", "redirects": 11},
        {"url": "https://a.example", "content_type": ""},
        {"url": "https://a.example", "content_type": "text/plain\r\nX: y"},
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WebhookSettings.model_validate(settings)
