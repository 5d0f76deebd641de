"""The daemon: what `dmwatch run` is made of.

An event goes one way through it:

    Watcher, own.py -> ledger (numbers it, journal on disk) -> Entry -> delivery (a lane for each
    handler) and stream (clients of the socket)

    settings.py   the configuration's models           config/     reading it, faults, the example
    entry.py      an event and its place in the order  own.py      conditions of the daemon itself
    ledger/       numbers, the journal, what stood     delivery/   matching, lanes, plug-ins
    stream/       the socket                           daemon.py   puts it all together
    logs.py       the log; lines.py: it never waits    notify.py   words to the service manager
    memory.py     keeping it from being paged out      deputy.py   its main process while one hangs
"""
