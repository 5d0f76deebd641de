"""What is public is there, documented, and loaded only when it is used."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import dmwatch
from dmwatch import testing


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50
    )
    return done.stdout.strip()


@pytest.mark.parametrize("name", dmwatch.__all__)
def test_a_public_name_can_be_had_and_has_a_docstring(name: str) -> None:
    found = getattr(dmwatch, name)
    assert found.__doc__
    assert found.__name__ == name


def test_the_list_of_public_names_is_sorted_complete_and_unique() -> None:
    assert list(dmwatch.__all__) == sorted(set(dmwatch.__all__))
    assert set(dmwatch.__all__) == set(dmwatch._HOMES)
    assert set(dmwatch.__all__) <= set(dir(dmwatch))


def test_each_name_is_what_its_home_defines() -> None:
    for name, home in dmwatch._HOMES.items():
        module = importlib.import_module(f"dmwatch.{home}")
        assert getattr(module, name) is getattr(dmwatch, name)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'dmwatch' has no attribute 'nonsense'"):
        getattr(dmwatch, "nonsense")  # noqa: B009


def test_importing_the_package_loads_nothing_of_it() -> None:
    code = "import sys, dmwatch; print(sorted(m for m in sys.modules if m.startswith('dmwatch')))"
    assert run(code) == "['dmwatch']"


def test_the_library_does_not_load_what_only_the_watcher_needs() -> None:
    code = (
        "import sys; from dmwatch import DeviceMapper, TargetLine, Sectors, Flags, DeviceName\n"
        "print(sorted({'asyncio', 'pydantic', 'click', 'rich', 'structlog'} & set(sys.modules)))"
    )
    assert run(code) == "[]"


def test_the_fake_kernel_needs_no_loop_and_no_test_framework() -> None:
    code = (
        "import sys; from dmwatch.testing import FakeKernel; FakeKernel().add('a')\n"
        "print(sorted({'asyncio', 'pytest', 'pydantic', 'hypothesis'} & set(sys.modules)))"
    )
    assert run(code) == "[]"


@pytest.mark.parametrize("name", testing.__all__)
def test_a_name_of_the_testing_package_has_a_docstring(name: str) -> None:
    assert getattr(testing, name).__doc__


def test_the_package_says_that_it_is_typed() -> None:
    assert importlib.resources.files("dmwatch").joinpath("py.typed").is_file()
