"""The laws of amounts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmwatch.errors import InvalidValueError
from dmwatch.units import Bytes, DataBlocks, MetadataBlocks, Quantity, Sectors

kinds = st.sampled_from([Bytes, Sectors, DataBlocks, MetadataBlocks])
values = st.integers(0, 1 << 80)
positive = st.integers(1, 1 << 80)


@given(kinds, values, values, values)
def test_addition_is_that_of_numbers(kind: type[Quantity], a: int, b: int, c: int) -> None:
    x, y, z = kind(a), kind(b), kind(c)
    assert x + y == y + x == kind(a + b)
    assert (x + y) + z == x + (y + z)
    assert x + kind(0) == x
    assert (x + y) - y == x
    assert sum([x, y, z]) == kind(a + b + c)


@given(kinds, values, values)
def test_the_order_is_that_of_numbers(kind: type[Quantity], a: int, b: int) -> None:
    x, y = kind(a), kind(b)
    assert (x < y, x <= y, x == y, x > y, x >= y) == (a < b, a <= b, a == b, a > b, a >= b)
    assert (hash(x) == hash(y)) or a != b


@given(kinds, values, values)
def test_no_difference_is_below_nothing(kind: type[Quantity], a: int, b: int) -> None:
    if a >= b:
        assert int(kind(a) - kind(b)) == a - b
    else:
        with pytest.raises(InvalidValueError):
            kind(a) - kind(b)


@given(kinds, values, positive)
def test_a_quotient_and_its_rest_make_the_whole(kind: type[Quantity], a: int, b: int) -> None:
    whole = kind(a)
    assert (whole // kind(b)) * kind(b) + whole % kind(b) == whole
    assert (whole // b) * b + whole % b == whole


@given(kinds, values, values, st.integers(0, 1 << 40))
def test_multiplication_spreads(kind: type[Quantity], a: int, b: int, n: int) -> None:
    assert (kind(a) + kind(b)) * n == kind(a) * n + n * kind(b)


@given(values)
def test_conversions_up_and_down(value: int) -> None:
    assert Sectors(value).bytes().sectors() == Sectors(value)
    assert MetadataBlocks(value).sectors().metadata_blocks() == MetadataBlocks(value)
    assert (
        Bytes(value).sectors().bytes()
        <= Bytes(value)
        < (Bytes(value).sectors().bytes() + Bytes(512))
    )
