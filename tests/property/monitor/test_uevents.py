from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dmwatch.monitor.uevents import Uevent, parse

WORDS = st.sampled_from(
    [b"SUBSYSTEM=block", b"MAJOR=253", b"MINOR=3", b"DISKSEQ=", b"DISKSEQ=7", b"SYNTH_UUID=0", b"="]
)
HEADS = st.sampled_from([b"change@/block/dm-3", b"add@/x/dm-", b"@dm-1", b"remove@/dm-\xff"])


@given(
    st.one_of(
        st.binary(max_size=300),
        st.builds(
            lambda head, lines: b"\x00".join([head, *lines]),
            st.one_of(HEADS, st.binary(max_size=20)),
            st.lists(st.one_of(WORDS, st.binary(max_size=20)), max_size=8),
        ),
    )
)
def test_any_datagram_gives_a_value_or_nothing(datagram: bytes) -> None:
    uevent = parse(datagram)
    assert uevent is None or isinstance(uevent, Uevent)
    if uevent:
        assert uevent.properties["SUBSYSTEM"] == "block"
        assert uevent.diskseq is None or uevent.diskseq >= 0


@given(
    st.sampled_from(["add", "change", "remove"]),
    st.integers(0, 4095),
    st.integers(0, (1 << 20) - 1),
    st.one_of(st.none(), st.integers(0, (1 << 64) - 1)),
    st.binary(max_size=50).filter(lambda raw: b"\x00" not in raw),
)
def test_what_the_kernel_sends_is_read_back(
    action: str, major: int, minor: int, diskseq: int | None, name: bytes
) -> None:
    lines = [f"SUBSYSTEM=block\x00MAJOR={major}\x00MINOR={minor}".encode(), b"DM_NAME=" + name]
    if diskseq is not None:
        lines.append(f"DISKSEQ={diskseq}".encode())
    uevent = parse(b"\x00".join([f"{action}@/devices/virtual/block/dm-{minor}".encode(), *lines]))
    assert uevent is not None
    assert (uevent.action, uevent.number.major, uevent.number.minor) == (action, major, minor)
    assert uevent.diskseq == diskseq
    assert uevent.properties["DM_NAME"].encode("utf-8", "surrogateescape") == name
