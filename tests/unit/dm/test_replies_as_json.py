"""Records are dataclasses whose JSON pydantic's TypeAdapter gives; no key is in it."""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter

from dmwatch.dm import DeviceMapper, TableStatus
from dmwatch.ioctl.abi import Flags
from dmwatch.ioctl.payload import ListedDevice
from dmwatch.table import TargetLine
from dmwatch.testing import FakeKernel


def as_json(kind: Any, value: Any) -> Any:
    return json.loads(TypeAdapter(kind).dump_json(value))


def test_lists_and_tables_have_a_json_form() -> None:
    kernel = FakeKernel()
    kernel.add("c\udcff", TargetLine(0, 8, "crypt", f"aes {'ab' * 32} 0 7:0 0"), uuid="CRYPT-1")
    with DeviceMapper(kernel.open()) as dm:
        listed = dm.list_devices(uuids=True)
        table = dm.table_status("c\udcff", flags=Flags.STATUS_TABLE | Flags.SECURE_DATA)
    assert as_json(list[ListedDevice], listed) == [
        {"number": "253:0", "name": "c\\xff", "event_nr": 0, "uuid": "CRYPT-1"}
    ]
    shown = as_json(TableStatus, table)
    assert (shown["info"]["name"], shown["info"]["number"]) == ("c\\xff", "253:0")
    assert shown["lines"] == [
        {"start": 0, "length": 8, "type": "crypt", "text": "<5 words, not shown>"}
    ]
