"""config.example.toml: every key there is, and sound with all of them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from dmwatch.service.config.example import BUILT_IN, document
from dmwatch.service.config.reading import parse
from dmwatch.service.delivery.plugins import installed
from dmwatch.service.settings import Configuration

ROOT = Path(__file__).parents[4]


def uncommented(text: str) -> str:
    return re.sub(r"^#(?=\S)", "", text, flags=re.MULTILINE)


def test_the_example_is_what_the_models_say() -> None:
    """If not: python -m dmwatch.service.config.example > config.example.toml."""
    assert (ROOT / "config.example.toml").read_text() == document()


def test_as_it_is_it_gives_the_defaults() -> None:
    assert parse(document(), "example") == Configuration()


def test_with_everything_uncommented_it_is_sound() -> None:
    made = parse(uncommented(document()), "example", strict=True)
    assert sorted(table.use for table in made.handlers.values()) == sorted(BUILT_IN)


def test_every_key_of_the_tables_is_there() -> None:
    data = tomllib.loads(uncommented(document()))
    for name, field in Configuration.model_fields.items():
        if name in {"conditions", "rules", "handlers"}:
            continue
        assert set(data[name]) == set(type(field.default).model_fields)


def test_every_handler_of_ours_is_there() -> None:
    assert sorted(handler.name for handler in installed() if handler.builtin) == sorted(BUILT_IN)
