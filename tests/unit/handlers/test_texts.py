"""Fields and templates, what Retry-After says, secrets, log."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dmwatch.errors import DmwatchError
from dmwatch.events import DeviceRef
from dmwatch.handlers import Secret
from dmwatch.handlers.answers import retry_after
from dmwatch.handlers.fields import FIELDS, fields
from dmwatch.handlers.log import LogHandler
from dmwatch.handlers.templates import check, fill
from dmwatch.testing import make_event, run_handler


def test_every_key_of_an_event_is_a_field_but_data_and_device() -> None:
    event = make_event()
    expected = set(type(event).model_fields) - {"data"}
    expected |= {f"device_{key}" for key in DeviceRef.model_fields if key != "name"}
    assert set(FIELDS) == expected
    assert set(FIELDS) <= set(fields(event))


def test_an_event_without_a_device_has_empty_fields() -> None:
    texts = fields(make_event("dmwatch.started"))
    assert (texts["device"], texts["device_label"], texts["state"]) == ("", "", "")
    assert texts["initial"] == "false"


@pytest.mark.parametrize("text", ["", "$summary", "${data_anything} $$", "no fields"])
def test_a_template_that_can_be_filled_in_is_taken(text: str) -> None:
    assert check(text) == text


@pytest.mark.parametrize(
    "text", ["$", "$1", "${", "${}", "$Summary", "$nonsense", "${device.name}"]
)
def test_a_template_that_cannot_be_filled_in_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        check(text)


def test_what_an_event_does_not_have_is_empty() -> None:
    assert fill("[$data_none|$reason]", make_event(), as_json=False) == "[|]"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        (" 120 ", 120),
        ("Sun, 22 Nov 2026 12:00:30 GMT", 30),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0),
        ("", None),
        ("-1", None),
        ("soon", None),
        ("99999999999", None),
        ("Sun, 99 Nov 2026 12:00:30 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    assert retry_after(text, datetime(2026, 11, 22, 12, tzinfo=UTC)) == seconds


def test_a_secret_comes_from_a_file_or_a_credential_and_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("xyzzy\n")
    from_file = Secret.model_validate({"file": str(tmp_path / "token")}).read()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    from_credential = Secret.model_validate({"credential": "token"}).read()
    assert from_file.get_secret_value() == from_credential.get_secret_value() == "xyzzy"
    assert "xyzzy" not in f"{from_file} {from_file!r}"


@pytest.mark.parametrize("content", [b"", b"\n", b"x" * 70_000, b"\xff\xfe"])
def test_a_secret_that_is_none_is_a_sentence_without_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(DmwatchError, match=r"the secret .*token"):
        Secret(file=tmp_path / "token").read()


def test_a_secret_that_nobody_writes_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path):
        with pytest.raises(DmwatchError, match=r"cannot be read.*(not a regular file|directory)"):
            Secret(file=path).read()


def test_a_credential_without_systemd_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(DmwatchError, match="not started by systemd"):
        Secret(credential="token").read()


@pytest.mark.parametrize(
    "settings", [{}, {"file": "/x", "credential": "y"}, {"credential": "../y"}, {"text": "xyzzy"}]
)
def test_a_secret_has_one_source(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"secret|credential|text"):
        Secret.model_validate(settings)


async def test_log_writes_a_line_with_the_events_severity() -> None:
    event = make_event("raid.leg-failed", severity="critical", key="2", advice="replace it")
    told = await run_handler(LogHandler, {}, event, make_event("dmwatch.started"))
    first, second = told.log
    assert first["level"] == "info"
    assert first["event"] == event.summary
    assert (first["severity"], first["key"], first["target"]) == ("critical", "2", "raid")
    assert (first["device"], first["number"]) == ("vg-test", "254:0")
    assert first["advice"] == "replace it"
    assert "device" not in second
    told = await run_handler(LogHandler, {"data": False}, event)
    assert not {"advice", "data"} & told.log[0].keys()
