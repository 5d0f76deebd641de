"""The sandbox of the unit, and of each drop-in, in figures: those that docs/daemon.md tells."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SYSTEMD = CHECKOUT / "systemd"
DOCS = CHECKOUT / "docs" / "daemon.md"

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing: make setup"
)


def exposure(unit: Path) -> str:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    match = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert match, done.stdout + done.stderr
    return match[1]


@pytest.mark.parametrize("names", [(), ("webhook",), ("exec",), ("webhook", "exec")])
def test_the_exposure_is_what_the_page_says(tmp_path: Path, names: tuple[str, ...]) -> None:
    unit = Path(shutil.copy(SYSTEMD / "dmwatch.service", tmp_path))
    chosen = tmp_path / "dmwatch.service.d"
    chosen.mkdir()
    for name in names:
        shutil.copy(SYSTEMD / "dmwatch.service.d" / f"{name}.conf", chosen)
    figure = exposure(unit)
    assert f"| {' and '.join(names) or 'none'} | {figure} |" in DOCS.read_text()
    assert names or float(figure) <= 2.0


def test_systemd_finds_no_fault_in_the_unit(tmp_path: Path) -> None:
    text = (SYSTEMD / "dmwatch.service").read_text()
    unit = tmp_path / "dmwatch.service"
    unit.write_text(text.replace("/opt/dmwatch/bin/dmwatch", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "dmwatch.service" not in done.stderr, done.stderr


def test_what_other_tools_rely_on_stands_in_the_unit() -> None:
    lines = (SYSTEMD / "dmwatch.service").read_text().splitlines()
    for line in (
        "Type=notify",
        "TimeoutStopSec=5s",
        "PrivateNetwork=yes",
        "ExecStart=/opt/dmwatch/bin/dmwatch run",
    ):
        assert line in lines
    assert any(line.startswith("ExecReload=") for line in lines)
