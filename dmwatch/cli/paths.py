"""`dmwatch --paths`: where the program, the unit, its drop-ins and the example lie."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import dmwatch
from dmwatch.cli.output import print_line

_SHIPPED = {
    "unit": "systemd/dmwatch.service",
    "drop-ins": "systemd/dmwatch.service.d",
    "example": "config.example.toml",
}


def paths() -> dict[str, Path]:
    """What there is, by what it is; a file that is not there is left out."""
    root = _checkout() or _shared()
    package = Path(dmwatch.__file__).parent
    found = {"program": Path(sys.executable).parent / "dmwatch", "package": package}
    found["schema"] = package / "schema" / "events.json"
    if root is not None:
        found.update((what, root / name) for what, name in _SHIPPED.items())
    return {what: path for what, path in found.items() if path.exists()}


def print_paths() -> None:
    """Print them, one a line."""
    for what, path in paths().items():
        print_line(f"{what:<10}{path}")


def _checkout() -> Path | None:
    root = Path(dmwatch.__file__).parents[1]
    return root if (root / "pyproject.toml").exists() and (root / "systemd").exists() else None


def _shared() -> Path | None:
    try:
        shipped = files("dmwatch") or []
    except PackageNotFoundError:
        return None
    unit = next((file for file in shipped if file.name == "dmwatch.service"), None)
    return None if unit is None else Path(str(unit.locate())).resolve().parents[1]
