from __future__ import annotations

from pathlib import Path

import pytest

from dmwatch.monitor.sysfs import diskseq
from dmwatch.names import DeviceNumber

NUMBER = DeviceNumber(253, 7)


def test_the_incarnation_is_read(tmp_path: Path) -> None:
    (tmp_path / "253:7").mkdir()
    (tmp_path / "253:7" / "diskseq").write_text("42\n")
    assert diskseq(NUMBER, tmp_path) == 42


@pytest.mark.parametrize("content", ["", "x\n", "\xff"])
def test_what_is_no_number_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "253:7").mkdir()
    (tmp_path / "253:7" / "diskseq").write_text(content, "latin-1")
    assert diskseq(NUMBER, tmp_path) is None


def test_a_device_or_a_file_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert diskseq(NUMBER, tmp_path) is None
    (tmp_path / "253:7").mkdir()
    assert diskseq(NUMBER, tmp_path) is None
    assert diskseq(NUMBER, tmp_path / "no" / "sysfs") is None
