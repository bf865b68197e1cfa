"""The ledger: every task, speech and dropped file, in SQLite. All SQL of the project is in this folder."""

from daemon.store.ledger import Claim, ClaimLost, Drop, Gain, Store
from daemon.store.pruning import count_forgettable

__all__ = ["Claim", "ClaimLost", "Drop", "Gain", "Store", "count_forgettable"]
