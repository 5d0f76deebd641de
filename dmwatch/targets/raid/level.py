"""The types of raid, and what each can bear."""

from __future__ import annotations

from enum import StrEnum


class RaidType(StrEnum):
    """A level and its layout. The kernel prints `raid10` for `raid10_near`."""

    RAID0 = "raid0"
    RAID1 = "raid1"
    RAID10 = "raid10"
    RAID10_NEAR = "raid10_near"
    RAID10_OFFSET = "raid10_offset"
    RAID10_FAR = "raid10_far"
    RAID4 = "raid4"
    RAID5_N = "raid5_n"
    RAID5_LS = "raid5_ls"
    RAID5_RS = "raid5_rs"
    RAID5_LA = "raid5_la"
    RAID5_RA = "raid5_ra"
    RAID6_ZR = "raid6_zr"
    RAID6_NR = "raid6_nr"
    RAID6_NC = "raid6_nc"
    RAID6_N_6 = "raid6_n_6"
    RAID6_LS_6 = "raid6_ls_6"
    RAID6_RS_6 = "raid6_rs_6"
    RAID6_LA_6 = "raid6_la_6"
    RAID6_RA_6 = "raid6_ra_6"

    @property
    def level(self) -> int:
        """0, 1, 4, 5, 6 or 10."""
        return int(self.value.partition("_")[0].removeprefix("raid"))

    @property
    def parity(self) -> int:
        """How many members' worth of each stripe are parity."""
        return {4: 1, 5: 1, 6: 2}.get(self.level, 0)

    @property
    def fewest(self) -> int:
        """How many members it needs (minimal_devs of raid_types)."""
        return 4 if self.level == 6 else 2
