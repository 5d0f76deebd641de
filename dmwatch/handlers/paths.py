"""Paths in settings: whole ones, as nobody knows where a daemon stands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator


def _absolute(path: Path) -> Path:
    if not path.is_absolute() or "\0" in str(path):
        raise ValueError('expected an absolute path, as in "/var/lib/x"')
    return path


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
