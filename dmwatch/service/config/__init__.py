"""The configuration file: reading it, and saying what is wrong with it."""

from dmwatch.service.config.faults import ConfigError, Fault
from dmwatch.service.config.reading import DEFAULT_PATH, read_configuration

__all__ = ["DEFAULT_PATH", "ConfigError", "Fault", "read_configuration"]
