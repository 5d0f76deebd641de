"""For all tests."""

from __future__ import annotations

import signal

# A shell without job control starts what runs in the background with Ctrl-C ignored, and programs
# that a test starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
