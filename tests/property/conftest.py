"""No test fails because the machine is busy: pytest's own limit says when one hangs."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("dmwatch", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dmwatch")
