"""Whatever stands in the file: a configuration, or faults; never anything else, never a value."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dmwatch.errors import DmwatchError
from dmwatch.service.config import ConfigError, read_configuration
from dmwatch.service.config.example import BUILT_IN
from dmwatch.service.config.places import Places
from dmwatch.service.config.reading import parse

SECRET = "hunter2-hunter2"
KEYS = [
    "monitor", "heartbeat", "cpu_share", "lock_memory", "conditions", "thin-pool.data-usage",
    "raid.leg-failed", "rungs", "at", "severity", "hysteresis", "after", "rules", "device",
    "action", "until", "handlers", "pager", "use", "match", "types", "states", "delivery",
    "queue", "url", "token", "headers", "command", "file", "credential", "path", "max_size",
    "keep", "journal", "stream", "socket", "max_clients", "log", "format", "level", "user",
    "environment", "",
]  # fmt: skip
scalars = st.one_of(
    st.sampled_from([SECRET, f"https://x:{SECRET}@y/", "log", "webhook", "exec", "file", "10s"]),
    st.text(max_size=5),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=12,
)
documents = st.dictionaries(st.sampled_from(KEYS), values, max_size=6)


def toml(value: Any) -> str:
    if isinstance(value, dict):
        pairs = (f"{json.dumps(key)} = {toml(held)}" for key, held in value.items())
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, float):
        return repr(value)
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else json.dumps(value)
    return text.replace("\x7f", "\\u007f")


def refusal(text: str) -> ConfigError | None:
    try:
        parse(text, "it", strict=True)
    except ConfigError as error:
        return error
    return None


def check(text: str) -> None:
    error = refusal(text)
    if error is None:
        return
    lines = text.count("\n") + 1
    assert error.faults
    assert all(str(fault) and fault.expected for fault in error.faults)
    assert all(fault.line is None or 1 <= fault.line <= lines for fault in error.faults)
    assert SECRET not in f"{error} {error.what} {[fault.plain() for fault in error.faults]}"


@given(documents)
def test_any_table_gives_a_configuration_or_faults_that_show_no_value(data: dict[str, Any]) -> None:
    check("".join(f"{json.dumps(key)} = {toml(value)}\n" for key, value in data.items()))


@given(st.sampled_from(BUILT_IN), st.dictionaries(st.sampled_from(KEYS), values, max_size=6))
def test_no_handlers_faults_show_a_value(use: str, settings: dict[str, Any]) -> None:
    check(f"[handlers]\npager = {toml(settings | {'use': use})}\n")


@given(st.text(alphabet=st.sampled_from("[]{}\"'=.,#\n \\ab1-:Tz\x00é"), max_size=60))
def test_any_text_gives_a_configuration_or_faults(text: str) -> None:
    check(text)
    Places(text).line(("a", "b"))


@given(st.binary(max_size=200))
def test_any_bytes_give_a_configuration_or_a_sentence(data: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(data)
        with contextlib.suppress(DmwatchError):
            assert read_configuration(Path(file.name)).source == Path(file.name)


@given(documents)
def test_each_key_of_a_written_table_is_found_on_its_line(data: dict[str, Any]) -> None:
    text = "".join(f"\n# x\n{json.dumps(key)} = {toml(value)}\n" for key, value in data.items())
    places = Places(text)
    for number, key in enumerate(data):
        assert places.line((key, "something")) == 3 * number + 3
