"""The ledger: gives every event its place in one order, and keeps it on disk.

ledger.py     the order: number, write, publish; from disk to memory and back
rows.py       an event as a row          numbers.py    epoch, sequence, position
standing.py   what stands, folded from the events
schema.py     the tables, migrations     store.py      writing      reader.py   reading
disk.py       the threads that touch the file: nothing of it can hang the loop
memory.py     what is kept while the file cannot be written
history.py    what was told since a place or a time
lock.py       one daemon for one journal
"""

from dmwatch.service.ledger.history import GoneError
from dmwatch.service.ledger.ledger import Ledger
from dmwatch.service.ledger.rows import Row, Wanted

__all__ = ["GoneError", "Ledger", "Row", "Wanted"]
