"""Handlers: what is told of every event. The interface that plug-ins implement.

The built-in ones (log, exec, webhook, file) are loaded only where they are configured.
"""

from dmwatch.handlers.base import Drop, Handler, HandlerSettings, Retry
from dmwatch.handlers.secrets import Secret

__all__ = ["Drop", "Handler", "HandlerSettings", "Retry", "Secret"]
