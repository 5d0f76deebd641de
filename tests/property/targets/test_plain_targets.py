"""linear, error, zero, delay, flakey, dust, ebs, log-writes, switch, unstriped: round trips."""

from __future__ import annotations

from dataclasses import fields

from hypothesis import given
from hypothesis import strategies as st

from dmwatch.names import DeviceNumber
from dmwatch.targets import TargetTable, find
from dmwatch.targets.core_messages import StatsCreate
from dmwatch.targets.delay import DelayPath, DelayTable
from dmwatch.targets.dust import DustTable
from dmwatch.targets.ebs import EbsTable
from dmwatch.targets.error import ErrorTable
from dmwatch.targets.flakey import (
    PROBABILITY_BASE,
    FlakeyCorrupt,
    FlakeyDirection,
    FlakeyFault,
    FlakeyFeature,
    FlakeyRandom,
    FlakeyTable,
)
from dmwatch.targets.linear import LinearTable
from dmwatch.targets.log_writes import LogWritesTable, Mark
from dmwatch.targets.stats_replies import parse_regions
from dmwatch.targets.switch import SwitchPath, SwitchTable
from dmwatch.targets.unstriped import UnstripedTable
from dmwatch.targets.words import U32_MAX, U64_MAX
from dmwatch.targets.zero import ZeroTable
from dmwatch.units import Bytes, Sectors

u32 = st.integers(0, U32_MAX)
sectors = st.integers(0, U64_MAX).map(Sectors)
paths = st.from_regex(r"/dev/[a-zA-Z0-9_.:+-]{1,20}", fullmatch=True)
numbers = st.builds(DeviceNumber, st.integers(0, 4095), st.integers(0, (1 << 20) - 1))
devices = st.one_of(numbers, paths)


def powers(low: int, high: int) -> st.SearchStrategy[int]:
    return st.integers(low, high).map(lambda exponent: 1 << exponent)


delay_paths = st.builds(DelayPath, devices, sectors, u32)
delays = st.one_of(
    st.builds(DelayTable, delay_paths),
    st.builds(DelayTable, delay_paths, delay_paths),
    st.builds(DelayTable, delay_paths, delay_paths, delay_paths),
)


@st.composite
def ebs(draw: st.DrawFn) -> EbsTable:
    underlying = draw(st.none() | powers(0, 15))
    start = draw(st.integers(0, 1 << 40)) * (underlying or 1)
    emulated = Sectors(draw(powers(0, 7)))
    size = None if underlying is None else Sectors(underlying)
    return EbsTable(draw(devices), Sectors(start), emulated, size)


def corrupt(direction: FlakeyDirection) -> st.SearchStrategy[list[FlakeyFeature]]:
    fixed = st.builds(
        FlakeyCorrupt, st.integers(1, U32_MAX), st.just(direction), st.integers(0, 255), u32
    )
    random = st.builds(FlakeyRandom, st.just(direction), st.integers(0, PROBABILITY_BASE))
    return st.tuples(st.none() | fixed, st.none() | random).map(
        lambda pair: [feature for feature in pair if feature is not None]
    )


def just(*faults: FlakeyFault) -> st.SearchStrategy[list[FlakeyFeature]]:
    return st.sampled_from([[fault] for fault in faults])


@st.composite
def flakey(draw: st.DrawFn) -> FlakeyTable:
    reads = draw(just(FlakeyFault.ERROR_READS) | corrupt(FlakeyDirection.READ))
    either = just(FlakeyFault.DROP_WRITES, FlakeyFault.ERROR_WRITES)
    writes = draw(either | corrupt(FlakeyDirection.WRITE))
    fixed = [feature for feature in [*reads, *writes] if isinstance(feature, FlakeyCorrupt)]
    features = [f for f in [*reads, *writes] if f not in fixed[1:]]
    up = draw(st.integers(1, 1 << 31))
    down = draw(st.integers(0, (1 << 31) - 1))
    shuffled = draw(st.permutations(features))
    return FlakeyTable(draw(devices), draw(sectors), up, down, tuple(shuffled))


@st.composite
def unstriped(draw: st.DrawFn) -> UnstripedTable:
    stripes = draw(st.integers(1, U32_MAX))
    chunk = Sectors(draw(powers(0, 31)))
    stripe = draw(st.integers(0, stripes - 1))
    return UnstripedTable(stripes, chunk, stripe, draw(devices), draw(sectors))


switch_paths = st.lists(st.builds(SwitchPath, devices, sectors), min_size=1, max_size=5).map(tuple)

tables: st.SearchStrategy[TargetTable] = st.one_of(
    st.builds(LinearTable, devices, sectors),
    st.builds(ErrorTable),
    st.builds(ErrorTable, devices, sectors),
    st.builds(ZeroTable),
    delays,
    flakey(),
    st.builds(DustTable, devices, sectors, powers(9, 30).map(Bytes)),
    ebs(),
    st.builds(LogWritesTable, devices, devices),
    st.builds(SwitchTable, st.integers(1, U32_MAX).map(Sectors), switch_paths),
    unstriped(),
)


@given(tables)
def test_what_is_written_reads_the_same(table: TargetTable) -> None:
    assert find(table.type).table(table.format()) == table


@given(tables)
def test_what_was_read_is_kept(table: TargetTable) -> None:
    text = table.format()
    read = find(table.type).table(f"{text} ")
    assert read.raw == f"{text} "
    assert {spec.name: getattr(read, spec.name) for spec in fields(read)} == {
        spec.name: getattr(table, spec.name) for spec in fields(table)
    } | {"raw": f"{text} "}


def split_as_the_kernel_does(message: str) -> list[bytes]:
    """What dm_split_args of drivers/md/dm-table.c makes of a message."""
    words: list[bytes] = []
    word, started = b"", False
    taken = iter(message.encode("utf-8", "surrogateescape"))
    for byte in taken:
        if byte in b" \t\n\v\f\r\xa0":
            words += [word] if started else []
            word, started = b"", False
            continue
        word += bytes([next(taken, byte) if byte == ord("\\") else byte])
        started = True
    return [*words, word] if started else words


texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00\n\r"), min_size=1).filter(
    str.strip
)


@given(texts.filter(lambda text: len(text.encode()) < 480))
def test_a_mark_reaches_the_kernel_whole(text: str) -> None:
    assert split_as_the_kernel_does(Mark(text).format()) == [b"mark", text.encode()]


@given(texts)
def test_auxiliary_data_comes_back(text: str) -> None:
    words = split_as_the_kernel_does(StatsCreate(areas=1, aux_data=text).format())
    assert words[4:] == [b"-", text.encode()]
    line = f"0: 0+8 8 - {text} histogram:1,2\n"
    (region,) = parse_regions(line)
    aux_data = text.removesuffix(" precise_timestamps")
    assert (region.aux_data, region.histogram) == (aux_data, (1, 2))
