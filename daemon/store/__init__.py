"""The ledger: every task, speech and dropped file, in SQLite. All SQL of the project is in this folder."""

from daemon.store.ledger import Claim, ClaimLost, Drop, Gain, Store

__all__ = ["Claim", "ClaimLost", "Drop", "Gain", "Store"]
