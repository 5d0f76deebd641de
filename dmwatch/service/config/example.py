"""Writes config.example.toml from the models: `python -m dmwatch.service.config.example`.

A line that begins with `#` and a blank is prose; one that begins with `#` alone is a key or a table
to uncomment. The file as it is gives the defaults; with everything uncommented it is sound, too.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from dmwatch.handlers import Handler
from dmwatch.monitor.settings import ConditionSettings, MonitorSettings, Rule
from dmwatch.service.config.kinds import as_toml, bounds, kind_of
from dmwatch.service.delivery.plugins import installed
from dmwatch.service.logs import LogSettings
from dmwatch.service.settings import Delivery, JournalSettings, Match, StreamSettings

WIDTH = 96
BUILT_IN = ("log", "file", "webhook", "exec")
HEAD = """\
# The configuration of dmwatch: every key there is, with its kind of value and its default. Copy it
# to /etc/dmwatch/config.toml and uncomment what you want different; without it the defaults hold.
# `dmwatch check-config` says what is wrong with it, `systemctl reload dmwatch` puts it in force.
#
# Spans of time are a number with its unit: "500ms", "10s", "5m", "6h", "90d". Sizes likewise:
# "512KiB", "256MiB", "2GB". Globs are as in a shell: * ? [abc]. A key that is not listed here is an
# error.
"""
CONDITIONS = """
# One type of condition; docs/targets.md lists them all. Any number of such tables.
"""
RULES = """
# What shall not be told, or told with another severity. The first rule that matches decides.
"""
HANDLERS = """
# Who is told: any number of tables, each with a name of your own. Without any there is one that
# uses "log". `dmwatch handlers` lists what is installed; a package can bring more.
"""
_RUNGS = '[{ at = 70, severity = "notice" }, { at = 85, severity = "error" }]'
_CHOSEN = {
    "ConditionSettings.rungs": _RUNGS,
    "Rule.rungs": _RUNGS,
    "ConditionSettings.hysteresis": "2",
    "ConditionSettings.after": '"0s"',
    "ConditionSettings.remind_every": '"6h"',
    "Rule.device": '"scratch-*"',
    "Rule.action": '"ignore"',
    "StreamSettings.group": '"disk"',
    "Match.states": '["raised", "cleared"]',
    "FileSettings.path": '"/var/lib/dmwatch/events.ndjson"',
    "WebhookSettings.url": '"https://alerts.example/hook"',
    "WebhookSettings.token": '{ credential = "pager-token" }',
    "WebhookSettings.headers": '{ X-Site = "north", X-Key = { credential = "pager-key" } }',
    "WebhookSettings.template": """'{"text": "$severity: $summary"}'""",
    "WebhookSettings.ca_file": '"/etc/ssl/ours.pem"',
    "WebhookSettings.proxy": '"http://proxy.example:3128"',
    "ExecSettings.command": '["/usr/local/sbin/on-event", "--quietly"]',
    "ExecSettings.user": '"nobody"',
    "ExecSettings.group": '"nogroup"',
    "ExecSettings.environment": '{ SITE = "north" }',
}
"""What the example shows where there is no default, or a better thing to show."""
_EXCLUDED = {"Rule.severity", "Rule.rungs"}


def document() -> str:
    """The whole file."""
    return "".join([HEAD, *_parts()])


def _parts() -> Iterator[str]:
    for name, model in (
        ("monitor", MonitorSettings),
        ("journal", JournalSettings),
        ("stream", StreamSettings),
        ("log", LogSettings),
    ):
        yield f"\n{_prose(_about(model))}[{name}]\n{_keys(model)}"
    yield CONDITIONS + '#[conditions."thin-pool.data-usage"]\n' + _keys(ConditionSettings)
    yield RULES + "#[[rules]]\n" + _keys(Rule)
    yield HANDLERS
    for number, use in enumerate(BUILT_IN):
        yield from _handler(use, with_common=number == 0)


def _handler(use: str, *, with_common: bool) -> Iterator[str]:
    handler = _class(use)
    model = handler.Settings
    name = f"my-{use}"
    yield f'\n{_prose(_about(handler))}#[handlers.{name}]\n#use = "{use}"\n{_keys(model)}'
    if with_common:
        yield f"\n{_prose(_about(Match))}#[handlers.{name}.match]\n{_keys(Match)}"
        yield f"\n{_prose(_about(Delivery))}#[handlers.{name}.delivery]\n{_keys(Delivery)}"


def _class(use: str) -> type[Handler[Any]]:
    found = next(handler for handler in installed() if handler.builtin and handler.name == use)
    module, _, name = found.where.partition(":")
    handler: type[Handler[Any]] = getattr(import_module(module), name)
    return handler


def _about(model: type) -> str:
    sentence = (model.__doc__ or "").strip().split("\n")[0]
    return sentence.partition("]`: ")[2] or sentence


def _prose(sentence: str) -> str:
    return f"# {sentence[:1].upper()}{sentence[1:]}\n" if sentence else ""


def _keys(model: type[BaseModel]) -> str:
    return "".join(_key(model, name, field) for name, field in model.model_fields.items())


def _key(model: type[BaseModel], name: str, field: FieldInfo) -> str:
    # of keys that exclude each other all but one stay prose
    mark = "# " if f"{model.__name__}.{name}" in _EXCLUDED else "#"
    return f"{_wrapped(_describe(field))}{mark}{name} = {_value(model, name, field)}\n"


def _describe(field: FieldInfo) -> str:
    about = field.description or "see the documentation"
    kind = ", ".join([kind_of(field).words, *bounds(field)])
    if field.is_required():
        return f"{about} ({kind}; required)"
    default = field.get_default(call_default_factory=True, validated_data={})
    told = "none" if default is None else as_toml(field, default)
    return f"{about} ({kind}; default: {told})"


def _value(model: type[BaseModel], name: str, field: FieldInfo) -> str:
    chosen = _CHOSEN.get(f"{model.__name__}.{name}")
    if chosen is not None:
        return chosen
    default: Any = field.get_default(call_default_factory=True, validated_data={})
    if field.examples:
        return as_toml(field, field.examples[0])
    if default is None or default is PydanticUndefined:
        return kind_of(field).example
    return as_toml(field, default)


def _wrapped(text: str) -> str:
    lines, line = [], "#"
    for word in text.split():
        if len(line) + 1 + len(word) > WIDTH:
            lines.append(line)
            line = "#  "
        line += f" {word}"
    return "\n".join([*lines, line]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
