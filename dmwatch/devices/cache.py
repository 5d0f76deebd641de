"""CacheDevice: a fast device in front of a slow one."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Unpack

from dmwatch.devices import lower
from dmwatch.devices.below import Below, size_of, word_of
from dmwatch.devices.carrying import PATIENCE
from dmwatch.devices.change import Change
from dmwatch.devices.device import Device, Options
from dmwatch.devices.linear import LinearDevice, Range
from dmwatch.devices.segment import Segment
from dmwatch.dm import DeviceMapper
from dmwatch.errors import DmwatchError
from dmwatch.targets import TargetTable
from dmwatch.targets.cache import (
    CacheMetadataMode,
    CacheMode,
    CacheStatus,
    CacheTable,
    CacheWorking,
    MigrationThreshold,
)
from dmwatch.units import DataBlocks, Sectors

_SMQ = frozenset({"default", "mq", "smq"})
_PAUSE = 0.1


class CacheDevice(Device[CacheTable]):
    """A fast device in front of a slow one. Its length is that of the slow one.

    Blank metadata becomes a new, empty cache. A cache that was taken down is set up with the same
    three devices; its origin alone is not up to date where the mode is writeback: see `uncache`.

    Args:
        dm: where it lives.
        name: see DeviceName.
        metadata: the metadata device.
        cache: the fast device.
        origin: the slow device.
        block_size: 64 to 2,097,152 sectors, a multiple of 64; fixed for the cache's life.
        mode: what becomes of writes.
        features: metadata2, no_discard_passdown.
        policy: smq, or cleaner, which writes all dirty blocks back.
        settings: names and values: migration_threshold.
        options: see Options.

    Attributes:
        metadata: as above.
        cache: as above.
        origin: as above.
        block_size: as above.
        mode: as above.
        features: as above.
        policy: as above.
        settings: as above.
    """

    def __init__(
        self,
        dm: DeviceMapper,
        name: str,
        *,
        metadata: Below,
        cache: Below,
        origin: Below,
        block_size: Sectors,
        mode: CacheMode = CacheMode.WRITETHROUGH,
        features: Iterable[str] = (),
        policy: str = "smq",
        settings: Iterable[tuple[str, str]] = (),
        **options: Unpack[Options],
    ) -> None:
        super().__init__(dm, name, **options)
        self.metadata = metadata
        self.cache = cache
        self.origin = origin
        self.block_size = block_size
        self.mode = mode
        self.features = tuple(features)
        self.policy = policy
        self.settings = tuple(settings)

    def segments(self) -> tuple[Segment[CacheTable], ...]:
        """One, as long as the origin."""
        table = CacheTable(
            metadata=word_of(self.metadata),
            cache=word_of(self.cache),
            origin=word_of(self.origin),
            block_size=self.block_size,
            features=(self.mode.value, *self.features),
            policy=self.policy,
            settings=self.settings,
        )
        return (Segment(size_of(self.origin), table),)

    def meaning(self, table: TargetTable) -> object:
        """Features and settings count as sets; writeback is what is meant without a mode, smq by
        default and by mq.
        """
        if not isinstance(table, CacheTable):
            return super().meaning(table)
        others = {feature.lower() for feature in table.features} - {"writeback"}
        return replace(
            table,
            features=tuple(sorted(others)),
            policy="smq" if table.policy in _SMQ else table.policy,
            settings=tuple(sorted(table.settings)),
            ignored=(),
        )

    def status(self) -> CacheStatus:
        """How it stands. Nothing is committed. Raises as `statuses`."""
        (found,) = self.statuses()
        assert isinstance(found, CacheStatus)  # noqa: S101 - its module gives no other
        return found

    # Its sizes, mode and policy

    def extend(
        self,
        *,
        origin: Iterable[Range] = (),
        cache: Iterable[Range] = (),
        metadata: Iterable[Range] = (),
    ) -> None:
        """Add ranges to its devices, which must be LinearDevices; it is swapped once, last.

        What it has begun to use it does not give back: within a larger change that fails later, it
        and its devices stay as they are then.

        Raises:
            CommandError: the kernel refuses. All four are as they were.
        """
        with self.change() as change:
            lower.extend("metadata", self.metadata, metadata)
            lower.extend("cache", self.cache, cache)
            lower.extend("origin", self.origin, origin)
            self.swap(change)
            change.settle(self.name, *lower.names((self.metadata, self.cache, self.origin)))

    def set_mode(self, mode: CacheMode, *, timeout: float = 600.0) -> None:
        """Change what becomes of writes; on the way to passthrough dirty blocks are written first.

        Args:
            mode: what it shall be.
            timeout: see `flush`.

        Raises:
            DmwatchError: as `flush`.
        """
        with self.change() as change:
            policy, settings = self.policy, self.settings
            if mode is CacheMode.PASSTHROUGH:
                self._clean(change, timeout)
            self.mode, self.policy, self.settings = mode, policy, settings
            self.swap(change)

    def set_policy(self, policy: str, settings: Iterable[tuple[str, str]] = ()) -> None:
        """Change the policy and its settings."""
        with self.change() as change:
            self.policy, self.settings = policy, tuple(settings)
            self.swap(change)

    def set_migration_threshold(self, sectors: Sectors) -> None:
        """Limit how much is copied at one time, at once and without a new table."""
        with self.change() as change:
            before = None if change.dry else self._threshold()
            change.message(self, MigrationThreshold(sectors), undo=before)
            others = [pair for pair in self.settings if pair[0] != "migration_threshold"]
            self.settings = (*others, ("migration_threshold", str(int(sectors))))

    def _threshold(self) -> MigrationThreshold | None:
        """What brings back the threshold that there is now; None where that cannot be told."""
        with suppress(DmwatchError):
            status = self.status()
            found = dict(status.core_settings) if isinstance(status, CacheWorking) else {}
            said = found.get("migration_threshold", "")
            return MigrationThreshold(Sectors(int(said))) if said.isdecimal() else None
        return None

    # Clean, and without a cache

    def flush(self, *, timeout: float = 600.0) -> None:
        """Write all dirty blocks to the origin; the cache goes on as it was.

        Args:
            timeout: seconds that it may take.

        Raises:
            DmwatchError: dirty blocks are left when time is up, or the cache has failed. Mode and
                policy are as they were.
        """
        with self.change() as change:
            mode, policy, settings = self.mode, self.policy, self.settings
            self._clean(change, timeout)
            self.mode, self.policy, self.settings = mode, policy, settings
            self.swap(change)

    def uncache(self, *, timeout: float = 600.0) -> LinearDevice:
        """Write all dirty blocks to the origin, and put the origin in the cache's place.

        Name, uuid and number stay, and so does what lies on top. Metadata and fast device stay too
        and are no longer used.

        Args:
            timeout: as for `flush`.

        Returns:
            the device as it is now; this object is of no use any more.

        Raises:
            DmwatchError: as `flush`. The cache is as it was.
        """
        with self.change() as change:
            self._clean(change, timeout)
            bare = LinearDevice(
                self.dm,
                self.name,
                self.origin,
                uuid=self.uuid,
                read_only=self.read_only,
                visibility=self.visibility,
                udev=self._udev,
            )
            bare.swap(change)
        return bare

    def _clean(self, change: Change, timeout: float) -> None:
        """Let the cleaner write everything back, while no block can become dirty."""
        self.mode, self.policy, self.settings = CacheMode.WRITETHROUGH, "cleaner", ()
        self.swap(change)
        if change.dry:
            return
        deadline = time.monotonic() + timeout
        while dirty := self._dirty():
            if time.monotonic() >= deadline:
                raise DmwatchError(
                    f"{self.name} still has {dirty} dirty after {timeout:g} s",
                    because="the origin is slow or fails",
                    hint="look at the kernel log, then try it again with a longer timeout",
                )
            time.sleep(_PAUSE)

    def _dirty(self) -> DataBlocks:
        status = self.status()
        if not isinstance(status, CacheWorking):
            raise self._unclean(f"it has failed ({status.state})")
        if status.dirty and status.metadata_mode is CacheMetadataMode.READ_ONLY:
            raise self._unclean("its metadata is read-only")
        return status.dirty

    def _unclean(self, why: str) -> DmwatchError:
        return DmwatchError(
            f"{self.name} cannot be made clean: {why}",
            because="its metadata device had errors",
            hint="take it down and look at it with cache_check and cache_writeback",
        )

    def teardown(self, *, patience: float = PATIENCE, below: bool = False) -> None:
        """Remove it. In writeback mode its dirty blocks stay in the fast device: see `uncache`.

        Args:
            patience: see Device.teardown.
            below: then its cache, origin and metadata devices too, where they are devices of ours.
        """
        with self.change():
            super().teardown(patience=patience)
            if below:
                lower.teardown((self.cache, self.origin, self.metadata))
