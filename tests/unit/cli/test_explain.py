from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dmwatch.cli.explain import command

POOL = "0 116/1024 512/512 - out_of_data_space discard_passdown queue_if_no_space - 256 "
KEY = "00112233445566778899aabbccddeeff"
KEYS = {"name", "start", "length", "type", "status", "conditions", "error"}


def explain(text: str | bytes, *options: str, code: int = 0) -> str:
    result = CliRunner().invoke(command, options, input=text, standalone_mode=False)
    assert result.return_value == code, result.output
    return result.output


def explain_json(text: str | bytes, *options: str, code: int = 0) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(explain(text, "--json", *options, code=code))
    return found


def test_a_status_line_has_its_meaning_and_its_conditions() -> None:
    [found] = explain_json(f"vg-pool: 0 65536 thin-pool {POOL}\n")
    assert found.keys() == KEYS
    assert (found["name"], found["start"], found["length"]) == ("vg-pool", 0, 65536)
    assert found["status"]["mode"] == "out_of_data_space"
    assert found["conditions"] == [
        {"type": "thin-pool.out-of-data-space", "key": None, "severity": "critical"},
        {"type": "thin-pool.data-usage", "key": None, "severity": "critical"},
    ]


@pytest.mark.parametrize(
    ("line", "name", "start"),
    [
        ("0 8 zero ", None, 0),
        ("a: 0 8 zero", "a", 0),
        ("a: b: 5 8 zero ", "a: b", 5),
        ("0 8 x: 5 8 zero", "0 8 x", 5),
        (": 0 8 zero", "", 0),
    ],
)
def test_a_name_ends_at_the_last_colon_before_the_numbers(
    line: str, name: str | None, start: int
) -> None:
    [found] = explain_json(line)
    assert (found["name"], found["start"], found["type"]) == (name, start, "zero")


def test_blank_lines_and_no_devices_give_nothing() -> None:
    assert explain_json("\n   \n\r\nNo devices found\n") == []


def test_a_device_without_a_table() -> None:
    [found] = explain_json("empty: \n")
    assert found["name"] == "empty"
    assert found["start"] is found["type"] is found["status"] is found["error"] is None
    assert "no table is live" in explain("empty: \n")


def test_what_is_no_line_is_told_and_the_rest_is_read() -> None:
    [bad, good] = explain_json("garbage\na: 0 8 zero \n", code=1)
    assert "no line of `dmsetup status`" in bad["error"]
    assert good["error"] is None


def test_an_unreadable_status_names_field_and_position() -> None:
    [found] = explain_json("p: 0 8 thin-pool 0 1", code=1)
    assert "metadata (word 2)" in found["error"]
    assert found["conditions"] == []


def test_a_line_that_fails_as_status_is_tried_as_table() -> None:
    [linear, pool] = explain_json("a: 0 8 linear 254:0 7\nb: 0 8 thin-pool 8:0 8:1 128 0 0 \n")
    assert linear["table"]["start"] == 7
    assert linear["status"] is None
    assert pool["table"]["block_size"] == 128


def test_table_option_reads_tables_only() -> None:
    [found] = explain_json("a: 0 8 thin-pool 8:0 8:1 128 0 0 ", "--table")
    assert found["table"]["low_water"] == 0
    [wrong] = explain_json(f"a: 0 8 thin-pool {POOL}", "--table", code=1)
    assert wrong["error"]


def test_an_unknown_target_is_shown_raw() -> None:
    [found] = explain_json("a: 0 8 frobnicate 1 2 three")
    assert found["status"] == {"state": "unknown", "text": "1 2 three", "extra": []}
    assert found["error"] is None


def test_part_of_a_device_that_maps_to_error() -> None:
    [found] = explain_json("a: 0 8 error ")
    assert found["conditions"] == [
        {"type": "device.error-target", "key": None, "severity": "warning"}
    ]


@pytest.mark.parametrize("options", [(), ("--json",), ("--table",), ("--table", "--json")])
@pytest.mark.parametrize(
    "text",
    [
        f"aes-xts-plain64 {KEY} 0 254:0 0",
        f"aes-xts-plain64 {KEY} 0 254:0",
        f"aes-xts-plain64 {KEY} x 254:0 0",
        f"{KEY}",
        f"{KEY} {KEY} {KEY} {KEY} {KEY} 99 {KEY}",
    ],
)
@pytest.mark.parametrize("kind", ["crypt", "inlinecrypt", "integrity", "default-key"])
def test_no_key_is_ever_shown(kind: str, text: str, options: tuple[str, ...]) -> None:
    result = CliRunner().invoke(command, options, input=f"c: 0 8 {kind} {text}\n")
    assert KEY not in result.output


def test_bytes_that_are_no_text() -> None:
    [found] = explain_json(b"a\xff\x1b[31m: 0 8 zero \n")
    assert found["name"] == "a\\xff\\x1b[31m"


def test_a_file_is_read_and_a_missing_one_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "status"
    path.write_text("a: 0 8 zero \n")
    found = subprocess.run(
        [sys.executable, "-m", "dmwatch", "explain", path],
        capture_output=True,
        check=False,
        text=True,
    )
    assert (found.returncode, found.stdout) == (0, "a: zero status, 4.0 KiB at sector 0\n")
    missing = subprocess.run(
        [sys.executable, "-m", "dmwatch", "explain", tmp_path / "none"],
        capture_output=True,
        check=False,
        text=True,
    )
    assert missing.returncode == 2
    assert "No such file" in missing.stderr


def test_for_people_a_condition_stands_out() -> None:
    text = explain(f"vg-pool: 0 65536 thin-pool {POOL}\n")
    assert "  ! critical thin-pool.out-of-data-space: no data space is left" in text
    assert "  data_used: 512" in text
