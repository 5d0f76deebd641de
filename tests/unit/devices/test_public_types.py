"""Whatever a public signature names can be imported by that name."""

from __future__ import annotations

import importlib
import inspect
import typing
from collections.abc import Iterator
from typing import Any

import pytest

import dmwatch
from dmwatch import devices, targets

PLACES = (dmwatch, devices, targets)
PUBLIC = [
    pytest.param(found, id=f"{place.__name__}.{name}")
    for place in PLACES
    for name in place.__all__
    if inspect.isclass(found := getattr(place, name)) or inspect.isfunction(found)
]


def signatures(found: Any) -> Iterator[Any]:
    """What a class or a function takes and gives."""
    members = inspect.getmembers(found) if inspect.isclass(found) else [("", found)]
    for name, member in members:
        if name == "__init__" or not name.startswith("_"):
            target = getattr(member, "fget", None) or getattr(member, "__func__", member)
            if inspect.isfunction(target) and target.__module__.startswith("dmwatch"):
                yield from typing.get_type_hints(target).values()


def classes(hint: Any) -> Iterator[type]:
    if inspect.isclass(hint) and not typing.get_args(hint):
        yield hint
    for part in typing.get_args(hint):
        yield from classes(part)


@pytest.mark.parametrize("found", PUBLIC)
@pytest.mark.parity("B25")
def test_what_a_public_signature_names_can_be_imported(found: Any) -> None:
    for hint in signatures(found):
        for named in classes(hint):
            if named.__module__.startswith("dmwatch"):
                home = importlib.import_module(named.__module__)
                assert getattr(home, named.__name__) is named
                assert not any(part.startswith("_") for part in named.__module__.split("."))
                assert not named.__name__.startswith("_")
