from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from dmwatch.events import Event
from dmwatch.monitor import device_rows
from dmwatch.monitor.catalogue import event_types
from dmwatch.monitor.schema import event_schema, text
from dmwatch.targets import load_all


def kept() -> str:
    return (files("dmwatch") / "schema" / "events.json").read_text("utf-8")


def data_of(type_: str) -> dict[str, Any]:
    """The schema of the data of a type."""
    schema = event_schema()
    for rule in schema["allOf"]:
        if rule["if"]["properties"]["type"]["const"] == type_:
            name = rule["then"]["properties"]["data"]["$ref"].rpartition("/")[2]
            found: dict[str, Any] = schema["$defs"][name]
            return found
    raise KeyError(type_)


def test_the_schema_in_the_package_is_that_of_the_models() -> None:
    assert kept() == text(), "python -m dmwatch.monitor.schema > dmwatch/schema/events.json"


def test_every_field_of_an_event_is_required_and_described() -> None:
    event = event_schema()["$defs"]["Event"]
    assert set(event["properties"]) == set(Event.model_fields) == set(event["required"])
    assert event["additionalProperties"] is False
    undescribed = [name for name, one in event["properties"].items() if "description" not in one]
    assert undescribed == []


def test_every_row_of_the_catalogue_has_its_data() -> None:
    rows = [
        *device_rows.CONDITIONS,
        *device_rows.MOMENTS,
        *(row for target in load_all() for row in (*target.conditions, *target.moment_types)),
    ]
    assert len({row.type for row in rows}) == len(rows)
    assert {row.type for row in rows} <= set(event_types())
    assert all(data_of(row.type)["type"] == "object" for row in rows)


def test_what_the_data_of_some_types_holds() -> None:
    assert set(data_of("thin-pool.data-usage")["properties"]) == {
        "used",
        "total",
        "percent",
        "rung",
    }
    assert set(data_of("raid.leg-failed")["required"]) >= {"leg", "redundancy_left"}
    assert data_of("device.renamed")["properties"]["old_name"]["type"] == "string"
    assert data_of("multipath.path-flapping")["required"] == ["failures"]
    assert data_of("thin-pool.failed")["properties"] == {}


def test_amounts_with_a_unit_are_integers() -> None:
    free = data_of("thin-pool.low-water")["properties"]["free"]
    assert (free["type"], free["minimum"]) == ("integer", 0)


def test_conditions_have_a_state_and_moments_have_none() -> None:
    states = {
        rule["if"]["properties"]["type"]["const"]: rule["then"]["properties"]["state"]["type"]
        for rule in event_schema()["allOf"]
    }
    assert states["raid.leg-failed"] == states["dmwatch.control-failing"] == "string"
    assert states["raid.sync-finished"] == states["device.added"] == "null"


def test_it_is_json_that_ends_in_a_newline() -> None:
    assert json.loads(kept())["$ref"] == "#/$defs/Event"
    assert kept().endswith("}\n")
