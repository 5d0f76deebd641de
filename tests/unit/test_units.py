"""Amounts: the behaviours 35 to 43 of devicemapper-rs, and that unlike things never mix."""

from __future__ import annotations

import copy
import operator
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from dmwatch.errors import InvalidValueError
from dmwatch.units import Bytes, DataBlocks, MetadataBlocks, Quantity, Sectors

KINDS = [Bytes, Sectors, DataBlocks, MetadataBlocks]
U64_MAX = (1 << 64) - 1
every = pytest.mark.parametrize("kind", KINDS)


@pytest.mark.parity(35)
@every
def test_an_amount_has_a_default_an_order_and_an_identity(kind: type[Quantity]) -> None:
    assert kind() == kind(0)
    assert kind(1) < kind(2) <= kind(2)
    assert kind(3) > kind(2) >= kind(2)
    assert sorted([kind(3), kind(1)]) == [kind(1), kind(3)]
    assert len({kind(1), kind(1), kind(2)}) == 2
    assert copy.copy(kind(5)) == copy.deepcopy(kind(5)) == kind(5)


@pytest.mark.parity(36)
@every
def test_an_amount_shows_its_number_and_its_unit(kind: type[Quantity]) -> None:
    assert repr(kind(3)) == f"{kind.__name__}(3)"
    assert str(kind(3)) == f"3 {kind.unit}"
    assert (int(kind(3)), list(range(5))[kind(3)]) == (3, 3)
    assert (bool(kind(0)), bool(kind(1))) == (False, True)


@pytest.mark.parity(37)
@every
def test_amounts_are_summed(kind: type[Quantity]) -> None:
    assert sum([kind(1), kind(2), kind(3)]) == kind(6)
    assert sum([kind(1)], kind(4)) == kind(5)


@pytest.mark.parity(38)
@every
def test_amounts_are_added(kind: type[Quantity]) -> None:
    amount = kind(1)
    amount += kind(2)
    assert amount == kind(1) + kind(2) == kind(3)
    # no amount overflows
    assert int(kind(U64_MAX) + kind(1)) == 1 << 64


@pytest.mark.parity(39)
@every
def test_amounts_are_subtracted_down_to_nothing(kind: type[Quantity]) -> None:
    amount = kind(3)
    amount -= kind(2)
    assert amount == kind(3) - kind(2) == kind(1)
    with pytest.raises(InvalidValueError, match="cannot be negative: -1"):
        kind(2) - kind(3)


@pytest.mark.parity(40)
@every
def test_an_amount_is_multiplied_by_a_number_from_both_sides(kind: type[Quantity]) -> None:
    assert kind(3) * 4 == 4 * kind(3) == kind(12)


@pytest.mark.parity(41)
@every
def test_division_by_an_amount_gives_a_number_and_by_a_number_an_amount(
    kind: type[Quantity],
) -> None:
    assert (kind(13) // kind(3), kind(13) // 3) == (4, kind(4))
    assert (kind(13) % kind(3), kind(13) % 3) == (kind(1), kind(1))
    assert kind(1) / kind(4) == 0.25


@pytest.mark.parity(42)
def test_the_largest_number_of_sectors_goes_to_bytes_and_back() -> None:
    assert Sectors(U64_MAX).bytes() == Bytes(U64_MAX * 512)
    assert Sectors(U64_MAX).bytes().sectors() == Sectors(U64_MAX)


@pytest.mark.parity(43)
def test_more_than_that_is_not_cut() -> None:
    # where 64 bits end, devicemapper-rs gives 0
    assert Bytes((U64_MAX + 1) * 512).sectors() == Sectors(1 << 64)


def test_conversions_round_down() -> None:
    assert Bytes(1023).sectors() == Sectors(1)
    assert Sectors(15).metadata_blocks() == MetadataBlocks(1)
    assert MetadataBlocks(2).sectors() == Sectors(16)
    assert DataBlocks(3).sectors(Sectors(128)) == Sectors(384)


MIXED: list[Callable[[Any, Any], object]] = [
    operator.add,
    operator.sub,
    operator.lt,
    operator.le,
    operator.gt,
    operator.ge,
    operator.floordiv,
    operator.mod,
    operator.truediv,
    operator.mul,
]


@pytest.mark.parametrize("operation", MIXED)
@pytest.mark.parametrize("one", KINDS)
@pytest.mark.parametrize("other", [*KINDS, float])
def test_unlike_amounts_do_not_mix(
    operation: Callable[[Any, Any], object], one: type[Quantity], other: Any
) -> None:
    if one is other and operation is not operator.mul:
        assert operation(one(2), one(2)) is not NotImplemented
        return
    with pytest.raises(TypeError):
        operation(one(2), other(2))


@pytest.mark.parametrize("operation", [operator.add, operator.sub, operator.lt, operator.truediv])
def test_an_amount_and_a_plain_number_do_not_mix(operation: Callable[[Any, Any], object]) -> None:
    for pair in ((Sectors(2), 2), (2, Sectors(2))):
        with pytest.raises(TypeError):
            operation(*pair)


def test_unlike_amounts_are_not_equal() -> None:
    assert Sectors(1) != Bytes(1)
    assert Sectors(1) != 1
    assert len({Sectors(1), Bytes(1), DataBlocks(1)}) == 3


@pytest.mark.parametrize("value", [-1, True, 1.0, "1", None])
def test_what_is_no_amount_is_refused(value: Any) -> None:
    with pytest.raises(InvalidValueError):
        Sectors(value)


def test_dividing_by_nothing_is_an_error() -> None:
    for divisor in (0, Sectors(0)):
        with pytest.raises(ZeroDivisionError):
            Sectors(1) // divisor


def test_an_amount_does_not_change() -> None:
    amount = Sectors(1)
    with pytest.raises(AttributeError):
        amount._value = 2
    with pytest.raises(AttributeError):
        del amount._value
    with pytest.raises(AttributeError):
        amount.other = 2
    assert pickle.loads(pickle.dumps(amount)) == amount


class Model(BaseModel):
    size: Sectors


def test_pydantic_reads_and_writes_a_number() -> None:
    assert Model.model_validate_json('{"size": 8}').size == Sectors(8)
    assert Model(size=Sectors(8)).model_dump_json() == '{"size":8}'
    assert Model(size=Sectors(8)).model_dump() == {"size": 8}
    schema = TypeAdapter(Sectors).json_schema()
    assert schema == {"type": "integer", "minimum": 0}
    for wrong in ("-1", '"x"', "1.5"):
        with pytest.raises(ValidationError):
            Model.model_validate_json(f'{{"size": {wrong}}}')
