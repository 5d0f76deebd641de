"""The socket: any local program can ask the daemon, and listen to what it tells. docs/stream.md.

server.py      who listens, and is told          listening.py   the socket's file
connection.py  one client                        requests.py    what a client may say
client.py      the other side, for commands
"""

from dmwatch.service.stream.server import Stream

__all__ = ["Stream"]
