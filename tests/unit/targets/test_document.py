from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_page_on_targets_is_what_the_code_says() -> None:
    """If not: python tests/document_targets.py > docs/targets.md."""
    written = runpy.run_path(str(ROOT / "tests" / "document_targets.py"))["document"]()
    assert (ROOT / "docs" / "targets.md").read_text() == written
